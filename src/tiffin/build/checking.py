"""Carrying the checks out: beside a build, before one that findings forbid, or instead of one."""

from __future__ import annotations

from collections import deque
from contextlib import suppress

from tiffin.build import checks
from tiffin.build.checks import Finding, Follower, Scope
from tiffin.build.instructions import read
from tiffin.build.parser import parse_trigger
from tiffin.build.plan import platform_arguments
from tiffin.errors import DockerfileError, InvalidArgument, TiffinError
from tiffin.spec.platform import Platform
from tiffin.spec.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tiffin.build.instructions import Instruction
    from tiffin.build.parser import Dockerfile
    from tiffin.build.patterns import Patterns
    from tiffin.build.plan import Plan, StagePlan
    from tiffin.build.roles import Options
    from tiffin.spec.container import ContainerConfig

    Configs = Callable[[StagePlan], ContainerConfig | None]

SETTING = "BUILDKIT_DOCKERFILE_CHECK"
"""The build argument that stands in for the file's `check` directive."""


class Checked(Value):
    """What the checks found in a file of these lines. `error` is why it cannot be built at all."""

    file: str
    lines: tuple[str, ...]
    findings: tuple[Finding, ...]
    error: DockerfileError | None = None


class Checker:
    """The checks of one file. What one stage declares is remembered for those that start from it."""

    def __init__(
        self,
        dockerfile: Dockerfile,
        instructions: Sequence[Instruction],
        options: Options,
        ignored: Patterns | None,
    ) -> None:
        """Read which checks the file, or the build's argument, wants; raise InvalidArgument."""
        self.wanted = checks.settings(options.build_args.get(SETTING, dockerfile.check))
        self._dockerfile = dockerfile
        self._instructions = instructions
        self._options = options
        self._ignored = ignored
        self._scopes: dict[int, Scope] = {}

    def text(self) -> list[Finding]:
        """Return what the file alone shows."""
        here = Platform.here()
        found = checks.text(
            self._instructions,
            arguments=platform_arguments(here, self._options.platform or here),
            build_args=self._options.build_args,
            lines=self._dockerfile.lines,
        )
        return self._of_interest(found)

    def stage(self, plan: Plan, planned: StagePlan, config: ContainerConfig | None) -> list[Finding]:
        """Return what one stage shows; those that it starts from come before. `config` is its image's."""
        scope = Scope(config, self._scopes.get(planned.base_stage))
        follower = Follower(
            scope,
            known=plan.arguments,
            build_args=self._options.build_args,
            ignored=self._ignored,
            escape=plan.escape,
        )
        for trigger in config.on_build if config else ():  # what they set is known, too
            with suppress(TiffinError):
                deque(follower.findings([read(parse_trigger(trigger, "\\", self._dockerfile.file))]), 0)
        found = self._of_interest(follower.findings(planned.instructions))
        self._scopes[planned.index] = scope
        return found

    def everything(self, plan: Plan, configs: Configs) -> list[Finding]:
        """Return all findings, the stages in the file's order; `configs` brings base images."""
        found = self.text()
        for index in sorted(plan.needed):
            planned = plan.stages[index]
            found += self.stage(plan, planned, None if planned.base_stage >= 0 else configs(planned))
        return sorted(found, key=lambda finding: (finding.line, finding.rule, finding.detail))

    def refuse(self, findings: Sequence[Finding]) -> None:
        """Raise InvalidArgument for findings where the file says `error=true`."""
        if self.wanted.error and findings:
            rules = ", ".join(sorted({finding.rule for finding in findings}))
            message = f"lint violation found for rules: {rules}"
            raise InvalidArgument(message, hint="build --check shows them all, with their lines")

    def _of_interest(self, found: Iterable[Finding]) -> list[Finding]:
        return [] if self.wanted.none else [finding for finding in found if self.wanted.wants(finding)]
