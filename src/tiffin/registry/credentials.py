"""Credentials as docker keeps them: `auths`, `credsStore` and `credHelpers` of its config.json.

Helper programs are spoken to by the docker-credential protocol (docker-credential-helpers): one
argument (`get`, `store`, `erase`), text or JSON on stdin and stdout.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess

from tiffin.errors import InvalidArgument, TiffinError, Unavailable
from tiffin.registry import address
from tiffin.spec import jsontext
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.settings import Settings

_HELPER_SECONDS = 60
_TOKEN_USER = "<token>"  # noqa: S105 - the protocol's word for "the secret is an identity token"
_NOT_FOUND = "credentials not found in native keychain"
_LIMIT = 16 << 20


class Credential(Value):
    """Who asks: name and password, or an identity token, or a ready bearer token. Never shows a secret."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __repr__(self) -> str:
        """Show the name only."""
        return f"Credential(username={self.username!r}, ...)"

    def basic(self) -> str:
        """Return name and password as the Basic scheme writes them (RFC 7617)."""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    def secrets(self) -> tuple[str, ...]:
        """Return every text that must not appear anywhere."""
        basic = self.basic() if self.password else ""
        return tuple(filter(None, (self.password, self.identity_token, self.registry_token, basic)))


class Credentials:
    """docker's config.json, read at each question (another program may have changed it)."""

    def __init__(self, settings: Settings) -> None:
        """Keep where the file is; nothing is read yet."""
        self._path = f"{settings.docker_config}/config.json"
        self._environment = dict(settings.environment)
        self._logins = settings.logins

    @property
    def path(self) -> str:
        """Where they are."""
        return self._path

    def lookup(self, domain: str) -> Credential | None:
        """Return the credential for a domain (or what `login` takes), or None.

        Raises InvalidArgument for a file that cannot be understood, Unavailable for a helper that fails.
        """
        domain = address.domain_of(domain)
        if domain in self._logins:
            return Credential(**self._logins[domain])
        config = self._load()
        key = address.credentials_key(domain)
        helper = _helper(config, key)
        if helper:
            return self._ask_helper(helper, key)
        auths = _object(config, "auths")
        entry = auths.get(key)
        if not isinstance(entry, dict):
            # Docker also wrote keys like https://host/v1/: compare by host.
            wanted = domain if key == address.HUB_KEY else key
            found = (v for k, v in auths.items() if isinstance(v, dict) and _same_host(k, wanted))
            entry = next(found, None)
        return _from_entry(entry, self._path) if entry else None

    def store(self, domain: str, credential: Credential) -> str:
        """Keep a credential; return where: the file's path, or the name of the helper program."""
        config = self._load()
        domain = address.domain_of(domain)
        key = address.credentials_key(domain)
        auths = dict(_object(config, "auths"))
        helper = _helper(config, key)
        if helper:
            token = credential.identity_token
            message = {
                "ServerURL": key,
                "Username": _TOKEN_USER if token else credential.username,
                "Secret": token or credential.password,
            }
            self._run(helper, "store", jsontext.dumps_bytes(message))
            auths[key] = {}
        elif credential.identity_token:
            empty = base64.b64encode(f"{credential.username}:".encode()).decode()
            auths[key] = {"auth": empty, "identitytoken": credential.identity_token}
        else:
            auths[key] = {"auth": credential.basic()}
        self._save({**config, "auths": auths})
        return f"docker-credential-{helper}" if helper else self._path

    def erase(self, domain: str) -> bool:
        """Forget a credential; return False when there was none."""
        config = self._load()
        domain = address.domain_of(domain)
        key = address.credentials_key(domain)
        helper = _helper(config, key)
        known = False
        if helper and self._ask_helper(helper, key):
            self._run(helper, "erase", key.encode())
            known = True
        auths = _object(config, "auths")
        kept = {k: v for k, v in auths.items() if k != key and not _same_host(k, domain)}
        if len(kept) != len(auths):
            self._save({**config, "auths": kept})
            known = True
        return known

    def _load(self) -> dict[str, Any]:
        try:
            with open(self._path, "rb") as stream:
                raw = stream.read(_LIMIT)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            message = f"open {self._path}: {(error.strerror or '').lower()}"
            raise Unavailable(message) from error
        try:
            return jsontext.load_object(raw) if raw.strip() else {}
        except TiffinError as error:
            message = f"{self._path}: {error.message}"
            raise InvalidArgument(message, hint="it must be JSON; repair or remove it") from error

    def _save(self, config: dict[str, Any]) -> None:
        import json

        from tiffin.store import atomic

        # Docker too writes through a symbolic link (dotfiles under version control).
        path = os.path.realpath(self._path)
        text = json.dumps(config, indent="\t", ensure_ascii=False) + "\n"
        try:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        except OSError as error:
            message = f"mkdir {os.path.dirname(path)}: {(error.strerror or '').lower()}"
            raise Unavailable(message) from error
        atomic.write_file(path, text.encode(), mode=0o600)

    def _ask_helper(self, helper: str, key: str) -> Credential | None:
        try:
            raw = self._run(helper, "get", key.encode())
        except _NoCredential:
            return None
        try:
            answer = jsontext.load_object(raw)
        except TiffinError as error:
            message = f"error getting credentials: docker-credential-{helper} answered no JSON"
            raise Unavailable(message) from error
        username, secret = str(answer.get("Username") or ""), str(answer.get("Secret") or "")
        if not secret:
            return None
        if username == _TOKEN_USER:
            return Credential(identity_token=secret)
        return Credential(username=username, password=secret)

    def _run(self, helper: str, action: str, text: bytes) -> bytes:
        """Run one request of the protocol; what the helper says is never shown: it may hold the secret."""
        name = f"docker-credential-{helper}"
        verb = {"get": "getting", "store": "storing", "erase": "erasing"}[action]
        program = shutil.which(name, path=self._environment.get("PATH") or os.defpath)
        if os.sep in helper or program is None:
            message = f'error {verb} credentials - err: exec: "{name}": executable file not found in $PATH'
            hint = f"install it, or remove it from {self._path}"
            raise Unavailable(message, hint=hint)
        try:
            done = subprocess.run(
                [program, action],
                input=text,
                capture_output=True,
                timeout=_HELPER_SECONDS,
                env=self._environment,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = "no answer" if isinstance(error, subprocess.TimeoutExpired) else error.strerror
            message = f"error {verb} credentials - err: {name}: {reason}"
            raise Unavailable(message) from None
        if done.returncode:
            if action != "store" and done.stdout.decode(errors="replace").strip() == _NOT_FOUND:
                raise _NoCredential(_NOT_FOUND)
            message = f"error {verb} credentials - err: {name}: exit status {done.returncode}"
            raise Unavailable(message, hint=f"try `{name} {action}` by hand")
        return done.stdout


class _NoCredential(TiffinError):
    """The helper knows nothing about this registry."""


def _helper(config: dict[str, Any], key: str) -> str:
    """Return the helper's name for a key: its own of `credHelpers`, else `credsStore`, else ""."""
    helpers = _object(config, "credHelpers")
    names = {key, "docker.io", "index.docker.io"} if key == address.HUB_KEY else {key}
    for name, helper in helpers.items():
        if name in names:
            return helper if isinstance(helper, str) else ""
    store = config.get("credsStore")
    return store if isinstance(store, str) else ""


def _object(config: dict[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _same_host(key: str, domain: str) -> bool:
    host = (key.partition("://")[2] or key).partition("/")[0]
    if address.credentials_key(domain) == address.HUB_KEY:
        return address.credentials_key(host) == address.HUB_KEY
    return host == domain


def _from_entry(entry: dict[str, Any], path: str) -> Credential | None:
    text = {k: v for k, v in entry.items() if isinstance(v, str)}
    username, password = text.get("username", ""), text.get("password", "")
    if text.get("auth"):
        try:
            decoded = base64.b64decode(text["auth"], validate=True).decode()
        except ValueError as error:
            message = f"{path}: an auth entry is not base64"
            raise InvalidArgument(message, hint="log in again") from error
        username, _, password = decoded.partition(":")
        # Docker itself once padded with NUL.
        password = password.strip("\0")
    credential = Credential(
        username=username,
        password=password,
        identity_token=text.get("identitytoken", ""),
        registry_token=text.get("registrytoken", ""),
    )
    return credential if credential.secrets() else None
