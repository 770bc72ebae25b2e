"""The lines of `docker history`, in the words that BuildKit writes."""

from __future__ import annotations

from tiffin.spec import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tiffin.build.instructions import Copy
    from tiffin.spec.container import Healthcheck

_SUFFIX = " # buildkit"
_UNITS = ((3600 * 10**9, "h"), (60 * 10**9, "m"))


def quoted(argv: Sequence[str]) -> str:
    """Return a list as Go prints one of quoted strings: `["a" "b"]`."""
    return f"[{' '.join(map(jsontext.dumps, argv))}]"


def run(argv: Sequence[str], arguments: Mapping[str, str | None]) -> str:
    """Return a RUN's line: `RUN |1 A=b /bin/sh -c make # buildkit`; every declared argument is in it."""
    pairs = [f"{name}={value or ''}" for name, value in arguments.items()]
    words = [f"|{len(pairs)}", *pairs] if pairs else []
    return f"RUN {' '.join((*words, *argv))}{_SUFFIX}"


def copy(instruction: Copy, sources: Sequence[str], destination: str, chown: str, chmod: str) -> str:
    """Return a COPY's or ADD's line; where it copies from is not in it, as docker has it."""
    words = [instruction.statement.keyword]
    if instruction.parents:
        words.append("--parents")
    if chown:
        words.append(f"--chown={chown}")
    if chmod:
        words.append(f"--chmod={chmod}")
    words += [*sources, *(f"<<{heredoc.name}" for heredoc in instruction.inline), destination]
    return " ".join(words) + _SUFFIX


def healthcheck(check: Healthcheck) -> str:
    """Return Go's print of a health check: `&{["CMD" "x"] "30s" "0s" "0s" "0s" RETRIES}`."""
    times = (check.interval, check.timeout, check.start_period, check.start_interval)
    shown = " ".join(f'"{_duration(time)}"' for time in times)
    number = check.retries
    retries = f"'\\x{number:02x}'" if number < 0x20 else f"'{chr(number)}'" if number < 0x7F else str(number)
    return f"&{{{quoted(check.test)} {shown} {retries}}}"


def _duration(nanoseconds: int) -> str:
    """Return Go's text of a duration: `1h30m0s`, `1.5s`, `10ms`."""
    if nanoseconds < 10**9:
        return f"{nanoseconds / 10**6:g}ms" if nanoseconds else "0s"
    text = ""
    for unit, name in _UNITS:
        count, nanoseconds = divmod(nanoseconds, unit)
        if count or text:
            text += f"{count}{name}"
    seconds = f"{nanoseconds / 10**9:.9f}".rstrip("0").rstrip(".")
    return f"{text}{seconds}s"
