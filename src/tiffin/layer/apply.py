"""A tar becomes a directory, in a process of its own that cannot reach anything else.

One call unpacks, verifies the format, and digests both the packed and the unpacked bytes:

    applied = Extraction.start(blob_fd, draft.path, xattr="trusted.").wait()

Several extractions run side by side; as many as there are processors is best.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

from tiffin import errors
from tiffin.errors import Corrupt, Interrupted, TiffinError, Unavailable
from tiffin.layer.limits import Applied, Limits
from tiffin.layer.unpack import MissingTarget
from tiffin.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

__all__ = ["Applied", "Extraction", "Limits", "MissingTarget", "apply", "apply_stream"]

# Imported, not run as a file, because only what is imported is kept compiled.
_WORKER = """
import sys
sys.path += sys.argv[1].split("\\n")
from tiffin.layer.worker import main
main(sys.argv[2])
"""
_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_PIPE = 1 << 20


class Extraction:
    """An archive on its way into a directory. Ends by `wait`, or by `abort` and then `wait`."""

    def __init__(self, pid: int, process: int, report: int, growth: int = -1) -> None:
        """Take over a started worker: its pid, its pidfd, the ends of its report's and its growth's pipes."""
        self._pid = pid
        self._process = process
        self._report = report
        self._growth = growth
        self._aborted = False

    @classmethod
    def start(
        cls,
        source_fd: int,
        destination: str,
        *,
        xattr: str,
        limits: Limits | None = None,
        lower: Sequence[str] = (),
        whiteouts: bool = True,
        inside: str = "",
        growing: bool = False,
        proven: str = "",
    ) -> Extraction:
        """Begin to unpack what `source_fd` gives, a file or a pipe, to its end; the caller still closes it.

        `destination` exists and becomes the worker's root; entries go below `inside` in it. `xattr` is the
        prefix of overlayfs's marks (`trusted.` or `user.`). `whiteouts=False` is for archives that are no
        layers (ADD, a build context): `.wh.` names are names. `lower` are the folders of the layers below,
        topmost first, for hard links into them; without it such a link raises MissingTarget. `growing` says
        that the source is a file somebody still writes and verifies: tell by `grown` and `complete`. Who then
        verifies that its bytes have the digest `proven` spares the worker hashing them again, if they are
        not packed.
        """
        request = {
            "destination": os.path.abspath(destination),
            "inside": inside,
            "xattr": xattr,
            "whiteouts": whiteouts,
            "limits": (limits or Limits()).as_dict(),
            "lower": list(map(os.path.abspath, lower)),
            "growing": growing,
            "proven": proven,
        }
        # What this process can import, its worker can; behind the standard library, so nothing shadows it.
        paths = "\n".join([_PACKAGES, *filter(None, sys.path)])
        reading, writing = os.pipe()
        news, growth = os.pipe() if growing else (-1, -1)
        actions = [(os.POSIX_SPAWN_DUP2, source_fd, 0), (os.POSIX_SPAWN_DUP2, writing, 1)]
        actions.append((os.POSIX_SPAWN_DUP2, writing, 2))
        if growing:
            actions.append((os.POSIX_SPAWN_DUP2, news, 3))
            os.set_blocking(growth, False)
        command = [sys.executable, "-I", "-S", "-c", _WORKER, paths, jsontext.dumps(request)]
        try:
            pid = os.posix_spawn(sys.executable, command, {}, file_actions=actions)
        except BaseException:
            _close(reading, growth)
            raise
        finally:
            _close(writing, news)
        return cls(pid, os.pidfd_open(pid), reading, growth)

    def grown(self) -> None:
        """Tell the worker that its file has more bytes than before."""
        # A full pipe has told already; a broken one means that the worker has ended: `wait` says how.
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._growth, b".")

    def complete(self) -> None:
        """Tell the worker that its file will not grow any more; harmless if it never did."""
        _close(self._growth)
        self._growth = -1

    def wait(self) -> Applied:
        """Wait for the end; raise Corrupt, StorageFull, Unsupported... with the entry's name in the message.

        After an error the destination holds rubbish, which the caller removes.
        """
        self.complete()
        try:
            text = _read_all(self._report)
        finally:
            os.close(self._report)
            _, status = os.waitpid(self._pid, 0)
            process, self._process = self._process, -1
            os.close(process)
        try:
            report = jsontext.load_object(text.decode("utf-8", "surrogateescape"))
        except Corrupt:
            raise self._died(status, text) from None
        if "error" in report:
            raise _error(report)
        report["implied"] = tuple(report["implied"])
        return Applied(**report)

    def abort(self) -> None:
        """Stop it at once; `wait` then raises Interrupted."""
        self._aborted = True
        if self._process >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, signal.SIGKILL)

    def _died(self, status: int, text: bytes) -> TiffinError:
        if self._aborted:
            return Interrupted("extraction: stopped")
        code = os.waitstatus_to_exitcode(status)
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        said = text.decode("utf-8", "backslashreplace").strip().rpartition("\n")[2]
        return Unavailable(f"extraction: its worker died ({how})" + (f": {said}" if said else ""))


def apply(
    source_fd: int,
    destination: str,
    *,
    xattr: str,
    limits: Limits | None = None,
    lower: Sequence[str] = (),
    whiteouts: bool = True,
    inside: str = "",
) -> Applied:
    """Unpack one archive and wait for it; see `Extraction.start` and `wait`."""
    return Extraction.start(
        source_fd,
        destination,
        xattr=xattr,
        limits=limits,
        lower=lower,
        whiteouts=whiteouts,
        inside=inside,
    ).wait()


def apply_stream(read: Callable[[int], bytes], destination: str, **options: Any) -> Applied:
    """Unpack what `read(size)` returns until it returns b""; the options are those of `apply`.

    For sources without a file descriptor. An error of `read` stops the worker and is raised.
    """
    import fcntl

    reading, writing = os.pipe()
    try:
        with suppress(PermissionError):  # an ordinary user's pipes may be limited; slower, that is all
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE)
        extraction = Extraction.start(reading, destination, **options)
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    try:
        _pump(read, writing)
    except BaseException:
        extraction.abort()
        os.close(writing)
        with suppress(TiffinError):
            extraction.wait()
        raise
    os.close(writing)
    return extraction.wait()


def _pump(read: Callable[[int], bytes], pipe: int) -> None:
    try:
        while data := read(_PIPE):
            while data:
                data = data[os.write(pipe, data) :]
    except BrokenPipeError:  # the worker has met an error and will say so
        pass


def _close(*files: int) -> None:
    for file in files:
        if file >= 0:
            os.close(file)


def _read_all(file: int) -> bytes:
    parts = []
    while data := os.read(file, 1 << 16):
        parts.append(data)
    return b"".join(parts)


def _error(report: dict[str, Any]) -> TiffinError:
    name, message, hint = report["error"], report["message"], report["hint"]
    known = MissingTarget if name == "MissingTarget" else getattr(errors, name)
    error: TiffinError = known(message, hint=hint)
    return error
