"""The step that a build stopped at, as an error that tells where and how."""

from __future__ import annotations

from tiffin.build.events import FailedStep
from tiffin.errors import BuildFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.build.parser import Statement
    from tiffin.build.roles import RunRequest


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
