"""build: an image from a Dockerfile."""

from __future__ import annotations

import os
import sys
import time

from tiffin.build.repositories import is_remote
from tiffin.cli import build_check, build_explain, builder_debug, buildoutput, buildsecrets, keyvalues
from tiffin.cli.command import DONE, Command
from tiffin.errors import BuildFailed, InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, BinaryIO

    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session
    from tiffin.spec.container import HostConfig

_ARCHIVES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
_PROGRESS = ("auto", "plain", "tty", "rawjson", "quiet", "none")


def build(parsed: Parsed, session: Session) -> int:
    """Build, or only check; -q prints only the image's id."""
    if build_check.wanted(parsed):
        return build_check.check(parsed, session, **_source(parsed), build_args=_arguments(parsed, session))
    return _build(parsed, session)


def _build(parsed: Parsed, session: Session) -> int:
    """Build and say what it cost."""
    from tiffin.cli.build_progress import display

    wanted = parsed.text("progress")
    if wanted not in _PROGRESS:
        message = f"invalid progress mode {wanted}"
        raise InvalidArgument(message, hint="one of " + ", ".join(_PROGRESS))
    explained, shell = build_explain.wanted(parsed), builder_debug.wanted(parsed)
    quiet = parsed.flag("quiet") or wanted in {"quiet", "none"}
    buildoutput.refuse_attestations(parsed)
    outputs = buildoutput.read(parsed)
    tags = buildoutput.tags(outputs, parsed.many("tag"))
    loads, began = buildoutput.loads(outputs), time.time_ns()
    secrets = buildsecrets.secrets(parsed.many("secret"), session.settings.environment)
    ssh = buildsecrets.agents(parsed.many("ssh"), session.settings.environment)
    show = display(sys.stderr, kind="quiet" if quiet else wanted, tags=tags)
    try:
        built = session.engine.images.build(
            **_source(parsed),
            tags=tags if loads else (),
            host=_host(parsed),
            annotations=buildoutput.annotated(parsed),
            build_args=_arguments(parsed, session),
            target=parsed.text("target"),
            no_cache=parsed.flag("no-cache"),
            no_cache_filter=[n for text in parsed.many("no-cache-filter") for n in text.split(",")],
            pull=parsed.flag("pull"),
            labels=keyvalues.pairs(parsed.many("label")),
            platform=parsed.text("platform"),
            network="" if parsed.text("network") == "default" else parsed.text("network"),
            secrets=secrets,
            ssh=ssh,
            allow=_entitlements(parsed.many("allow")),
            contexts=dict(text.partition("=")[::2] for text in parsed.many("build-context")),
            progress=show,
        )
    except BuildFailed as error:
        if error.step is not None:
            show.failed(error.step)
            if show.streams:
                error.step = error.step.replace(output=b"")  # it stands above already
        if not shell:
            raise
        show.close()
        return builder_debug.after(error, session, secrets, ssh)
    finally:
        show.close()
    _write_files(parsed, session, built.image_id, tags)
    buildoutput.deliver(session, built.image_id, outputs, tags)
    if not loads:
        session.engine.images.forget_built(built.image_id, began)
    if not quiet:
        show.finish(built)
    elif not explained and all(output.dest != "-" for output in outputs):
        sys.stdout.write(f"{built.image_id}\n")
    if explained:
        build_explain.show(built.explanation, parsed.text("format"))
    return 0


def _host(parsed: Parsed) -> HostConfig:
    """Return the names of hosts and the limits that commands are to have."""
    from tiffin.cli import amounts, options, plumbing
    from tiffin.spec.container import HostConfig

    size = parsed.text("shm-size")
    host = HostConfig(**options.limits(parsed), **plumbing.of_builds(parsed))
    return host.replace(shm_size=amounts.size(size)) if size else host


def _write_files(parsed: Parsed, session: Session, image_id: str, tags: tuple[str, ...]) -> None:
    """Write --iidfile and --metadata-file."""
    if parsed.text("iidfile"):
        with open(parsed.text("iidfile"), "w", encoding="ascii") as stream:
            stream.write(image_id)
    if parsed.text("metadata-file"):
        _write_metadata(parsed.text("metadata-file"), session, image_id, tags)


def _write_metadata(path: str, session: Session, image_id: str, tags: tuple[str, ...]) -> None:
    """Write what was built under the names that buildx gives it."""
    from tiffin.spec import jsontext
    from tiffin.spec.reference import Reference

    found = {
        "containerimage.config.digest": image_id,
        "containerimage.digest": session.engine.images.get(image_id).top.digest,
    }
    if tags:
        found["image.name"] = ",".join(str(Reference.parse(tag).tagged()) for tag in tags)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(jsontext.dumps(found) + "\n")


def _arguments(parsed: Parsed, session: Session) -> dict[str, str]:
    """Return --build-arg; one without a value takes the caller's variable, and is not given without it.

    SOURCE_DATE_EPOCH is taken from the caller unasked, as every tool does.
    """
    caller = session.settings.environment
    found = {}
    epoch = caller.get("SOURCE_DATE_EPOCH") or ("0" if parsed.flag("reproducible") else "")
    if epoch:
        found["SOURCE_DATE_EPOCH"] = epoch
    for text in parsed.many("build-arg"):
        name, equals, value = text.partition("=")
        if equals:
            found[name] = value
        elif name in caller:
            found[name] = caller[name]
    return found


def _source(parsed: Parsed) -> dict[str, Any]:
    """Return what is built: a folder, a tar on stdin, or a Dockerfile on stdin."""
    place, file = parsed.arguments[0], parsed.text("file")
    if place.startswith("github.com/") and not os.path.exists(place):
        place = f"https://{place}" if ".git" in place else f"https://{place.replace('#', '.git#', 1)}"
        place += "" if ".git" in place else ".git"
    if is_remote(place):
        text = _text(sys.stdin.buffer.read()) if file == "-" else ""
        return {"context": place, "file": "" if text else file, "dockerfile": text}
    if place == "-":
        if file == "-":
            raise InvalidArgument("invalid argument: can't use stdin for both build context and dockerfile")
        return _from_stdin(sys.stdin.buffer, file)
    if not os.path.isdir(place):
        if os.path.exists(place):
            message = f"unable to prepare context: context must be a directory: {os.path.abspath(place)}"
        else:
            message = f'unable to prepare context: path "{place}" not found'
        raise InvalidArgument(message, hint="the last argument is a folder; . is the current one")
    if file == "-":
        return {"context": place, "dockerfile": _text(sys.stdin.buffer.read())}
    # As docker: -f is relative to where the user stands, not to the context.
    return {"context": place, "file": os.path.abspath(file) if file else ""}


def _from_stdin(stream: BinaryIO, file: str) -> dict[str, Any]:
    head = stream.peek(512)[:512]  # type: ignore[attr-defined]
    if head.startswith(_ARCHIVES) or head[257:262] == b"ustar":
        return {"context": stream, "file": file}
    if not head:
        raise InvalidArgument("unable to prepare context: stdin is empty", hint="give a Dockerfile or a tar")
    return {"context": None, "dockerfile": _text(stream.read())}


def _entitlements(texts: Sequence[str]) -> list[str]:
    for text in texts:
        if text.partition("=")[0] not in {"security.insecure", "network.host", "device"}:
            message = f"invalid entitlement: {text}"
            raise InvalidArgument(message, hint="security.insecure, network.host or device")
    return list(texts)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidArgument("the Dockerfile on stdin is not UTF-8 text") from None


_NOT_YET = "refused: not built yet"
_ABSENT = "differs: only false; attestations are not made"
_SQUASH = "refused: a last stage that copies from another one makes one layer"
_SAME = "differs: accepted; it changes nothing here"


BUILD = Command(
    spellings=("image build", "build", "builder build"),
    usage="[OPTIONS] PATH | URL | -",
    short="Build an image from a Dockerfile",
    minimum=1,
    maximum=1,
    flags=(
        ("add-host", "", "list", 'Add a custom host-to-IP mapping ("host:ip")', "", DONE),
        ("build-arg", "", "list", "Set build-time variables", "", DONE),
        ("cache-from", "", "strings", "Images to consider as cache sources", "", _NOT_YET),
        (
            "cgroup-parent",
            "",
            "string",
            'Set the parent cgroup for the "RUN" instructions during build',
            "",
            DONE,
        ),
        ("compress", "", "bool", "Compress the build context using gzip", "", _SAME),
        ("cpu-period", "", "int", "Limit the CPU CFS (Completely Fair Scheduler) period", "", DONE),
        ("cpu-quota", "", "int", "Limit the CPU CFS (Completely Fair Scheduler) quota", "", DONE),
        ("cpu-shares", "c", "int", "CPU shares (relative weight)", "", DONE),
        ("cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)", "", DONE),
        ("cpuset-mems", "", "string", "MEMs in which to allow execution (0-3, 0,1)", "", DONE),
        ("disable-content-trust", "", "bool", "Skip image verification", "true", _SAME),
        ("explain", "", "bool", "Say of each step why it was cached or ran, and what that cost", "", DONE),
        ("file", "f", "string", 'Name of the Dockerfile (Default is "PATH/Dockerfile")', "", DONE),
        ("force-rm", "", "bool", "Always remove intermediate containers", "", _SAME),
        ("format", "", "string", "How --explain answers: text or json", "", DONE),
        ("iidfile", "", "string", "Write the image ID to the file", "", DONE),
        (
            "isolation",
            "",
            "string",
            "Container isolation technology",
            "",
            "refused: it is for Windows containers",
        ),
        ("label", "", "list", "Set metadata for an image", "", DONE),
        ("memory", "m", "bytes", "Memory limit", "", DONE),
        (
            "memory-swap",
            "",
            "bytes",
            "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
            "",
            DONE,
        ),
        (
            "network",
            "",
            "string",
            "Set the networking mode for the RUN instructions during build",
            "default",
            "differs: default, none and host; no networks of one's own",
        ),
        ("no-cache", "", "bool", "Do not use cache when building the image", "", DONE),
        ("platform", "", "string", "Set platform if server is multi-platform capable", "", DONE),
        ("pull", "", "bool", "Always attempt to pull a newer version of the image", "", DONE),
        ("quiet", "q", "bool", "Suppress the build output and print image ID on success", "", DONE),
        ("rm", "", "bool", "Remove intermediate containers after a successful build", "true", _SAME),
        ("security-opt", "", "strings", "Security options", "", _NOT_YET),
        ("shm-size", "", "bytes", 'Size of "/dev/shm"', "", DONE),
        ("squash", "", "bool", "Squash newly built layers into a single new layer", "", _SQUASH),
        ("tag", "t", "list", 'Name and optionally a tag in the "name:tag" format', "", DONE),
        ("target", "", "string", "Set the target build stage to build.", "", DONE),
        ("ulimit", "", "ulimit", "Ulimit options", "[]", DONE),
        # BuildKit's (docker buildx build).
        (
            "allow",
            "",
            "stringArray",
            "Allow extra privileged entitlement (e.g., `network.host`, `security.insecure`)",
            "",
            "differs: network.host needs none",
        ),
        ("annotation", "", "stringArray", "Add annotation to the image", "", "differs: of the manifest only"),
        (
            "attest",
            "",
            "stringArray",
            "Attestation parameters (format: `type=sbom,generator=image`)",
            "",
            "differs: only with disabled=true; attestations are not made",
        ),
        ("build-context", "", "stringArray", "Additional build contexts (e.g., name=path)", "", DONE),
        (
            "builder",
            "",
            "string",
            "Override the configured builder instance",
            "",
            "refused: there is one builder",
        ),
        ("cache-to", "", "stringArray", "Cache export destinations (e.g., `user/app:cache`)", "", _NOT_YET),
        (
            "call",
            "",
            "string",
            "Set method for evaluating build (`check`, `outline`, `targets`)",
            "",
            "differs: build and check; outline and targets are not built",
        ),
        ("check", "", "bool", "Shorthand for `--call=check`", "", DONE),
        (
            "load",
            "",
            "bool",
            "Shorthand for `--output=type=docker`",
            "",
            DONE,
        ),
        ("metadata-file", "", "string", "Write build result metadata to a file", "", DONE),
        ("no-cache-filter", "", "stringArray", "Do not cache specified stages", "", DONE),
        (
            "on-failure",
            "",
            "string",
            "What follows a RUN that fails: stop, or a shell where it stopped",
            "stop",
            DONE,
        ),
        ("output", "o", "stringArray", "Output destination (format: `type=local,dest=path`)", "", DONE),
        ("policy", "", "stringArray", "Policy configuration", "", _NOT_YET),
        (
            "progress",
            "",
            "string",
            "Set type of progress output (`auto`, `plain`, `tty`, `rawjson`, `quiet`, `none`)",
            "auto",
            DONE,
        ),
        ("provenance", "", "string", "Shorthand for `--attest=type=provenance`", "", _ABSENT),
        (
            "push",
            "",
            "bool",
            "Shorthand for `--output=type=registry`",
            "",
            "differs: what is pushed is in the store, too",
        ),
        (
            "reproducible",
            "",
            "bool",
            "Date everything SOURCE_DATE_EPOCH (1970 without it): the same input gives the same digest",
            "",
            DONE,
        ),
        (
            "resource",
            "",
            "stringArray",
            "Resource limits for build containers",
            "",
            "refused: limits have flags of their own",
        ),
        ("sbom", "", "string", "Shorthand for `--attest=type=sbom`", "", _ABSENT),
        (
            "secret",
            "",
            "stringArray",
            "Secret to expose to the build (format: `id=mysecret[,src=/local/secret]`)",
            "",
            DONE,
        ),
        (
            "ssh",
            "",
            "stringArray",
            "SSH agent socket or keys to expose to the build",
            "",
            "differs: sockets of agents; a key is given to an agent first (ssh-add)",
        ),
    ),
    handler=build,
)
