"""Starting a keeper by a fork that is the command's first act (1 ms).

It then prepares itself while the command parses, opens the store and writes the bundle. Only a process
without other threads may do this; the library uses `keeper.zygote`.
"""

from __future__ import annotations

import _socket
import os


def fork() -> _socket.socket:
    """Fork a keeper and return the channel to it; closing the channel unused ends it."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    if os.fork():
        theirs.close()
        return ours
    try:
        ours.close()
        from tiffin.keeper.main import keep

        keep(theirs.detach())
    finally:
        os._exit(1)  # whatever happened, the fork must not go on as the command
