"""`-e`, `--env-file`, `-l`, `--label-file`: docker's rules for KEY=VALUE words and files of them."""

from __future__ import annotations

from tiffin.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from tiffin.cli.parser import Parsed


def environment(parsed: Parsed, caller: Mapping[str, str]) -> list[str]:
    """Return variables, files first; `-e NAME` takes the caller's value.

    A name that the caller does not have stays bare: it takes the image's variable away.
    """
    found: dict[str, str] = {}
    for path in parsed.many("env-file"):
        for line in _lines(path):
            name, equals, _ = line.partition("=")
            if equals:
                found[name] = line
            elif name in caller:
                found[name] = f"{name}={caller[name]}"
    for text in parsed.many("env"):
        name, equals, _ = text.partition("=")
        if not name:
            raise parsed.invalid("env", text, f"invalid environment variable: {text}")
        found[name] = text if equals or name not in caller else f"{name}={caller[name]}"
    return list(found.values())


def labels(parsed: Parsed) -> dict[str, str]:
    """Return labels, files first; a label without `=` is empty."""
    texts = [line for path in parsed.many("label-file") for line in _lines(path)]
    for text in parsed.many("label"):
        if text.startswith("="):
            raise parsed.invalid("label", text, f"invalid label '{text}': empty name")
        texts.append(text)
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def pairs(texts: list[str]) -> dict[str, str]:
    """Return `KEY=VALUE` words as a mapping; a missing value is ""."""
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def _lines(path: str) -> list[str]:
    """Return a file's KEY=VALUE lines without blank ones and comments; raises InvalidArgument."""
    try:
        with open(path, "rb") as stream:
            raw = stream.read()
    except OSError as error:
        raise InvalidArgument(f"open {path}: {(error.strerror or '').lower()}") from error
    found = []
    for number, data in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            line = data.removesuffix(b"\r").decode().lstrip(" \t")
        except UnicodeDecodeError:
            shown = " ".join(map(str, data))
            raise InvalidArgument(
                f"invalid env file ({path}): invalid utf8 bytes at line {number}: [{shown}]"
            ) from None
        if not line or line[0] == "#":
            continue
        name = line.partition("=")[0]
        if not name:
            raise InvalidArgument(f"invalid env file ({path}): no variable name on line '{line}'")
        if any(character in name for character in " \t\v\f"):
            raise InvalidArgument(f"invalid env file ({path}): variable '{name}' contains whitespaces")
        found.append(line)
    return found
