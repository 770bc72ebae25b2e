"""Groups of commands, unknown commands, and the page of all: what is answered when no command was found."""

from __future__ import annotations

import sys

from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Group(Value):
    """A noun that holds commands: its place in the list of `tiffin --help`, and one line about it."""

    name: str
    short: str
    section: str = "Management Commands"


GROUPS = (
    Group(name="builder", short="Manage builds"),
    Group(name="checkpoint", short="Manage checkpoints"),
    Group(name="container", short="Manage containers"),
    Group(name="context", short="Manage contexts"),
    Group(name="generate", short="Generate files for other programs"),
    Group(name="image", short="Manage images"),
    Group(name="manifest", short="Manage Docker image manifests and manifest lists"),
    Group(name="network", short="Manage networks"),
    Group(name="plugin", short="Manage plugins"),
    Group(name="registry", short="Serve a registry"),
    Group(name="system", short="Manage Docker"),
    Group(name="trust", short="Manage trust on Docker images"),
    Group(name="trust key", short="Manage keys for signing Docker images"),
    Group(name="trust signer", short="Manage entities who can sign Docker images"),
    Group(name="volume", short="Manage volumes"),
    Group(name="config", short="Manage Swarm configs", section="Swarm Commands"),
    Group(name="node", short="Manage Swarm nodes", section="Swarm Commands"),
    Group(name="secret", short="Manage Swarm secrets", section="Swarm Commands"),
    Group(name="service", short="Manage Swarm services", section="Swarm Commands"),
    Group(name="stack", short="Manage Swarm stacks", section="Swarm Commands"),
    Group(name="swarm", short="Manage Swarm", section="Swarm Commands"),
)


def answer(words: Sequence[str]) -> int:
    """Answer words that are no command: a group's list, `help`, or what may have been meant."""
    from tiffin.cli import help as helping

    asked = [word for word in words if word != "--help"]
    if asked[:1] == ["help"]:
        return _help(asked[1:])
    if not asked:
        sys.stdout.write(helping.front_page())
        return 0
    for length in (2, 1):
        found = next((g for g in GROUPS if g.name.split() == asked[:length]), None)
        if found and len(asked) == len(found.name.split()):
            stream = sys.stdout if "--help" in words else sys.stderr
            stream.write(helping.group_page(found))
            return 0
        if found:
            return _unknown(asked[: len(found.name.split()) + 1], found)
    return _unknown(asked[:1], None)


def _help(words: Sequence[str]) -> int:
    from tiffin.cli import help as helping
    from tiffin.cli.entry import run

    if not words:
        sys.stdout.write(helping.front_page())
        return 0
    return run([*words, "--help"])


def _unknown(words: Sequence[str], inside: Group | None) -> int:
    from tiffin.cli import suggest

    said = " ".join(words)
    where = f"tiffin {inside.name}" if inside else "tiffin"
    sys.stderr.write(f"tiffin: unknown command: tiffin {said}\n\n")
    near = suggest.commands(said)
    if near:
        sys.stderr.write("Did you mean: " + ", ".join(f"tiffin {name}" for name in near) + "?\n")
    if inside:
        sys.stderr.write(f"Usage:  {where}\n\n")
    sys.stderr.write(f"Run '{where} --help' for more information\n")
    return 1
