"""The tree of outcomes.

    TiffinError
    ├── NotFound            no such image, container, volume, command, file            (API 404)
    ├── Conflict            in use, name taken, wrong state                            (API 409)
    ├── InvalidArgument     malformed name, flag, Dockerfile, body                     (API 400)
    │   └── DockerfileError    ... with file, line and column
    ├── NotModified         already so                                                 (API 304)
    ├── Unauthorized        credentials missing or wrong                               (API 401)
    ├── Forbidden           not allowed, here or by the registry                       (API 403)
    ├── Unavailable         network, registry or helper does not answer; may work later (API 503)
    ├── Unsupported         this engine or this host cannot do it                      (API 501)
    ├── Corrupt             bytes are not what their digest or format says             (API 500)
    ├── StorageFull         no space or read-only file system                          (API 500)
    ├── Interrupted         the caller asked to stop
    ├── StartFailed         the OCI runtime refused the process; `exit_code` 125..127  (API 400)
    └── BuildFailed         a Dockerfile step failed; `step` and `exit_code` say where (API 500)

Every error has `message`, docker's sentence where docker has one (the API sends it), and `hint`,
what to do next (the CLI's second line, may be empty). Foreign errors are translated where the
foreign thing is called; each edge maps classes once (status codes in `api/`, exit codes in `cli/`).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class TiffinError(Exception):
    """Something tiffin could not do. `message` says what, `hint` what to do about it.

    `place` is where in a Dockerfile it was asked for, if a build met an error that is not the file's.
    """

    place: DockerfileError | None = None

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Keep the two sentences."""
        super().__init__(message)
        self.message = message
        self.hint = hint

    def at(self, verb: str) -> TiffinError:
        """Prefix the path of verbs (`pull busybox: `) and return self, for `raise error.at(...)`."""
        self.message = f"{verb}: {self.message}"
        self.args = (self.message,)
        return self


class NotFound(TiffinError):
    """What was named does not exist."""


class Conflict(TiffinError):
    """The state of things forbids it: in use, name taken, running, not running."""


class InvalidArgument(TiffinError):
    """The request itself is wrong."""


class DockerfileError(InvalidArgument):
    """A Dockerfile that cannot be read; `line` and `column` count from 1, `file` is as given."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        file: str = "Dockerfile",
        line: int = 0,
        column: int = 0,
        source: str = "",
    ) -> None:
        """Keep the position and the source line, which the CLI shows with a caret."""
        super().__init__(message, hint=hint)
        self.file = file
        self.line = line
        self.column = column
        self.source = source


class NotModified(TiffinError):
    """Nothing to do: it is so already."""


class Unauthorized(TiffinError):
    """The registry wants credentials, or other ones."""


class Forbidden(TiffinError):
    """Known who asks, and not allowed."""


class Unavailable(TiffinError):
    """It does not answer now; trying again may help."""


class Unsupported(TiffinError):
    """This engine, runtime, kernel or privilege cannot do it."""


class Corrupt(TiffinError):
    """Bytes are not what their digest or their format says."""


class StorageFull(TiffinError):
    """The file system has no room, or is read-only."""


class Interrupted(TiffinError):
    """The caller asked to stop (ctrl-C)."""


class StartFailed(TiffinError):
    """The process did not start; `exit_code` is docker's: 127 not found, 126 not executable, 125 else."""

    def __init__(self, message: str, *, exit_code: int = 125, hint: str = "") -> None:
        """Keep the exit code that `docker run` would end with."""
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class BuildFailed(TiffinError):
    """A step of a build failed; `step` describes it (see build.stage), `exit_code` is the RUN's."""

    def __init__(self, message: str, *, step: Any = None, exit_code: int = 1, hint: str = "") -> None:
        """Keep the step and the exit code of its process."""
        super().__init__(message, hint=hint)
        self.step = step
        self.exit_code = exit_code
