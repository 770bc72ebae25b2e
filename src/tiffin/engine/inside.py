"""Verbs done by a process inside the user namespace, for programs that cannot go there themselves.

A library's caller may have threads, and its own process must stay what it is. So a verb that deals with
ids is sent to a fresh interpreter, which enters the namespace first of all, opens an engine over the same
store, does it, and ends. Parent and child are the same installation and talk by pickle over a socket pair;
progress comes as it is made, errors come as what they are.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.connection import Connection, Pipe

from tiffin.errors import TiffinError, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, BinaryIO

    from tiffin.settings import Settings

_PROGRAM = """\
import sys
sys.path[:] = sys.argv[2].split("\\n")
from tiffin.engine.inside import serve
serve(sys.argv[1])
"""
_WRITING = {"images.save", "images.write_archive", "images.write_files", "containers.export"}
"""Verbs whose stream is written."""

_SPARED = 16 << 20
"""Bytes of a stream without a descriptor that are kept in memory on their way."""


class _Stream:
    """Stands for a binary stream whose descriptor the child has under the same number."""

    def __init__(self, descriptor: int, mode: str) -> None:
        self.descriptor = descriptor
        self.mode = mode


def call(settings: Settings, verb: str, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    """Do `verb` (`images.pull`) inside and return its result; raises what it raised."""
    progress = options.pop("progress", None)
    with contextlib.ExitStack() as stack:
        sent = [_lend(a, "wb" if verb in _WRITING else "rb", stack) for a in arguments]
        ours, theirs = Pipe()
        stack.callback(ours.close)
        passed = [s.descriptor for s in sent if isinstance(s, _Stream)]
        paths = "\n".join(dict.fromkeys([_package_folder(), *filter(None, sys.path)]))
        with theirs:
            child = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _PROGRAM, str(theirs.fileno()), paths],
                pass_fds=[theirs.fileno(), *passed],
                stdin=subprocess.DEVNULL,
            )
        try:
            plain = settings.replace(environment=dict(settings.environment), proxies=dict(settings.proxies))
            plain = plain.replace(registries=dict(settings.registries), logins=dict(settings.logins))
            ours.send((plain, verb, sent, {k: _plain(v) for k, v in options.items()}, progress is not None))
            kind, value = _listen(ours, progress)
        except (EOFError, OSError) as error:
            message = f"{verb}: the process that does it has died"
            raise Unavailable(message) from error
        except BaseException:
            child.send_signal(signal.SIGINT)
            raise
        finally:
            ours.close()
            child.wait()
        if kind == "error":
            raise value
        return value


def _listen(connection: Connection, progress: Any) -> tuple[str, Any]:
    while True:
        kind, value = connection.recv()
        if kind != "progress":
            return kind, value
        progress(value)


def _package_folder() -> str:
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _plain(value: Any) -> Any:
    """Return a read-only mapping as a dictionary, which can travel."""
    return dict(value) if isinstance(value, Mapping) else value


def _lend(argument: Any, mode: str, stack: contextlib.ExitStack) -> Any:
    """Return a stream as its descriptor; one that has none goes through a temporary file."""
    if hasattr(argument, "read") or hasattr(argument, "write"):
        return _Stream(_descriptor(argument, mode, stack), mode)
    return _plain(argument)


def _descriptor(stream: BinaryIO, mode: str, stack: contextlib.ExitStack) -> int:
    try:
        number = stream.fileno()
    except (AttributeError, OSError):
        pass
    else:
        if mode == "wb":
            stream.flush()
        elif stream.seekable():
            os.lseek(number, stream.tell(), os.SEEK_SET)
        return number
    file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    if mode == "wb":
        stack.callback(_copy_back, file, stream)
        return file.fileno()
    while data := stream.read(_SPARED):
        file.write(data)
    file.flush()
    file.seek(0)
    return file.fileno()


def _copy_back(file: BinaryIO, stream: BinaryIO) -> None:
    file.seek(0)
    while data := file.read(_SPARED):
        stream.write(data)


def serve(number: str) -> None:
    """Be the child: enter, do one verb, report, and end."""
    with Connection(int(number)) as connection:
        settings, verb, arguments, options, tells = connection.recv()
        try:
            if tells:
                options["progress"] = lambda value: connection.send(("progress", value))
            answer = ("result", _do(settings, verb, arguments, options))
        except KeyboardInterrupt:
            return
        except TiffinError as error:
            answer = ("error", error)
        connection.send(answer)


def _do(settings: Settings, verb: str, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    from tiffin import settings as reader
    from tiffin.engine.engine import Engine
    from tiffin.keeper import userns

    userns.enter(settings.privilege)
    with contextlib.ExitStack() as stack:
        opened = [_opened(a, stack) if isinstance(a, _Stream) else a for a in arguments]
        inside = settings.replace(privilege=reader.privilege(settings.environment))
        engine = stack.enter_context(Engine(inside))
        noun, _, name = verb.partition(".")
        return getattr(getattr(engine, noun), name)(*opened, **options)


def _opened(stream: _Stream, stack: contextlib.ExitStack) -> BinaryIO:
    file: Any = os.fdopen(stream.descriptor, stream.mode, closefd=False)
    return stack.enter_context(file)  # type: ignore[no-any-return]
