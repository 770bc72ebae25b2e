"""pull and push: images from and to registries."""

from __future__ import annotations

import sys

from tiffin.cli.command import DONE, Command
from tiffin.cli.format import size
from tiffin.cli.progress import Transfer
from tiffin.errors import InvalidArgument
from tiffin.spec import digest
from tiffin.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session
    from tiffin.engine.planning import PullPlan


CONTENT_TRUST = "differs: accepted, as there is no content trust to turn off"


def pull(parsed: Parsed, session: Session) -> int:
    """Pull one image, or every tag of a repository; print its full name last."""
    reference = _reference(parsed, "pull")
    every, quiet = parsed.flag("all-tags"), parsed.flag("quiet")
    if every and (reference.tag or reference.digest):
        raise InvalidArgument("tag can't be used with --all-tags/-a")
    if not every and not quiet and not (reference.tag or reference.digest):
        sys.stdout.write("Using default tag: latest\n")
    images = session.engine.images
    platform = parsed.text("platform")
    if parsed.flag("plan"):
        if every or quiet:
            raise InvalidArgument("--plan is about one image, and what it says is all there is to say")
        _show_plan(images.plan_pull(parsed.arguments[0], platform=platform))
        return 0
    show = Transfer(sys.stdout, quiet=quiet)
    try:
        if every:
            images.pull_all(parsed.arguments[0], platform=platform, progress=show)
        else:
            images.pull(parsed.arguments[0], platform=platform, progress=show)
    finally:
        show.close()
    sys.stdout.write(f"{reference if every else reference.tagged()}\n")
    return 0


def _show_plan(plan: PullPlan) -> None:
    """Print what would be fetched, layer by layer, and the sum."""
    lines = []
    for layer in plan.layers:
        what = "Already exists"
        if layer.fetch:
            what = f"To fetch {size(layer.fetch)}"
            what += f" of {size(layer.size)}" if layer.fetch < layer.size else ""
        lines.append(f"{digest.short(layer.digest)}: {what}")
    missing = sum(layer.fetch > 0 for layer in plan.layers)
    lines.append(f"Digest: {plan.digest}")
    lines.append(f"Platform: {plan.platform}")
    lines.append(f"To fetch: {size(plan.fetch)} in {missing} of {len(plan.layers)} layers")
    if plan.rate_limit:
        lines.append(f"Rate limit: {plan.rate_limit}")
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def push(parsed: Parsed, session: Session) -> int:
    """Push one tag, or all that are here."""
    from tiffin.engine.packing import Packing

    reference = _reference(parsed, "push")
    every, quiet = parsed.flag("all-tags"), parsed.flag("quiet")
    if every and reference.tag:
        raise InvalidArgument("tag can't be used with --all-tags/-a")
    if not every and not reference.tag and not quiet:
        sys.stdout.write("Using default tag: latest\n")
    if not quiet:
        sys.stdout.write(f"The push refers to repository [{reference.name}]\n")
    level = parsed.number("compression-level") if parsed.given("compression-level") else None
    packing = Packing.parse(parsed.text("compression"), level)
    show = Transfer(sys.stdout, quiet=quiet)
    try:
        session.engine.images.push(parsed.arguments[0], all_tags=every, packing=packing, progress=show)
    finally:
        show.close()
    if quiet:
        sys.stdout.write(f"{reference if every else reference.tagged()}\n")
    return 0


def _reference(parsed: Parsed, verb: str) -> Reference:
    if parsed.given("disable-content-trust") and not parsed.flag("disable-content-trust"):
        raise InvalidArgument(
            "content trust is not supported", hint="leave --disable-content-trust=false out"
        )
    text = parsed.arguments[0]
    reference = Reference.parse(text)
    name = text.partition("@")[0].rpartition(":")[0]
    if reference.tag and "/" not in text and _looks_like_host(name, reference.tag):
        message = f'{verb} {text}: that is the repository "{name}" with the tag "{reference.tag}"'
        hint = "A private registry is written HOST[:PORT]/NAME, for example "
        port = f":{reference.tag}" if reference.tag.isdigit() else ":5000"
        image = "shop" if reference.tag.isdigit() else reference.tag
        raise InvalidArgument(message, hint=f"{hint}{name}{port}/{image}.")
    return reference


def _looks_like_host(name: str, tag: str) -> bool:
    """Tell whether `NAME:TAG` was rather meant as a host: localhost, an address, a domain with a port."""
    is_address = name.count(".") == 3 and name.replace(".", "").isdigit()
    return name == "localhost" or is_address or ("." in name and tag.isdigit() and len(tag) in {4, 5})


PULL = Command(
    spellings=("image pull", "pull"),
    usage="[OPTIONS] NAME[:TAG|@DIGEST]",
    short="Download an image from a registry",
    minimum=1,
    maximum=1,
    flags=(
        ("all-tags", "a", "bool", "Download all tagged images in the repository", "", DONE),
        ("disable-content-trust", "", "bool", "Skip image verification", "true", CONTENT_TRUST),
        ("plan", "", "bool", "Only say what would be fetched", "", DONE),
        ("platform", "", "string", "Set platform if server is multi-platform capable", "", DONE),
        ("quiet", "q", "bool", "Suppress verbose output", "", DONE),
    ),
    handler=pull,
)
PUSH = Command(
    spellings=("image push", "push"),
    usage="[OPTIONS] NAME[:TAG]",
    short="Upload an image to a registry",
    minimum=1,
    maximum=1,
    flags=(
        ("all-tags", "a", "bool", "Push all tags of an image to the repository", "", DONE),
        ("compression", "", "string", 'Pack every layer by this ("gzip", "zstd")', "", DONE),
        ("compression-level", "", "int", "Level of the compression (gzip: 1 to 9, zstd: 1 to 22)", "", DONE),
        ("disable-content-trust", "", "bool", "Skip image signing", "true", CONTENT_TRUST),
        (
            "platform",
            "",
            "string",
            (
                "Push a platform-specific manifest as a single-platform image to the registry.\n"
                "Image index won't be pushed, meaning that other manifests, including attestations won't be "
                "preserved.\n"
                "'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)"
            ),
            "",
            "refused: the image's own manifest is pushed",
        ),
        ("quiet", "q", "bool", "Suppress verbose output", "", DONE),
    ),
    handler=push,
)
