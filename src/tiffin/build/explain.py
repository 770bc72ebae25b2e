"""Why a step was cached or ran: what differs from the last time, and what it cost the steps after it."""

from __future__ import annotations

import re

from tiffin.build.events import Difference, Step, Why
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

SCHEMA = 1
"""The version of docs/build-explanation.schema.json, which changes only when a reader would break."""
HIDDEN = "(not shown)"
_SHOWN = 3
_KEPT = 100
"""How many differences of one step are kept."""
_SECRET = re.compile(
    r"(?:^|_)(apikey|auth|credentials?|key|password|passwd|pword|secret|token)(?:_|$)", re.IGNORECASE
)
_TEXTS = {
    "argv": "command changed",
    "chmod": "mode changed",
    "cwd": "WORKDIR changed",
    "epoch": "SOURCE_DATE_EPOCH changed",
    "image": "base image changed",
    "parent": "parent step changed",
    "user": "USER changed",
}
_VARIABLES = {"args": "ARG", "env": "ENV"}
_LAST = "parent"


class Explanation(Value):
    """How an image was built: each step, with why it ran; `built` is when, as RFC 3339."""

    image_id: str
    built: str
    steps: tuple[Step, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as docs/build-explanation.schema.json has it."""
        steps = [_step_json(step) for step in self.steps]
        return {"schemaVersion": SCHEMA, "image": self.image_id, "built": self.built, "steps": steps}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Explanation:
        """Read what to_json wrote."""
        steps = tuple(_step_of(step) for step in data["steps"])
        return cls(image_id=data["image"], built=data["built"], steps=steps)


def compare(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    facts: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None],
) -> Why:
    """Return what differs between two sets of ingredients; `facts` are the files' of both."""
    found: list[Difference] = []
    if before.get("files") != now.get("files"):
        found += _files(*facts)
    for name, kind in _VARIABLES.items():
        found += _variables(kind, before.get(name) or {}, now.get(name) or {})
    rest = (before.keys() | now.keys()) - {"files", "created", *_VARIABLES}
    for name in sorted(rest, key=lambda name: (name == _LAST, name)):
        if before.get(name) != now.get(name):
            values = _text(before.get(name)), _text(now.get(name))
            found.append(Difference(kind=name, before=values[0], after=values[1]))
    verdict = "changed" if found else "gone"
    if [each.kind for each in found] == [_LAST]:
        verdict = "parent"
    kept = tuple(found[:_KEPT])
    since = str(before.get("created", ""))
    why = Why(verdict=verdict, differences=kept, more=len(found) - len(kept), since=since)
    return why.replace(text=_summary(found) or "its result is no longer there")


def with_costs(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Return steps in order, each with the numbers of the later ones that ran only because it did."""
    ordered = sorted(steps, key=lambda step: step.number)
    costs: dict[int, list[int]] = {}
    for step in ordered:
        if step.cause:
            costs.setdefault(step.cause, []).append(step.number)
    caused = [step.replace(cost=tuple(costs.pop(step.number, ()))) for step in reversed(ordered)]
    return tuple(reversed(caused))


def _files(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> list[Difference]:
    if before is None or now is None:
        return [Difference(kind="files")]
    changed = [
        Difference(kind="file", name=name, before=_fact(before.get(name)), after=_fact(now.get(name)))
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    # A folder whose mode is the same is not in the list, so each name here is somebody's doing.
    return changed or [Difference(kind="files")]


def _fact(fact: object) -> str | None:
    """Return what a listing says of a file as people read it: `644 sha256:...`, `-> target`, `755`."""
    if fact is None:
        return None
    mode, space, digest = str(fact).partition(" ")
    return f"{mode} sha256:{digest}" if space and mode.isdigit() else str(fact)


def _variables(kind: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    return [
        Difference(
            kind=kind, name=name, before=_value(name, before.get(name)), after=_value(name, now.get(name))
        )
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def _value(name: str, value: object) -> str | None:
    """Return a variable's value, unless its name says that it is a secret."""
    return HIDDEN if value is not None and _SECRET.search(name) else _text(value)


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return str(value)


def _summary(found: Sequence[Difference]) -> str:
    """Return the differences in one line, for the step's own."""
    files = [each for each in found if each.kind == "file"]
    groups = {
        "changed": [f.name for f in files if f.before is not None and f.after is not None],
        "added": [f.name for f in files if f.before is None],
        "removed": [f.name for f in files if f.after is None],
    }
    parts = []
    for word, names in groups.items():
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            parts.append(f"{word}: {' '.join(names[:_SHOWN])}{more}")
    for each in found:
        if each.kind in {"ARG", "ENV"}:
            parts.append(f"{each.kind} {each.name} changed")
        elif each.kind != "file":
            parts.append(_TEXTS.get(each.kind, f"{each.kind} changed"))
    return ", ".join(parts)


_FIELDS = ("number", "line", "stage", "cached", "layer", "seconds", "size", "cause")


def _step_json(step: Step) -> dict[str, Any]:
    why = step.why
    found: dict[str, Any] = {name: getattr(step, name) for name in _FIELDS}
    found |= {"instruction": step.text, "reason": step.reason, "costs": list(step.cost)}
    found |= {"verdict": why.verdict, "since": why.since, "more": why.more}
    found["differences"] = [each.as_dict() for each in why.differences]
    return found


def _step_of(data: Mapping[str, Any]) -> Step:
    differences = tuple(Difference(**each) for each in data["differences"])
    why = Why(
        verdict=data["verdict"],
        differences=differences,
        more=data["more"],
        since=data["since"],
        text=data["reason"],
    )
    fields = {name: data[name] for name in _FIELDS}
    return Step(**fields, text=data["instruction"], reason=data["reason"], cost=tuple(data["costs"]), why=why)
