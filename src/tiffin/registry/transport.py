"""HTTP to one registry: a pool of connections, time limits, retries, redirects, proxies and TLS.

Nothing here knows the distribution API. Connection troubles leave as Unavailable in the words that
docker's users know (`dial tcp ...: connection refused`); every status is returned, not raised.
"""

from __future__ import annotations

import os
import random
import socket
import ssl
import threading
import time
from http.client import IncompleteRead

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from tiffin import __version__
from tiffin.errors import Forbidden, Interrupted, InvalidArgument, TiffinError, Unavailable
from tiffin.registry import address
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol

    from tiffin.settings import Settings

    class Body(Protocol):
        """What an upload sends."""

        def read(self, size: int = -1, /) -> bytes:
            """Return up to `size` bytes, b"" at the end."""

        def again(self) -> bool:
            """Go back to the start for another attempt; return False if that cannot be."""


_BLOCK = 128 << 10
_REDIRECTS = 6
_RETRIED = frozenset({429, 500, 502, 503, 504})
_CERTIFICATES = "/etc/docker/certs.d"
"""Where docker's users keep the certificates of private registries, a folder each host."""


class Limits(Value):
    """How long to wait, in seconds, and how often to try.

    `connect` also bounds each block of an upload; `silence` is how long a server may say nothing;
    `commit` is how long it may think about a finished upload. A download that brings next to nothing in a
    whole `window` has stalled, though it is never silent. Pauses double from `pause` up to
    `longest_pause`; a Retry-After above `patience` is not waited for.
    """

    connect: float = 20.0
    silence: float = 30.0
    commit: float = 300.0
    window: float = 60.0
    attempts: int = 5
    pause: float = 0.25
    longest_pause: float = 8.0
    patience: float = 30.0


class Request(Value):
    """One HTTP request. `authorization` goes to the URL's own origin only; `silence` 0 means the usual."""

    method: str
    url: str
    headers: Mapping[str, str] = EMPTY
    authorization: str = ""
    body: bytes | Body | None = None
    silence: float = 0.0

    def __repr__(self) -> str:
        """Show what is asked for, not with which right."""
        return f"Request({self.method} {address.shown(self.url)})"

    @property
    def verb(self) -> str:
        """The request as Go's messages name it: `Get "http://..."`."""
        return f'{self.method.capitalize()} "{address.shown(self.url)}"'


class Broken(Unavailable):
    """The connection failed; `again` says whether another try is worth it."""

    def __init__(self, message: str, *, again: bool, hint: str = "") -> None:
        """Keep the sentence and whether to try again."""
        super().__init__(message, hint=hint)
        self.again = again


class Transport:
    """Requests to one registry and to where it redirects. Thread-safe."""

    def __init__(self, host: str, settings: Settings, limits: Limits | None = None) -> None:
        """Prepare for `HOST[:PORT]`; nothing is connected yet."""
        self.host = host
        self.limits = limits or Limits()
        self.local = address.is_loopback(address.host_of(f"http://{host}"))
        self._settings = settings
        self._unverified = {h for h, said in settings.registries.items() if not said.tls_verify}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._pools: dict[tuple[str, str], urllib3.PoolManager] = {}
        self._base = "" if self.local or host in self._unverified else f"https://{host}"

    def base(self) -> str:
        """Return `SCHEME://HOST[:PORT]` of the registry.

        A registry on this machine is asked by plain HTTP first, and by TLS if it answers as TLS does; one
        whose certificate need not be verified by TLS first, and by plain HTTP if that fails.
        """
        with self._lock:
            if self._base:
                return self._base
        plain = f"http://{self.host}"
        tls = self._speaks_tls(plain) if self.local else self._tls_answers()
        base = f"https://{self.host}" if tls else plain
        with self._lock:
            self._base = self._base or base
            return self._base

    def request(self, request: Request, *, retry: bool = True) -> urllib3.BaseHTTPResponse:
        """Return the answer, its body unread, after redirects and retries.

        Retried are broken connections, 429 (but not where a limit of hours is used up) and 5xx; the last
        answer is returned as it is. Raises
        Unavailable for connections that fail, Forbidden for a URL that must not be asked. The caller
        reads the body to the end or closes the answer.
        """
        if self._settings.offline:
            message = f"{request.verb}: tiffin is offline"
            raise Unavailable(message, hint="leave out --offline, or change that setting (tiffin info)")
        attempts = self.limits.attempts if retry else 1
        for attempt in range(1, attempts + 1):
            last = attempt == attempts
            try:
                answer = self._follow(request)
            except Broken as error:
                if last or not error.again:
                    raise
                if not _again(request.body):
                    raise
                self.pause(attempt)
            else:
                wait = _retry_after(answer.headers.get("Retry-After", ""))
                if (
                    last
                    or answer.status not in _RETRIED
                    or wait > self.limits.patience
                    or answer.headers.get("ratelimit-remaining", "").partition(";")[0] == "0"
                    or not _again(request.body)
                ):
                    return answer
                answer.close()
                self.pause(attempt, at_least=wait)
        raise AssertionError

    def pause(self, attempt: int, *, at_least: float = 0.0) -> None:
        """Wait before the next attempt: doubled each time, and spread over the clients.

        Raises Interrupted once `stop` was called: there is no next attempt then.
        """
        longest = min(self.limits.pause * 2 ** (attempt - 1), self.limits.longest_pause)
        if self._stopped.wait(max(at_least, longest * random.uniform(0.5, 1.0))):  # noqa: S311 - keeps no secret
            message = "stopped"
            raise Interrupted(message)

    def stop(self) -> None:
        """Have requests of other threads fail where they would be tried again (Interrupted)."""
        self._stopped.set()

    def close(self) -> None:
        """Close every connection that is not in use."""
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.clear()

    def _follow(self, request: Request) -> urllib3.BaseHTTPResponse:
        """Ask, and ask where a redirect points to; another origin never sees the Authorization."""
        for _ in range(_REDIRECTS):
            address.check_url(request.url, local=self.local, plain=self._unverified)
            answer = self._once(request)
            location = answer.headers.get("Location", "")
            if answer.status not in {301, 302, 303, 307, 308} or not location:
                return answer
            if request.method not in {"GET", "HEAD"} and answer.status not in {307, 308}:
                return answer
            if not _again(request.body):
                return answer
            answer.close()
            request = _redirected(request, address.join(request.url, location))
        message = f"{request.verb}: stopped after {_REDIRECTS} redirects"
        raise Unavailable(message)

    def _once(self, request: Request) -> urllib3.BaseHTTPResponse:
        timeout = urllib3.Timeout(connect=self.limits.connect, read=request.silence or self.limits.silence)
        headers = {"User-Agent": f"tiffin/{__version__}", "Accept-Encoding": "identity", **request.headers}
        if request.authorization:
            headers["Authorization"] = request.authorization
        body: Any = request.body
        try:
            answer = self._pool(request.url).request(
                request.method,
                request.url,
                headers=headers,
                body=body,
                timeout=timeout,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except (HTTPError, OSError, ValueError) as error:
            raise translate(error, request.verb, request.url) from error
        answer.url = request.url
        return answer

    def _speaks_tls(self, plain: str) -> bool:
        try:
            answer = self.request(Request(method="GET", url=f"{plain}/v2/"), retry=False)
        except Broken as error:
            # A refused connection is no TLS server; a server that hangs up or sends an alert may be.
            if isinstance(error.__cause__, ProtocolError):
                return self._tls_answers()
            raise
        if answer.status == 400:
            text = answer.read(2048, decode_content=False)
            answer.close()
            return b"HTTPS" in text and self._tls_answers()
        answer.read(65536, decode_content=False)
        answer.close()
        return False

    def _tls_answers(self) -> bool:
        try:
            answer = self.request(Request(method="GET", url=f"https://{self.host}/v2/"), retry=False)
        except TiffinError:
            return False
        answer.close()
        return True

    def _pool(self, url: str) -> urllib3.PoolManager:
        scheme, host, port = address.origin_of(url)
        proxy = self._proxy(scheme, host, port)
        # Contexts differ by host (its own certificates), so pools do too.
        key = (proxy, f"{host}:{port}" if scheme == "https" else "")
        with self._lock:
            if key not in self._pools:
                self._pools[key] = self._new_pool(proxy, scheme, host, port)
            return self._pools[key]

    def _new_pool(self, proxy: str, scheme: str, host: str, port: int) -> urllib3.PoolManager:
        options: dict[str, Any] = {"maxsize": 16, "blocksize": _BLOCK}
        unverified = False
        if scheme == "https":
            names = {f"{host}:{port}", host} if port == 443 else {f"{host}:{port}"}
            unverified = (self.local and address.is_loopback(host)) or bool(names & self._unverified)
            options["ssl_context"] = self._tls_context(host, port, unverified=unverified)
        if proxy:
            parsed = urllib3.util.parse_url(proxy)
            login = urllib3.make_headers(proxy_basic_auth=parsed.auth) if parsed.auth else None
            pool: urllib3.PoolManager = urllib3.ProxyManager(
                parsed._replace(auth=None).url, proxy_headers=login, **options
            )
        else:
            pool = urllib3.PoolManager(**options)
        if unverified:
            pool.pool_classes_by_scheme = {"http": urllib3.HTTPConnectionPool, "https": _UnverifiedPool}
        return pool

    def _tls_context(self, host: str, port: int, *, unverified: bool) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if unverified:
            # As docker has it: nobody stands between this machine and itself, or the settings say so.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        names = [f"{host}:{port}", host] if port == 443 else [f"{host}:{port}"]
        folders = [f"{base}/{name}" for base in (_CERTIFICATES, self._own_certificates()) for name in names]
        for folder in folders:
            _load_certificates(context, folder)
        return context

    def _own_certificates(self) -> str:
        return f"{self._settings.docker_config}/certs.d"

    def _proxy(self, scheme: str, host: str, port: int) -> str:
        """Return the proxy's URL for a target, "" for none; this machine is always asked directly."""
        proxies = self._settings.proxies
        proxy = proxies.get(scheme) or proxies.get("all") or ""
        if not proxy or address.is_loopback(host) or _bypassed(proxies.get("no", ""), host, port):
            return ""
        if "://" not in proxy:
            proxy = f"http://{proxy}"
        if not proxy.startswith(("http://", "https://")):
            message = f"proxy {address.shown(proxy)}: only http and https proxies are supported"
            raise InvalidArgument(message, hint="unset it, or set no_proxy for this registry")
        return proxy


class _UnverifiedPool(urllib3.HTTPSConnectionPool):
    """TLS without certificates, and without urllib3's warning about it."""

    def _validate_conn(self, conn: Any) -> None:
        if conn.is_closed:
            conn.connect()


def _load_certificates(context: ssl.SSLContext, folder: str) -> None:
    """Trust `*.crt` and present `*.cert` with its `*.key`, as docker's certs.d has them."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    try:
        for name in names:
            if name.endswith(".crt"):
                context.load_verify_locations(cafile=f"{folder}/{name}")
            elif name.endswith(".cert"):
                stem = name.removesuffix(".cert")
                context.load_cert_chain(f"{folder}/{name}", f"{folder}/{stem}.key")
    except (OSError, ssl.SSLError) as error:
        message = f"{folder}/{name}: {error}"
        raise InvalidArgument(message, hint="it must be a readable PEM file") from error


def _redirected(request: Request, target: str) -> Request:
    """Return the request to ask a redirect's target with; raise Forbidden where it must not go."""
    here, there = address.origin_of(request.url), address.origin_of(target)
    if here == there:
        return request.replace(url=target)
    if here[0] == "https" and there[0] != "https":
        message = f"the registry redirects from TLS to {address.shown(target)}"
        raise Forbidden(message, hint="its operator has to serve it by TLS")
    if request.method == "POST" and request.body:
        # A form may hold an identity token.
        message = f"the registry redirects a request with secrets to {address.shown(target)}"
        raise Forbidden(message)
    return request.replace(url=target, authorization="")


def _again(body: bytes | Body | None) -> bool:
    return body is None or isinstance(body, bytes) or body.again()


def _bypassed(no_proxy: str, host: str, port: int) -> bool:
    """Tell whether `no_proxy` names this host: `*`, a domain or one above it, host:port, or a network."""
    import ipaddress

    for entry in no_proxy.replace(" ", ",").split(","):
        name = entry.strip().lower()
        if name in {"*", f"{host}:{port}"}:
            return True
        suffix = name.removeprefix("*").lstrip(".")
        if suffix and (host == suffix or host.endswith(f".{suffix}")):
            return True
        try:
            if "/" in name and ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False):
                return True
        except ValueError:
            continue
    return False


def _retry_after(text: str) -> float:
    """Return a Retry-After header in seconds (RFC 9110 10.2.3), 0 for none or an unreadable one."""
    if text.isdecimal() and len(text) < 10:
        return float(text)
    if not text:
        return 0.0
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def translate(error: Exception, verb: str, url: str) -> TiffinError:
    """Return urllib3's trouble as Broken, in the words of Go's net package as docker shows them."""
    _, host, port = address.origin_of(url)
    if isinstance(error, ProxyError):
        message = f"{verb}: proxyconnect tcp: {_cause(error.original_error or error)}"
        return Broken(message, again=False, hint="check the settings http_proxy, https_proxy and no_proxy")
    if isinstance(error, (NameResolutionError, ConnectTimeoutError, NewConnectionError)):
        return _dial_trouble(error, verb, host, port)
    if isinstance(error, SSLError):
        return _tls_trouble(error, verb, host, port)
    if isinstance(error, (ReadTimeoutError, TimeoutError)):
        return Broken(f"{verb}: net/http: timeout awaiting response", again=True)
    if isinstance(error, (LocationParseError, ValueError)) and not isinstance(error, HTTPError | OSError):
        return Forbidden(f"the registry points to an unusable address: {address.shown(url)}")
    return Broken(f"{verb}: {_cause(error)}", again=True)


def _dial_trouble(error: Exception, verb: str, host: str, port: int) -> Broken:
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(error, NameResolutionError):
        temporary = f"[Errno {socket.EAI_AGAIN}]" in str(error)
        reason = "temporary failure in name resolution" if temporary else "no such host"
        message = f"{verb}: dial tcp: lookup {host}: {reason}"
        return Broken(message, again=temporary, hint="check the registry's name and this machine's DNS")
    if isinstance(error, NewConnectionError):
        message = f"{verb}: dial tcp {shown}: connect: {_cause(error.__cause__ or error)}"
        return Broken(message, again=False, hint=f"is a registry running at {shown}?")
    message = f"{verb}: dial tcp {shown}: i/o timeout"
    return Broken(message, again=False, hint="check the address, and whether a proxy is needed")


def _tls_trouble(error: SSLError, verb: str, host: str, port: int) -> Broken:
    cause = error.args[0] if error.args else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        reason = f"x509: {cause.verify_message}"
        hint = f"if you trust it, put its CA certificate into {_CERTIFICATES}/{host}:{port}/ca.crt"
        return Broken(f"{verb}: tls: failed to verify certificate: {reason}", again=False, hint=hint)
    if isinstance(cause, ssl.SSLError) and cause.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST"}:
        message = f"{verb}: http: server gave HTTP response to HTTPS client"
        return Broken(message, again=False, hint="plain HTTP is used on this machine only; serve it by TLS")
    reason = getattr(cause, "reason", None) or type(cause).__name__
    return Broken(f"{verb}: tls: {str(reason).lower().replace('_', ' ')}", again=True)


def _cause(error: BaseException) -> str:
    """Return the innermost reason in a few words; the message of a foreign error may hold anything."""
    seen: BaseException | None = error
    for _ in range(6):
        if isinstance(seen, OSError) and seen.errno and seen.errno > 0 and not isinstance(seen, ssl.SSLError):
            return os.strerror(seen.errno).lower()
        if isinstance(seen, socket.gaierror):
            return "no such host"
        if isinstance(seen, TimeoutError):
            return "i/o timeout"
        if isinstance(seen, IncompleteRead):
            return "unexpected EOF"
        arguments = [a for a in getattr(seen, "args", ()) if isinstance(a, BaseException)]
        following = arguments[0] if arguments else (seen.__cause__ if seen else None)
        if following is None or following is seen:
            break
        seen = following
    return "EOF" if isinstance(error, ProtocolError) else type(seen).__name__
