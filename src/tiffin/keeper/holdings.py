"""What a keeper holds for its container on this host, and gives back: lock, folder, mounts, runtime state."""

from __future__ import annotations

import os

from tiffin.keeper import cgroup, kernel
from tiffin.keeper.process import launch
from tiffin.runtime import oci
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.keeper.process import Reaper
    from tiffin.keeper.request import StartRequest


class Holdings:
    """Taken one after the other; nothing that fails while they are given back stops the rest."""

    def __init__(self, request: StartRequest) -> None:
        """Take the lock and make the folder of the living; `folder` is a descriptor of it."""
        self._request = request
        self._mounted: list[str] = []
        self._joined: list[str] = []
        # Held until everything is given back: who starts the container again waits for it.
        self._lock = atomic.Lock(request.lock) if request.lock else None
        if self._lock:
            self._lock.__enter__()
        os.makedirs(request.live, 0o700, exist_ok=True)
        self.folder = os.open(request.live, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def join(self, held: Sequence[int]) -> None:
        """Bind what is joined of another container; `held` begins with descriptors of it. Raises OSError."""
        if self._request.joined:
            from tiffin.keeper import joining  # few containers share something

            self._joined = joining.join(self._request.live, self._request.joined, held)

    def mount(self) -> None:
        """Mount the root file system and what else the runtime shall find mounted; raises OSError."""
        request = self._request
        if request.target:
            kernel.mount_overlay(request.base, request.target, request.overlay)
            self._mounted.append(request.target)
        if request.premounts:
            from tiffin.keeper import premount  # few containers have an image or a part of a volume

            self._mounted += premount.mount_all(request.premounts)

    def forget_runtime(self, reaper: Reaper, *, begun: bool) -> None:
        """Have the runtime delete the container, then remove what it leaves; `begun` says that it has run."""
        request = self._request
        if not begun:
            kernel.attempt(reaper.end_all_named, request.container_id)
        reaper.collect(launch(oci.delete(request.runtime, request.container_id), []))
        # What a runtime had made that was killed, it does not know itself.
        kernel.attempt(atomic.delete_tree, f"{oci.root_of(request.runtime)}/{request.container_id}")
        if request.cgroup:
            kernel.attempt(cgroup.remove, request.cgroup)

    def unmount(self) -> None:
        """Take down the mounts, and what was joined."""
        while self._mounted:
            kernel.attempt(kernel.unmount, self._mounted.pop())
        for path in self._joined:
            kernel.attempt(kernel.unmount, path)

    def release(self, *, facts: bool) -> None:
        """Remove the folder, if the `facts` in it are recorded elsewhere, and let go of the lock."""
        if facts:
            kernel.attempt(atomic.remove_tree, self._request.live)
        if self._lock:
            self._lock.remove()
            self._lock.__exit__(None, None, None)
            self._lock = None
