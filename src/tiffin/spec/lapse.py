"""How long ago, in docker's words; the command line and the API say the same."""

from __future__ import annotations

import time

from tiffin.spec import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.spec.state import ContainerState


def duration(seconds: float) -> str:
    """Return a span for people as docker does: `About a minute`, `3 weeks`."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    minutes = whole // 60
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for limit, length, name in ((24 * 14, 24, "days"), (24 * 60, 168, "weeks"), (24 * 730, 720, "months")):
        if hours < limit:
            return f"{hours // length} {name}"
    return f"{whole // 3600 // 24 // 365} years"


def since(moment: str, now: float | None = None) -> str:
    """Return how long ago a moment (RFC 3339) was, without "ago"; "" for one that cannot be read."""
    try:
        at = clock.to_ns(moment) / 1e9
    except ValueError:
        return ""
    return duration((time.time() if now is None else now) - at)


def status(state: ContainerState, now: float | None = None) -> str:
    """Return the STATUS column of a container."""
    word = state.status
    if word in {"running", "paused"}:
        note = "Paused" if word == "paused" else state.health.replace("starting", "health: starting")
        return f"Up {since(state.started_at, now)}" + (f" ({note})" if note else "")
    if word == "restarting":
        return f"Restarting ({state.exit_code}) {since(state.finished_at, now)} ago"
    if word == "removing":
        return "Removal In Progress"
    if word == "dead":
        return "Dead"
    if word == "created":
        return "Created"
    return f"Exited ({state.exit_code}) {since(state.finished_at, now)} ago"
