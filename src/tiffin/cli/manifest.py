"""manifest create, annotate, inspect, push, rm: lists of manifests made by hand."""

from __future__ import annotations

import json
import sys

from tiffin.cli.command import DONE, Command
from tiffin.cli.each import each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session

_MEMBERS = {"arch": "architecture", "os": "os", "os-version": "os.version", "variant": "variant"}


def create(parsed: Parsed, session: Session) -> int:
    """Make a list, or add to one, and print its name."""
    target, *manifests = parsed.arguments
    made = session.engine.manifests.create(
        target, manifests, amend=parsed.flag("amend"), insecure=parsed.flag("insecure")
    )
    sys.stdout.write(f"Created manifest list {made}\n")
    return 0


def annotate(parsed: Parsed, session: Session) -> int:
    """Say whose platform a manifest of a list is for."""
    target, manifest = parsed.arguments
    platform: dict[str, Any] = {
        member: parsed.text(flag) for flag, member in _MEMBERS.items() if parsed.given(flag)
    }
    if parsed.given("os-features"):
        platform["os.features"] = parsed.many("os-features")
    session.engine.manifests.annotate(target, manifest, platform)
    return 0


def inspect(parsed: Parsed, session: Session) -> int:
    """Print a list, or what a registry has, as JSON."""
    *within, manifest = parsed.arguments
    manifests, insecure = session.engine.manifests, parsed.flag("insecure")
    inside = within[0] if within else ""
    shown: object
    if parsed.flag("verbose"):
        found = manifests.details(manifest, within=inside, insecure=insecure)
        shown = found[0] if len(found) == 1 else list(found)
    else:
        shown = json.loads(manifests.inspect(manifest, within=inside, insecure=insecure))
    sys.stdout.write(json.dumps(shown, indent="\t", ensure_ascii=False) + "\n")
    return 0


def push(parsed: Parsed, session: Session) -> int:
    """Send a list; print what went with it and its digest."""
    sent = session.engine.manifests.push(
        parsed.arguments[0], purge=parsed.flag("purge"), insecure=parsed.flag("insecure")
    )
    for reference in sent.references:
        sys.stdout.write(f"Pushed ref {reference} with digest: {reference.partition('@')[2]}\n")
    sys.stdout.write(f"{sent.digest}\n")
    return 0


def remove(parsed: Parsed, session: Session) -> int:
    """Forget lists."""
    return each(parsed.arguments, session.engine.manifests.remove)


MANIFEST_ANNOTATE = Command(
    spellings=("manifest annotate",),
    usage="[OPTIONS] MANIFEST_LIST MANIFEST",
    short="Add additional information to a local image manifest",
    minimum=2,
    maximum=2,
    flags=(
        ("arch", "", "string", "Set architecture", "", DONE),
        ("os", "", "string", "Set operating system", "", DONE),
        ("os-features", "", "strings", "Set operating system feature", "", DONE),
        ("os-version", "", "string", "Set operating system version", "", DONE),
        ("variant", "", "string", "Set architecture variant", "", DONE),
    ),
    handler=annotate,
)
MANIFEST_CREATE = Command(
    spellings=("manifest create",),
    usage="MANIFEST_LIST MANIFEST [MANIFEST...]",
    short="Create a local manifest list for annotating and pushing to a registry",
    minimum=2,
    flags=(
        ("amend", "a", "bool", "Amend an existing manifest list", "", DONE),
        ("insecure", "", "bool", "Allow communication with an insecure registry", "", DONE),
    ),
    handler=create,
)
MANIFEST_INSPECT = Command(
    spellings=("manifest inspect",),
    usage="[OPTIONS] [MANIFEST_LIST] MANIFEST",
    short="Display an image manifest, or manifest list",
    minimum=1,
    maximum=2,
    flags=(
        ("insecure", "", "bool", "Allow communication with an insecure registry", "", DONE),
        ("verbose", "v", "bool", "Output additional info including layers and platform", "", DONE),
    ),
    handler=inspect,
)
MANIFEST_PUSH = Command(
    spellings=("manifest push",),
    usage="[OPTIONS] MANIFEST_LIST",
    short="Push a manifest list to a repository",
    minimum=1,
    maximum=1,
    flags=(
        ("insecure", "", "bool", "Allow push to an insecure registry", "", DONE),
        ("purge", "p", "bool", "Remove the local manifest list after push", "", DONE),
    ),
    handler=push,
)
MANIFEST_RM = Command(
    spellings=("manifest rm",),
    usage="MANIFEST_LIST [MANIFEST_LIST...]",
    short="Delete one or more manifest lists from local storage",
    minimum=1,
    handler=remove,
)
