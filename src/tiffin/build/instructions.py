"""Instructions as values: what each keyword allows, with docker's sentences for what it does not.

`read` turns one statement into one value; nothing is expanded yet, because variables are known only
while a stage is built. Rules and sentences: Dockerfile reference and BuildKit's checks.
"""

from __future__ import annotations

import re

from tiffin.build.durations import duration
from tiffin.build.flags import Flags, closest
from tiffin.build.parser import Heredoc, Statement, chomped, heredoc_word, raw_words, split_flags
from tiffin.build.runmounts import RunMount, read_mount
from tiffin.build.words import WordError
from tiffin.errors import Corrupt
from tiffin.spec import jsontext
from tiffin.spec.container import Healthcheck
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_BLANKS = re.compile(r"[\t\v\f\r ]+")
_STAGE_NAME = re.compile(r"[a-z][a-z0-9._-]*")


class Instruction(Value):
    """One instruction; `statement` says where it stands and how it is written."""

    statement: Statement


class From(Instruction):
    """Begin a stage from `base`: an image, an earlier stage or `scratch`."""

    base: str
    name: str = ""
    platform: str = ""


class Arg(Instruction):
    """Declare build arguments: (name, default), None where there is no default."""

    arguments: tuple[tuple[str, str | None], ...]


class Env(Instruction):
    """Set variables; keys and values still hold quotes and `$names`. `legacy` is `ENV key value`."""

    pairs: tuple[tuple[str, str], ...]
    legacy: bool = False


class Label(Instruction):
    """Set labels; keys and values still hold quotes and `$names`. `legacy` is `LABEL key value`."""

    pairs: tuple[tuple[str, str], ...]
    legacy: bool = False


class Command(Instruction):
    """RUN, CMD or ENTRYPOINT: `argv` in exec form, else the one text that a shell gets."""

    argv: tuple[str, ...]
    shell: bool


class Run(Command):
    """Run a command and keep what it changes. `network` is default, none or host.

    `insecure` is `--security=insecure`; `devices` are names of CDI, each with whether it is required.
    """

    network: str = "default"
    mounts: tuple[RunMount, ...] = ()
    insecure: bool = False
    devices: tuple[tuple[str, bool], ...] = ()


class Cmd(Command):
    """Set the default command."""


class Entrypoint(Command):
    """Set the entry point; clears a command that was inherited."""


class Copy(Instruction):
    """COPY and ADD. `inline` are here-documents used as sources; `destination` is the last word.

    `unpack` is ADD's habit of extracting local archives, `unpack_remote` what it does only when told to.
    """

    sources: tuple[str, ...]
    inline: tuple[Heredoc, ...]
    destination: str
    source: str = ""  # `--from`: "" is the build context
    chown: str = ""
    chmod: str = ""
    exclude: tuple[str, ...] = ()
    parents: bool = False
    link: bool = False
    unpack: bool = False
    unpack_remote: bool = False
    checksum: str = ""
    keep_git_dir: bool = False


class Workdir(Instruction):
    """Change the working directory."""

    path: str


class User(Instruction):
    """Change the user of what follows."""

    user: str


class Expose(Instruction):
    """Name ports, as written."""

    ports: tuple[str, ...]


class Volume(Instruction):
    """Name mount points."""

    paths: tuple[str, ...]


class Shell(Instruction):
    """Set the shell of the shell forms that follow."""

    argv: tuple[str, ...]


class StopSignal(Instruction):
    """Set the signal of `docker stop`."""

    signal: str


class Health(Instruction):
    """Set or clear the health check. With `shell`, the test is the one text a shell gets."""

    check: Healthcheck


class OnBuild(Instruction):
    """Leave a trigger for builds that start from this image."""

    trigger: str


class Maintainer(Instruction):
    """Set the author."""

    author: str


def read(statement: Statement) -> Instruction:
    """Read one instruction; raise DockerfileError (or Unsupported, by name) for a wrong one."""
    reader = _READERS.get(statement.keyword)
    if reader is None:
        near = closest(statement.keyword, _READERS)
        written = statement.original.split(None, 1)[0]
        suffix = f" (did you mean {near}?)" if near else ""
        raise statement.error(f"unknown instruction: {written}{suffix}", caret=written)
    return reader(statement)


def origins(instruction: Instruction) -> tuple[str, ...]:
    """Return what an instruction takes files from: names or numbers of stages, names of images."""
    if isinstance(instruction, Copy):
        return (instruction.source,) if instruction.source else ()
    if isinstance(instruction, Run):
        return tuple(mount.origin for mount in instruction.mounts if mount.origin)
    return ()


def _json_list(text: str) -> tuple[str, ...] | None:
    """Read a JSON array of strings; None for what is none. Raises ValueError for other members."""
    if not text.lstrip().startswith("["):
        return None
    try:
        value = jsontext.loads(text)
    except Corrupt:
        return None
    if not isinstance(value, list):
        return None
    if not all(isinstance(item, str) for item in value):
        message = "when using JSON array syntax, arrays must be comprised of strings only"
        raise ValueError(message)
    return tuple(value)


def _json(statement: Statement, text: str) -> tuple[str, ...] | None:
    try:
        return _json_list(text)
    except ValueError as error:
        raise statement.error(str(error), caret="[") from None


def _list(statement: Statement) -> tuple[str, ...]:
    """Read a JSON array or words."""
    found = _json(statement, statement.text)
    if found is not None:
        return found
    return tuple(_BLANKS.split(statement.text)) if statement.text else ()


def _at_least_one(statement: Statement) -> None:
    if not statement.text:
        raise statement.error(f"{statement.keyword} requires at least one argument")


def _exactly_one(statement: Statement) -> str:
    if not statement.text:
        raise statement.error(f"{statement.keyword} requires exactly one argument")
    return statement.text


def _from(statement: Statement) -> From:
    flags = Flags(statement, strings=("platform",))
    words = statement.text.split()
    name = ""
    if len(words) == 3 and words[1].upper() == "AS":
        name = words[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            message = (
                f'invalid name for build stage: "{words[2]}", '
                "name can't start with a number or contain symbols"
            )
            raise statement.error(message, caret=words[2])
    elif len(words) != 1:
        raise statement.error("FROM requires either one or three arguments")
    return From(statement=statement, base=words[0], name=name, platform=flags.text("platform"))


def split_words(text: str, escape: str) -> list[str]:
    """Split arguments at white space, quotes and escapes kept in the words."""
    words: list[str] = []
    word: list[str] = []
    quote = ""
    seen = False
    characters = iter(text)
    for character in characters:
        if not quote and character.isspace():
            if seen:
                words.append("".join(word))
            word, seen = [], False
            continue
        seen = True
        if character == escape and quote != "'":
            following = next(characters, "")
            if following:
                word += (character, following)
            continue
        if character in "'\"" and quote in {"", character}:
            quote = "" if quote else character
        word.append(character)
    if seen:
        words.append("".join(word))
    return words


def _pairs(statement: Statement) -> tuple[tuple[tuple[str, str], ...], bool]:
    """Read `key=value ...`, or the old form `key value`; tell whether it is the old one."""
    Flags(statement)
    keyword = statement.keyword
    _at_least_one(statement)
    words = split_words(statement.text, statement.escape)
    if not words:
        raise statement.error(f"{keyword} requires at least one argument")
    if "=" not in words[0]:
        parts = _BLANKS.split(statement.text, maxsplit=1)
        if len(parts) < 2:
            raise statement.error(f"{keyword} must have two arguments", caret=parts[0])
        return ((parts[0], parts[1]),), True
    pairs = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            message = f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value'
            raise statement.error(message, caret=word)
        if not key:
            raise statement.error(f"{keyword} names can not be blank", caret=word)
        pairs.append((key, value))
    return tuple(pairs), False


def _env(statement: Statement) -> Env:
    pairs, legacy = _pairs(statement)
    return Env(statement=statement, pairs=pairs, legacy=legacy)


def _label(statement: Statement) -> Label:
    pairs, legacy = _pairs(statement)
    return Label(statement=statement, pairs=pairs, legacy=legacy)


def _arg(statement: Statement) -> Arg:
    Flags(statement)
    _at_least_one(statement)
    found: list[tuple[str, str | None]] = []
    for word in split_words(statement.text, statement.escape):
        name, equals, value = word.partition("=")
        if not name:
            raise statement.error("ARG names can not be blank", caret=word)
        found.append((name, value if equals else None))
    return Arg(statement=statement, arguments=tuple(found))


def _command_line(statement: Statement) -> tuple[tuple[str, ...], bool]:
    found = _json(statement, statement.text)
    if found is not None:
        return found, False
    return ((statement.text,) if statement.text else ()), True


def _run(statement: Statement) -> Run:
    flags = Flags(statement, strings=("network", "security"), lists=("mount", "device"))
    security = flags.text("security", "sandbox")
    if security not in {"sandbox", "insecure"}:
        raise statement.error(f'security mode "{security}" is not valid', caret="--security")
    devices = tuple(_device(statement, text) for text in flags.all("device"))
    network = flags.text("network", "default")
    if network not in {"default", "none", "host"}:
        raise statement.error(f'invalid network mode "{network}"', caret="--network")
    mounts = tuple(read_mount(statement, text) for text in flags.all("mount"))
    _at_least_one(statement)
    argv, shell = _command_line(statement)
    if not argv:
        raise statement.error("RUN requires at least one argument")
    return Run(
        statement=statement,
        argv=argv,
        shell=shell,
        network=network,
        mounts=mounts,
        insecure=security == "insecure",
        devices=devices,
    )


def _device(statement: Statement, text: str) -> tuple[str, bool]:
    """Read `vendor.com/class=name[,required]`, or with `name=` before it."""
    name, required = "", False
    for field in text.split(","):
        key, equals, value = field.partition("=")
        if key == "required":
            required = value in {"", "1", "true"}
        elif key == "name" and "/" in value:
            name = value
        elif equals and "/" in key and value:
            name = field
        else:
            hint = "a device is named vendor.com/class=name"
            raise statement.error(f"invalid device {field}", caret="--device", hint=hint)
    return name, required


def _cmd(statement: Statement) -> Cmd:
    Flags(statement)
    argv, shell = _command_line(statement)
    return Cmd(statement=statement, argv=argv, shell=shell)


def _entrypoint(statement: Statement) -> Entrypoint:
    Flags(statement)
    argv, shell = _command_line(statement)
    return Entrypoint(statement=statement, argv=argv, shell=shell)


def _copy(statement: Statement) -> Copy:
    add = statement.keyword == "ADD"
    flags = Flags(
        statement,
        strings=("chown", "chmod", *(("checksum",) if add else ("from",))),
        booleans=("link", *(("keep-git-dir", "unpack") if add else ("parents",))),
        lists=("exclude",),
    )
    words = _list(statement)
    if len(words) < 2:
        message = (
            f"{statement.keyword} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )
        if not words:
            message = f"{statement.keyword} requires at least one argument"
        raise statement.error(message)
    *sources, destination = words
    if heredoc_word(destination):
        message = f"{statement.keyword} cannot accept a heredoc as a destination"
        raise statement.error(message, caret=destination)
    by_name = {heredoc.name: heredoc for heredoc in statement.heredocs}
    paths, inline = [], []
    for source in sources:
        heredoc = heredoc_word(source)
        if heredoc and heredoc[0] in by_name:
            inline.append(by_name[heredoc[0]])
        else:
            paths.append(source)
    origin = flags.text("from")
    if "$" in origin:
        message = "variable expansion is not supported for --from"
        hint = "define a new stage with FROM using ARG from global scope as a workaround"
        raise statement.error(message, caret="--from", hint=hint)
    return Copy(
        statement=statement,
        sources=tuple(paths),
        inline=tuple(inline),
        destination=destination,
        source=origin,
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        exclude=flags.all("exclude"),
        parents=flags.true("parents"),
        link=flags.true("link"),
        unpack=add and flags.text("unpack") != "false",
        unpack_remote=flags.true("unpack"),
        checksum=flags.text("checksum"),
        keep_git_dir=flags.true("keep-git-dir"),
    )


def _workdir(statement: Statement) -> Workdir:
    Flags(statement)
    return Workdir(statement=statement, path=_exactly_one(statement))


def _user(statement: Statement) -> User:
    Flags(statement)
    return User(statement=statement, user=_exactly_one(statement))


def _expose(statement: Statement) -> Expose:
    Flags(statement)
    _at_least_one(statement)
    return Expose(statement=statement, ports=tuple(_BLANKS.split(statement.text)))


def _volume(statement: Statement) -> Volume:
    Flags(statement)
    _at_least_one(statement)
    paths = tuple(path.strip() for path in _list(statement))
    if not all(paths) or not paths:
        raise statement.error("VOLUME specified can not be an empty string")
    return Volume(statement=statement, paths=paths)


def _shell(statement: Statement) -> Shell:
    Flags(statement)
    argv = _json(statement, statement.text)
    if argv is None:
        hint = 'for example SHELL ["/bin/bash", "-c"]'
        raise statement.error("SHELL requires the arguments to be in JSON form", hint=hint)
    if not argv:
        raise statement.error("SHELL requires at least one argument")
    return Shell(statement=statement, argv=argv)


def _stop_signal(statement: Statement) -> StopSignal:
    Flags(statement)
    return StopSignal(statement=statement, signal=_exactly_one(statement))


def _maintainer(statement: Statement) -> Maintainer:
    Flags(statement)
    return Maintainer(statement=statement, author=_exactly_one(statement))


def _on_build(statement: Statement) -> OnBuild:
    Flags(statement)
    _at_least_one(statement)
    trigger = statement.text.split(None, 1)[0].upper()
    if trigger == "ONBUILD":
        raise statement.error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", caret=trigger)
    if trigger in {"MAINTAINER", "FROM"}:
        raise statement.error(f"{trigger} isn't allowed as an ONBUILD trigger", caret=trigger)
    text = statement.text
    for heredoc in statement.heredocs:
        text += f"\n{heredoc.content}{heredoc.name}"
    # A trigger that cannot be read is refused where it is written, not where it goes off.
    inner = _inner_statement(statement)
    read(inner)
    return OnBuild(statement=statement, trigger=text)


def _inner_statement(statement: Statement) -> Statement:
    keyword, *rest = _BLANKS.split(statement.text, maxsplit=1)
    flags, text = split_flags(rest[0] if rest else "")
    return statement.replace(keyword=keyword.upper(), flags=flags, text=text, original=statement.text)


def _health(statement: Statement) -> Health:
    flags = Flags(statement, strings=("interval", "timeout", "start-period", "start-interval", "retries"))
    _at_least_one(statement)
    kind, *rest = _BLANKS.split(statement.text, maxsplit=1)
    text = rest[0].strip() if rest else ""
    if kind.upper() == "NONE":
        if text:
            raise statement.error("HEALTHCHECK NONE takes no arguments", caret=text)
        return Health(statement=statement, check=Healthcheck(test=("NONE",)))
    if kind.upper() != "CMD":
        raise statement.error(f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)', caret=kind)
    argv = _json(statement, text)
    test = ("CMD-SHELL", text) if argv is None else ("CMD", *argv)
    if not text or argv == ():
        raise statement.error("Missing command after HEALTHCHECK CMD", caret=kind)
    retries = flags.text("retries", "0")
    if not retries.lstrip("-").isdecimal() or len(retries) > 9:
        raise statement.error(f'invalid value "{retries}" for --retries', caret="--retries")
    if int(retries) < 0:
        raise statement.error(f"--retries cannot be negative ({retries})", caret="--retries")
    check = Healthcheck(
        test=test,
        interval=_interval(flags, "interval"),
        timeout=_interval(flags, "timeout"),
        start_period=_interval(flags, "start-period"),
        start_interval=_interval(flags, "start-interval"),
        retries=int(retries),
    )
    return Health(statement=statement, check=check)


def _interval(flags: Flags, name: str) -> int:
    text = flags.text(name)
    if not text:
        return 0
    value = duration(text)
    if value is None:
        raise flags.statement.error(f'time: invalid duration "{text}"', caret=f"--{name}")
    if 0 < value < 10**6 or value < 0:
        raise flags.statement.error(f'Interval "{name}" cannot be less than 1ms', caret=f"--{name}")
    return value


def run_script(instruction: Run) -> tuple[str, tuple[str, bytes] | None]:
    """Return what the shell gets for a RUN in shell form, and (name, script) where a file is to be run.

    A RUN that is nothing but a here-document runs its content; one that begins with `#!` is run as
    a file by its own interpreter. In any other the shell gets the documents as they stand.
    """
    statement = instruction.statement
    text = instruction.argv[0]
    if not statement.heredocs:
        return text, None
    words = raw_words(text)
    first = statement.heredocs[0]
    if len(words) == 1 and heredoc_word(words[0]):
        content = chomped(first)
        if content.startswith("#!"):
            return text, (first.name, content.encode())
        return content, None
    return text + "".join(f"\n{h.content}{h.name}" for h in statement.heredocs), None


def expanded(statement: Statement, expand: Callable[[str], str], text: str) -> str:
    """Expand one word of a statement, its errors placed at the statement."""
    try:
        return expand(text)
    except WordError as error:
        raise statement.error(str(error), caret=text, prefix=False) from None


def _readers() -> dict[str, Callable[[Statement], Instruction]]:
    return {
        "FROM": _from,
        "RUN": _run,
        "CMD": _cmd,
        "LABEL": _label,
        "MAINTAINER": _maintainer,
        "EXPOSE": _expose,
        "ENV": _env,
        "ADD": _copy,
        "COPY": _copy,
        "ENTRYPOINT": _entrypoint,
        "VOLUME": _volume,
        "USER": _user,
        "WORKDIR": _workdir,
        "ARG": _arg,
        "ONBUILD": _on_build,
        "STOPSIGNAL": _stop_signal,
        "HEALTHCHECK": _health,
        "SHELL": _shell,
    }


_READERS = _readers()
