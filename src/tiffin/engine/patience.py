"""Waiting on descriptors for as long as somebody wants to know."""

from __future__ import annotations

import select

_LEFT = select.POLLRDHUP | select.POLLHUP | select.POLLERR


def ready(*descriptors: int, gone: int = -1, seconds: float | None = None) -> set[int]:
    """Wait until a descriptor can be read or the other side of the socket `gone` has left (-1: none).

    Returns which of them it is, nothing when the time is over. What has been sent on `gone` and is not
    read yet hides nothing; a half-closed one counts as left, for nobody who does that wants an answer.
    """
    poll = select.poll()  # select(2) cannot see descriptors above 1023
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    if gone >= 0:
        poll.register(gone, _LEFT)
    return {descriptor for descriptor, _ in poll.poll(None if seconds is None else max(0.0, seconds) * 1000)}
