"""An engine is a command that understands docker's words; here it is called and timed."""

from __future__ import annotations

import glob
import os
import re
import shlex
import subprocess
import tempfile
import threading
import time

_PATIENCE = 600.0
"""Seconds after which a command has failed."""


class Failed(Exception):
    """A command that ended with an error; the text is its last words."""


class Engine:
    """One engine: how it is called, and which processes are its own."""

    def __init__(self, name: str, command: list[str]) -> None:
        """Know podman's differences: plain HTTP must be asked for, and `rm -f` waits ten seconds."""
        self.name = name
        self.command = command
        self.environment = dict(os.environ)
        self.processes = ""
        self.extra: dict[str, list[str]] = {}
        if "podman" in name:
            insecure = ["--tls-verify=false"]
            self.extra = {"push": insecure, "pull": insecure, "rm-f": ["-t", "0"]}

    def arguments(self, *words: str) -> list[str]:
        """Return the whole command line of one verb."""
        verb = "rm-f" if words[0] == "rm" and "-f" in words else words[0]
        return [*self.command, words[0], *self.extra.get(verb, []), *words[1:]]

    def timed(self, *words: str) -> float:
        """Run a command to its end; return its seconds, raise Failed where it ends badly.

        stderr goes to an unlinked file and the wait has no timeout, because a pipe's reader, or the steps in
        which a timed wait polls, would be measured too.
        """
        with tempfile.TemporaryFile() as errors:
            began = time.perf_counter()
            process = subprocess.Popen(
                self.arguments(*words),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
            watchdog = threading.Timer(_PATIENCE, process.kill)
            watchdog.start()
            status = process.wait()
            seconds = time.perf_counter() - began
            watchdog.cancel()
            if status:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip()[-300:]
                raise Failed(f"{self.name} {shlex.join(words[:3])}: exit {status}: {said}")
        return seconds

    def quietly(self, *words: str) -> None:
        """Run a command whose failure does not matter."""
        subprocess.run(
            self.arguments(*words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )

    def output(self, *words: str) -> str:
        """Return what a command prints; raise Failed where it ends badly."""
        done = subprocess.run(
            self.arguments(*words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise Failed(
                f"{self.name} {shlex.join(words[:3])}: {done.stderr.decode(errors='replace')[-300:]}"
            )
        return done.stdout.decode(errors="replace")

    def memory(self) -> float:
        """Return the proportional set size of the engine's own processes, in MiB."""
        total = 0
        for folder in glob.glob("/proc/[0-9]*"):
            try:
                with open(f"{folder}/cmdline", "rb") as stream:
                    line = stream.read().replace(b"\0", b" ").decode(errors="replace")
                if int(folder[6:]) == os.getpid() or not re.search(self.processes, line):
                    continue
                with open(f"{folder}/smaps_rollup") as stream:
                    total += int(re.search(r"^Pss:\s+(\d+)", stream.read(), re.MULTILINE)[1])
            except (OSError, TypeError):
                continue
        return total / 1024
