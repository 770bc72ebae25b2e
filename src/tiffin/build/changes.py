"""`--change` of commit and import: instructions that only change a config, outside of any build."""

from __future__ import annotations

from tiffin.build.instructions import Workdir, read
from tiffin.build.parser import parse
from tiffin.build.stage import Outcome, Stage
from tiffin.errors import InvalidArgument
from tiffin.spec.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.build.instructions import Instruction
    from tiffin.spec.container import ContainerConfig

_ALLOWED = frozenset({
    "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME",
    "WORKDIR",
})  # fmt: skip
_WHERE = "--change"


class _Changes(Stage):
    """A stage without a build around it: it has a config and no files."""

    def __init__(self, config: ContainerConfig) -> None:
        # Only RUN, COPY, ADD and ARG ask a build for something.
        super().__init__(None, _WHERE, Platform.here(), "\\")  # type: ignore[arg-type]
        self.config = config

    def run(self, instruction: Instruction) -> Outcome:
        """Carry an instruction out; WORKDIR makes no folder here, as with docker."""
        if not isinstance(instruction, Workdir):
            return super().run(instruction)
        path = self.expander(instruction)(instruction.path)
        self.config = self.config.replace(working_dir=self.absolute(path).rstrip("/") or "/")
        return Outcome()


def apply(config: ContainerConfig, changes: Sequence[str]) -> ContainerConfig:
    """Return a config with instructions applied in order, each `KEYWORD arguments` as in a Dockerfile.

    Raises DockerfileError for what cannot be read, InvalidArgument for an instruction that makes files.
    """
    if not changes:
        return config
    stage = _Changes(config)
    for statement in parse("\n".join(changes), _WHERE).statements:
        if statement.keyword not in _ALLOWED:
            message = f"{statement.keyword} is not a valid change command"
            raise InvalidArgument(message, hint="one of " + ", ".join(sorted(_ALLOWED)))
        stage.run(read(statement))
    return stage.config
