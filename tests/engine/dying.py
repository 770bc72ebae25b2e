"""The command, dying by its own hand: `python -m tests.engine.dying MOMENT COUNT-FILE WORDS...`.

It kills itself with SIGKILL before (or after) its MOMENT-th call that changes something, in whatever
thread. With moment 0 it lives, and writes how many there were into the file. With `k` before the moment
it is the keeper that it forks which counts and dies.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from itertools import count

_DEEDS = frozenset(
    {
        *(
            "open",
            "write",
            "close",
            "rename",
            "link",
            "symlink",
            "mkdir",
            "rmdir",
            "unlink",
            "mknod",
            "flock",
        ),
        *("chmod", "fchmod", "chown", "utime", "ftruncate", "setxattr", "execute", "executemany", "fetchall"),
        *("posix_spawn", "send", "sendmsg", "recv", "waitpid", "pidfd_open", "read", "fork", "_exit"),
    }
)


def main() -> None:
    """Run the command under a profiler that counts."""
    keeper, moment, path = sys.argv[1][:1] == "k", int(sys.argv[1].lstrip("k")), sys.argv[2]
    sys.argv[1:] = sys.argv[3:]
    numbers, me = count(1), os.getpid()

    def watch(_frame: object, event: str, called: object) -> None:
        if event not in {"c_call", "c_return"} or getattr(called, "__name__", "") not in _DEEDS:
            return
        forked = os.getpid() != me
        if forked != keeper:
            if forked:
                sys.setprofile(None)  # a keeper that was forked
            return
        number = next(numbers)
        if number == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        elif called is os._exit and not moment:
            with open(path, "w") as stream:
                stream.write(str(number))

    from tiffin.cli import entry

    threading.setprofile(watch)
    sys.setprofile(watch)
    entry.main()


if __name__ == "__main__":
    main()
