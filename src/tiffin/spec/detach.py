"""Detach keys: what is typed to leave a process behind, as it goes on."""

from __future__ import annotations

from tiffin.errors import InvalidArgument

_DEFAULT = "ctrl-p,ctrl-q"


def keys_of(text: str) -> bytes:
    """Return the bytes of `ctrl-p,ctrl-q`; raises InvalidArgument in docker's words."""
    keys = b""
    for key in (text or _DEFAULT).split(","):
        if len(key) == 1:
            keys += key.encode()
        elif key.startswith("ctrl-") and len(key) == 6 and ("a" <= key[5] <= "z" or key[5] in "@[\\]^_"):
            keys += bytes((ord(key[5]) & 0x1F,))
        else:
            raise InvalidArgument(
                f"Invalid escape keys ({text}) provided: Unknown character: '{key}'",
                hint="write for example --detach-keys ctrl-p,ctrl-q",
            )
    return keys


class Escape:
    """Looks for the detach keys in what is typed."""

    def __init__(self, keys: bytes) -> None:
        """Look for `keys`; b"" never finds them."""
        self._keys = keys
        self._matched = 0
        self.length = len(keys)

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Return what is input, and whether the keys are complete.

        What may be the beginning of the keys is held back until the next byte decides.
        """
        if not self._keys:
            return data, False
        out = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    return bytes(out), True
                continue
            out += self._keys[: self._matched]
            self._matched = 1 if byte == self._keys[0] else 0
            if not self._matched:
                out.append(byte)
        return bytes(out), False
