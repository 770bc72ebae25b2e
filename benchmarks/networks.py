"""Networks: names, throughput, and many containers on one."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from engines import Engine, Failed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scenarios import Bench

_NETWORK = "bench-net"
_MEBIBYTES = 2048
_PORT = 5000
_WAIT = ("sh", "-c", "trap 'exit 0' TERM; sleep 600 & wait")
_QUESTIONS = 2000
# Asks the container's own name server about its neighbour; prints the median of the answers' milliseconds.
_ASK = """
import socket, statistics, struct, sys, time
server, name, times = sys.argv[1], sys.argv[2].encode(), []
question = struct.pack(">HHHHHH", 7, 256, 1, 0, 0, 0) + bytes((len(name),)) + name + b"\\0\\0\\1\\0\\1"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
    asking.settimeout(5)
    asking.connect((server, 53))
    for _ in range(int(sys.argv[3])):
        began = time.perf_counter()
        asking.send(question)
        answer = asking.recv(512)
        times.append(time.perf_counter() - began)
        assert answer[7], "no address"
print(statistics.median(times) * 1000)
"""
# Small programs, as what images have (busybox's nc) is slower than any network here.
_SINK = """
import socket, sys
with socket.create_server(("", int(sys.argv[1]))) as server:
    print("ready", flush=True)
    with server.accept()[0] as client:
        piece = bytearray(1 << 20)
        while client.recv_into(piece):
            pass
"""
_SOURCE = """
import socket, sys
piece = bytes(1 << 20)
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as sock:
    for _ in range(int(sys.argv[3])):
        sock.sendall(piece)
    sock.shutdown(socket.SHUT_WR)
    sock.recv(1)  # the other's end: all has been read
"""


def _begin(engine: Engine, image: str, name: str, *words: str, command: tuple[str, ...] = _WAIT) -> None:
    engine.quietly("rm", "-f", name)
    engine.output("run", "-d", "--name", name, *words, image, *command)


def _address(engine: Engine, name: str) -> str:
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    return engine.output("inspect", "-f", template, name).split()[0]


def _names(engine: Engine, image: str) -> dict[str, float]:
    """Return how long the answer to a neighbour's name takes."""
    try:
        for name in ("bench-ask", "bench-peer"):
            _begin(engine, image, name, "--network", _NETWORK)
        server = (
            engine.output("exec", "bench-ask", "cat", "/etc/resolv.conf")
            .partition("nameserver ")[2]
            .split()[0]
        )
        asking = [*_inside(engine, "bench-ask"), sys.executable, "-I", "-S", "-c", _ASK]
        done = subprocess.run(
            [*asking, server, "bench-peer", str(_QUESTIONS)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Failed(f"{engine.name}: names: {done.stderr[-200:]}")
        return {"a neighbour's name is answered": float(done.stdout) / 1000}
    finally:
        engine.quietly("rm", "-f", "bench-ask", "bench-peer")


def _stream(engine: Engine, image: str) -> dict[str, float]:
    """Return how long two gibibytes take by TCP: from the host, and from a neighbour."""
    measured = {}
    try:
        for name in ("bench-peer", "bench-sink"):
            _begin(engine, image, name, "--network", _NETWORK)
        ip = _address(engine, "bench-sink")
        source = [sys.executable, "-I", "-S", "-c", _SOURCE, ip, str(_PORT), str(_MEBIBYTES)]
        for where, before in (("host", []), ("container", _inside(engine, "bench-peer"))):
            serve = [*_inside(engine, "bench-sink"), sys.executable, "-I", "-S", "-c", _SINK, str(_PORT)]
            with subprocess.Popen(serve, stdout=subprocess.PIPE) as sink:
                sink.stdout.readline()
                began = time.perf_counter()
                done = subprocess.run([*before, *source], check=False, timeout=300)
                seconds = time.perf_counter() - began
                sink.kill()
            if done.returncode:
                raise Failed(f"{engine.name}: {where} to container: exit {done.returncode}")
            measured[f"{_MEBIBYTES} MiB, {where} to container"] = seconds
    finally:
        engine.quietly("rm", "-f", "bench-peer", "bench-sink")
    return measured


def _inside(engine: Engine, name: str) -> list[str]:
    """Return what runs a program in a container's network namespace."""
    pid = engine.output("inspect", "-f", "{{.State.Pid}}", name).strip()
    return ["nsenter", f"--net=/proc/{pid}/ns/net"]


def _crowd(engine: Engine, image: str, count: int) -> dict[str, float]:
    """Return how long it takes until that many containers are up on one network."""
    names = [f"bench-crowd{number}" for number in range(count)]
    try:
        with ThreadPoolExecutor(8) as pool:
            began = time.perf_counter()
            words = ("--network", _NETWORK, image, *_WAIT)
            list(pool.map(lambda name: engine.timed("run", "-d", "--name", name, *words), names))
            return {f"{count} x run -d on one network": time.perf_counter() - began}
    finally:
        engine.quietly("rm", "-f", *names)


def _weights(engine: Engine, image: str) -> Iterator[tuple[str, float]]:
    """Yield what a container weighs in the engine's own processes, by its network."""
    for network in ("none", "bridge", _NETWORK):
        names = [f"bench-weight{number}" for number in range(10)]
        before = engine.memory()
        try:
            for name in names:
                _begin(engine, image, name, "--network", network)
            kind = {"none": "no network", "bridge": "default network"}.get(network, "names")
            yield f"memory per container, {kind}", (engine.memory() - before) / len(names)
        finally:
            engine.quietly("rm", "-f", *names)


def measure(bench: Bench, image: str) -> None:
    """Measure all of it for every engine, interleaved."""
    for engine in bench.engines:
        engine.quietly("network", "create", _NETWORK)
    heavy = bench.options.heavy
    try:
        bench.interleave(heavy, "names", lambda e: _names(e, image))
        bench.interleave(heavy, "throughput", lambda e: _stream(e, image))
        for engine in bench.engines:
            if engine.processes:
                for row, mebibytes in _weights(engine, image):
                    bench.results.add(row, engine.name, mebibytes, "MiB")
        bench.interleave(heavy, "crowd", lambda e: _crowd(e, image, 100))
        added = bench.results.samples.get("run --rm true, default network", {}).get("tiffin")
        bare = bench.results.samples.get("run --rm true, no network", {}).get("tiffin")
        if added and bare:
            extra = (statistics.median(added) - statistics.median(bare)) * 1000
            bench.results.facts.append(f"- tiffin's default network adds {extra:.1f} ms to a run (bound: 10)")
    finally:
        for engine in bench.engines:
            engine.quietly("network", "rm", _NETWORK)
