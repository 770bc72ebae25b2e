"""The lines of a Dockerfile around what is wrong in it, with a caret."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tiffin.build.events import FailedStep
    from tiffin.errors import DockerfileError

_LAST_LINES = 20


def of_error(error: DockerfileError) -> str:
    """Return where a Dockerfile cannot be read."""
    lines = [f"{_shown(error.file)}:{error.line}"]
    lines += [
        f"{error.line + offset:>4} | {text}" for offset, text in enumerate(error.source.splitlines()[:5])
    ]
    if error.column > 0 and error.source:
        lines.insert(2, " " * (6 + error.column) + "^")
    return "\n".join(lines)


def of_step(step: FailedStep) -> str:
    """Return where a build stopped: the instruction, its exit code, and the last of what it printed."""
    from tiffin.cli.build_progress import printable

    lines = [f"{_shown(step.file)}:{step.line}"]
    lines += [f"{number:>4} | {text}" for number, text in enumerate(step.source, step.line)]
    width = max((len(text) for text in step.source[:1]), default=3)
    lines.append(f"       {'^' * min(width, 3)} exit code {step.exit_code}")
    printed = [printable(line) for line in step.output.split(b"\n") if line.strip()]
    lines += [f"     | {line}" for line in printed[-_LAST_LINES:]]
    if step.id:
        lines.append("look inside:  tiffin builder debug        (a shell where the step stopped)")
    return "\n".join(lines)


def _shown(path: str) -> str:
    """Return a path as the user would type it here: relative below the current folder."""
    return path.removeprefix(os.getcwd() + "/")
