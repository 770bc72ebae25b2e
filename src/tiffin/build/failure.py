"""The step that a build stopped at: an error that tells where and how, and what is kept of it."""

from __future__ import annotations

from tiffin.build.events import FailedStep
from tiffin.build.plan import PROXIES
from tiffin.build.roles import RunRequest, StepMount
from tiffin.errors import BuildFailed
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from tiffin.build.parser import Statement

PREFIX = "failed:"
"""What the keys of kept steps begin with; others are digests of what went into a step."""
FOREIGN = (
    "its program is of another architecture than this machine, or no program: qemu-user-static, or another"
    " interpreter that the kernel knows by binfmt_misc, runs the former"
)


def failed(  # noqa: PLR0917 - all that a failed step tells
    statement: Statement,
    request: RunRequest,
    number: int,
    total: int,
    exit_code: int,
    output: bytes,
    why: str,
) -> BuildFailed:
    """Return the error of a RUN that ended with `exit_code` after writing `output`."""
    step = FailedStep(
        number=number,
        total=total,
        text=statement.original,
        file=statement.file,
        line=statement.line,
        end_line=statement.end_line,
        source=statement.source,
        exit_code=exit_code,
        output=output,
        layers=request.layers,
        argv=request.argv,
        env=request.env,
        user=request.user,
        cwd=request.cwd,
    )
    command = " ".join(request.argv)
    message = f'process "{command}" did not complete successfully: exit code: {exit_code}'
    if why:
        message = f"{message}: {why}"
    hint = f"{statement.file}:{statement.line}: {statement.original.splitlines()[0]}"
    return BuildFailed(message, step=step, exit_code=exit_code, hint=hint)


class Wanted(Value):
    """A secret or an agent that a kept step had, and which has to be given again: `kind` secret or ssh."""

    kind: str
    id: str
    target: str
    env: str = ""
    mode: int = 0
    uid: int = 0
    gid: int = 0


class Kept(Value):
    """A failed RUN that was kept: how it ran, over its own files; and what it had that was not kept."""

    id: str
    text: str
    place: str
    request: RunRequest
    wanted: tuple[Wanted, ...] = ()


def ingredients(statement: Statement, request: RunRequest, mounts: Sequence[Value]) -> dict[str, Any]:
    """Return what is remembered of a failed RUN, as JSON; no secret, and no address of a proxy, is in it."""
    env = [pair for pair in request.env if pair.partition("=")[0] not in PROXIES]
    return {
        "kind": "FAILED",
        "text": statement.original,
        "place": f"{statement.file}:{statement.line}",
        "argv": list(request.argv),
        "env": env,
        "user": request.user,
        "cwd": request.cwd,
        "network": request.network,
        "files": [[path, data.decode("utf-8", "surrogateescape")] for path, data in request.files],
        "mounts": [{**m.as_dict(), "data": ""} for m in mounts if isinstance(m, StepMount)],
        "wanted": [mount.as_dict() for mount in mounts if isinstance(mount, Wanted)],
    }


def kept(key: str, said: Mapping[str, Any], layers: Sequence[str]) -> Kept:
    """Read what `ingredients` made; `layers` are chain ids, the last of them what the command wrote."""
    mounts = tuple(StepMount(**{**m, "layers": tuple(m["layers"]), "data": b""}) for m in said["mounts"])
    request = RunRequest(
        argv=tuple(said["argv"]),
        env=tuple(said["env"]),
        user=said["user"],
        cwd=said["cwd"],
        layers=tuple(layers),
        network=said["network"],
        files=tuple((path, text.encode("utf-8", "surrogateescape")) for path, text in said["files"]),
        mounts=mounts,
    )
    wanted = tuple(Wanted(**each) for each in said["wanted"])
    return Kept(
        id=key.removeprefix(PREFIX), text=said["text"], place=said["place"], request=request, wanted=wanted
    )
