"""`RUN --mount`: its words as a value, read once as written (for what is wrong) and again with variables."""

from __future__ import annotations

import csv
import posixpath
import re

from tiffin.build.flags import closest
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.build.parser import Statement

_TARGETS = ("target", "dst", "destination")
_OWNED = ("id", "mode", "uid", "gid")
_KEYS = {
    "bind": ("from", "source", "src", "ro", "readonly", "rw", "readwrite"),
    "cache": (*_OWNED, "from", "source", "src", "sharing", "ro", "readonly", "rw", "readwrite"),
    "tmpfs": ("size",),
    "secret": (*_OWNED, "source", "src", "env", "required"),
    "ssh": (*_OWNED, "required"),
}
_SIZE = re.compile(r"(\d+)([bkmgt]?)(?:i?b)?", re.IGNORECASE)
_FACTORS = {unit: 1024**power for power, unit in enumerate("bkmgt")} | {"": 1}
_TRUE, _FALSE = {"", "1", "t", "true"}, {"0", "f", "false"}
_MODES = {"cache": 0o755, "secret": 0o400, "ssh": 0o600}


class RunMount(Value):
    """One mount of a RUN; `text` is how it is written, `origin` what `from` names ("" the context).

    `target` may be relative, and is "" for a secret that is only a variable (`env`).
    """

    kind: str
    text: str
    target: str = ""
    source: str = ""
    origin: str = ""
    read_only: bool = False
    id: str = ""
    sharing: str = ""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    required: bool = False
    size: int = 0
    env: str = ""


def read_mount(statement: Statement, text: str, expand: Callable[[str], str] | None = None) -> RunMount:
    """Read one mount; raise DockerfileError.

    Without `expand`, values with variables are taken for empty: what they are is known only later.
    """
    return _Reading(statement, text, expand).mount()


class _Reading:
    """The words of one mount."""

    def __init__(self, statement: Statement, text: str, expand: Callable[[str], str] | None) -> None:
        self.statement = statement
        self.text = text
        self.words: dict[str, str] = {}
        self.later = False
        for field in next(csv.reader([text]), []):
            name, _, value = field.partition("=")
            name = name.lower()
            if name == "from" and "$" in value:
                hint = "define an alias stage: FROM $IMAGE AS name"
                raise self.wrong(f"'from' doesn't support variable expansion: '{field}'", field, hint)
            if "=" not in field and name not in {"ro", "readonly", "rw", "readwrite", "required"}:
                raise self.wrong(f"invalid field '{field}' must be a key=value pair", field)
            if expand is not None:
                value = expand(value)
            elif "$" in value:
                self.later = True
                continue
            self.words[name] = value
        self.kind = self.words.pop("type", "bind")
        self._check()

    def wrong(self, message: str, caret: str, hint: str = "") -> Exception:
        return self.statement.error(message, caret=caret, hint=hint)

    def _check(self) -> None:
        if self.kind not in _KEYS:
            near = closest(self.kind, tuple(_KEYS))
            suffix = f" (did you mean {near}?)" if near else ""
            raise self.wrong(f'unsupported mount type "{self.kind}"{suffix}', f"type={self.kind}")
        known = _TARGETS + _KEYS[self.kind]
        everywhere = {key for keys in _KEYS.values() for key in keys}
        for name in self.words:
            if name in known:
                continue
            if name in everywhere:
                raise self.wrong(f'{name} not allowed for "{self.kind}" type mounts', name)
            near = closest(name, known)
            suffix = f" (did you mean {near}?)" if near else ""
            raise self.wrong(f"unexpected key '{name}' in '{self.text}'{suffix}", name)

    def one(self, *names: str) -> str:
        return next((self.words[name] for name in names if self.words.get(name)), "")

    def true(self, *names: str) -> bool:
        for name in names:
            value = self.words.get(name)
            if value is not None and value.lower() not in _TRUE | _FALSE:
                raise self.wrong(f"invalid value for {name}: {value}", name)
            if value is not None and value.lower() in _TRUE:
                return True
        return False

    def number(self, name: str, default: int = 0, *, base: int = 10) -> int:
        text = self.words.get(name, "")
        if not text:
            return default
        try:
            value = int(text, base)
        except ValueError:
            value = -1
        if not 0 <= value <= (0o7777 if base == 8 else 2**32 - 2):
            raise self.wrong(f"invalid value {text} for {name}", name)
        return value

    def size(self) -> int:
        match = _SIZE.fullmatch(self.words.get("size", "0"))
        if match is None:
            raise self.wrong(f"invalid size: '{self.words['size']}'", "size", "for example size=64m")
        factor: int = _FACTORS[match[2].lower()]
        return int(match[1]) * factor

    def mount(self) -> RunMount:
        target = self.one(*_TARGETS)
        source = self.one("source", "src")
        name, env = self.one("id"), self.one("env")
        if self.kind in {"secret", "ssh"}:
            name, target, source = self._named(name, target, source, env)
        elif not target and not self.later:
            raise self.wrong(f"{self.kind} mount needs a target", self.text, "target=/where")
        elif posixpath.normpath(target or ".") in {"/", "//"}:
            raise self.wrong(f'invalid mount target "{target}"', target, "it is the root folder")
        sharing = self.one("sharing")
        if sharing and sharing not in {"shared", "private", "locked"}:
            hint = "it is shared, private or locked"
            raise self.wrong(f'unsupported sharing value "{sharing}"', sharing, hint)
        writable = self.true("rw", "readwrite") or not self.true("ro", "readonly")
        asked = {"rw", "readwrite"} & self.words.keys()
        return RunMount(
            kind=self.kind,
            text=self.text,
            target=target,
            source=source,
            origin=self.one("from"),
            read_only=not writable or (self.kind == "bind" and not (asked and writable)),
            id=name,
            sharing=sharing or ("shared" if self.kind == "cache" else ""),
            mode=self.number("mode", _MODES.get(self.kind, 0), base=8),
            uid=self.number("uid"),
            gid=self.number("gid"),
            required=self.true("required"),
            size=self.size(),
            env=env,
        )

    def _named(self, name: str, target: str, source: str, env: str) -> tuple[str, str, str]:
        """Return id, target and source of a secret or a socket."""
        if self.kind == "ssh":
            return name or "default", target, ""
        if name and source:
            raise self.wrong("both source and id can't be set", "source")
        name = name or source or (posixpath.basename(target) if target else "")
        if not name and not self.later:
            raise self.wrong("invalid secret mount. one of source, target required", self.text, "id=NAME")
        if not target and not env:
            target = f"/run/secrets/{posixpath.basename(name)}"
        return name, target, ""
