"""What may have been meant by a command that does not exist."""

from __future__ import annotations


def commands(said: str) -> list[str]:
    """Return up to five commands near to what was said: the same verb elsewhere, then near misses."""
    from tiffin.cli.index import INDEX

    verb = said.rpartition(" ")[2]
    known = [name for name in INDEX if not name.startswith("internal")]
    same = [name for name in known if name.rpartition(" ")[2] == verb and _is_built(INDEX[name])]
    if same:
        order = {"image": 0, "container": 1, "builder": 2, "system": 3}
        return sorted(same, key=lambda name: (order.get(name.partition(" ")[0], 9), name))[:6]
    limit = 1 if len(verb) < 4 else 2
    scored = sorted((distance(said, name), name) for name in known)
    best = [(score, name) for score, name in scored if score <= limit]
    return [name for score, name in best if score == best[0][0]][:6]


def _is_built(entry: str) -> bool:
    return not entry.startswith("unbuilt.") or entry.endswith(":SYSTEM_PRUNE")


def distance(left: str, right: str) -> int:
    """Count the letters to insert, delete, replace or swap (Damerau-Levenshtein, adjacent swaps)."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        before, last, row = row, before, [i]
        for j, b in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
