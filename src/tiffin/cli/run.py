"""run: create a container and start it, attached or in the background."""

from __future__ import annotations

import sys

from tiffin.cli import options, run_flags
from tiffin.cli.command import Command
from tiffin.errors import Interrupted, InvalidArgument, NotFound, TiffinError
from tiffin.spec import detach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.cli.parser import Parsed
    from tiffin.cli.progress import Transfer
    from tiffin.cli.session import Session
    from tiffin.engine.progress import Progress
    from tiffin.spec.container import ContainerConfig


def run(parsed: Parsed, session: Session) -> int:
    """Make and start a container; return its exit code, or 0 when it goes on in the background."""
    detached = parsed.flag("detach")
    if detached and parsed.given("attach"):
        raise InvalidArgument("conflicting options: cannot specify both --attach and --detach")
    config = options.config(parsed, session.settings.environment)
    if not detached:
        _check_terminal(parsed, config)
    container = make(parsed, session, config)
    containers = session.engine.containers
    try:
        if detached:
            containers.start(container).close()
            sys.stdout.write(f"{container}\n")
            return 0
        return _attached(parsed, session, config, container)
    except Interrupted:
        raise  # it goes on
    except TiffinError:
        if parsed.flag("rm"):
            forget(session, container)
        raise


def make(parsed: Parsed, session: Session, config: ContainerConfig) -> str:
    """Create the container and return its id; shared with `create`."""
    host = options.host(parsed)
    options.check_cidfile(host.container_id_file)
    pulling = _Pulling(quiet=parsed.flag("quiet"))
    try:
        created = session.engine.containers.create(
            config,
            host,
            name=parsed.text("name"),
            platform=parsed.text("platform"),
            pull=options.pull_policy(parsed),
            networks=options.endpoints(parsed)[1],
            progress=pulling,
        )
    finally:
        pulling.close()
    for warning in created.warnings:
        sys.stderr.write(f"WARNING: {warning}\n")
    options.write_cidfile(host.container_id_file, created.id)
    return created.id


def _check_terminal(parsed: Parsed, config: ContainerConfig) -> None:
    if config.tty and config.attach_stdin:
        from tiffin.cli import terminal

        terminal.check_stdin(interactive=True, tty=True)
        detach.keys_of(parsed.text("detach-keys"))


def _attached(parsed: Parsed, session: Session, config: ContainerConfig, container: str) -> int:
    from tiffin.cli import terminal

    containers = session.engine.containers
    sys.stdout.flush()
    code = terminal.converse(
        lambda: containers.start(
            container, attach=True, stdin=config.attach_stdin, size=terminal.size() if config.tty else (0, 0)
        ),
        stdin=config.attach_stdin,
        tty=config.tty,
        keys=detach.keys_of(parsed.text("detach-keys")),
        proxy=parsed.flag("sig-proxy"),
        streams=options.streams(parsed),
        ended=(lambda connection: containers.forget(container, connection)) if parsed.flag("rm") else None,
    )
    return max(code, 0)


def forget(session: Session, container: str) -> None:
    """Remove an ended `--rm` container; whoever was faster is welcome."""
    try:
        session.engine.containers.cleanup(container)
    except NotFound:
        return


class _Pulling:
    """Shows a pull on stderr; the display is made when the first word of one comes."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._display: Transfer | None = None

    def __call__(self, progress: Progress) -> None:
        """Show one piece of progress."""
        if self._display is None:
            from tiffin.cli.progress import Transfer

            self._display = Transfer(sys.stderr, quiet=self._quiet)
        self._display(progress)

    def close(self) -> None:
        if self._display is not None:
            self._display.close()


RUN = Command(
    spellings=("container run", "run"),
    usage="[OPTIONS] IMAGE [COMMAND] [ARG...]",
    short="Create and run a new container from an image",
    minimum=1,
    interspersed=False,
    flags=run_flags.RUN,
    hidden=run_flags.HIDDEN,
    handler=run,
)
