"""events: what happened and what happens, as it comes."""

from __future__ import annotations

import sys
import time

from tiffin.cli.command import DONE, JSON_FORMAT, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session
    from tiffin.store.events import Event


def show(parsed: Parsed, session: Session) -> int:
    """Print events until `--until`, or until nobody wants them any more."""
    wanted = parsed.text("format")
    wanted = "{{json .}}" if wanted == "json" else wanted
    compiled = None
    if wanted:
        from tiffin.cli import template

        compiled = template.parse(wanted.replace("\\t", "\t").replace("\\n", "\n"))
    events = session.engine.system.events(
        since=parsed.text("since"), until=parsed.text("until"), filters=parsed.filters()
    )
    for event in events:
        line = compiled.render(_Fields(event)) if compiled else _line(event)
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    return 0


def _line(event: Event) -> str:
    seconds, nanoseconds = divmod(event.time, 1_000_000_000)
    local = time.localtime(seconds)
    offset = time.strftime("%z", local)
    zone = "Z" if offset == "+0000" else f"{offset[:3]}:{offset[3:]}"
    moment = f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{nanoseconds:09d}{zone}"
    said = ", ".join(f"{key}={value}" for key, value in sorted(event.attributes.items()))
    return f"{moment} {event.type} {event.action} {event.id}" + (f" ({said})" if said else "")


class _Fields:
    """An event as a template sees it: the API's message, its members also in Go's spelling."""

    def __init__(self, event: Event) -> None:
        self._message = event.to_json()
        spelled = {"ID": "id", "Status": "status", "Scope": "scope", "Time": "time", "TimeNano": "timeNano"}
        self._fields = self._message | {new: self._message[old] for new, old in spelled.items()}
        self._fields["From"] = event.attributes.get("image", "")

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def __getitem__(self, name: str) -> object:
        return self._fields[name]

    def as_json(self) -> dict[str, object]:
        """Return the message."""
        return self._message


# fmt: off
EVENTS = Command(
    spellings=("system events", "events"),
    usage="[OPTIONS]",
    short="Get real time events from the server",
    maximum=0,
    flags=(
        ("filter", "f", "filter", "Filter output based on conditions provided", "", DONE),
        ("format", "", "string", JSON_FORMAT, "", DONE),
        ("since", "", "string", "Show all events created since timestamp", "", DONE),
        ("until", "", "string", "Stream events until this timestamp", "", DONE),
    ),
    handler=show,
)
