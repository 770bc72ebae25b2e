"""`tiffin.run`: one container from start to end in one call, like `subprocess.run`."""

from __future__ import annotations

from tiffin.engine.start import until_closed
from tiffin.engine.streams import communicate
from tiffin.errors import TiffinError
from tiffin.spec.container import ContainerConfig, HostConfig
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tiffin.engine.engine import Engine

_LEAVING_SECONDS = 10.0


class Completed(Value):
    """What a container printed and how it ended."""

    exit_code: int
    stdout: bytes
    stderr: bytes


def run(
    image: str,
    command: Sequence[str] = (),
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] = EMPTY,
    workdir: str = "",
    user: str = "",
    volumes: Sequence[str] = (),
    network: str = "none",
    memory: int = 0,
    engine: Engine | None = None,
) -> Completed:
    """Run a command in a new container of `image`, wait for it, remove the container.

    `volumes` are docker's `-v` strings, `memory` is in bytes (0 = no limit). A program that fails is
    no error: look at `exit_code`. Raises NotFound for an unknown image and StartFailed for a program
    that cannot be started.
    """
    from tiffin.engine.engine import Engine

    config = ContainerConfig(
        image=image,
        cmd=tuple(command) or None,
        env=tuple(f"{key}={value}" for key, value in env.items()),
        working_dir=workdir,
        user=user,
        open_stdin=bool(stdin),
        stdin_once=bool(stdin),
        attach_stdout=True,
        attach_stderr=True,
    )
    host = HostConfig(binds=tuple(volumes), network_mode=network, memory=memory, auto_remove=True)
    opened = engine or Engine()
    try:
        return run_to_end(opened, config, host, stdin)
    finally:
        if engine is None:
            opened.close()


def run_to_end(engine: Engine, config: ContainerConfig, host: HostConfig, stdin: bytes) -> Completed:
    """Create, start, feed, collect, remove."""
    created = engine.containers.create(config, host)
    try:
        connection = engine.containers.start(created.id, attach=True, stdin=bool(stdin))
    except TiffinError:
        engine.containers.remove(created.id, force=True)
        raise
    output: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
    with connection:
        code = communicate(connection, stdin, lambda stream, data: output[stream].append(data))
        engine.containers.forget(created.id, connection)
        until_closed(connection, _LEAVING_SECONDS)  # nothing of it is left when this returns
    return Completed(exit_code=code, stdout=b"".join(output["stdout"]), stderr=b"".join(output["stderr"]))
