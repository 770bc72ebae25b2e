"""Samples, and the table made of them."""

from __future__ import annotations

import os
import platform
import statistics
import time
from typing import Any

# The ratio to the best peer that a row must not exceed; a row without one is information.
TARGETS = {
    "run --rm true, no network": 0.35,
    "run --rm true, no network, as a user (subids)": 0.3,
    "run --rm true, no network, as a user (single)": 0.3,
    "run --rm true, default network": 0.25,
    "run -d": 0.4,
    "exec true": 0.5,
    "create": 0.9,
    "start": 0.5,
    "stop -t 0": 0.5,
    "rm -f, running": 0.5,
    "ps -a, 100 containers": 1.0,
    "images, 50 tags": 1.4,
    "build 10 steps, no cache": 0.3,
    "build 10 steps, cached": 0.8,
    "build 10 steps, last file changed": 0.35,
    "build 3 independent stages of sleep 2": 0.85,
    "build 5,000 files / 200 MB, no cache": 0.6,
    "build 5,000 files / 200 MB, nothing changed": 0.4,
    "pull 5 x 40 MB": 0.5,
    "pull 20,000 files": 0.5,
    "pull root file system": 0.4,
    "push 5 x 40 MB": 0.7,
    "push 20,000 files": 0.7,
    "push root file system": 0.5,
    "load": 0.5,
    "save": 0.7,
    "commit of 50 MB": 0.8,
    "30 x run -d at once": 0.4,
    "2048 MiB, host to container": 1.0,
    "2048 MiB, container to container": 1.0,
    "100 x run -d on one network": 0.5,
}


class Results:
    """Seconds (or MiB) by row and engine, failures beside them."""

    def __init__(self, names: list[str]) -> None:
        """`names` are the columns; the first is tiffin."""
        self.names = names
        self.samples: dict[str, dict[str, list[float]]] = {}
        self.units: dict[str, str] = {}
        self.failures: dict[str, dict[str, str]] = {}
        self.facts: list[str] = []
        self.began = time.time()

    def add(self, row: str, name: str, value: float, unit: str = "s") -> None:
        """Keep one sample."""
        self.samples.setdefault(row, {}).setdefault(name, []).append(value)
        self.units[row] = unit

    def fail(self, row: str, name: str, why: str) -> None:
        """Keep one failure: it is shown, never hidden."""
        self.failures.setdefault(row, {})[name] = " ".join(why.split())

    def as_json(self) -> dict[str, Any]:
        """Return everything, for another program."""
        return {"names": self.names, "samples": self.samples, "units": self.units, "failures": self.failures}

    def ratio(self, row: str) -> float | None:
        """Return tiffin's median over the best other median."""
        medians = {name: statistics.median(values) for name, values in self.samples[row].items()}
        mine = medians.pop(self.names[0], None)
        return mine / min(medians.values()) if mine is not None and medians else None


def _amount(value: float, unit: str) -> str:
    if unit != "s":
        return f"{value:.2f} {unit}"
    if value < 0.001:
        return f"{value * 1000:.3f} ms"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def _cell(results: Results, row: str, name: str) -> str:
    values = results.samples[row].get(name)
    if not values:
        return "failed" if name in results.failures.get(row, {}) else "-"
    unit = results.units[row]
    last = sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)]
    return f"{_amount(statistics.median(values), unit)} ({_amount(last, unit)})"


def _verdict(results: Results, row: str) -> str:
    ratio, target = results.ratio(row), TARGETS.get(row)
    if ratio is None:
        return "- | - | -"
    held = "" if target is None else "yes" if ratio <= target else "**no**"
    return f"{ratio:.2f} | {target or ''} | {held}"


def markdown(results: Results) -> str:
    """Return the table, the facts around it and the failures."""
    names = results.names
    day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(results.began))
    lines = [
        f"{day}, {os.cpu_count()} CPUs, Linux {platform.release()}, {time.time() - results.began:.0f} s.",
        "Median (95th percentile); the ratio is tiffin's median to that of the best peer.",
        "",
        *results.facts,
        "",
        f"| | {' | '.join(names)} | n | ratio | target | held |",
        f"|---|{'---|' * len(names)}---|---|---|---|",
    ]
    for row, per_engine in results.samples.items():
        cells = " | ".join(_cell(results, row, name) for name in names)
        count = max(map(len, per_engine.values()))
        lines.append(f"| {row} | {cells} | {count} | {_verdict(results, row)} |")
    if results.failures:
        lines += ["", "Failures:", ""]
    for row, per_engine in results.failures.items():
        lines += [f"- {row}, {name}: {why[:300]}" for name, why in per_engine.items()]
    return "\n".join(lines) + "\n"
