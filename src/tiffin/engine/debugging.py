"""A failed step that was kept, opened again: a command in its files, with its variables and its mounts."""

from __future__ import annotations

import contextlib
import os

from tiffin.build.events import FailedStep
from tiffin.build.failure import PREFIX, kept
from tiffin.build.roles import StepMount
from tiffin.engine.steprunner import Runner
from tiffin.engine.streams import communicate
from tiffin.errors import NotFound
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from tiffin.build.failure import Kept, Wanted
    from tiffin.build.roles import RunRequest
    from tiffin.engine.engine import Engine
    from tiffin.keeper.client import Connection

_SHELL = ("/bin/sh",)


class Executed(Value):
    """How a command in a kept step ended, and what it wrote."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class KeptStep(FailedStep):
    """The RUN that failed, and a way into it."""

    engine: Engine

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as the step alone."""
        fields = {name: getattr(self, name) for name in FailedStep._fields}
        return FailedStep(**fields).__reduce__()

    def exec(self, argv: Sequence[str], *, stdin: bytes = b"") -> Executed:
        """Run a command where the step stopped, as it ran; what it changes is not kept.

        Raises NotFound if the step was not kept or has been pruned, StartFailed.
        """
        return self.engine.images.exec_failed(self.id, argv, stdin=stdin)


def find(engine: Engine, name: str = "") -> Kept:
    """Return a kept step by its id, or the beginning of it: the last one without; raises NotFound."""
    found = engine.store.buildcache.latest(f"{PREFIX}{name}")
    if found is None:
        message = f"No such failed step: {name}" if name else "No failed step is kept"
        hint = "a RUN that fails is kept until it works, or `tiffin builder prune` takes it"
        raise NotFound(message, hint=hint)
    layers = [str(layer) for layer in found.result["layers"]]
    if not all(map(engine.store.snapshots.has, layers)):
        message = f"the files of failed step {found.key.removeprefix(PREFIX)} are no longer there"
        raise NotFound(message, hint="build it again")
    return kept(found.key, found.ingredients, layers)


@contextlib.contextmanager
def opened(
    engine: Engine,
    step: Kept,
    argv: Sequence[str] = (),
    *,
    secrets: Mapping[str, bytes] = EMPTY,
    ssh: Mapping[str, str] = EMPTY,
    stdin: bool = True,
    tty: bool = False,
    size: tuple[int, int] = (0, 0),
) -> Iterator[Connection]:
    """Start a command, or a shell, in a kept step; it ends with the block, and what it changed is gone."""
    request = step.request.replace(argv=tuple(argv) or _SHELL)
    there = [m for m in request.mounts if m.kind != "bind" or os.path.isdir(m.place)]
    request = request.replace(mounts=tuple(there))
    for wanted in step.wanted:
        request = _given(request, wanted, secrets, ssh)
    mounts = sorted(request.mounts, key=lambda mount: mount.target.count("/"))
    request = request.replace(mounts=tuple(mounts))
    with engine.store.lease("debug") as lease:
        lease.hold(request.layers)
        with Runner(engine).opened(request, stdin=stdin, tty=tty, size=size) as connection:
            yield connection


def _given(
    request: RunRequest, wanted: Wanted, secrets: Mapping[str, bytes], ssh: Mapping[str, str]
) -> RunRequest:
    """Add a secret, or an agent, that was given again; without it the step is without it."""
    env = list(request.env)
    owner: dict[str, Any] = {"mode": wanted.mode, "uid": wanted.uid, "gid": wanted.gid}
    mounts = list(request.mounts)
    if wanted.kind == "secret" and wanted.id in secrets:
        data = secrets[wanted.id]
        if wanted.env:
            env.append(f"{wanted.env}={data.decode('utf-8', 'surrogateescape')}")
        if wanted.target:
            mounts.append(StepMount(kind="secret", target=wanted.target, data=data, read_only=True, **owner))
    if wanted.kind == "ssh" and wanted.id in ssh:
        target = wanted.target or "/run/buildkit/ssh_agent"
        env.append(f"SSH_AUTH_SOCK={target}")
        mounts.append(StepMount(kind="ssh", target=target, place=ssh[wanted.id], **owner))
    return request.replace(env=tuple(env), mounts=tuple(mounts))


def execute(engine: Engine, name: str, argv: Sequence[str], stdin: bytes) -> Executed:
    """Run a command in a kept step to its end."""
    out: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
    with opened(engine, find(engine, name), argv) as connection:
        code = communicate(connection, stdin, lambda stream, data: out[stream].append(data))
    return Executed(exit_code=code, stdout=b"".join(out["stdout"]), stderr=b"".join(out["stderr"]))
