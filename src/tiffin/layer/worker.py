"""The process that unpacks one archive, started by apply: `main` is all it runs.

It reads the archive from descriptor 0 (descriptor 3 tells when a file that is still being written has
grown), imports all it will need, makes the destination its root, and only then looks at the first entry.
It writes one line of JSON to descriptor 1. Nobody else's data is reachable from here: an entry's name can
lead nowhere but into the destination.
"""

from __future__ import annotations

import _thread
import hashlib
import os
import select
from _queue import SimpleQueue

from tiffin.errors import Interrupted, TiffinError
from tiffin.layer.compression import HEAD, Decompressor, sniff
from tiffin.layer.limits import Limits
from tiffin.layer.lower import Lower
from tiffin.layer.reader import TarReader
from tiffin.layer.unpack import Unpacker, explain
from tiffin.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_READ = 1 << 18
_GROWTH = 3
_AHEAD = 4  # pieces that may wait, of some hundred kilobytes each


class Source:
    """The archive as read from descriptor 0: unpacked pieces, both digests, both sizes."""

    def __init__(self, limits: Limits, *, growing: bool, proven: str = "") -> None:
        """Read the beginning and recognise the compression (which imports what unpacks it).

        `growing` says that the file is still being written, by somebody who verifies its bytes: to be
        `proven`, if that is given.
        """
        self._growing = growing
        self.packed_size = 0
        self.unpacked_size = 0
        self._limits = limits
        self._first = b""
        while len(self._first) < HEAD and (data := self._read()):
            self._first += data
        self.kind = sniff(self._first)
        self._proven = "" if self.kind else proven
        self._unpacked = None if self._proven else hashlib.sha256()
        # What is not packed is hashed once for both.
        self._packed = None if growing else hashlib.sha256() if self.kind else self._unpacked
        self._decompressor = Decompressor(self.kind)
        self._ready: SimpleQueue[bytes | BaseException] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        self._caller = select.poll()
        self._caller.register(1, 0)

    @property
    def diff_id(self) -> str:
        """The digest of all that was unpacked."""
        return f"sha256:{self._unpacked.hexdigest()}" if self._unpacked else self._proven

    @property
    def digest(self) -> str:
        """The digest of all that was read, "" where somebody else verifies that."""
        return f"sha256:{self._packed.hexdigest()}" if self._packed else ""

    def start(self) -> None:
        """Unpack and digest ahead, in a thread: it needs the interpreter for moments only.

        One core makes files while another inflates: a fifth less time for a layer of 20,000 files.
        """
        for _ in range(_AHEAD):
            self._room.put(None)
        _thread.start_new_thread(self._run, ())

    def chunk(self) -> bytes:
        """Return the next unpacked bytes, b"" at the end and ever after."""
        piece = self._ready.get()
        self._room.put(None)
        if isinstance(piece, BaseException):
            raise piece
        return piece

    def _run(self) -> None:
        end: bytes | BaseException = b""
        try:
            for piece in self._stream():
                self._room.get()
                self._ready.put(piece)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever wants the next piece
            end = error
        while True:
            self._room.get()
            self._ready.put(end)

    def _stream(self) -> Iterator[bytes]:
        data = self._first
        while data:
            if self._packed and self.kind:
                self._packed.update(data)
            self.packed_size += len(data)
            for piece in self._decompressor.pieces(data):
                if self._unpacked:
                    self._unpacked.update(piece)
                self.unpacked_size += len(piece)
                self._limits.check(self.unpacked_size, self.packed_size)
                yield piece
            # Whoever wanted this is gone when nobody reads descriptor 1 any more.
            if self._caller.poll(0):
                raise Interrupted("extraction: the caller is gone")
            data = self._read()
        if self.packed_size:
            self._decompressor.finish()

    def _read(self) -> bytes:
        """Return more packed bytes, b"" at the end; where a growing file ends, wait until it has more."""
        while not (data := os.read(0, _READ)) and self._growing:
            # Whatever was written before this tells is found by the next look.
            self._growing = bool(os.read(_GROWTH, _READ))
        return data


def unpack(request: dict[str, Any]) -> dict[str, Any]:
    """Confine this process, unpack, and return the fields of an Applied."""
    limits = Limits(**request["limits"])
    lower = Lower(request["lower"], request["xattr"]) if request["lower"] else None
    source = Source(limits, growing=request["growing"], proven=request["proven"])
    source.start()
    reader = TarReader(source.chunk, name_max=limits.name_length)
    walled = _confine(request["destination"], request["lower"])
    os.umask(0)
    unpacker = Unpacker(
        reader,
        xattr=request["xattr"],
        whiteouts=request["whiteouts"],
        limits=limits,
        lower=lower,
        walled=walled,
    )
    if inside := os.fsencode(request["inside"]).strip(b"/"):
        unpacker.enter(inside)
    add, following = unpacker.add, reader.next
    while entry := following():
        add(entry)
    reader.drain()
    unpacker.finish()
    return {
        "diff_id": source.diff_id,
        "digest": source.digest,
        "size": unpacker.size,
        "entries": unpacker.entries,
        "compressed_size": source.packed_size,
        "tar_size": source.unpacked_size,
        "compression": source.kind,
        "implied": [os.fsdecode(path) for path in unpacker.implied],
    }


def _confine(destination: str, lower: list[str]) -> bool:
    """Go into the destination and make it this process's root; tell whether that is allowed.

    Without privileges the kernel only keeps other files away (where it has landlock): then the unpacker
    must see to it that a name means what it would mean if the destination were the root.
    """
    os.chdir(destination)
    try:
        os.chroot(".")
    except PermissionError:
        from tiffin.layer import landlock

        landlock.confine(".", lower)
        return False
    return True


def main(request: str) -> None:
    """Do what one request (JSON, see apply) says, report it whatever happens, and end this process."""
    try:
        report = unpack(jsontext.load_object(request))
    except TiffinError as error:
        report = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    except OSError as error:
        outcome = explain(error)
        report = {"error": type(outcome).__name__, "message": outcome.message, "hint": ""}
    except MemoryError:
        report = {"error": "Corrupt", "message": "out of memory", "hint": ""}
    line = jsontext.dumps(report).encode("utf-8", "surrogateescape") + b"\n"
    while line:
        line = line[os.write(1, line) :]
    os._exit(0)  # the thread that reads ahead may wait for ever
