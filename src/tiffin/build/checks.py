"""The build checks: what a Dockerfile does that its author will regret, by the names of BuildKit's rules.

Two passes of plain data. `text` looks at the whole file; `Scopes` follows one stage after the other and wants
to know what their base images say (variables, shell). Neither changes anything, and neither fails: what
cannot be read is the builder's to refuse.
"""

from __future__ import annotations

import posixpath
import re

from tiffin.build.flags import closest
from tiffin.build.instructions import (
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Health,
    Label,
    Maintainer,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from tiffin.build.repositories import is_remote
from tiffin.build.words import Lexer, WordError
from tiffin.errors import InvalidArgument, TiffinError
from tiffin.spec import jsontext
from tiffin.spec.platform import Platform
from tiffin.spec.reference import Reference
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tiffin.build.instructions import Instruction
    from tiffin.build.parser import Statement
    from tiffin.build.patterns import Patterns
    from tiffin.spec.container import ContainerConfig

_RULES = (
    "StageNameCasing",
    "FromAsCasing",
    "NoEmptyContinuation",
    "ConsistentInstructionCasing",
    "DuplicateStageName",
    "ReservedStageName",
    "JSONArgsRecommended",
    "MaintainerDeprecated",
    "UndefinedArgInFrom",
    "WorkdirRelativePath",
    "UndefinedVar",
    "MultipleInstructionsDisallowed",
    "LegacyKeyValueFormat",
    "RedundantTargetPlatform",
    "SecretsUsedInArgOrEnv",
    "InvalidDefaultArgInFrom",
    "FromPlatformFlagConstDisallowed",
    "CopyIgnoredFile",
    "InvalidDefinitionDescription",
    "ExposeProtoCasing",
    "ExposeInvalidFormat",
)
_EXPERIMENTAL = frozenset({"InvalidDefinitionDescription"})
_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_NO_SECRET = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)
_TRUE, _FALSE = {"1", "t", "T", "TRUE", "true", "True"}, {"0", "f", "F", "FALSE", "false", "False"}
_DESCRIPTION = re.compile(r"#[ \t]*(\S+)")


class Finding(Value):
    """One regret: `rule` names it, the lines (counting from 1) are where it stands."""

    rule: str
    detail: str
    line: int
    end_line: int

    @property
    def url(self) -> str:
        """Where the rule is explained."""
        words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=JSON)(?=[A-Z])", "-", self.rule)
        return f"https://docs.docker.com/go/dockerfile/rule/{words.lower()}/"

    @property
    def text(self) -> str:
        """The sentence with the rule's name and its place."""
        return f"{self.rule}: {self.detail} (line {self.line})"


class Settings(Value):
    """`# check=skip=A,B;error=true`: what is looked at, and whether a finding ends the build."""

    skipped: frozenset[str] = frozenset()
    none: bool = False
    error: bool = False
    experimental: frozenset[str] = frozenset()

    def wants(self, finding: Finding) -> bool:
        """Tell whether the author wants to hear of it."""
        if self.none or finding.rule in self.skipped:
            return False
        return finding.rule not in _EXPERIMENTAL or bool({"all", finding.rule} & self.experimental)


def settings(text: str) -> Settings:
    """Read a `check` directive or BUILDKIT_DOCKERFILE_CHECK; raise InvalidArgument."""
    words: dict[str, str] = {}
    for part in text.split(";") if text.strip() else ():
        name, equals, value = part.partition("=")
        if not equals or name.strip() not in {"skip", "error", "experimental"}:
            shown = part if not equals else name.strip()
            message = f"invalid check option {jsontext.dumps(shown)}"
            raise InvalidArgument(message, hint="for example # check=skip=JSONArgsRecommended;error=true")
        words[name.strip()] = value.strip()
    error = words.get("error", "false")
    if error not in _TRUE | _FALSE:
        message = f'failed to parse check option "error={error}": invalid syntax'
        raise InvalidArgument(message, hint="it is true or false")
    skipped = _names(words.get("skip", ""))
    return Settings(
        skipped=skipped,
        none="all" in skipped,
        error=error in _TRUE,
        experimental=_names(words.get("experimental", "")),
    )


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def unknown(wanted: Settings) -> list[tuple[str, str]]:
    """Return the names of checks that do not exist, each with the one that may be meant."""
    named = (wanted.skipped | wanted.experimental) - {"all"} - set(_RULES)
    return [(name, closest(name, _RULES)) for name in sorted(named)]


def _at(statement: Statement, rule: str, detail: str) -> Finding:
    return Finding(rule=rule, detail=detail, line=statement.line, end_line=statement.end_line)


def text(
    instructions: Sequence[Instruction],
    *,
    arguments: Mapping[str, str],
    build_args: Mapping[str, str] = EMPTY,
    lines: Sequence[str] = (),
) -> Iterator[Finding]:
    """Check what the file alone shows. `arguments` are the platform ones; `lines` are its text."""
    for statement in (instruction.statement for instruction in instructions):
        if statement.gap:
            end = statement.end_line
            yield Finding(
                rule="NoEmptyContinuation", detail="Empty continuation line", line=end, end_line=end
            )
    yield from _casing(instructions)
    yield from _stage_names(instructions)
    yield from _from_words(instructions, arguments, build_args)
    for instruction in instructions:
        yield from _alone(instruction)
    yield from _descriptions(instructions, lines)


def _casing(instructions: Sequence[Instruction]) -> Iterator[Finding]:
    words = [i.statement.original.split(None, 1)[0] for i in instructions]
    lower = sum(word.islower() for word in words)
    upper = sum(word.isupper() for word in words)
    right, told = (str.lower, "lowercase") if lower > upper else (str.upper, "uppercase")
    for instruction, word in zip(instructions, words, strict=True):
        if right(word) != word:
            detail = f"Command '{word}' should match the case of the command majority ({told})"
            yield _at(instruction.statement, "ConsistentInstructionCasing", detail)


def _stage_names(instructions: Sequence[Instruction]) -> Iterator[Finding]:
    seen: set[str] = set()
    for start in instructions:
        if not isinstance(start, From) or not start.name:
            continue
        statement = start.statement
        words = statement.text.split()
        keyword = statement.original.split(None, 1)[0]
        if keyword.islower() != words[1].islower() or keyword.isupper() != words[1].isupper():
            detail = f"'{words[1]}' and '{keyword}' keywords' casing do not match"
            yield _at(statement, "FromAsCasing", detail)
        if words[2] != start.name:
            yield _at(statement, "StageNameCasing", f"Stage name '{words[2]}' should be lowercase")
        if start.name in {"context", "scratch"}:
            detail = f'Stage name should not use the same name as reserved stage "{start.name}"'
            yield _at(statement, "ReservedStageName", detail)
        if start.name in seen:
            detail = f'Duplicate stage name "{start.name}", stage names should be unique'
            yield _at(statement, "DuplicateStageName", detail)
        seen.add(start.name)


def _from_words(
    instructions: Sequence[Instruction], arguments: Mapping[str, str], build_args: Mapping[str, str]
) -> Iterator[Finding]:
    """Check FROM's image and platform: arguments that nobody declares, or that have no default."""
    given, default = dict(arguments), dict(arguments)
    declared = set(arguments)
    stages: set[str] = set()
    outside = True
    for instruction in instructions:
        if isinstance(instruction, Arg) and outside:
            for name, value in instruction.arguments:
                declared.add(name)
                for known, own in ((given, build_args), (default, EMPTY)):
                    if name in own:
                        known[name] = own[name]
                    elif value is not None:
                        known[name] = _word(Lexer(known), value)
        elif isinstance(instruction, From):
            outside = False
            found = _from(instruction, given, default, declared)
            if instruction.base.lower() not in stages:
                yield from found
            stages.add(instruction.name)


def _from(
    start: From, given: Mapping[str, str], default: Mapping[str, str], declared: set[str]
) -> Iterator[Finding]:
    statement = start.statement
    lexer = Lexer(given, escape=statement.escape)
    _word(lexer, start.base)
    platform = Lexer(given, escape=statement.escape)
    wanted = _word(platform, start.platform)
    for name in sorted((lexer.missing | platform.missing) - declared):
        near = closest(name, tuple(declared))
        suffix = f" (did you mean {near}?)" if near else ""
        detail = f"FROM argument '{name}' is not declared{suffix}"
        yield _at(statement, "UndefinedArgInFrom", detail)
    try:
        Reference.parse(_word(Lexer(default, escape=statement.escape), start.base))
    except TiffinError:
        detail = f"Default value for ARG {start.base} results in empty or invalid base image name"
        yield _at(statement, "InvalidDefaultArgInFrom", detail)
    if platform.used == {"TARGETPLATFORM"} and not platform.missing:
        if wanted == given["TARGETPLATFORM"]:
            detail = f"Setting platform to predefined {start.platform} in FROM is redundant"
            yield _at(statement, "RedundantTargetPlatform", f"{detail} as this is the default behavior")
    elif start.platform and not platform.used and not platform.missing:
        yield from _constant(start, wanted)


def _constant(start: From, wanted: str) -> Iterator[Finding]:
    try:
        platform = Platform.parse(wanted)
    except InvalidArgument:
        return
    if platform.os not in start.name and platform.architecture not in start.name:
        detail = f"FROM --platform flag should not use constant value {jsontext.dumps(wanted)}"
        yield _at(start.statement, "FromPlatformFlagConstDisallowed", detail)


def _alone(instruction: Instruction) -> Iterator[Finding]:
    statement = instruction.statement
    if isinstance(instruction, Maintainer):
        detail = "Maintainer instruction is deprecated in favor of using label"
        yield _at(statement, "MaintainerDeprecated", detail)
    if isinstance(instruction, Env | Label):
        keyword = statement.keyword
        if instruction.legacy:
            detail = f'"{keyword} key=value" should be used instead of legacy "{keyword} key value" format'
            yield _at(statement, "LegacyKeyValueFormat", detail)
    names: list[str] = []
    if isinstance(instruction, Env):
        names = [key for key, _ in instruction.pairs]
    elif isinstance(instruction, Arg):
        names = [name for name, _ in instruction.arguments]
    for name in names:
        if _SECRET.search(name) and not _NO_SECRET.search(name):
            detail = f"Do not use ARG or ENV instructions for sensitive data ({statement.keyword} "
            yield _at(statement, "SecretsUsedInArgOrEnv", f"{detail}{jsontext.dumps(name)})")


def _descriptions(instructions: Sequence[Instruction], lines: Sequence[str]) -> Iterator[Finding]:
    """Check comments right above FROM and ARG, which `--call=outline` takes for descriptions."""
    for instruction in instructions:
        statement = instruction.statement
        above = lines[statement.line - 2].strip() if 1 < statement.line <= len(lines) else ""
        if isinstance(instruction, From):
            kind, names = "build stage", [instruction.name] if instruction.name else []
        elif isinstance(instruction, Arg):
            kind, names = "argument", [name for name, _ in instruction.arguments]
        else:
            continue
        match = _DESCRIPTION.match(above)
        if match and names and match[1].rstrip(":") not in names:
            detail = f"Comment for {kind} should follow the format: `# {names[0]} <description>`"
            yield _at(statement, "InvalidDefinitionDescription", detail)


def _word(lexer: Lexer, raw: str) -> str:
    try:
        return lexer.word(raw)
    except WordError:
        return ""


class Scope:
    """What is known at one place of a stage: variables, whether a shell was chosen, whether a folder was."""

    def __init__(self, config: ContainerConfig | None, below: Scope | None = None) -> None:
        """Begin with an image's config, or with what the stage below has left."""
        self.env: dict[str, str] = dict(below.env) if below else {}
        self.arguments: dict[str, str | None] = dict(below.arguments) if below else {}
        self.shell: bool = below.shell if below else False
        self.placed: bool = below.placed if below else False
        if config is not None:
            self.env = dict(pair.partition("=")[::2] for pair in config.env)
            self.shell = bool(config.shell)


class Follower:
    """Follows the instructions of one stage; `scope` is afterwards what a stage on top begins with."""

    def __init__(
        self,
        scope: Scope,
        *,
        known: Mapping[str, str],
        build_args: Mapping[str, str],
        ignored: Patterns | None,
        escape: str = "\\",
    ) -> None:
        """`known` are global arguments; `ignored` are the context's exclusions."""
        self.scope = scope
        self._known = known
        self._given = build_args
        self._ignored = ignored
        self._escape = escape

    def findings(self, instructions: Iterable[Instruction]) -> Iterator[Finding]:
        """Yield what is wrong, in the file's order."""
        last: dict[str, Statement] = {}
        for instruction in instructions:
            statement = instruction.statement
            if isinstance(instruction, Cmd | Entrypoint | Health):
                keyword = statement.keyword
                if keyword in last:
                    detail = (
                        f"Multiple {keyword} instructions should not be used in the same stage "
                        "because only the last one will be used"
                    )
                    yield _at(last[keyword], "MultipleInstructionsDisallowed", detail)
                last[keyword] = statement
            yield from self._variables(instruction)
            yield from self._one(instruction)

    def _lexer(self) -> Lexer:
        values = {name: value for name, value in self.scope.arguments.items() if value is not None}
        return Lexer(values | self.scope.env, escape=self._escape)

    def _variables(self, instruction: Instruction) -> Iterator[Finding]:
        """Look for names that nothing sets, and remember those that the instruction itself sets."""
        lexer = self._lexer()
        declared = set(self.scope.arguments)
        if isinstance(instruction, Arg):
            for raw, default in instruction.arguments:
                name = _word(lexer, raw)
                value = _word(lexer, default) if default is not None else None
                self.scope.arguments[name] = self._given.get(name, value or self._known.get(name))
        words = [_word(lexer, raw) for raw in _words(instruction)]
        if isinstance(instruction, Env):
            self.scope.env.update(zip(words[::2], words[1::2], strict=True))
        if isinstance(instruction, Copy):
            plain = Lexer(lexer.env, escape=self._escape, quotes=False)
            for heredoc in instruction.inline:
                if heredoc.expand:
                    _word(plain, heredoc.content)
            lexer.missing |= plain.missing
        for name in sorted(lexer.missing - declared):
            near = closest(name, (*lexer.env, *declared))
            suffix = f" (did you mean ${near}?)" if near else ""
            detail = f"Usage of undefined variable '${name}'{suffix}"
            yield _at(instruction.statement, "UndefinedVar", detail)

    def _one(self, instruction: Instruction) -> Iterator[Finding]:
        statement = instruction.statement
        if isinstance(instruction, Shell):
            self.scope.shell = True
        elif isinstance(instruction, Cmd | Entrypoint):
            if instruction.shell and instruction.argv and not self.scope.shell:
                detail = (
                    f"JSON arguments recommended for {statement.keyword} "
                    "to prevent unintended behavior related to OS signals"
                )
                yield _at(statement, "JSONArgsRecommended", detail)
        elif isinstance(instruction, Workdir):
            path = _word(self._lexer(), instruction.path)
            if not path.startswith("/") and not self.scope.placed:
                shown = jsontext.dumps(path)
                detail = f"Relative workdir {shown} can have unexpected results if the base image changes"
                yield _at(statement, "WorkdirRelativePath", detail)
            self.scope.placed = self.scope.placed or path.startswith("/")
        elif isinstance(instruction, Expose):
            for port in instruction.ports:
                yield from _port(statement, _word(self._lexer(), port))
        elif isinstance(instruction, Copy):
            yield from self._copy(instruction)

    def _copy(self, instruction: Copy) -> Iterator[Finding]:
        if instruction.source or not self._ignored or self._ignored.negations:
            return
        lexer = self._lexer()
        keyword = instruction.statement.keyword.capitalize()
        for source in instruction.sources:
            path = posixpath.normpath(_word(lexer, source)).lstrip("/")
            if is_remote(path) or path == "." or not self._ignored.matches(path)[0]:
                continue
            shown = jsontext.dumps(path)
            detail = f"Attempting to {keyword} file {shown} that is excluded by .dockerignore"
            yield _at(instruction.statement, "CopyIgnoredFile", detail)


def _port(statement: Statement, word: str) -> Iterator[Finding]:
    port, _, protocol = word.partition("/")
    if protocol != protocol.lower():
        detail = f"Defined protocol '{word}' in EXPOSE instruction should be lowercase"
        yield _at(statement, "ExposeProtoCasing", detail)
    if ":" in port:
        detail = f"EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'"
        yield _at(statement, "ExposeInvalidFormat", detail)


def _words(instruction: Instruction) -> list[str]:
    """Return the words of an instruction in which variables are looked up."""
    match instruction:
        case Env(pairs=pairs) | Label(pairs=pairs):
            found = [word for pair in pairs for word in pair]
        case Copy():
            options = (instruction.chown, instruction.chmod, instruction.checksum, *instruction.exclude)
            found = [*instruction.sources, instruction.destination, *options]
        case Run(mounts=mounts):
            found = [mount.text for mount in mounts]
        case Expose(ports=words) | Volume(paths=words):
            found = list(words)
        case Workdir(path=word) | User(user=word) | StopSignal(signal=word):
            found = [word]
        case _:
            found = []
    return found
