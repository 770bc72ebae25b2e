"""Where a registry's API is: Docker Hub's special hosts, loopback, URLs that may be followed or shown."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit, urlunsplit

from tiffin.errors import Forbidden, InvalidArgument
from tiffin.spec.reference import HUB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

HUB_API = "registry-1.docker.io"
HUB_KEY = "https://index.docker.io/v1/"
"""The name under which docker keeps Docker Hub's credentials."""
_HUB_NAMES = frozenset({HUB, "index.docker.io", HUB_API, "registry.hub.docker.com"})


def api_host(domain: str) -> str:
    """Return `HOST[:PORT]` of the API that serves a reference's domain."""
    return HUB_API if domain == HUB else domain


def credentials_key(domain: str) -> str:
    """Return the key of a domain's credentials in docker's config.json."""
    return HUB_KEY if domain in _HUB_NAMES else domain


def domain_of(server: str) -> str:
    """Return the domain for what a user gave to `login`: a host, or a URL whose path is dropped.

    "" means Docker Hub. Raises InvalidArgument for what cannot be a host.
    """
    host = server.partition("://")[2] if "://" in server else server
    host = host.partition("/")[0]
    if not host or host in _HUB_NAMES:
        if server and not host:
            message = f"invalid registry address {server!r}"
            raise InvalidArgument(message, hint="it is written HOST[:PORT]")
        return HUB
    if "@" in host or any(c.isspace() or not c.isprintable() for c in host):
        message = f"invalid registry address {server!r}"
        raise InvalidArgument(message, hint="it is written HOST[:PORT], without a user name")
    return host


def is_loopback(host: str) -> bool:
    """Tell whether a host name (no port) is this machine: localhost, 127.0.0.0/8 or ::1."""
    host = host.strip("[]").lower()
    if host in {"localhost", "::1"}:
        return True
    parts = host.split(".")
    # Only digits: 127.0.0.1.example.com is somebody else's name.
    return len(parts) == 4 and parts[0] == "127" and all(p.isdecimal() and len(p) <= 3 for p in parts)


def host_of(url: str) -> str:
    """Return the host name of a URL, without port."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def origin_of(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port; Authorization never travels from one origin to another."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise _unusable(url) from error
    return parts.scheme, parts.hostname or "", port


def check_url(url: str, *, local: bool, plain: Collection[str] = ()) -> str:
    """Return a URL that may be asked, or raise Forbidden.

    TLS goes anywhere; plain HTTP goes to this machine only, and only when the registry itself is
    on this machine (`local`), or a far registry could make us talk to servers behind our firewall.
    It also goes to `plain`, hosts (with their ports) that the settings name.
    """
    scheme, host, port = origin_of(url)
    if not host or "@" in urlsplit(url).netloc or any(ord(c) <= 32 or ord(c) == 127 for c in url):
        raise _unusable(url)
    if scheme == "https" or (scheme == "http" and local and is_loopback(host)):
        return url
    if scheme == "http" and (f"{host}:{port}" in plain or (port == 80 and host in plain)):
        return url
    message = f"the registry points to {shown(url)}, and plain HTTP is used on this machine only"
    raise Forbidden(message, hint="its operator has to serve it by TLS")


def join(base: str, location: str) -> str:
    """Resolve a `Location` header, absolute or relative, against the URL that answered it."""
    try:
        return urljoin(base, location)
    except ValueError as error:
        raise _unusable(location) from error


def with_query(url: str, query: str) -> str:
    """Return the URL with `name=value` appended to whatever query it has."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _unusable(url) from error
    joined = f"{parts.query}&{query}" if parts.query else query
    return urlunsplit((parts.scheme, parts.netloc, parts.path, joined, ""))


def shown(url: str) -> str:
    """Return a URL for an error message: no query (signed URLs are secrets), no user, one line."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an unusable address"
    netloc = parts.netloc.rpartition("@")[2]
    text = urlunsplit((parts.scheme, netloc, parts.path, "", ""))
    return "".join(c if c.isprintable() else "?" for c in text)[:300]


def _unusable(url: str) -> Forbidden:
    return Forbidden(f"the registry points to an unusable address: {shown(url)}")
