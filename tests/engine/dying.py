"""The command, dying by its own hand: `python -m tests.engine.dying MOMENT COUNT-FILE WORDS...`.

It kills itself with SIGKILL before (or after) its MOMENT-th call that changes something, in whatever
thread. With moment 0 it lives, and writes how many there were into the file.
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
    moment, path = int(sys.argv[1]), sys.argv[2]
    sys.argv[1:] = sys.argv[3:]
    numbers, me = count(1), os.getpid()

    def watch(_frame: object, event: str, called: object) -> None:
        if event not in {"c_call", "c_return"} or getattr(called, "__name__", "") not in _DEEDS:
            return
        number = next(numbers)
        if os.getpid() != me:
            sys.setprofile(None)  # a keeper that was forked
        elif number == moment:
            os.kill(me, signal.SIGKILL)
        elif called is os._exit and not moment:
            with open(path, "w") as stream:
                stream.write(str(number))

    from tiffin.cli import entry

    threading.setprofile(watch)
    sys.setprofile(watch)
    entry.main()


if __name__ == "__main__":
    main()
