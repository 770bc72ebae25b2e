"""--output, --push and --load of a build: what the result becomes."""

from __future__ import annotations

import csv
import os

from tiffin.errors import InvalidArgument, Unsupported
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.cli.parser import Parsed
    from tiffin.cli.session import Session

_KINDS = ("local", "tar", "oci", "docker", "registry", "image")
_WORDS = frozenset({"type", "dest", "name", "push"})


class Output(Value):
    """One destination: `dest` is a path, "-" for standard output, "" where the store is meant."""

    kind: str
    dest: str = ""
    names: tuple[str, ...] = ()
    push: bool = False

    @property
    def loads(self) -> bool:
        """Whether the image is to be in the store."""
        return self.kind in {"image", "registry"} or (self.kind == "docker" and not self.dest)


def read(parsed: Parsed) -> tuple[Output, ...]:
    """Return what was asked for; nothing means an image in the store."""
    found = [_read(text) for text in parsed.many("output")]
    if parsed.flag("push"):
        found.append(Output(kind="registry", push=True))
    if parsed.flag("load"):
        found.append(Output(kind="docker"))
    if sum(output.dest == "-" for output in found) > 1:
        raise InvalidArgument("only one output can go to standard output")
    return tuple(found)


def tags(outputs: Sequence[Output], given: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the result: those of --tag, and of `name=` of outputs."""
    names = tuple(dict.fromkeys((*given, *(name for output in outputs for name in output.names))))
    if any(output.push for output in outputs) and not names:
        raise InvalidArgument("tag is needed when pushing to registry", hint="give -t HOST/NAME:TAG")
    return names


def loads(outputs: Sequence[Output]) -> bool:
    """Tell whether the image is to have its names in the store."""
    return not outputs or any(output.loads for output in outputs)


def _read(text: str) -> Output:
    words: dict[str, str] = {}
    fields = next(csv.reader([text]), [])
    if len(fields) == 1 and "=" not in fields[0]:
        return Output(kind="tar", dest="-") if fields[0] == "-" else Output(kind="local", dest=fields[0])
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals:
            raise InvalidArgument(f"invalid value {field}", hint="--output type=local,dest=FOLDER")
        words[name.lower()] = value
    kind, dest = words.get("type", ""), words.get("dest", "")
    if not kind:
        raise InvalidArgument(f'type is required for output "{text}"', hint="one of " + ", ".join(_KINDS))
    if kind not in _KINDS:
        raise Unsupported(f"output of type {kind} is not supported", hint="one of " + ", ".join(_KINDS))
    unknown = sorted(words.keys() - _WORDS)
    if unknown:
        raise Unsupported(
            f"output option {unknown[0]} is not supported", hint="type, dest, name and push are"
        )
    if kind == "local" and dest in {"", "-"}:
        raise InvalidArgument("dest is required for local output", hint="--output type=local,dest=FOLDER")
    if dest and kind in {"registry", "image"}:
        raise InvalidArgument(f"an output of type {kind} has no dest")
    push = kind == "registry" or words.get("push", "") == "true"
    names = tuple(name for name in words.get("name", "").split(",") if name)
    return Output(kind=kind, dest=dest or _default(kind), names=names, push=push)


def _default(kind: str) -> str:
    return "-" if kind in {"tar", "oci"} else ""


def deliver(session: Session, image_id: str, outputs: Sequence[Output], names: Sequence[str]) -> None:
    """Write the result to where it was asked for, then push it."""
    from tiffin.cli import outfile

    images = session.engine.images
    for output in outputs:
        path = "" if output.dest == "-" else output.dest
        if output.kind == "local":
            os.makedirs(output.dest, exist_ok=True)
            images.unpack_files(image_id, os.path.abspath(output.dest))
        elif output.kind == "tar":
            outfile.write(path, "export files", lambda out: images.write_files(image_id, out))
        elif output.dest:
            outfile.write(path, "save image", lambda out: images.write_archive(image_id, names, out))
    if any(output.push for output in outputs):
        for name in names:
            images.push(name)


def refuse_attestations(parsed: Parsed) -> None:
    """Raise Unsupported for attestations, of which only their absence is had."""
    for flag in ("provenance", "sbom"):
        if parsed.text(flag).lower() not in {"", "false", "0", "f"}:
            message = f"--{flag}={parsed.text(flag)} is not supported: attestations are not made"
            raise Unsupported(message, hint=f"leave it out, or say --{flag}=false")
    for text in parsed.many("attest"):
        if "disabled=true" not in text.split(","):
            raise Unsupported(f"--attest {text} is not supported: attestations are not made")


def annotated(parsed: Parsed) -> dict[str, str]:
    """Read `[TYPE:]KEY=VALUE`; only those of the manifest can be."""
    found = {}
    for text in parsed.many("annotation"):
        key, equals, value = text.partition("=")
        kind, colon, rest = key.partition(":")
        if colon and kind in {"index", "manifest-descriptor", "index-descriptor"}:
            message = f"annotation of the {kind} is not supported: {text}"
            raise Unsupported(message, hint="one image has a manifest and no index")
        name = rest if colon and kind == "manifest" else key
        if not equals or not name:
            raise InvalidArgument(f"invalid annotation {text}, expected format is [type:]key=value")
        found[name] = value
    return found
