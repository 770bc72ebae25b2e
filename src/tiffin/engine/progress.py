"""Progress: what pull, push, load and save say while they work, in the shape of docker's own stream."""

from __future__ import annotations

from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Report = Callable[["Progress"], None]


class Progress(Value):
    """`id` names a layer by its short digest ("" = a line about the whole); `current` of `total` bytes."""

    status: str
    id: str = ""
    current: int = 0
    total: int = 0


def silent(_progress: Progress) -> None:
    """Say nothing."""
