"""Stores to test with, small images in them, overlay mounts to compare with, and processes to kill."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from tests.snapshotter import chosen
from tiffin.settings import ROOT, Settings
from tiffin.spec import digest as digests
from tiffin.spec import mediatype
from tiffin.spec.container import ContainerConfig, HostConfig
from tiffin.spec.image import ImageConfig
from tiffin.spec.manifest import Manifest
from tiffin.spec.platform import Platform
from tiffin.spec.reference import Reference
from tiffin.store.containers import ContainerRecord
from tiffin.store.store import Store  # noqa: TC001 - the scripts of `spawn` use it

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tiffin.spec.descriptor import Descriptor
    from tiffin.store.images import ImageRecord

_libc = ctypes.CDLL(None, use_errno=True)


def settings_for(root: str, *, durable: bool = True) -> Settings:
    """Return settings of a store below a folder; `durable` as in production."""
    wanted = chosen().get("TIFFIN_SNAPSHOTTER", "")
    return Settings(
        root=f"{root}/root", run=f"{root}/run", privilege=ROOT, durable=durable, snapshotter=wanted
    )


def add_layer(store: Store, files: dict[str, str], *, parent: str = "") -> tuple[str, str]:
    """Commit a layer of these files; return (chain id, diff id). Equal files make equal layers."""
    draft = store.snapshots.begin()
    for path, text in files.items():
        target = f"{draft.path}/{path}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w") as stream:
            stream.write(text)
    diff_id = digests.of(repr(sorted(files.items())).encode())
    size = sum(map(len, files.values()))
    return store.snapshots.commit(draft, parent=parent, diff_id=diff_id, size=size, foreign=True), diff_id


class Parts(NamedTuple):
    """What `images.commit` wants, already in the store."""

    config: ImageConfig
    manifest: Descriptor
    layers: tuple[str, ...]


def add_parts(store: Store, *layers: dict[str, str], command: str = "sh") -> Parts:
    """Put layers (bottom first), their blobs, a config and a manifest into a store."""
    chain, diff_ids, blobs, parent = [], [], [], ""
    for files in layers:
        parent, diff_id = add_layer(store, files, parent=parent)
        chain.append(parent)
        diff_ids.append(diff_id)
        blobs.append(store.content.put_bytes(f"gzip of {diff_id}".encode(), mediatype.OCI_LAYER_GZIP))
    config = ImageConfig.build(
        platform=Platform.here(),
        config=ContainerConfig(cmd=(command,)),
        diff_ids=tuple(diff_ids),
        history=(),
        created="2024-05-06T07:08:09Z",
    )
    pointer = store.content.put_bytes(config.raw, mediatype.OCI_CONFIG)
    manifest = Manifest.build(pointer, blobs)
    return Parts(config, store.content.put_bytes(manifest.raw, manifest.media_type), tuple(chain))


def add_image(
    store: Store, *layers: dict[str, str], tags: Sequence[str] = (), command: str = "sh"
) -> ImageRecord:
    """Commit an image of these layers under these names."""
    parts = add_parts(store, *(layers or ({"hello": "world"},)), command=command)
    return store.images.commit(
        config=parts.config,
        manifest=parts.manifest,
        top=parts.manifest,
        size=7,
        tags=[Reference.parse(tag) for tag in tags],
    )


def a_container(store: Store, image: ImageRecord, name: str = "", **fields: object) -> ContainerRecord:
    """Return a record of a container of an image, not yet in the store."""
    record = ContainerRecord(
        id=store.containers.new_id(),
        name=name,
        created="2024-05-06T07:08:09Z",
        image_id=image.id,
        layers=image.layers,
        config=ContainerConfig(cmd=("true",)),
        host=HostConfig(),
    )
    return record.replace(**fields)


def add_container(store: Store, image: ImageRecord, name: str = "") -> ContainerRecord:
    """Make a container with its folder."""
    record = store.containers.create(a_container(store, image, name))
    store.snapshots.prepare(record.id, record.layers)
    return record


@contextmanager
def mounted(kind: str, target: str, data: str, *, flags: int = 0) -> Iterator[str]:
    """Mount a file system of this kind on a folder for the length of a block."""
    os.makedirs(target, exist_ok=True)
    if _libc.mount(kind.encode(), target.encode(), kind.encode(), flags, data.encode()) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), f"{kind} {data}")
    try:
        yield target
    finally:
        _libc.umount2(target.encode(), 2)  # MNT_DETACH


@contextmanager
def remounted_read_only(target: str) -> Iterator[None]:
    """Make a mount read-only for the length of a block."""
    ms_rdonly, ms_remount = 1, 32
    assert _libc.mount(b"none", target.encode(), None, ms_rdonly | ms_remount, None) == 0
    try:
        yield
    finally:
        assert _libc.mount(b"none", target.encode(), None, ms_remount, None) == 0


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def kernel_resolve(root: str, path: str) -> str | None:
    """Return where the kernel leads a path with `root` as its root (openat2, RESOLVE_IN_ROOT), or None."""
    folder = os.open(root, os.O_PATH)
    how = _OpenHow(os.O_PATH | os.O_CLOEXEC, 0, 0x10)
    try:
        found = _libc.syscall(437, folder, path.encode() or b".", ctypes.byref(how), ctypes.sizeof(how))
        if found < 0:
            return None
        try:
            return os.readlink(f"/proc/self/fd/{found}").removeprefix(root) or "/"
        finally:
            os.close(found)
    finally:
        os.close(folder)


_PRELUDE = """
import os, sys
from tests.store.parts import *
from tiffin.store import atomic, gc
store = Store(settings_for(sys.argv[1], durable=False))
def say(word):
    os.write(1, word.encode() + b"\\n")
"""


def spawn(root: str, script: str) -> subprocess.Popen[bytes]:
    """Start a process with the store below `root` open as `store`; `say` writes a line to its stdout."""
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    return subprocess.Popen(
        [sys.executable, "-c", _PRELUDE + script, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )


def line_of(process: subprocess.Popen[bytes]) -> str:
    """Return the next line that a process says."""
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def go_on(process: subprocess.Popen[bytes]) -> None:
    """Answer a process that waits in `sys.stdin.readline()`."""
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process as a power cut would end it, and reap it."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


# The calls that change a disk or a row, by the name that a profiler sees.
_DEEDS = {
    *("open", "write", "close", "rename", "link", "symlink", "mkdir", "rmdir", "unlink", "mknod", "flock"),
    *("chmod", "fchmod", "chown", "utime", "ftruncate", "setxattr", "execute", "executemany", "fetchall"),
}


def run_and_die(deed: Callable[[], object], moment: int) -> bool:
    """Run something in a child that kills itself with SIGKILL at its n-th call that changes something.

    A call counts twice, before and after it. Returns whether the child died; False means that it got to
    the end, so `moment` was beyond it.
    """
    child = os.fork()
    if child == 0:
        seen = 0

        def count(_frame: object, event: str, called: object) -> None:
            nonlocal seen
            if event in {"c_call", "c_return"} and getattr(called, "__name__", "") in _DEEDS:
                seen += 1
                if seen == moment:
                    os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            sys.setprofile(count)
            deed()
            status = 0
        finally:
            sys.setprofile(None)
            os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, -signal.SIGKILL}, f"the child failed before it died ({code})"
    return code != 0


def die_everywhere(deed: Callable[[], object]) -> Iterator[int]:
    """Yield after each death of `deed`, at every moment of it in turn, and once after it succeeded."""
    moment = 1
    while run_and_die(deed, moment):
        yield moment
        moment += 1
    yield moment
