"""--secret and --ssh of a build: what the caller's files, variables and agents give to its steps."""

from __future__ import annotations

import csv
import os
import stat

from tiffin.errors import InvalidArgument, NotFound, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LIMIT = 500 << 10
"""Bytes of a secret, docker's limit."""


def secrets(texts: Sequence[str], environment: Mapping[str, str]) -> dict[str, bytes]:
    """Read `id=NAME[,src=FILE|,env=VARIABLE][,type=file|env]`; without either, what of them is there."""
    return dict(_secret(text, environment) for text in texts)


def _secret(text: str, environment: Mapping[str, str]) -> tuple[str, bytes]:
    words: dict[str, str] = {}
    for field in next(csv.reader([text]), []):
        name, equals, value = field.partition("=")
        if not equals:
            raise InvalidArgument(f"invalid field '{field}' must be a key=value pair")
        if name.lower() not in {"type", "id", "src", "source", "env"}:
            raise InvalidArgument(f"unexpected key '{name}' in '{field}'")
        words[name.lower()] = value
    kind, name = words.get("type", ""), words.get("id", "")
    if kind not in {"", "file", "env"}:
        raise InvalidArgument(f'unsupported secret type "{kind}"', hint="it is file or env")
    file, variable = words.get("src") or words.get("source", ""), words.get("env", "")
    if not name:
        raise InvalidArgument("secret missing id", hint="--secret id=NAME,src=FILE")
    if kind == "env" and not variable:
        file, variable = "", file or name
    if not file and not variable:
        file, variable = ("", name) if kind != "file" and name in environment else (name, "")
    if variable:
        if variable not in environment:
            raise NotFound(f"secret {name}: the variable {variable} is not set")
        return name, environment[variable].encode("utf-8", "surrogateescape")
    return name, _read(name, file)


def _read(name: str, file: str) -> bytes:
    try:
        with open(file, "rb") as stream:
            data = stream.read(_LIMIT + 1)
    except OSError as error:
        message = f"failed to stat {file}: {(error.strerror or '').lower()}"
        raise NotFound(message, hint=f"it is the secret {name}: --secret id={name},src=FILE") from None
    if len(data) > _LIMIT:
        raise InvalidArgument(f"invalid secret size: {file} has more than {_LIMIT} bytes")
    return data


def agents(texts: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Read `default` or `ID=SOCKET`; return the sockets by id."""
    found = {}
    for text in texts:
        name, _, path = text.partition("=")
        path = path or environment.get("SSH_AUTH_SOCK", "")
        if not path:
            message = f"invalid empty ssh agent socket for {name or 'default'}"
            raise InvalidArgument(message, hint="make sure SSH_AUTH_SOCK is set: eval $(ssh-agent); ssh-add")
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            raise NotFound(f"failed to stat {path}: {(error.strerror or '').lower()}") from None
        if not stat.S_ISSOCK(mode):
            hint = f"give the key to an agent: ssh-add {path}, and --ssh {name or 'default'}"
            raise Unsupported(f"--ssh with a key file is not supported: {path}", hint=hint)
        found[name or "default"] = os.path.abspath(path)
    return found
