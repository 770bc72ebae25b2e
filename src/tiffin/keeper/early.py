"""Starting a keeper by a fork that is the command's first act (1 ms).

It then prepares itself while the command parses, opens the store and writes the bundle. Only a process
without other threads may do this; the library uses `keeper.zygote`.
"""

from __future__ import annotations

import _socket
import os
import sys


def fork() -> _socket.socket:
    """Fork a keeper and return the channel to it; closing the channel unused ends it."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    if os.fork():
        theirs.close()
        return ours
    try:
        ours.close()
        from tiffin.keeper.main import keep

        keep(theirs.detach(), bridged=_will_be_bridged(sys.argv))
    finally:
        os._exit(1)  # whatever happened, the fork must not go on as the command


def _will_be_bridged(words: list[str]) -> bool:
    """Guess whether the container will be on the default network; a wrong guess costs time, nothing else."""
    return "run" in words[1:3] and not any(word.startswith("--net") for word in words)
