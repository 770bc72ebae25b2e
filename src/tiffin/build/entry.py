"""Where a build, or a check, begins and ends: its context is opened, and what was made for it removed."""

from __future__ import annotations

from contextlib import contextmanager, suppress

from tiffin.build.builder import Builder
from tiffin.build.checking import Checked, Checker
from tiffin.build.context import open_context
from tiffin.build.instructions import read
from tiffin.build.named import NamedContexts
from tiffin.build.parser import parse
from tiffin.build.roles import Options
from tiffin.errors import DockerfileError, TiffinError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from tiffin.build.checks import Finding
    from tiffin.build.context import Context
    from tiffin.build.events import BuildEvent
    from tiffin.build.roles import Built, Exporter, ImageResolver, StepRunner
    from tiffin.store.snapshots import Draft
    from tiffin.store.store import Store


def build(
    store: Store,
    source: str | BinaryIO | None,
    *,
    images: ImageResolver,
    runner: StepRunner,
    exporter: Exporter | None = None,
    dockerfile: bytes | str = b"",
    file: str = "",
    options: Options | None = None,
    progress: Callable[[BuildEvent], None] | None = None,
) -> Built:
    """Open a context, build from it, and remove what was unpacked for it; see `open_context`, `Builder`."""
    options = options or Options()
    with _opened(store, source, dockerfile, file, images, options) as (context, named):
        builder = Builder(
            store,
            context,
            images=images,
            runner=runner,
            exporter=exporter,
            options=options,
            progress=progress,
            named=named,
        )
        return builder.build()


def check(
    store: Store,
    source: str | BinaryIO | None,
    *,
    images: ImageResolver,
    runner: StepRunner,
    dockerfile: bytes | str = b"",
    file: str = "",
    options: Options | None = None,
) -> Checked:
    """Carry the checks out instead of a build; what cannot be planned has its error beside them."""
    options = options or Options()
    with _opened(store, source, dockerfile, file, images, options) as (context, named):
        parsed = parse(context.text, context.file)
        error: DockerfileError | None = None
        findings: tuple[Finding, ...] = ()
        try:
            builder = Builder(store, context, images=images, runner=runner, options=options, named=named)
        except DockerfileError as refused:
            error = refused
            with suppress(TiffinError):
                instructions = [read(statement) for statement in parsed.statements]
                checker = Checker(parsed, instructions, options, context.tree.ignore)
                findings = tuple(checker.text())
        else:
            findings = builder.check()
        return Checked(file=parsed.file, lines=parsed.lines, findings=findings, error=error)


@contextmanager
def _opened(  # noqa: PLR0917 - what a build is given
    store: Store,
    source: str | BinaryIO | None,
    dockerfile: bytes | str,
    file: str,
    images: ImageResolver,
    options: Options,
) -> Iterator[tuple[Context, NamedContexts]]:
    drafts: list[Draft] = []

    def workspace() -> str:
        drafts.append(store.snapshots.begin())
        return drafts[-1].path

    try:
        context = open_context(
            source,
            workspace=workspace,
            fetcher=images,
            options=options,
            dockerfile=dockerfile,
            file=file,
        )
        yield context, NamedContexts(options, workspace, images)
    finally:
        for draft in drafts:
            draft.discard()
