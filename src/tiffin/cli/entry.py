"""The command line's first and last lines: fork, dispatch, show errors, flush, exit.

`run` and `start` fork their keeper as the first act, before anything is parsed or imported: it makes
its namespaces while this process reads flags and opens the store.
"""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Sequence

    from tiffin.cli.command import Command
    from tiffin.cli.session import Session
    from tiffin.errors import TiffinError

# Global flags that take the next word; the value says which word of Session it is ("" = refused later).
_WITH_VALUE = {
    "--root": "root",
    "--run": "run",
    "--config": "config",
    "--context": "",
    "-c": "",
    "--host": "",
    "-H": "",
    "--log-level": "",
    "-l": "",
    "--tlscacert": "",
    "--tlscert": "",
    "--tlskey": "",
}
_STARTING = frozenset({"run", "start"})
_CREATING = frozenset({"run", "create", "container run", "container create"})
_LOGIN = "if the repository is there and private: tiffin login REGISTRY"
_INTERRUPTED = 130
_BROKEN_PIPE = 141


def main() -> None:
    """Run one command of `sys.argv` and end the process with its exit code."""
    try:
        _main()
    except KeyboardInterrupt:  # before there was a command that could be interrupted
        os._exit(_INTERRUPTED)


def _main() -> None:
    gc.set_threshold(100_000)  # most commands end before a collection could pay for itself
    words = sys.argv[1:]
    _open_standard_streams()
    keeper = None
    if _starts(words):
        from tiffin.keeper import early

        keeper = early.fork()
    _leave(run(words, keeper))


def _open_standard_streams() -> None:
    """Make sure that 0, 1 and 2 are open and take every character.

    Otherwise the next file that is opened (the database, say) would be standard output, and names that are
    no UTF-8 could not be printed.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open("/dev/null", os.O_RDWR)
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open("/dev/null", "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115
        elif name != "stdin":
            stream.reconfigure(errors="surrogateescape" if stream.encoding == "utf-8" else "backslashreplace")


def run(words: Sequence[str], keeper: _socket.socket | None = None) -> int:
    """Run one command and return its exit code; nothing but SystemExit-like signals gets out."""
    from tiffin.cli.session import Session

    session = Session(keeper=keeper)
    spelled = ""
    try:
        _check_text(words)
        position, session = _globals(words, keeper)
        if position < 0:
            return 0
        spelled, command, rest = _find(words[position:])
        return _call(command, spelled, rest, session)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        return _BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the last line of defence shows it and names the way to see more
        return _show(error, spelled, session)


def _check_text(words: Sequence[str]) -> None:
    """Raise InvalidArgument for a word that is no UTF-8: names, labels and paths are kept as text."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            from tiffin.errors import InvalidArgument

            shown = word.encode(errors="backslashreplace").decode()
            raise InvalidArgument(f'the argument "{shown}" is not UTF-8') from None


def _starts(words: Sequence[str]) -> bool:
    """Tell whether these words will need a keeper, looking at as little as possible."""
    position = 0
    while position < len(words) and words[position][:1] == "-":
        position += 2 if words[position] in _WITH_VALUE else 1
    here = words[position : position + 2]
    if here[:1] == ["container"]:
        here = here[1:]
    return bool(here) and here[0] in _STARTING


def _globals(words: Sequence[str], keeper: _socket.socket | None) -> tuple[int, Session]:
    """Read the flags before the command; return its position, or -1 if everything is done."""
    from tiffin.cli.session import Session

    if not words or words[0][:1] != "-":
        return 0, Session(keeper=keeper)
    from tiffin.cli import top

    return top.read(words, keeper)


def _find(words: Sequence[str]) -> tuple[str, Command | None, Sequence[str]]:
    """Return (its docker spelling, the command's table, the words after it); no table for a group."""
    from tiffin.cli.index import INDEX

    for length in (1, 2, 3):
        entry = INDEX.get(" ".join(words[:length]))
        if entry is not None and length <= len(words):
            module, name, spelled = (*entry.split(":"), "")[:3]
            loaded = __import__(f"tiffin.cli.{module}", None, None, [name])
            return spelled or " ".join(words[:length]), getattr(loaded, name), words[length:]
    return "", None, words


def _call(command: Command | None, spelled: str, words: Sequence[str], session: Session) -> int:
    if command is None:
        from tiffin.cli import groups

        return groups.answer(words)
    from tiffin.cli import parser

    try:
        if command.handler is None:
            return _refuse(command, spelled, words)
        parsed = parser.parse(command, spelled, words)
    except parser.HelpAsked:
        from tiffin.cli import help as helping

        sys.stdout.write(helping.text(command, spelled) + helping.not_here(command))
        return 0
    return command.handler(parsed, session)


def _refuse(command: Command, spelled: str, words: Sequence[str]) -> int:
    from tiffin.cli import parser

    if "--help" in words:
        raise parser.HelpAsked
    reason = command.status.partition(": ")[2]
    sys.stderr.write(f"tiffin: tiffin {spelled} is not supported: {reason}\n")
    return 1


def _show(error: Exception, spelled: str, session: Session) -> int:
    """Write an error as the user should see it and return the exit code."""
    from tiffin.errors import TiffinError

    if session.debug or not isinstance(error, TiffinError | OSError):
        import traceback

        traceback.print_exc()
    if isinstance(error, TiffinError):
        return report(error, spelled)
    sys.stderr.write(f"tiffin: {_sentence(error)}\n")
    if not isinstance(error, OSError):
        sys.stderr.write("this is a mistake in tiffin, please report it with the lines above\n")
    return 125 if spelled in _CREATING else 1


def _sentence(error: Exception) -> str:
    """Return an error of the system as `PATH: no such file or directory`, others as they are."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        verb = "open " if isinstance(error, FileNotFoundError | PermissionError) else ""
        return f"{verb}{os.fsdecode(error.filename)}: {error.strerror.lower()}"
    return str(getattr(error, "strerror", "") or error)


def report(error: TiffinError, spelled: str) -> int:
    """Write an error of ours, with what to do next, and return the exit code."""
    from tiffin.cli import parser
    from tiffin.errors import Unauthorized

    if isinstance(error, parser.UsageError):
        sys.stderr.write(f"{error.message}\n\n")
        if error.usage:
            sys.stderr.write(f"Usage:  {error.usage}\n\n")
        sys.stderr.write((error.hint or f"Run 'tiffin {error.spelled} --help' for more information") + "\n")
        return error.exit_code
    lines = [f"tiffin: {error.message}"]
    excerpt = _excerpt(error)
    if excerpt:
        lines.append(excerpt)
    hint = error.hint or (_LOGIN if isinstance(error, Unauthorized) else "")
    if hint and not getattr(error, "step", None):
        lines.append(hint)
    elif spelled in _CREATING and not excerpt:
        lines += ["", f"Run 'tiffin {spelled} --help' for more information"]
    sys.stderr.write("\n".join(lines) + "\n")
    return exit_code(error, spelled)


def _excerpt(error: TiffinError) -> str:
    """Return the lines of the Dockerfile that an error is about, "" for other errors."""
    from tiffin.errors import BuildFailed, DockerfileError

    place = error if isinstance(error, DockerfileError) else error.place
    if place is not None and place.line:
        from tiffin.cli import excerpt

        return excerpt.of_error(place)
    if isinstance(error, BuildFailed) and error.step is not None:
        from tiffin.cli import excerpt

        return excerpt.of_step(error.step)
    return ""


def exit_code(error: TiffinError, spelled: str) -> int:
    """Return docker's exit code for an error of this command."""
    from tiffin.errors import BuildFailed, Interrupted, StartFailed

    if isinstance(error, Interrupted):
        return _INTERRUPTED
    if isinstance(error, BuildFailed):
        return error.exit_code or 1
    last = spelled.rpartition(" ")[2]
    if isinstance(error, StartFailed) and last in {"run", "exec"}:
        return error.exit_code
    return 125 if spelled in _CREATING else 1


def _leave(code: int) -> None:
    """Flush and end without the interpreter's farewell (it costs 3 ms, and closing the store more)."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = _BROKEN_PIPE
    except OSError as error:
        # A full disk behind `> file` must not look like success.
        os.write(2, f"tiffin: write standard output: {error.strerror}\n".encode())
        code = code or 1
    os._exit(code)
