"""The images of the API: list, look, fetch, send, build, save, load, name, remove."""

from __future__ import annotations

import base64
import binascii

from tiffin.api import answers
from tiffin.api.containers import Incoming
from tiffin.api.pipes import failed, said, written
from tiffin.api.router import Operation
from tiffin.errors import Corrupt, InvalidArgument, NotFound, TiffinError
from tiffin.http.message import Response
from tiffin.spec import clock, jsontext
from tiffin.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, BinaryIO

    from tiffin.api.call import Call
    from tiffin.engine.engine import Engine
    from tiffin.engine.image_views import ImageView
    from tiffin.engine.images import Removed
    from tiffin.engine.progress import Progress

_TAR = (("Content-Type", "application/x-tar"),)


def listed(call: Call) -> Response:
    """GET /images/json."""
    filters = call.filters()
    if call.text("filter"):  # of old clients
        filters.setdefault("reference", []).append(call.text("filter"))
    found = call.engine.images.list(all=call.flag("all"), filters=filters)
    return answers.document([summary(view, version=call.version) for view in found])


def summary(view: ImageView, *, version: tuple[int, int]) -> dict[str, Any]:
    """Return docker's JSON of an image in a list."""
    try:
        created = clock.to_ns(view.created) // 1_000_000_000
    except ValueError:
        created = 0
    shown = {
        "Id": view.id,
        "ParentId": "",
        "RepoTags": list(view.tags),
        "RepoDigests": list(view.digests),
        "Created": created,
        "Size": view.size,
        "SharedSize": -1,
        "Labels": dict(view.labels) or None,
        "Containers": view.containers,
    }
    if version < (1, 43):
        shown["RepoTags"] = shown["RepoTags"] or ["<none>:<none>"]
        shown["RepoDigests"] = shown["RepoDigests"] or ["<none>@<none>"]
    return shown if version >= (1, 44) else shown | {"VirtualSize": view.size}


def inspect(call: Call) -> Response:
    """GET /images/NAME/json."""
    shown = call.engine.images.inspect(call.name)
    return answers.document(shown if call.since((1, 44)) else shown | {"VirtualSize": shown["Size"]})


def history(call: Call) -> Response:
    """GET /images/NAME/history."""
    found = [
        {
            "Id": view.id or "<missing>",
            "Created": _seconds(view.created),
            "CreatedBy": view.created_by,
            "Tags": list(view.tags) or None,
            "Size": view.size,
            "Comment": view.comment,
        }
        for view in call.engine.images.history(call.name)
    ]
    return answers.document(found)


def _seconds(moment: str) -> int:
    try:
        return clock.to_ns(moment) // 1_000_000_000
    except ValueError:
        return 0


def tag(call: Call) -> Response:
    """POST /images/NAME/tag."""
    target = f"{call.text('repo')}:{call.text('tag')}" if call.text("tag") else call.text("repo")
    call.engine.images.tag(call.name, target)
    return answers.nothing(201)


def remove(call: Call) -> Response:
    """DELETE /images/NAME."""
    force, prune = call.flag("force"), not call.flag("noprune")
    done = call.engine.images.remove(call.name, force=force, prune=prune)
    return answers.document([_removed(one) for one in done])


def _removed(one: Removed) -> dict[str, str]:
    return {"Untagged": one.untagged} if one.untagged else {"Deleted": one.deleted}


def prune(call: Call) -> Response:
    """POST /images/prune: untagged ones, or with `dangling=false` all that no container uses."""
    filters = call.filters()
    dangling = filters.pop("dangling", ["true"])
    every = any(value.lower() in {"0", "false"} for value in dangling)
    done = call.engine.images.prune(all=every, filters=filters)
    return answers.document(
        {"ImagesDeleted": [_removed(one) for one in done.removed] or None, "SpaceReclaimed": done.reclaimed}
    )


# --- registries -----------------------------------------------------------------------------------


def create(call: Call) -> Response:
    """POST /images/create: pull, or import where there is `fromSrc`."""
    if call.text("fromSrc"):
        return _imported(call)
    name, wanted = call.text("fromImage"), call.text("tag")
    if wanted:
        name += f"@{wanted}" if ":" in wanted else f":{wanted}"
    reference = Reference.parse(name)
    if not wanted and not reference.tag and not reference.digest:
        verb: Callable[..., object] = _authorized(call, reference.domain).images.pull_all
    else:
        verb = _authorized(call, reference.domain).images.pull
    platform = call.text("platform")
    return _told(lambda say: verb(name, platform=platform, progress=lambda p: say(_progress(p))))


def push(call: Call) -> Response:
    """POST /images/NAME/push."""
    call.request.body.read_all(1 << 20)  # old clients put their credentials here, too
    name = f"{call.name}:{call.text('tag')}" if call.text("tag") else call.name
    reference = Reference.parse(name)
    engine = _authorized(call, reference.domain)

    def work(say: Callable[[Any], None]) -> None:
        say({"status": f"The push refers to repository [{reference.name}]"})
        every = not reference.tag
        for done in engine.images.push(name, all_tags=every, progress=lambda p: say(_progress(p))):
            where = done.reference.rpartition(":")[2]
            say({"progressDetail": {}, "aux": {"Tag": where, "Digest": done.digest, "Size": done.size}})

    return _told(work)


def _authorized(call: Call, domain: str) -> Engine:
    """Return the engine with the credentials that came with the request."""
    header = call.request.header("x-registry-auth")
    if not header:
        return call.engine
    return _as(call.engine, domain, _decoded(header))


def _as(engine: Engine, domain: str, given: dict[str, Any]) -> Engine:
    names = {"username": "username", "password": "password", "identitytoken": "identity_token"}
    names["registrytoken"] = "registry_token"
    credential = {field: str(given[key]) for key, field in names.items() if given.get(key)}
    return engine.logged_in(domain, **credential) if credential else engine


def _decoded(header: str) -> dict[str, Any]:
    try:
        return jsontext.load_object(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (Corrupt, binascii.Error, ValueError) as error:
        raise InvalidArgument("invalid X-Registry-Auth header: not JSON in base64") from error


def _progress(progress: Progress) -> dict[str, Any]:
    shown: dict[str, Any] = {"status": progress.status}
    if progress.total:
        detail = {"current": progress.current, "total": progress.total}
        shown |= {"progressDetail": detail, "progress": _bar(progress.current, progress.total)}
    elif progress.id:
        shown["progressDetail"] = {}
    return shown | {"id": progress.id} if progress.id else shown


def _bar(current: int, total: int) -> str:
    """Return docker's bar of fifty characters."""
    done = min(50, 50 * current // total)
    return f"[{'=' * done}>{' ' * (50 - done)}]  {current}B/{total}B"


def _told(verb: Callable[[Callable[[Any], None]], object]) -> Response:
    """Answer with what a verb says. One that fails before it has said anything is an error's answer."""
    lines = said(verb)
    try:
        first = [next(lines)]
    except StopIteration:
        first = []

    def body() -> Iterator[object]:
        yield from first
        try:
            yield from lines
        except TiffinError as error:
            yield failed(error)

    return answers.documents(body())


# --- archives -------------------------------------------------------------------------------------


def save(call: Call) -> Response:
    """GET /images/NAME/get and /images/get?names=."""
    names = [call.name] if "name" in call.words else call.request.parameters("names")
    for name in names:
        call.engine.images.get(name)  # a name that is not there is still an error's answer
    return Response(status=200, headers=_TAR, body=written(lambda out: call.engine.images.save(names, out)))


def load(call: Call) -> Response:
    """POST /images/load."""
    stream: BinaryIO = Incoming(call.request.body)  # type: ignore[assignment]

    def body() -> Iterator[object]:
        try:
            lines = call.engine.images.load(stream)
        except TiffinError as error:
            yield failed(error)
            return
        for line in lines:
            yield {"stream": f"{line}\n"}

    return answers.documents(body())


def _imported(call: Call) -> Response:
    source = call.text("fromSrc")
    stream: BinaryIO | str = source
    if source == "-":
        stream = Incoming(call.request.body)  # type: ignore[assignment]
    name = f"{call.text('repo')}:{call.text('tag')}" if call.text("tag") else call.text("repo")
    made = call.engine.images.import_tar(
        stream,
        name=name,
        changes=call.request.parameters("changes"),
        message=call.text("message"),
        platform=call.text("platform"),
    )
    return answers.documents([{"status": made}])


def commit(call: Call) -> Response:
    """POST /commit."""
    from tiffin.engine.commit import CommitRequest

    call.body(needed=False)
    name = f"{call.text('repo')}:{call.text('tag')}" if call.text("tag") else call.text("repo")
    request = CommitRequest(
        name=name,
        author=call.text("author"),
        message=call.text("comment"),
        changes=tuple(call.request.parameters("changes")),
        pause=call.flag("pause", default=True),
    )
    return answers.document({"Id": call.engine.containers.commit(call.text("container"), request)}, 201)


def search(_call: Call) -> Response:
    """GET /images/search: Docker Hub's index, which is not asked here."""
    raise NotFound("images are not searched for here", hint="look at Docker Hub with a browser")


def distribution(call: Call) -> Response:
    """GET /distribution/NAME/json: what a registry has under a name."""
    reference = Reference.parse(call.name).tagged()
    descriptor, platforms = _authorized(call, reference.domain).manifests.found(call.name)
    return answers.document({"Descriptor": descriptor.to_json(), "Platforms": list(map(dict, platforms))})


def prune_builds(call: Call) -> Response:
    """POST /build/prune."""
    filters = call.filters()
    keep = call.number("reserved-space") or call.number("keep-storage")
    freed = call.engine.system.prune_build_cache(all=call.flag("all"), filters=filters, keep_bytes=keep)
    return answers.document({"CachesDeleted": None, "SpaceReclaimed": freed})


OPERATIONS = (
    Operation(method="GET", path="/images/json", act=listed),
    Operation(method="POST", path="/images/create", act=create),
    Operation(method="POST", path="/images/load", act=load),
    Operation(method="POST", path="/images/prune", act=prune),
    Operation(method="GET", path="/images/search", act=search),
    Operation(method="GET", path="/images/get", act=save),
    Operation(method="POST", path="/commit", act=commit),
    Operation(method="POST", path="/build/prune", act=prune_builds),
    Operation(method="GET", path="/distribution/{image}/json", act=distribution),
    Operation(method="GET", path="/images/{image}/json", act=inspect),
    Operation(method="GET", path="/images/{image}/history", act=history),
    Operation(method="GET", path="/images/{image}/get", act=save),
    Operation(method="POST", path="/images/{image}/push", act=push),
    Operation(method="POST", path="/images/{image}/tag", act=tag),
    Operation(method="DELETE", path="/images/{image}", act=remove),
)
