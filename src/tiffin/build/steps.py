"""Steps that make layers: each is found in the cache, or made, once, however many builds want it now."""

from __future__ import annotations

import contextlib
import os
import time

from tiffin.build.cache import Result
from tiffin.build.events import StepOutput, Why
from tiffin.build.failure import FOREIGN, failed
from tiffin.build.roles import Layer
from tiffin.errors import StartFailed, TiffinError
from tiffin.spec import clock
from tiffin.store import atomic, steplocks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from tiffin.build.cache import Cache, Listing, Lookup
    from tiffin.build.events import BuildEvent
    from tiffin.build.instructions import Instruction
    from tiffin.build.mounting import Mounting
    from tiffin.build.parser import Statement
    from tiffin.build.roles import RunRequest, StepRunner
    from tiffin.build.stage import Outcome, Stage
    from tiffin.store.snapshots import Draft
    from tiffin.store.store import Store

_TAIL = 1 << 16
"""How much of a failed RUN's output its error keeps (bytes)."""


class Steps:
    """The steps of one build."""

    def __init__(
        self,
        store: Store,
        cache: Cache,
        runner: StepRunner,
        *,
        anew: tuple[str, ...],
        epoch_ns: int | None,
        tell: Callable[[BuildEvent], None],
        stopped: Callable[[], bool],
    ) -> None:
        """`anew` are stages whose steps are not looked up; nothing is younger than `epoch_ns`, if given."""
        self._store = store
        self._cache = cache
        self._runner = runner
        self._anew = anew
        self._epoch_ns = epoch_ns
        self._tell = tell
        self._stopped = stopped
        self.total = 0

    def make(  # noqa: PLR0917 - a step is its instruction, its ingredients and its maker
        self,
        stage: Stage,
        instruction: Instruction,
        ingredients: Mapping[str, Any],
        listing: Listing | None,
        text: str,
        write: Callable[[Draft], None],
    ) -> Outcome:
        """Find a step's layer in the cache, or let `write` fill a draft and make it one."""

        def fill() -> Draft:
            draft = self._store.snapshots.begin()
            try:
                write(draft)
            except BaseException:
                draft.discard()
                raise
            return draft

        return self._cached(stage, instruction, ingredients, listing, text, fill)

    def run(  # noqa: PLR0917 - as above
        self,
        stage: Stage,
        instruction: Instruction,
        request: RunRequest,
        ingredients: Mapping[str, Any],
        text: str,
        mounting: Mounting | None = None,
    ) -> Outcome:
        """Find a RUN's layer in the cache, or run it."""

        def command() -> Draft:
            if mounting is None:
                return self._run(stage, instruction.statement, request, request, None)
            with mounting.ready(request) as mounted:
                return mounting.tidy(self._run(stage, instruction.statement, request, mounted, mounting))

        listing = mounting.listing if mounting else None
        return self._cached(stage, instruction, ingredients, listing, text, command)

    def _cached(  # noqa: PLR0917 - as above
        self,
        stage: Stage,
        instruction: Instruction,
        ingredients: Mapping[str, Any],
        listing: Listing | None,
        text: str,
        make: Callable[[], Draft],
    ) -> Outcome:
        from tiffin.build.stage import Outcome

        if self._epoch_ns is not None:
            ingredients = {**ingredients, "epoch": self._epoch_ns}
        place = f"{stage.label}\0{instruction.statement.original}"

        def look() -> tuple[Lookup, Result | None]:
            found = self._cache.look(place, ingredients, listing, anew=stage.label in self._anew)
            result = found.result
            if result is not None and not self._store.snapshots.has(result.chain_id):
                result = None
                found = found.replace(why=Why(verdict="gone", text="its layer is no longer there"))
            return found, result

        found, result = look()
        with contextlib.ExitStack() as held:
            if result is None and found.why.verdict != "unwanted":
                waited = held.enter_context(steplocks.hold(self._store.layout, found.key, self._stopped))
                result = look()[1] if waited else None  # that other build was making the same
            if result is not None:
                layer = Layer(diff_id=result.diff_id, chain_id=result.chain_id, size=result.size)
                stage.add_layer(layer, text, result.created)
                why = found.why if found.result else Why(verdict="cached", since=result.created)
                return Outcome(layer=layer, why=why)
            layer = self.commit(make(), stage.top)
            created = clock.from_ns(time.time_ns() if self._epoch_ns is None else self._epoch_ns)
            result = Result(diff_id=layer.diff_id, chain_id=layer.chain_id, size=layer.size, created=created)
            self._cache.put(place, ingredients, listing, result)
        stage.add_layer(layer, text, created)
        return Outcome(layer=layer, cached=False, why=found.why)

    def commit(self, draft: Draft, parent: str) -> Layer:
        """Make a draft a layer over a parent."""
        from tiffin.layer import dates, diff

        xattr = self._store.settings.privilege.xattr
        try:
            if self._epoch_ns is not None:
                dates.clamp(draft.path, self._epoch_ns)
            measured = diff.measure(draft.path, xattr=xattr)
            chain_id = self._store.snapshots.commit(
                draft, parent=parent, diff_id=measured.diff_id, size=measured.size, tar_size=measured.tar_size
            )
        except BaseException:
            draft.discard()
            raise
        return Layer(diff_id=measured.diff_id, chain_id=chain_id, size=measured.size)

    def _run(
        self,
        stage: Stage,
        statement: Statement,
        request: RunRequest,
        mounted: RunRequest,
        mounting: Mounting | None,
    ) -> Draft:
        """Run a command; raise BuildFailed, with the end of what it wrote, unless it ends with 0.

        `mounted` is the request with its mounts, and variables that only the command may see.
        """
        tail = bytearray()

        def output(stream: int, data: bytes) -> None:
            tail.extend(data)
            del tail[:-_TAIL]
            self._tell(StepOutput(number=stage.number, stream=stream, data=data))

        try:
            result = self._runner.run(mounted, output)
        except StartFailed as error:
            raise failed(
                statement, request, stage.number, self.total, error.exit_code, bytes(tail), error.message
            ) from error
        if not result.exit_code and result.draft is not None:
            self._cache.forget_failed(stage.label)
            return result.draft
        why = FOREIGN if tail.rstrip().lower().endswith(b"exec format error") else ""
        failure = failed(statement, request, stage.number, self.total, result.exit_code, bytes(tail), why)
        if result.draft is not None:
            kept = self._keep(stage, statement, request, result.draft, mounting)
            failure.step = failure.step.replace(id=kept)
        raise failure

    def _keep(
        self,
        stage: Stage,
        statement: Statement,
        request: RunRequest,
        draft: Draft,
        mounting: Mounting | None,
    ) -> str:
        """Keep what a failed RUN left, for whoever wants to look; return its id, "" if it cannot be.

        One that has taken most of the room there was gives it back: that may be why it failed.
        """
        found = os.statvfs(draft.path)
        if atomic.tree_size(draft.path) > found.f_bavail * found.f_frsize:
            draft.discard()
            return ""
        try:
            layers = [*request.layers, self.commit(draft, stage.top).chain_id]
            mounts = mounting.kept(self.commit) if mounting else []
        except TiffinError:
            return ""  # what is told is why the command failed
        return self._cache.keep_failed(stage.label, statement, request.replace(layers=tuple(layers)), mounts)
