"""Events: what happened, one JSON object a line, appended by commands and keepers alike."""

from __future__ import annotations

from tiffin.errors import Corrupt
from tiffin.spec import jsontext
from tiffin.spec.value import EMPTY, Value
from tiffin.store import journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from tiffin.store.layout import Layout


class Event(Value):
    """`type` is container, image, volume, network...; `time` is nanoseconds since 1970."""

    type: str
    action: str
    id: str
    time: int
    attributes: Mapping[str, str] = EMPTY

    def to_json(self) -> dict[str, Any]:
        """Return the Engine API's message."""
        return {
            "status": self.action,
            "id": self.id,
            "Type": self.type,
            "Action": self.action,
            "Actor": {"ID": self.id, "Attributes": dict(self.attributes)},
            "scope": "local",
            "time": self.time // 1_000_000_000,
            "timeNano": self.time,
        }


class Events:
    """The log of one store."""

    def __init__(self, layout: Layout) -> None:
        """Append to `layout.events`."""
        self._path = layout.events

    def append(self, kind: str, action: str, actor: str, attributes: Mapping[str, str] = EMPTY) -> None:
        """Record that something happened. A full disk loses the record, never the deed."""
        journal.append(self._path, kind, action, actor, attributes)

    def read(
        self, since: int = 0, until: int = 1 << 62, filters: Mapping[str, Sequence[str]] = EMPTY
    ) -> Iterator[Event]:
        """Yield the events of a span of time (ns, both ends included), oldest first.

        `filters`: `type`, `event` (the action, or its part before ":"), `label` and the actor's kind
        (`container`, `image`, `volume`...: id, prefix of one, or name). Values of one are OR-ed.
        """
        for event in self._all():
            if since <= event.time <= until and matches(event, filters):
                yield event

    def _all(self) -> Iterator[Event]:
        for path in (f"{self._path}.1", self._path):
            try:
                stream = open(path, "rb")  # noqa: SIM115 - closed below
            except FileNotFoundError:
                continue
            with stream:
                for line in stream:
                    event = parse(line)
                    if event is not None:
                        yield event


def parse(line: bytes) -> Event | None:
    """Return the event of a line; None for one that is empty or was cut short."""
    if not line.strip():
        return None
    try:
        value = jsontext.load_object(line)
        return Event(
            type=value["type"],
            action=value["action"],
            id=value["id"],
            time=value["t"],
            attributes=value.get("attributes") or EMPTY,
        )
    except (Corrupt, KeyError):
        return None  # cut short by a full disk or a power cut


def matches(event: Event, filters: Mapping[str, Sequence[str]]) -> bool:
    """Tell whether an event passes docker's filters."""
    for key, values in filters.items():
        if key == "type":
            passes = event.type in values
        elif key == "event":
            passes = event.action in values or event.action.partition(":")[0] in values
        elif key == "label":
            passes = all(_has_label(event, value) for value in values)
        elif key == "scope":
            passes = "local" in values
        elif key == "image" and event.type != "image":
            passes = _is_of(event.attributes.get("image", ""), values)
        elif key == event.type:
            name = event.attributes.get("name", "")
            passes = any(
                event.id == v or name == v.removeprefix("/") or event.id.startswith(v) for v in values
            )
        else:
            passes = False
        if not passes:
            return False
    return True


def _is_of(image: str, wanted: Sequence[str]) -> bool:
    """Tell whether a container's image has one of the names, which may leave the tag out."""
    family = image if ":" not in image.rpartition("/")[2] else image.rpartition(":")[0]
    return bool(image) and (image in wanted or family in wanted)


def _has_label(event: Event, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in event.attributes and (not equals or event.attributes[key] == value)
