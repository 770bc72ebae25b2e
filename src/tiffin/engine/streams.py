"""Carrying bytes between this program and a process in a container, when no terminal is involved."""

from __future__ import annotations

import select

from tiffin.errors import StartFailed
from tiffin.keeper import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.keeper.client import Connection


def communicate(connection: Connection, stdin: bytes, output: Callable[[str, bytes], object]) -> int:
    """Feed a process, hand its output over as ("stdout" or "stderr", bytes), return its exit code.

    Raises StartFailed if the process could not be started, Unavailable if its keeper died.
    """
    names = {frames.OUTPUT: "stdout", frames.ERRORS: "stderr"}
    feeding = connection.input_quota > 0
    view = memoryview(stdin)
    while True:
        while feeding and view and connection.input_quota and not _readable(connection):
            part = view[: min(connection.input_quota, frames.PAYLOAD_LIMIT)]
            connection.send_stdin(bytes(part))
            view = view[len(part) :]
        if feeding and not view:
            connection.close_stdin()
            feeding = False
        frame = connection.recv()
        if frame is None:
            raise connection.lost()
        if frame.kind in names:
            output(names[frame.kind], frame.data)
        elif frame.kind == frames.EXITED:
            return frame.exit_code
        elif frame.kind == frames.FAILED:
            raise StartFailed(frame.text, exit_code=frame.exit_code)


def _readable(connection: Connection) -> bool:
    return bool(select.select([connection.fileno()], [], [], 0)[0])
