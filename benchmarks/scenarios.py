"""What is measured.

Each scenario runs for every engine in turn, in an order that rotates with each round, so that the machine's
noise falls on all of them alike.
"""

from __future__ import annotations

import http.client
import os
import random
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import networks
from engines import Engine, Failed
from local import disk_after, group_archives, group_memory, group_tags

import rootless

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from report import Results

BASE = "localhost/bench-base:1"
# Ends at once when told to; a bare sleep as process 1 would not.
SLEEPER = ("sh", "-c", "trap 'exit 0' TERM; sleep 600 & wait")
EXAMPLES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "examples")


class Bench(NamedTuple):
    """Everything that a scenario needs."""

    engines: list[Engine]
    results: Results
    work: str
    options: argparse.Namespace

    def path(self, *parts: str) -> str:
        """Return a path in the scratch folder."""
        return os.path.join(self.work, *parts)

    def interleave(self, rounds: int, row: str, scenario: Callable[[Engine], dict[str, float]]) -> None:
        """Run a scenario `rounds` times for every engine, after one round that does not count.

        An engine that fails twice is left out of the rest; `row` names the scenario in the list of failures.
        """
        strikes = dict.fromkeys((e.name for e in self.engines), 0)
        for number in range(-1, rounds):
            turn = number % len(self.engines)
            for engine in self.engines[turn:] + self.engines[:turn]:
                if strikes[engine.name] > 1:
                    continue
                try:
                    measured = scenario(engine)
                except (Failed, OSError) as error:
                    strikes[engine.name] += 1
                    self.results.fail(row, engine.name, str(error))
                    continue
                for name, seconds in measured.items() if number >= 0 else ():
                    self.results.add(name, engine.name, seconds)

    def close(self) -> None:
        """Remove what the engines still hold of ours."""
        for engine in self.engines:
            engine.quietly("rmi", "-f", BASE)


def version(engine: Engine) -> str:
    """Return the engine's version: docker's server may be another than its client."""
    text = engine.output("version")
    found = text.partition("Server:")[2].partition("Version:")[2] or text.partition("Version:")[2] or text
    return found.split()[0]


def prepare(bench: Bench) -> None:
    """Give every engine the base image; leave out engines that cannot run it."""
    context = bench.path("base")
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(f"{EXAMPLES}/base", context)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", f"{context}/busybox")
    for engine in list(bench.engines):
        try:
            engine.output("build", "-t", BASE, context)
            if engine.output("run", "--rm", "--network", "none", BASE, "echo", "ok").strip() != "ok":
                raise Failed(f"{engine.name}: the base image does not run")
            bench.results.facts.append(f"- {engine.name}: {version(engine)}")
        except Failed as error:
            bench.engines.remove(engine)
            bench.results.fail("the base image", engine.name, str(error))


def group_run(bench: Bench) -> None:
    """A container that ends at once."""
    for network, words in {"no": ["--network", "none"], "host": ["--network", "host"], "default": []}.items():
        row = f"run --rm true, {network} network"
        bench.interleave(
            bench.options.rounds, row, lambda e, w=words, r=row: {r: e.timed("run", "--rm", *w, BASE, "true")}
        )


def group_life(bench: Bench) -> None:
    """The verbs of a container's life, one after the other."""

    def life(engine: Engine) -> dict[str, float]:
        one, two, isolated = "bench-one", "bench-two", ("--network", "none")
        engine.quietly("rm", "-f", one, two)
        measured = {}
        try:
            measured["run -d"] = engine.timed("run", "-d", "--name", one, *isolated, BASE, *SLEEPER)
            measured["exec true"] = statistics.median(engine.timed("exec", one, "true") for _ in range(3))
            measured["rm -f, running"] = engine.timed("rm", "-f", one)
            measured["create"] = engine.timed("create", "--name", two, *isolated, BASE, *SLEEPER)
            measured["start"] = engine.timed("start", two)
            measured["stop -t 0"] = engine.timed("stop", "-t", "0", two)
            measured["rm, stopped"] = engine.timed("rm", two)
        except Failed:
            engine.quietly("rm", "-f", one, two)
            raise
        return measured

    bench.interleave(bench.options.rounds, "life", life)


def group_list(bench: Bench) -> None:
    """Questions, with 100 containers and 50 tags to answer about."""
    names = [f"bench-list{number}" for number in range(100)]
    tags = [f"localhost/bench-tag{number}:1" for number in range(50)]
    for engine in bench.engines:
        for name in names:
            engine.quietly("create", "--name", name, "--network", "none", BASE, "true")
        for tag in tags:
            engine.quietly("tag", BASE, tag)
    questions = {
        "ps -a, 100 containers": ("ps", "-a"),
        "images, 50 tags": ("images",),
        "inspect one container": ("inspect", names[50]),
        "version": ("version",),
    }
    bench.interleave(
        bench.options.rounds, "list", lambda e: {row: e.timed(*words) for row, words in questions.items()}
    )
    for engine in bench.engines:
        engine.quietly("rm", "-f", *names)
        engine.quietly("rmi", *tags)


TEN_STEPS = f"""FROM {BASE}
LABEL a=b
ENV X=1
WORKDIR /srv/app
COPY first.txt /srv/app/
RUN mkdir -p /srv/data && echo one > /srv/data/1
RUN echo two > /srv/data/2
COPY lib /srv/app/lib
RUN cat /srv/app/first.txt > /srv/data/3
COPY last.txt /srv/app/
"""
STAGES = "".join(f"FROM {BASE} AS s{n}\nRUN sleep 2 && echo {n} > /out\n" for n in (1, 2, 3))
STAGES += f"FROM {BASE}\n" + "".join(f"COPY --from=s{n} /out /o{n}\n" for n in (1, 2, 3))


def write(path: str, content: str | bytes) -> None:
    """Write a file, and the folders above it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def _ten_steps(bench: Bench) -> str:
    """Return a context with ten small steps."""
    ten = bench.path("ten")
    write(f"{ten}/Dockerfile", TEN_STEPS)
    write(f"{ten}/first.txt", "1")
    for number in range(50):
        write(f"{ten}/lib/m{number}.py", f"x = {number}\n" * 50)
    return ten


def group_build(bench: Bench) -> None:
    """Builds: ten small steps, independent stages, a large context."""
    ten, stages, large = _ten_steps(bench), bench.path("stages"), bench.path("large")
    write(f"{stages}/Dockerfile", STAGES)
    write(f"{large}/Dockerfile", f"FROM {BASE}\nCOPY . /context\n")
    noise = random.Random(7)
    for number in range(5000):
        write(f"{large}/src/d{number % 50}/f{number}.txt", noise.randbytes(600).hex())
    for number in range(4):
        write(f"{large}/data/blob{number}", noise.randbytes(48 << 20))
    image = "localhost/bench-built:1"

    def steps(engine: Engine) -> dict[str, float]:
        write(f"{ten}/last.txt", str(time.time_ns()))
        measured = {"build 10 steps, no cache": engine.timed("build", "--no-cache", "-t", image, ten)}
        cached = [engine.timed("build", "-t", image, ten) for _ in range(3)]
        measured["build 10 steps, cached"] = statistics.median(cached)
        write(f"{ten}/last.txt", str(time.time_ns()))
        measured["build 10 steps, last file changed"] = engine.timed("build", "-t", image, ten)
        return measured

    def context(engine: Engine) -> dict[str, float]:
        os.sync()
        first = engine.timed("build", "--no-cache", "-t", image, large)
        again = engine.timed("build", "-t", image, large)
        row = "build 5,000 files / 200 MB"
        return {f"{row}, no cache": first, f"{row}, nothing changed": again}

    row = "build 3 independent stages of sleep 2"
    bench.interleave(max(3, bench.options.rounds // 3), "build 10 steps", steps)
    bench.interleave(
        bench.options.heavy, row, lambda e: {row: e.timed("build", "--no-cache", "-t", image, stages)}
    )
    bench.interleave(bench.options.heavy, "build 5,000 files / 200 MB", context)
    for engine in bench.engines:
        engine.quietly("rmi", "-f", image)
        engine.quietly("image", "prune", "-f")


class Registry:
    """A registry of our own with nothing in it, on a free port of the loopback."""

    def __init__(self, work: str) -> None:
        """Start it and wait until it answers."""
        self.folder = tempfile.mkdtemp(prefix="registry-", dir=work)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        storage = f"storage: {{filesystem: {{rootdirectory: {self.folder}/data}}}}"
        write(
            f"{self.folder}/config.yml",
            f"version: 0.1\nlog: {{level: error}}\n{storage}\nhttp: {{addr: '{self.address}'}}\n",
        )
        with open(f"{self.folder}/log", "wb") as log:
            command = ["docker-registry", "serve", f"{self.folder}/config.yml"]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(200):
            try:
                http.client.HTTPConnection("127.0.0.1", self.port, timeout=2).request("GET", "/v2/")
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise Failed("docker-registry does not answer")

    def close(self) -> None:
        """Stop it and forget what it holds."""
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _images(bench: Bench) -> dict[str, str]:
    """Return name -> build context of the images that travel."""
    noise = random.Random(11)
    heavy, many = bench.path("heavy"), bench.path("many")
    for number in range(5):
        write(f"{heavy}/blob{number}", noise.randbytes(40 << 20))
    write(f"{heavy}/Dockerfile", "FROM scratch\n" + "".join(f"COPY blob{n} /blob{n}\n" for n in range(5)))
    text = noise.randbytes(1 << 20).hex()
    for number in range(20_000):
        size, start = min(40_000, int(noise.expovariate(1 / 2000)) + 1), noise.randrange(1 << 20)
        write(f"{many}/srv/d{number // 100}/f{number}.txt", text[start : start + size])
    write(f"{many}/Dockerfile", "FROM scratch\nCOPY srv /srv\n")
    contexts = {"5 x 40 MB": heavy, "20,000 files": many}
    if bench.options.rootfs:
        contexts["root file system"] = bench.path("rootfs")
        write(f"{contexts['root file system']}/Dockerfile", "FROM scratch\nADD rootfs.tar /\n")
        shutil.copy(bench.options.rootfs, f"{contexts['root file system']}/rootfs.tar")
    return contexts


def group_registry(bench: Bench) -> None:
    """Images to an empty registry, and from a registry where all engines find the same bytes."""
    contexts = _images(bench)
    shared = Registry(bench.work)
    try:
        for number, (name, context) in enumerate(contexts.items()):
            local, remote = f"localhost/bench-travel{number}:1", f"{shared.address}/bench/{number}:1"
            for engine in bench.engines:
                engine.quietly("build", "-t", local, context)
            _push(bench, name, local)
            # One engine's push is what all of them pull: a peer's, where there is one.
            publisher = bench.engines[-1]
            publisher.output("tag", local, remote)
            publisher.output("push", remote)
            for engine in bench.engines:
                engine.quietly("rmi", "-f", local, remote)
                engine.quietly("builder", "prune", "-f")
            _pull(bench, name, remote)
            disk_after(bench, name, remote)
    finally:
        shared.close()


def _push(bench: Bench, name: str, local: str) -> None:
    def push(engine: Engine) -> dict[str, float]:
        registry = Registry(bench.work)
        remote = f"{registry.address}/bench/pushed:1"
        try:
            engine.output("tag", local, remote)
            os.sync()
            return {f"push {name}": engine.timed("push", remote)}
        finally:
            engine.quietly("rmi", remote)
            registry.close()

    bench.interleave(bench.options.heavy, f"push {name}", push)


def _pull(bench: Bench, name: str, remote: str) -> None:
    def pull(engine: Engine) -> dict[str, float]:
        engine.quietly("rmi", "-f", remote)
        os.sync()
        try:
            seconds = engine.timed("pull", remote)
        finally:
            engine.quietly("rmi", "-f", remote)
        return {f"pull {name}": seconds}

    bench.interleave(bench.options.heavy, f"pull {name}", pull)


def group_many(bench: Bench) -> None:
    """Thirty containers at once, and what an engine's own processes weigh while they run."""
    names = [f"bench-many{number}" for number in range(30)]

    def many(engine: Engine) -> dict[str, float]:
        engine.quietly("rm", "-f", *names)
        before = engine.memory() if engine.processes else 0.0
        try:
            with ThreadPoolExecutor(len(names)) as pool:
                began = time.perf_counter()
                words = ("--network", "none", BASE, *SLEEPER)
                list(pool.map(lambda name: engine.timed("run", "-d", "--name", name, *words), names))
                seconds = time.perf_counter() - began
            if engine.processes:
                grown = (engine.memory() - before) / len(names)
                bench.results.add("memory per running container", engine.name, grown, "MiB")
        finally:
            engine.quietly("rm", "-f", *names)
        return {"30 x run -d at once": seconds}

    bench.interleave(bench.options.heavy, "many", many)


def group_network(bench: Bench) -> None:
    """Names, throughput and many containers on one network."""
    networks.measure(bench, BASE)


def group_rootless(bench: Bench) -> None:
    """Ordinary users: `run` beside podman's, builds and pulls beside our own root's."""
    root, heavy = bench.engines[0], bench.options.heavy
    ten, many = _ten_steps(bench), _images(bench)["20,000 files"]
    local, shared = "localhost/bench-travel:1", Registry(bench.work)
    remote = f"{shared.address}/bench/many:1"
    try:
        root.output("build", "-t", local, many)
        root.output("tag", local, remote)
        root.output("push", remote)
        root.quietly("rmi", "-f", local, remote)
        root.quietly("builder", "prune", "-af")  # or its layers would still be here
        with rootless.Users(bench, bench.path("base")).engines(BASE) as users:
            rootless.runs(bench, users, BASE)
            for rung in ("subids", "single"):
                pair = users[rung], root
                for row, scenario in (
                    ("build 10 steps, no cache", rootless.building(ten)),
                    ("pull 20,000 files", rootless.pulling(remote)),
                ):
                    name = f"{row}, as a user ({rung})"
                    rootless.against_root(bench.results, name, heavy, pair, scenario)
    finally:
        shared.close()


GROUPS = {
    "run": group_run,
    "life": group_life,
    "list": group_list,
    "build": group_build,
    "registry": group_registry,
    "archives": group_archives,
    "tags": group_tags,
    "memory": group_memory,
    "many": group_many,
    "network": group_network,
    "rootless": group_rootless,
}
