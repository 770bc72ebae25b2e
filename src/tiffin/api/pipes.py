"""Between verbs that work in a thread of their own and the pieces of an answer."""

from __future__ import annotations

import os
import queue
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, BinaryIO

    from tiffin.errors import TiffinError

_CHUNK = 1 << 18
_AHEAD = 256
"""So many pieces may wait for a client before the verb does."""


def written(verb: Callable[[BinaryIO], object]) -> Iterator[bytes]:
    """Yield what a verb writes to the file that it is given; what it raises breaks the answer off."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    trouble: list[BaseException] = []

    def work() -> None:
        try:
            with open(writing, "wb") as out:
                verb(out)
        except BrokenPipeError:
            return  # the client has left
        except Exception as error:  # noqa: BLE001 - raised by the thread that answers
            trouble.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while data := os.read(reading, _CHUNK):
            yield data
    finally:
        os.close(reading)
        thread.join()
    if trouble:
        raise trouble[0]


def said(verb: Callable[[Callable[[Any], None]], object]) -> Iterator[Any]:
    """Yield what a verb says by the callback that it is given, then raise what it raised.

    A client that leaves does not stop the verb: it says the rest to nobody.
    """
    words: queue.Queue[Any] = queue.Queue(_AHEAD)
    left = threading.Event()
    end = object()
    trouble: list[BaseException] = []

    def say(word: Any) -> None:
        while not left.is_set():
            try:
                words.put(word, timeout=1.0)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            verb(say)
        except Exception as error:  # noqa: BLE001 - raised by the thread that answers
            trouble.append(error)
        say(end)

    threading.Thread(target=work, daemon=True).start()
    try:
        while (word := words.get()) is not end:
            yield word
    finally:
        left.set()
    if trouble:
        raise trouble[0]


def failed(error: TiffinError) -> dict[str, Any]:
    """Return the line by which a stream says that it failed."""
    detail: dict[str, Any] = {"message": error.message}
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):
        detail["code"] = code
    return {"errorDetail": detail, "error": error.message}
