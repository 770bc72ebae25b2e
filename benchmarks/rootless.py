"""Ordinary users: against podman without root, and against tiffin's own root."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING

from engines import Engine, Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from report import Results
    from scenarios import Bench

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Users:
    """Engines as two users who were made for it, one with subordinate ids and one with one id."""

    def __init__(self, bench: Bench, context: str) -> None:
        """Remember tiffin's command, which the users must be able to read."""
        self.root = bench.engines[0]
        self.context = context
        os.chmod(bench.work, 0o755)  # noqa: S103 - users read the wheel and the contexts

    @contextlib.contextmanager
    def engines(self, image: str) -> Iterator[dict[str, Engine]]:
        """Make the users; yield their engines, which have the base image, and remove all of it."""
        sys.path.insert(0, REPOSITORY)
        from tests.accounts import account

        with account("subids") as subids, account("single") as single:
            made = {
                rung: Engine("tiffin", user.argv(self.root.command[0]))
                for rung, user in (("subids", subids), ("single", single))
            }
            if shutil.which("podman"):
                made["podman"] = Engine("podman", subids.argv("podman", "--cgroup-manager=cgroupfs"))
                made["podman"].extra["build"] = ["--network", "none"]
                # On hosts with both kinds of cgroups crun must not see the newer one there.
                made["podman"].quietly("unshare", "mount", "-t", "tmpfs", "none", "/sys/fs/cgroup/unified")
            try:
                for engine in made.values():
                    engine.output("build", "-t", image, self.context)
                yield made
            finally:
                for name in ("subids", "single"):
                    made[name].quietly("system", "reset", "--force")
                if "podman" in made:
                    made["podman"].quietly("system", "reset", "--force")


def runs(bench: Bench, users: dict[str, Engine], image: str) -> None:
    """A container that ends at once: each of our rungs beside podman with subordinate ids."""
    for rung in ("subids", "single"):
        engines = [users[name] for name in (rung, "podman") if name in users]
        row = f"run --rm true, no network, as a user ({rung})"
        bench._replace(engines=engines).interleave(
            bench.options.rounds,
            row,
            lambda e, r=row: {r: e.timed("run", "--rm", "--network", "none", image, "true")},
        )


def against_root(
    results: Results, row: str, rounds: int, pair: tuple[Engine, Engine], scenario: Callable[[Engine], float]
) -> None:
    """Keep how many times root's seconds a user takes, the two of them in turn."""
    user, root = pair
    for number in range(-1, rounds):
        try:
            order = (user, root) if number % 2 else (root, user)
            seconds = {engine: scenario(engine) for engine in order}
        except Failed as error:
            results.fail(row, "tiffin", str(error))
            return
        if number >= 0:
            results.add(row, "tiffin", seconds[user] / seconds[root], "x root's")


def building(folder: str) -> Callable[[Engine], float]:
    """Return the building of ten steps, one file of which changes each time."""

    def build(engine: Engine) -> float:
        with open(f"{folder}/last.txt", "w") as stream:
            stream.write(str(time.time_ns()))
        return engine.timed("build", "--no-cache", "-t", "localhost/bench-built:1", folder)

    return build


def pulling(remote: str) -> Callable[[Engine], float]:
    """Return the pulling of an image that is not there."""

    def pull(engine: Engine) -> float:
        engine.quietly("rmi", "-f", remote)
        os.sync()
        return engine.timed("pull", remote)

    return pull
