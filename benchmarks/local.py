"""Images without a registry: archives, commits, long lists, what lies on disk, memory for a huge layer."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
from typing import TYPE_CHECKING

from engines import Engine, Failed

if TYPE_CHECKING:
    from scenarios import Bench

_CHUNK = 1 << 20


def group_archives(bench: Bench) -> None:
    """Save and load of one image, the same archive for all; commit of 50 MB."""
    context = bench.path("archive")
    base, image, container = "localhost/bench-base:1", "localhost/bench-archive:1", "bench-commit"
    noise = random.Random(13)
    os.makedirs(context, exist_ok=True)
    for number in range(5):
        with open(f"{context}/blob{number}", "wb") as stream:
            stream.write(noise.randbytes(32 * _CHUNK))
    lines = ["FROM scratch"] + [f"COPY blob{number} /" for number in range(5)]
    if bench.options.rootfs:
        lines = ["FROM scratch", f"ADD {os.path.basename(bench.options.rootfs)} /"]
        os.link(bench.options.rootfs, f"{context}/{os.path.basename(bench.options.rootfs)}")
    with open(f"{context}/Dockerfile", "w") as stream:
        stream.write("\n".join(lines) + "\n")
    for engine in bench.engines:
        engine.quietly("build", "-t", image, context)
    common = bench.path("common.tar")
    bench.engines[-1].output("save", "-o", common, image)

    def travel(engine: Engine) -> dict[str, float]:
        path = bench.path(f"{engine.name}.tar")
        os.sync()
        measured = {"save": engine.timed("save", "-o", path, image)}
        os.unlink(path)
        engine.quietly("rmi", "-f", image)
        engine.quietly("builder", "prune", "-af")
        os.sync()
        return measured | {"load": engine.timed("load", "-i", common)}

    def commit(engine: Engine) -> dict[str, float]:
        engine.quietly("rm", "-f", container)
        fill = "dd if=/dev/urandom of=/data bs=1M count=50"
        engine.output("run", "--name", container, "--network", "none", base, "sh", "-c", fill)
        os.sync()
        try:
            return {"commit of 50 MB": engine.timed("commit", container, "localhost/bench-commit:1")}
        finally:
            engine.quietly("rm", "-f", container)
            engine.quietly("rmi", "-f", "localhost/bench-commit:1")

    bench.interleave(bench.options.heavy, "save and load", travel)
    bench.interleave(bench.options.heavy, "commit of 50 MB", commit)
    for engine in bench.engines:
        engine.quietly("rmi", "-f", image)


def group_tags(bench: Bench) -> None:
    """The list of images with ten and with a thousand tags: what a tag costs."""
    tags = [f"localhost/bench-many{number}:1" for number in range(1000)]
    rounds = max(3, bench.options.rounds // 2)
    made = 0
    for count in (10, 1000):
        for engine in bench.engines:
            for tag in tags[made:count]:
                engine.quietly("tag", "localhost/bench-base:1", tag)
        made = count
        row = f"images, {count:,} tags"
        bench.interleave(rounds, row, lambda engine, row=row: {row: engine.timed("images")})
    for engine in bench.engines:
        for start in range(0, len(tags), 100):
            engine.quietly("rmi", *tags[start : start + 100])
    for name, values in bench.results.samples.get("images, 1,000 tags", {}).items():
        few = statistics.median(bench.results.samples["images, 10 tags"][name])
        bench.results.facts.append(
            f"- {name}: `images` of 1,000 tags takes {statistics.median(values) / few:.2f} x its time with 10"
        )


def _root_of(engine: Engine) -> str:
    for template in ("{{.DockerRootDir}}", "{{.Store.GraphRoot}}"):
        try:
            found = engine.output("info", "--format", template).strip()
        except Failed:
            continue
        if os.path.isdir(found):
            return found
    raise Failed(f"{engine.name} does not say where its files are")


def _used(folder: str) -> float:
    os.sync()
    done = subprocess.run(["du", "-sx", "-B1", folder], capture_output=True, check=False, text=True)
    return int(done.stdout.split()[0]) / (1 << 20)


def disk_after(bench: Bench, name: str, remote: str) -> None:
    """Measure how much more lies on each engine's disk after a pull than before."""
    for engine in bench.engines:
        try:
            root = _root_of(engine)
            engine.quietly("rmi", "-f", remote)
            before = _used(root)
            engine.output("pull", remote)
            bench.results.add(f"disk used by {name}", engine.name, _used(root) - before, "MiB")
        except (Failed, OSError) as error:
            bench.results.fail(f"disk used by {name}", engine.name, str(error))
        finally:
            engine.quietly("rmi", "-f", remote)


def _largest(engine: Engine, *words: str) -> float:
    """Run a command; return the resident bytes of the largest of its processes, in MiB."""
    with open(os.devnull, "r+b") as nothing:
        process = subprocess.Popen(
            engine.arguments(*words), env=engine.environment, stdin=nothing, stdout=nothing, stderr=nothing
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise Failed(f"{engine.name} {words[0]}: exit {process.returncode}")
    return usage.ru_maxrss / 1024


def group_memory(bench: Bench) -> None:
    """Tiffin's largest process while an image with one huge layer is built, saved, loaded and committed."""
    engine, context, image = bench.engines[0], bench.path("huge"), "localhost/bench-huge:1"
    os.makedirs(context, exist_ok=True)
    noise = random.Random(17).randbytes(_CHUNK)
    with open(f"{context}/huge", "wb") as stream:
        turns = (number % 997 for number in range(bench.options.large << 10))
        pieces = (noise[turn:] + noise[:turn] for turn in turns)
        stream.writelines(pieces)
    with open(f"{context}/Dockerfile", "w") as stream:
        stream.write("FROM localhost/bench-base:1\nCOPY huge /\n")
    row, path = f"largest process, {bench.options.large} GB layer", bench.path("huge.tar")
    copy = ("run", "--name", "bench-huge", "--network", "none", image, "cp", "/huge", "/copy")
    commit = ("commit", "bench-huge", "localhost/bench-huge:2")
    steps = (
        ("build COPY", ("build", "-t", image, context)),
        ("save", ("save", "-o", path, image)),
        ("load", ("load", "-i", path)),
        ("commit", commit),
        ("fsck", ("fsck",)),
    )
    try:
        for name, words in steps:
            if name == "load":
                engine.quietly("rmi", "-f", image)
                engine.quietly("builder", "prune", "-af")
            if name == "commit":
                os.unlink(path)
                engine.output(*copy)
            bench.results.add(f"{row}: {name}", engine.name, _largest(engine, *words), "MiB")
    except Failed as error:
        bench.results.fail(row, engine.name, str(error))
    finally:
        os.unlink(f"{context}/huge")
        engine.quietly("rm", "-f", "bench-huge")
        engine.quietly("rmi", "-f", image, "localhost/bench-huge:2")
