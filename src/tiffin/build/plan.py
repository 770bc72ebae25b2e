"""What is to be built: stages, which of them the target needs, and the scope of build arguments.

Pure: an instruction list in, a plan out. What an ONBUILD trigger needs is known only when its image
is there, so the builder may find more stages to be needed than the plan says.
"""

from __future__ import annotations

from tiffin.build.instructions import Arg, From, Instruction, expanded, origins, read
from tiffin.build.words import Lexer
from tiffin.errors import InvalidArgument, TiffinError
from tiffin.spec.platform import Platform
from tiffin.spec.reference import Reference
from tiffin.spec.value import EMPTY, Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from tiffin.build.parser import Dockerfile, Statement

SCRATCH = "scratch"
PROXIES = frozenset(
    name
    for word in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (word, word.lower())
)
"""Arguments that every RUN gets without an ARG, and that no cache key holds."""


class StagePlan(Value):
    """One stage. `base_stage` is the index of the stage it starts from, or -1 for an image.

    `base` is then the image's reference as expanded, or `scratch`.
    """

    index: int
    name: str
    start: From
    base: str
    base_stage: int
    platform: Platform
    instructions: tuple[Instruction, ...]

    @property
    def label(self) -> str:
        """How the stage is called where people look: its name, or its number."""
        return self.name or f"stage-{self.index}"


class Plan(Value):
    """Every stage, the target's index, the stages it needs, and the global arguments."""

    stages: tuple[StagePlan, ...]
    target: int
    needed: frozenset[int]
    arguments: Mapping[str, str]  # global scope: declared before FROM, and the platform ones
    declared: frozenset[str]  # every ARG that a needed stage or the global scope declares
    escape: str = "\\"
    file: str = "Dockerfile"

    def stage_of(self, origin: str, statement: Statement) -> int | None:
        """Return the stage that a `from` names, None if it names an image."""
        return _stage_named(self.stages, origin, statement)

    def needs(self, index: int) -> set[int]:
        """Return a stage and all that it stands on or takes files from, as far as the file says."""
        return _needed(self.stages, index)


def plan(
    dockerfile: Dockerfile,
    instructions: Sequence[Instruction] | None = None,
    *,
    build_args: Mapping[str, str] = EMPTY,
    contexts: Container[str] = (),
    target: str = "",
    platform: Platform | None = None,
) -> Plan:
    """Lay out the stages; raise DockerfileError, InvalidArgument.

    `instructions` are those of the file, where they are read already; a name in `contexts` is no stage's.
    """
    here = Platform.here()
    wanted = platform or here
    arguments = platform_arguments(here, wanted)
    declared: set[str] = set()
    starts: list[tuple[From, list[Instruction]]] = []
    for instruction in instructions or map(read, dockerfile.statements):
        if isinstance(instruction, From):
            starts.append((instruction, []))
        elif starts:
            starts[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            _declare(instruction, arguments, build_args, dockerfile.escape)
            declared.update(name for name, _ in instruction.arguments)
        else:
            hint = "a Dockerfile begins with FROM"
            raise instruction.statement.error("no build stage in current context", hint=hint)
    if not starts:
        raise dockerfile.statements[-1].error("dockerfile contains no stages to build", prefix=False)
    stages: list[StagePlan] = []
    for start, body in starts:
        stages.append(
            _stage(
                stages,
                start,
                tuple(body),
                arguments=arguments,
                wanted=wanted,
                escape=dockerfile.escape,
                contexts=contexts,
            )
        )
    index = _target(stages, target)
    _refuse_circles(stages)
    needed = _needed(stages, index)
    for number in needed:
        for instruction in stages[number].instructions:
            if isinstance(instruction, Arg):
                declared.update(name for name, _ in instruction.arguments)
    return Plan(
        stages=tuple(stages),
        target=index,
        needed=frozenset(needed),
        arguments=arguments,
        declared=frozenset(declared),
        escape=dockerfile.escape,
        file=dockerfile.file,
    )


def unused_arguments(declared: frozenset[str], build_args: Mapping[str, str]) -> list[str]:
    """Return the build arguments that nothing asked for, sorted."""
    known = (
        declared
        | PROXIES
        | {"SOURCE_DATE_EPOCH"}
        | platform_arguments(Platform.here(), Platform.here()).keys()
    )
    return sorted(n for n in build_args if n not in known and not n.startswith("BUILDKIT_"))


def platform_arguments(here: Platform, wanted: Platform) -> dict[str, str]:
    """Return the arguments that every file has in its global scope: BUILDPLATFORM, TARGETARCH..."""
    found: dict[str, str] = {}
    for prefix, platform in (("BUILD", here), ("TARGET", wanted)):
        found |= {
            f"{prefix}PLATFORM": str(platform),
            f"{prefix}OS": platform.os,
            f"{prefix}ARCH": platform.architecture,
            f"{prefix}VARIANT": platform.variant,
        }
    return found


def _declare(instruction: Arg, arguments: dict[str, str], build_args: Mapping[str, str], escape: str) -> None:
    for raw, default in instruction.arguments:
        name = expanded(instruction.statement, Lexer(arguments, escape=escape).word, raw)
        if name in build_args:
            arguments[name] = build_args[name]
        elif default is not None:
            lexer = Lexer(arguments, escape=escape)
            arguments[name] = expanded(instruction.statement, lexer.word, default)


def _stage(
    stages: list[StagePlan],
    start: From,
    body: tuple[Instruction, ...],
    *,
    arguments: Mapping[str, str],
    wanted: Platform,
    escape: str,
    contexts: Container[str],
) -> StagePlan:
    statement = start.statement
    lexer = Lexer(arguments, escape=escape)
    base = expanded(statement, lexer.word, start.base)
    if not base:
        hint = (
            f"declare it before the first FROM, with a default: ARG {next(iter(lexer.missing), 'NAME')}=..."
        )
        raise statement.error(
            f"base name ({start.base}) should not be blank", caret=start.base, hint=hint, prefix=False
        )
    platform = wanted
    text = expanded(statement, lexer.word, start.platform) if start.platform else ""
    if start.platform:
        platform = _platform(statement, text, start.platform)
    base_stage = -1
    for stage in stages:
        if stage.name and stage.name == base.lower() and base not in contexts:
            base_stage = stage.index
    if base_stage < 0 and base != SCRATCH:
        _check_reference(statement, base, start.base)
    return StagePlan(
        index=len(stages),
        name="" if start.name and start.name in contexts else start.name,
        start=start,
        base=base,
        base_stage=base_stage,
        platform=platform,
        instructions=body,
    )


def _platform(statement: Statement, text: str, written: str) -> Platform:
    try:
        return Platform.parse(text)
    except InvalidArgument as error:
        message = f"failed to parse platform {text}: {error.message}"
        raise statement.error(message, caret=written, hint=error.hint, prefix=False) from None


def _check_reference(statement: Statement, base: str, written: str) -> None:
    try:
        Reference.parse(base)
    except TiffinError as error:
        message = f'failed to parse stage name "{base}": {error.message}'
        raise statement.error(message, caret=written, hint=error.hint, prefix=False) from None


def _target(stages: list[StagePlan], target: str) -> int:
    if not target:
        return len(stages) - 1
    for stage in reversed(stages):
        if stage.name == target.lower():
            return stage.index
    if target.isdecimal() and int(target) < len(stages):
        return int(target)
    named = [stage.name for stage in stages if stage.name]
    hint = f"stages are: {', '.join(named)}" if named else "no stage has a name: FROM image AS name"
    message = f'target stage "{target}" could not be found'
    raise InvalidArgument(message, hint=hint)


def _stage_named(stages: Sequence[StagePlan], origin: str, statement: Statement) -> int | None:
    name = origin.lower()
    if name.isdecimal():
        if int(name) >= len(stages):
            message = f"invalid from flag value {name}: invalid stage index {name}"
            caret = f"from={origin}" if statement.keyword == "RUN" else "--from"
            raise statement.error(message, caret=caret, prefix=False)
        return int(name)
    found = None
    for stage in stages:
        if name and stage.name == name:
            found = stage.index
    return found


def _dependencies(stages: Sequence[StagePlan], index: int) -> list[int]:
    stage = stages[index]
    found = [stage.base_stage] if stage.base_stage >= 0 else []
    for instruction in stage.instructions:
        for origin in origins(instruction):
            other = _stage_named(stages, origin, instruction.statement)
            if other is not None:
                found.append(other)
    return found


def _needed(stages: Sequence[StagePlan], target: int) -> set[int]:
    needed: set[int] = set()
    todo = [target]
    while todo:
        index = todo.pop()
        if index not in needed:
            needed.add(index)
            todo += _dependencies(stages, index)
    return needed


def _refuse_circles(stages: list[StagePlan]) -> None:
    """Raise DockerfileError if a stage needs itself; without recursion, for a thousand stages in a row."""
    done: set[int] = set()
    for stage in stages:
        path: list[tuple[int, list[int]]] = [(stage.index, _dependencies(stages, stage.index))]
        walking = {stage.index}
        while path:
            index, todo = path[-1]
            if not todo:
                path.pop()
                walking.discard(index)
                done.add(index)
                continue
            following = todo.pop()
            if following in walking:
                again = stages[following]
                message = f"circular dependency detected on stage: {again.label}"
                raise again.start.statement.error(message, prefix=False)
            if following not in done:
                walking.add(following)
                path.append((following, _dependencies(stages, following)))
