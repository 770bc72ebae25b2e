"""Signals by docker's spellings: `KILL`, `SIGKILL`, `sigkill`, `9`, `RTMIN+3` (Linux numbers)."""

from __future__ import annotations

from tiffin.errors import InvalidArgument

# Linux on every architecture that containers are built for (mips and sparc differ).
_NUMBERS = {
    name: value
    for value, name in enumerate(
        (  # noqa: SIM905 - thirty quoted words read worse
            "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP "
            "TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
        ).split(),
        1,
    )
}
_NUMBERS |= {"IOT": 6, "CLD": 17, "POLL": 29, "UNUSED": 31, "RTMIN": 34, "RTMAX": 64}


def number(text: str) -> int:
    """Return a signal's number; raise InvalidArgument with docker's sentence for anything else."""
    if text.isascii() and text.isdigit():
        value = int(text)
        if 0 < value <= 64:
            return value
    name = text.upper().removeprefix("SIG")
    if name in _NUMBERS:
        return _NUMBERS[name]
    base, sign, offset = name.partition("+") if "+" in name else name.partition("-")
    if base in {"RTMIN", "RTMAX"} and offset.isascii() and offset.isdigit():
        value = _NUMBERS[base] + (int(offset) if sign == "+" else -int(offset))
        if 34 <= value <= 64:
            return value
    message = f"invalid signal: {text}"
    raise InvalidArgument(message, hint="for example TERM, SIGKILL, 9 or RTMIN+3")


def name_of(value: int) -> str:
    """Return `SIGTERM` for 15; a bare number for a signal without a name."""
    for name, known in _NUMBERS.items():
        if known == value:
            return f"SIG{name}"
    return str(value)
