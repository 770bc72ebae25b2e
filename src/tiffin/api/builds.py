"""POST /build: docker's classic build, by our builder."""

from __future__ import annotations

from tiffin.api import answers
from tiffin.api.containers import Incoming
from tiffin.api.pipes import failed, said
from tiffin.api.router import Operation
from tiffin.build import events, repositories
from tiffin.errors import BuildFailed, Corrupt, InvalidArgument, TiffinError, Unsupported
from tiffin.spec import digest as digests
from tiffin.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, BinaryIO

    from tiffin.api.call import Call
    from tiffin.http.message import Response

_NOT_BUILT = ("extrahosts", "cpusetcpus", "cgroupparent", "outputs", "squash")


def build(call: Call) -> Response:
    """POST /build: a tar of the context in the body, or the URL of one."""
    if call.text("version") == "2":
        raise Unsupported("BuildKit's protocol is not spoken here", hint="set DOCKER_BUILDKIT=0")
    for name in _NOT_BUILT:
        if call.text(name) not in {"", "[]", "null", "0", "false"}:
            raise Unsupported(f"build: {name} is not built here")
    remote = call.text("remote")
    if remote and not repositories.is_remote(remote):
        # A path would be one of this host's, where its sender is not.
        raise InvalidArgument(f"remote {remote}: not the address of a repository or a file")
    context: BinaryIO | str = remote or Incoming(call.request.body)  # type: ignore[assignment]
    words: dict[str, Any] = {
        "file": call.text("dockerfile"),
        "tags": [tag for tag in call.request.parameters("t") if tag],
        "build_args": _pairs(call, "buildargs"),
        "labels": _pairs(call, "labels"),
        "target": call.text("target"),
        "no_cache": call.flag("nocache"),
        "pull": call.flag("pull"),
        "platform": call.text("platform"),
        "network": call.text("networkmode"),
    }
    quiet = call.flag("q")

    def work(say: Callable[[Any], None]) -> None:
        shown = _Words(say, quiet=quiet)
        built = call.engine.images.build(context, progress=shown, **words)
        for warning in built.warnings:
            say({"stream": f"[Warning] {warning}\n"})
        say({"aux": {"ID": built.image_id}})
        if quiet:
            say({"stream": f"{built.image_id}\n"})
            return
        say({"stream": f"Successfully built {digests.short(built.image_id)}\n"})
        for tag in words["tags"]:
            say({"stream": f"Successfully tagged {_familiar(tag)}\n"})

    return answers.documents(_lines(said(work)))


def _lines(found: Iterator[Any]) -> Iterator[object]:
    try:
        yield from found
    except TiffinError as error:
        line = failed(error)
        if isinstance(error, BuildFailed):
            line["errorDetail"]["code"] = error.exit_code
        yield line


def _familiar(tag: str) -> str:
    from tiffin.spec.reference import Reference

    return Reference.parse(tag).tagged().familiar


def _pairs(call: Call, parameter: str) -> Mapping[str, str]:
    """Return names and values; null means that the name has none."""
    text = call.text(parameter)
    if not text:
        return {}
    try:
        found = jsontext.load_object(text)
    except Corrupt as error:
        raise InvalidArgument(f"invalid {parameter}: {error.message}") from error
    return {key: str(value) for key, value in found.items() if value is not None}


class _Words:
    """Says what happens in the classic builder's words, which clients read."""

    def __init__(self, say: Callable[[Any], None], *, quiet: bool) -> None:
        self._tell, self._quiet = say, quiet

    def __call__(self, event: events.BuildEvent) -> None:
        """Say one thing, unless nothing is to be said."""
        if self._quiet:
            return
        if isinstance(event, events.StepStarted) and not event.trigger:
            self._tell({"stream": f"Step {event.number}/{event.total} : {event.text}\n"})
        elif isinstance(event, events.StepOutput):
            self._tell({"stream": event.data.decode(errors="replace")})
        elif isinstance(event, events.StepDone) and event.cached:
            self._tell({"stream": " ---> Using cache\n"})
        elif isinstance(event, events.Warned):
            self._tell({"stream": f"[Warning] {event.message}\n"})


OPERATIONS = (Operation(method="POST", path="/build", act=build),)
