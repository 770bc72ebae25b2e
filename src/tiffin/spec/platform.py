"""Platforms: `linux/arm64/v8` and which one of an index runs here (containerd's normal forms)."""

from __future__ import annotations

import posix

from tiffin.errors import InvalidArgument
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# uname's machine, and the names that people write, to Go's names.
_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "arm64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "ppc64el": ("ppc64le", ""),
}
# containerd writes "v6", people also write "6".
_VARIANTS = {
    ("arm", "5"): "v5",
    ("arm", "6"): "v6",
    ("arm", "7"): "v7",
    ("arm", "8"): "v8",
    ("arm64", "8"): "v8",
}
_KNOWN = frozenset(
    {"386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le"}
    | {"riscv64", "s390x", "wasm"}
)
_WORD = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.-")


class Platform(Value):
    """An operating system, an architecture in Go's words, and its variant ("" when it has none)."""

    os: str
    architecture: str
    variant: str = ""

    @staticmethod
    def parse(text: str) -> Platform:
        """Read `OS[/ARCH[/VARIANT]]` or `ARCH`; raise InvalidArgument for anything else."""
        parts = text.lower().split("/")
        if not 1 <= len(parts) <= 3 or not all(p and _WORD.issuperset(p) for p in parts):
            message = f'"{text}" is an invalid component of platform: must be OS[/ARCH[/VARIANT]]'
            raise InvalidArgument(message, hint="for example --platform linux/arm64")
        if len(parts) == 1:
            if parts[0] in {"linux", "windows", "darwin"}:
                here = Platform.here()
                return here.replace(os=parts[0])
            if parts[0] not in _KNOWN and parts[0] not in _ARCHITECTURES:
                message = f'"{text}": unknown operating system or architecture: invalid argument'
                raise InvalidArgument(message, hint="for example --platform linux/arm64")
            parts = ["linux", *parts]
        architecture, variant = _ARCHITECTURES.get(parts[1], (parts[1], ""))
        if len(parts) > 2:
            variant = parts[2]
        return Platform(os=parts[0], architecture=architecture, variant=variant).normal()

    @staticmethod
    def here() -> Platform:
        """Return the platform of this machine."""
        machine = posix.uname().machine
        architecture, variant = _ARCHITECTURES.get(machine, (machine, ""))
        return Platform(os="linux", architecture=architecture, variant=variant)

    @staticmethod
    def from_json(value: dict[str, Any]) -> Platform:
        """Read the `platform` member of a descriptor, or an image config; missing words are ""."""
        return Platform(
            os=str(value.get("os") or ""),
            architecture=str(value.get("architecture") or ""),
            variant=str(value.get("variant") or ""),
        ).normal()

    def to_json(self) -> dict[str, str]:
        """Return the members of the specification."""
        value = {"architecture": self.architecture, "os": self.os}
        return value | {"variant": self.variant} if self.variant else value

    def normal(self) -> Platform:
        """Drop the variant that is each architecture's default (arm64/v8, amd64/v1), name arm's."""
        named = _VARIANTS.get((self.architecture, self.variant))
        if named:
            return self.replace(variant=named).normal()
        if (self.architecture, self.variant) in {("arm64", "v8"), ("amd64", "v1")}:
            return self.replace(variant="")
        if self.architecture == "arm" and not self.variant:
            return self.replace(variant="v7")
        return self

    def runs(self, other: Platform) -> bool:
        """Tell whether a machine of this platform runs images of the other."""
        if (self.os, self.architecture) != (other.os, other.architecture):
            return False
        if self.architecture == "arm":
            return other.variant <= self.variant
        return not other.variant or other.variant == self.variant

    def executes(self, other: Platform) -> bool:
        """Tell whether a processor of this platform executes programs of the other, or of its older kind."""
        older = {"amd64": "386", "arm64": "arm"}.get(self.architecture)
        return self.os == other.os and (self.runs(other) or other.architecture in {self.architecture, older})

    def best(self, offered: Iterable[Platform]) -> Platform | None:
        """Return the best of the offered platforms that runs here, or None."""
        fitting = [p for p in offered if self.runs(p)]
        fitting.sort(key=lambda p: (p == self, p.variant), reverse=True)
        return fitting[0] if fitting else None

    def __str__(self) -> str:
        """Return `os/architecture[/variant]`."""
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))
