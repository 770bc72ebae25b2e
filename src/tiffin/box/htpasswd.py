"""Basic authentication from an htpasswd file with bcrypt hashes, checked by the C library's crypt."""

from __future__ import annotations

import base64
import binascii
import ctypes
import hashlib
import hmac
import os
import threading

from tiffin.errors import InvalidArgument, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BCRYPT = ("$2y$", "$2b$", "$2a$")
_HASH_LENGTH = 60
# What other hashes are called, by how they begin.
_OTHERS = {"$apr1$": "MD5 (apr1)", "{SHA}": "SHA-1", "$1$": "MD5", "$5$": "SHA-256", "$6$": "SHA-512"}
_NOBODY = "$2y$10$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui"
"""Checked for unknown names, so that they take as long as known ones."""
_WORKSPACE = 1 << 17
"""More than any libcrypt's `struct crypt_data`."""
_REMEMBERED = 1024


class Htpasswd:
    """The users of a file; the file is read again when it changes. Safe for threads."""

    def __init__(self, path: str) -> None:
        """Read the file; raise InvalidArgument where a line is no `NAME:BCRYPT`, naming its scheme."""
        self._path = path
        self._crypt = _crypt_r()
        self._lock = threading.Lock()
        self._users: dict[str, str] = {}
        self._version: tuple[int, ...] = ()
        # bcrypt is slow on purpose, and clients log in with each request: what was right once is kept as
        # a hash under a key that never leaves this process.
        self._key = os.urandom(32)
        self._right: set[bytes] = set()
        self._reread()

    def admits(self, authorization: str) -> bool:
        """Tell whether an Authorization header is Basic with a user's right password."""
        scheme, _, encoded = authorization.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            decoded = base64.b64decode(encoded.strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            return False
        name, colon, password = decoded.partition(":")
        if not colon or "\0" in password:
            return False
        with self._lock:
            self._reread()
            known = self._users.get(name)
            proof = hmac.digest(self._key, f"{known}\0{name}\0{password}".encode(), hashlib.sha256)
            if known and proof in self._right:
                return True
        if not self._matches(password, known or _NOBODY) or known is None:
            return False
        with self._lock:
            if len(self._right) >= _REMEMBERED:
                self._right.clear()
            self._right.add(proof)
        return True

    def _matches(self, password: str, wanted: str) -> bool:
        space = ctypes.create_string_buffer(_WORKSPACE)
        found = self._crypt(password.encode(), wanted.encode(), space) or b""
        return hmac.compare_digest(found, wanted.encode())

    def _reread(self) -> None:
        """Read the file if it has changed; a broken new one leaves the users as they were."""
        try:
            info = os.stat(self._path)
            version = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
            if version == self._version:
                return
            with open(self._path, encoding="utf-8") as stream:
                users = parse(stream.read(), self._path)
        except (OSError, UnicodeDecodeError) as error:
            if self._version:
                return
            reason = (getattr(error, "strerror", "") or str(error)).lower()
            raise InvalidArgument(f"htpasswd file {self._path}: {reason}") from error
        except InvalidArgument:
            if self._version:
                return
            raise
        self._users, self._version = users, version
        self._right.clear()


def parse(text: str, path: str) -> dict[str, str]:
    """Return user -> bcrypt hash; raise InvalidArgument for a line of another kind."""
    users = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, hashed = line.strip().partition(":")
        if not colon or not name:
            raise InvalidArgument(f"{path}:{number}: not NAME:HASH", hint="make it with `htpasswd -B`")
        if not hashed.startswith(_BCRYPT) or len(hashed) != _HASH_LENGTH:
            kind = next((word for start, word in _OTHERS.items() if hashed.startswith(start)), "unknown")
            raise InvalidArgument(
                f"{path}:{number}: the password of {name} is hashed by {kind}, only bcrypt is taken",
                hint=f"htpasswd -B {path} {name}",
            )
        users[name] = hashed
    return users


def _crypt_r() -> Any:
    for library in ("libcrypt.so.1", "libcrypt.so.2"):
        try:
            found = ctypes.CDLL(library).crypt_r
        except (OSError, AttributeError):
            continue
        found.restype = ctypes.c_char_p
        found.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p]
        return found
    raise Unsupported("no libcrypt here, which checks bcrypt passwords", hint="Debian: apt install libcrypt1")
