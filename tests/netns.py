"""Hosts made of network namespaces: each is held by a process, and cables lie between them.

A test that runs tiffin in one of them sees only its own interfaces and rules, whatever else is going on.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterator, Sequence

LISTEN = """
import socket, sys
with socket.create_server(("", int(sys.argv[1]))) as server:
    print("ready", flush=True)
    while True:
        client, peer = server.accept()
        print(peer[0], flush=True)
        client.close()
"""
_HOLD = "echo ready; exec sleep infinity"
_PATIENCE = 60
"""Seconds that a program, or a change of the links, may take."""


class Program(subprocess.Popen[Any]):
    """A program whose block, left by a failure, kills it instead of waiting for its end."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        """Kill it if the block failed; wait for its end."""
        if kind:
            self.kill()
        super().__exit__(kind, value, trace)


class Host:
    """A network namespace; a context manager."""

    def __init__(self) -> None:
        """Make it, with its loopback up."""
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", f"mount -t sysfs none /sys; {_HOLD}"],
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout
        assert self._holder.stdout.readline() == b"ready\n"
        self.run("ip", "link", "set", "lo", "up")

    @property
    def pid(self) -> int:
        """The process that holds it."""
        return self._holder.pid

    def argv(self, *words: str) -> list[str]:
        """Return a command as it is run in here."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *words]

    def run(self, *words: str, code: int = 0, stdin: bytes = b"") -> str:
        """Run a program in here that ends with `code`; return what it printed."""
        done = subprocess.run(
            self.argv(*words), input=stdin, capture_output=True, check=False, timeout=_PATIENCE
        )
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout.decode(errors="replace")

    def works(self, *words: str, stdin: bytes = b"") -> bool:
        """Tell whether a program in here ends well."""
        done = subprocess.run(
            self.argv(*words), input=stdin, capture_output=True, check=False, timeout=_PATIENCE
        )
        return done.returncode == 0

    def start(self, words: Sequence[str], **more: object) -> subprocess.Popen[Any]:
        """Start a program in here."""
        return Program(self.argv(*words), **more)  # type: ignore[call-overload, no-any-return]

    def wait_for_links(self, right: Callable[[str], bool]) -> None:
        """Wait until what `ip -br link` shows is right; it is looked at whenever a link changes."""
        end = time.monotonic() + _PATIENCE
        with self.start(["ip", "monitor", "link"], stdout=subprocess.PIPE) as monitor:
            assert monitor.stdout
            while not right(shown := self.run("ip", "-br", "link")):
                assert time.monotonic() < end, shown
                # The monitor does not say since when it listens: what changed before that is found here.
                if select.select([monitor.stdout], [], [], 0.5)[0]:
                    os.read(monitor.stdout.fileno(), 65536)
            monitor.kill()

    @contextlib.contextmanager
    def listening(self, port: int) -> Iterator[subprocess.Popen[str]]:
        """Listen on a port in here; each caller's address is a line of the process's output."""
        with self.start(
            [sys.executable, "-I", "-S", "-c", LISTEN, str(port)], stdout=subprocess.PIPE, text=True
        ) as made:
            assert made.stdout
            assert made.stdout.readline() == "ready\n"
            try:
                yield made
            finally:
                made.kill()

    def state(self) -> str:
        """Return interfaces, addresses, routes and rules: what must be again what it was."""
        return "".join(
            self.run(*words.split()).replace(" tentative", "")
            for words in (
                "ip -o -4 addr",
                "ip -o -6 addr",
                "ip -br link",
                "ip route",
                "ip -6 route",
                "nft list ruleset",
            )
        )

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Let it go."""
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout
        self._holder.stdout.close()


def cable(
    one: Host, two: Host, name: str, addresses: tuple[str, str], six: tuple[str, str] = ("", "")
) -> None:
    """Connect two hosts by a pair of interfaces of one name; addresses with their bits."""
    made = ("link", "add", name, "type", "veth", "peer", "name", name, "netns", str(two.pid))
    one.run("ip", *made)
    for host, four, other in ((one, addresses[0], six[0]), (two, addresses[1], six[1])):
        host.run("ip", "addr", "add", four, "dev", name)
        if other:
            host.run("ip", "-6", "addr", "add", other, "dev", name, "nodad")
        host.run("ip", "link", "set", name, "up")
