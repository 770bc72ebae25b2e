"""A build from its context to its image: plan, stages in order, image.

    built = Builder(store, context, images=..., runner=..., exporter=..., options=...).build()

Only what the target needs is built. Everything a build makes is held by one lease until the exporter
has named it; drafts of a build that dies are rubbish that gc knows by their owner.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial

from tiffin.build.cache import Cache
from tiffin.build.checking import Checker
from tiffin.build.context import LayerTree
from tiffin.build.copier import Copier
from tiffin.build.digests import Digests
from tiffin.build.events import (
    BuildEvent,
    Exported,
    PlanMade,
    Step,
    StepDone,
    StepStarted,
    Warned,
)
from tiffin.build.explain import Explanation, with_costs
from tiffin.build.instructions import Copy, Instruction, origins, read
from tiffin.build.parser import parse, parse_trigger
from tiffin.build.plan import SCRATCH, StagePlan, plan, unused_arguments
from tiffin.build.roles import BaseImage, Built, Options
from tiffin.build.stage import Outcome, Stage
from tiffin.build.steps import Steps
from tiffin.errors import (
    DockerfileError,
    Forbidden,
    Interrupted,
    InvalidArgument,
    NotFound,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from tiffin.layer.limits import Limits
from tiffin.spec import clock
from tiffin.spec.image import ImageConfig
from tiffin.spec.reference import Reference
from tiffin.store import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tiffin.build.checks import Finding
    from tiffin.build.context import Context, Tree
    from tiffin.build.named import NamedContexts
    from tiffin.build.parser import Statement
    from tiffin.build.repositories import Checkout
    from tiffin.build.roles import Exporter, ImageResolver, StepRunner
    from tiffin.spec.container import ContainerConfig
    from tiffin.spec.platform import Platform
    from tiffin.store.cachemounts import CacheMounts
    from tiffin.store.overlay import Stack
    from tiffin.store.snapshots import Draft
    from tiffin.store.store import Store

_STAGES_AT_ONCE = 8
"""How many stages are built side by side; each that runs a command waits more than it works."""


class Builder:
    """One build. Stages ask it for everything that is not theirs: files, layers, cache, events."""

    def __init__(
        self,
        store: Store,
        context: Context,
        *,
        images: ImageResolver,
        runner: StepRunner,
        exporter: Exporter | None = None,
        options: Options | None = None,
        progress: Callable[[BuildEvent], None] | None = None,
        named: NamedContexts | None = None,
    ) -> None:
        """Read the Dockerfile and plan; raise DockerfileError, InvalidArgument (no such target)."""
        self.options = options or Options()
        self.context = context
        self._named = named
        self.xattr = store.settings.privilege.xattr
        self.limits = Limits.of(store.settings)
        self._store = store
        self._images = images
        self._runner = runner
        self._exporter = exporter
        self._progress = progress or (lambda _event: None)
        self._lock = threading.RLock()
        dockerfile = parse(context.text, context.file)
        instructions = [read(statement) for statement in dockerfile.statements]
        self._checker = Checker(dockerfile, instructions, self.options, context.tree.ignore)
        self.plan = plan(
            dockerfile,
            instructions,
            build_args=self.options.build_args,
            contexts=named if named is not None else (),
            target=self.options.target,
            platform=self.options.platform,
        )
        self._cache = Cache(store.buildcache, context.name, enabled=not self.options.no_cache)
        self._now_ns = _moment(self.options.build_args)
        self._epoch = "SOURCE_DATE_EPOCH" in self.options.build_args
        self.steps = Steps(
            store,
            self._cache,
            runner,
            anew=self.options.no_cache_filter,
            epoch_ns=self._now_ns if self._epoch else None,
            tell=self.tell,
            stopped=lambda: self._stopped,
        )
        self._stages: dict[int, Future[Stage]] = {}
        self._pulling = threading.Lock()
        self._bases: dict[tuple[str, str], BaseImage] = {}
        self._digests: dict[str, Digests] = {}
        self._steps: list[Step] = []
        self._warnings: list[str] = []
        self._first: dict[int, int] = {}
        self._total = 0
        for index in sorted(self.plan.needed):
            self._first[index] = self._total + 1
            self._total += len(self.plan.stages[index].instructions) + 1
        self.steps.total = self._total
        self._stopped = False

    def build(self) -> Built:
        """Build the target and export it; raise BuildFailed, DockerfileError, NotFound..."""
        self.tell(PlanMade(total=self._total, stages=len(self.plan.needed)))
        unused = unused_arguments(self.plan.declared, self.options.build_args)
        if unused:
            self.warn(f"[Warning] One or more build-args [{' '.join(unused)}] were not consumed", 0)
        with self._store.lease("build"):
            if self._checker.wanted.error:
                self._checker.refuse(self.check())
            self._regret(self._checker.text())
            self._build_stages(sorted(self.plan.needed))
            stage = self._stage(self.plan.target)
            config = self._config(stage)
            image_id = config.id
            if self._exporter is not None:
                image_id = self._exporter.export(config, stage.layers)
        self.tell(Exported(image_id=image_id))
        explained = Explanation(image_id=image_id, built=clock.now(), steps=with_costs(self._steps))
        self._cache.keep(explained)
        return Built(
            image_id=image_id,
            config=config,
            layers=stage.layers,
            steps=explained.steps,
            explanation=explained,
            warnings=tuple(self._warnings),
            platform=stage.platform,
        )

    def warn(self, message: str, line: int) -> None:
        """Say something that does not stop the build, once."""
        with self._lock:
            shown = f"{message} (line {line})" if line else message
            if shown not in self._warnings:
                self._warnings.append(shown)
                self.tell(Warned(message=message, line=line))

    def check(self) -> tuple[Finding, ...]:
        """Return what the checks find, without building anything; base images are fetched."""
        with self._store.lease("build"):
            return tuple(self._checker.everything(self.plan, self._base_config))

    def _base_config(self, planned: StagePlan) -> ContainerConfig:
        if planned.base == SCRATCH or self._is_folder(planned.base):
            return Stage(self, planned.label, planned.platform, self.plan.escape).config
        return self._image(planned.base, planned.platform).config.config

    def _regret(self, findings: list[Finding]) -> None:
        for finding in findings:
            self.warn(f"{finding.rule}: {finding.detail}", finding.line)

    def tell(self, event: BuildEvent) -> None:
        """Pass on an event; one at a time, from whatever stage."""
        with self._lock:
            self._progress(event)

    # Stages and steps

    def _build_stages(self, needed: list[int]) -> None:
        """Build stages side by side as far as they do not need each other.

        A stage needs only stages above it, and these were begun before it: nobody waits in a circle.
        The first that fails ends the others.
        """
        if len(needed) == 1:  # in this thread: a RUN is then interrupted at once
            self._stages[needed[0]] = Future()
            self._stages[needed[0]].set_result(self._build_stage(needed[0]))
            return
        with ThreadPoolExecutor(min(len(needed), _STAGES_AT_ONCE), "tiffin-stage") as pool:
            for index in needed:
                self._stages[index] = pool.submit(self._build_stage, index)
            try:
                wait(self._stages.values(), return_when=FIRST_EXCEPTION)
                for future in self._stages.values():
                    if future.done():
                        future.result()
            except BaseException:
                self._stopped = True
                for future in self._stages.values():
                    future.cancel()
                self._runner.cancel()
                raise

    def _stage(self, index: int) -> Stage:
        """Return a built stage, waiting for it."""
        return self._stages[index].result()

    def _build_stage(self, index: int) -> Stage:
        planned = self.plan.stages[index]
        if planned.base_stage >= 0:
            self._stage(planned.base_stage)
        for instruction in planned.instructions:
            self._need(instruction)
        stage = Stage(self, planned.label, planned.platform, self.plan.escape)
        number = self._first[index]
        self._step(number, planned.start, stage, lambda: self._start(planned, stage))
        config = None if planned.base_stage >= 0 else stage.config
        self._regret(self._checker.stage(self.plan, planned, config))
        for trigger in stage.take_triggers():
            self._trigger(number, trigger, planned, stage)
        for place, instruction in enumerate(planned.instructions, number + 1):
            self._step(place, instruction, stage, partial(stage.run, instruction))
        return stage

    def _trigger(self, number: int, text: str, planned: StagePlan, stage: Stage) -> None:
        instruction = read(parse_trigger(text, "\\", f"ONBUILD of {planned.base or planned.label}"))
        self._need(instruction)
        self._step(number, instruction, stage, lambda: stage.run(instruction), trigger=True)

    def _need(self, instruction: Instruction) -> None:
        """Wait for the stages that an instruction takes files from, if it does."""
        for origin in origins(instruction):
            other = self.plan.stage_of(origin, instruction.statement)
            if other is not None:
                self._begin(other, instruction.statement)
                self._stage(other)

    def _begin(self, index: int, statement: Statement) -> None:
        """Build a stage that only an ONBUILD trigger asks for, here and now, with those that it needs."""
        with self._lock:
            if index in self._stages:
                return
            wanted = sorted(self.plan.needs(index) - self._stages.keys())
            if any(not self._stages[need].done() for need in self.plan.needs(index) - set(wanted)):
                message = f"circular dependency detected on stage: {self.plan.stages[index].label}"
                raise statement.error(message, prefix=False)
            for need in wanted:
                self._stages[need] = Future()
                self._first[need] = self._total + 1
                self._total += len(self.plan.stages[need].instructions) + 1
        for need in wanted:
            try:
                self._stages[need].set_result(self._build_stage(need))
            except BaseException as error:
                self._stages[need].set_exception(error)
                raise

    def _step(
        self,
        number: int,
        instruction: Instruction,
        stage: Stage,
        run: Callable[[], Outcome],
        *,
        trigger: bool = False,
    ) -> None:
        """Run one step, with its events before and after."""
        statement = instruction.statement
        if self._stopped:
            message = "stopped, as another stage failed"
            raise Interrupted(message)
        stage.number = number
        self.tell(
            StepStarted(
                number=number,
                total=self._total,
                text=statement.original,
                line=statement.line,
                stage=stage.label,
                trigger=trigger,
            )
        )
        began = time.monotonic()
        try:
            outcome = run()
        except DockerfileError:
            raise
        except (InvalidArgument, NotFound) as error:
            if statement.keyword != "FROM":
                raise statement.error(error.message, hint=error.hint, prefix=False) from error
            error.place = statement.error(error.message, prefix=False)
            raise
        except (Unauthorized, Forbidden, Unavailable) as error:
            error.place = statement.error(error.message, caret="--from", prefix=False)
            raise
        except Unsupported as error:
            raise error.at(f"{statement.file}:{statement.line}") from None
        except PermissionError as error:
            message = f"open {error.filename}: permission denied"
            hint = "make it readable for who builds, or exclude it in .dockerignore"
            raise statement.error(message, hint=hint, prefix=False) from error
        except OSError as error:
            raise atomic.storage_error(
                error, f"{statement.file}:{statement.line}: {statement.keyword}"
            ) from error
        self._done(number, statement, stage, outcome, time.monotonic() - began)

    def _done(
        self, number: int, statement: Statement, stage: Stage, outcome: Outcome, seconds: float
    ) -> None:
        layer = outcome.layer
        if layer is not None and not outcome.cached:
            stage.changed = True
        own = outcome.why.verdict not in {"cached", "config", "parent"}
        if own and (layer is not None or outcome.why.differences):
            stage.cause = number
        # What makes no layer has no result of its own to find again: it is as cached as what it stands on.
        cached = outcome.cached and (layer is not None or not stage.changed)
        step = Step(
            number=number,
            text=statement.original,
            line=statement.line,
            stage=stage.label,
            cached=cached,
            seconds=seconds,
            size=layer.size if layer is not None else 0,
            layer=layer is not None,
            reason=outcome.reason,
            chain_id=stage.top,
            why=outcome.why,
            cause=stage.cause if outcome.why.verdict == "parent" else 0,
        )
        self._steps.append(step)
        self.tell(
            StepDone(
                number=number,
                total=self._total,
                cached=step.cached,
                seconds=seconds,
                size=step.size,
                layer=step.layer,
                reason=step.reason,
            )
        )

    def _start(self, planned: StagePlan, stage: Stage) -> Outcome:
        """Carry out a FROM."""
        if planned.base_stage >= 0:
            stage.inherit(self._stage(planned.base_stage))
            return Outcome()
        if self._is_folder(planned.base):
            return self._start_from_files(planned, stage)
        if planned.base == SCRATCH:
            return Outcome(cached=False)
        base = self._image(planned.base, planned.platform)
        stage.layers = base.layers
        stage.config = base.config.config
        stage.history = list(base.config.history)
        stage.author = base.config.author
        stage.platform = base.config.platform
        why = self._cache.base(f"{stage.label}\0FROM", base.config.id)
        return Outcome(cached=not base.fetched, reason="fetched" if base.fetched else "", why=why)

    def _is_folder(self, name: str) -> bool:
        """Tell whether a name stands for a named context of files."""
        return self._named is not None and name in self._named and not self._named.image(name)

    def _start_from_files(self, planned: StagePlan, stage: Stage) -> Outcome:
        """Begin with the files of a named context, as if they had been copied."""
        statement = planned.start.statement.replace(keyword="COPY")
        return stage.run(
            Copy(statement=statement, sources=("/",), inline=(), destination="/", source=planned.base)
        )

    def _image(self, name: str, platform: Platform) -> BaseImage:
        key = (name, str(platform))
        with self._pulling:
            if key not in self._bases:
                meant = (self._named.image(name) if self._named else "") or name
                reference = meant if "://" in meant else str(Reference.parse(meant).tagged())
                self._bases[key] = self._images.resolve(reference, platform, pull=self.options.pull)
            return self._bases[key]

    # What stages ask for

    def stack(self, layers: tuple[str, ...]) -> Stack:
        """Return the view through layers (chain ids, bottom first)."""
        return self._store.stack(layers)

    def source(self, stage: Stage, origin: str, statement: Statement) -> tuple[Tree, Digests]:
        """Return where an instruction reads from, and who knows its files' digests."""
        if not origin:
            context = self.context
            return context.tree, self._digests_of(context.tree.root, lasting=context.lasting)
        if self._named is not None and self._is_folder(origin):
            tree = self._named.tree(origin)
            return tree, self._digests_of(tree.root, lasting=self._named.lasting(origin))
        other = self.plan.stage_of(origin, statement)
        if other is not None:
            layers = self._stage(other).chain
        elif origin == SCRATCH:
            layers = ()
        else:
            image = self._image(origin, stage.platform)
            layers = tuple(layer.chain_id for layer in image.layers)
        return LayerTree(self.stack(layers), layers), self._digests_of(layers[-1] if layers else SCRATCH)

    def _digests_of(self, name: str, *, lasting: bool = True) -> Digests:
        memo = self._store.buildcache if lasting else None
        return self._digests.setdefault(name, Digests(memo, name))

    def draft(self) -> Draft:
        """Return a new draft, to be used as a context manager."""
        return self._store.snapshots.begin()

    def fetch(self, url: str, place: str) -> int:
        """Fetch a URL into a new file; see ImageResolver."""
        return self._images.fetch(url, place)

    def clone(self, wanted: Checkout, folder: str) -> str:
        """Check a repository out; see ImageResolver."""
        return self._images.clone(wanted, folder)

    @property
    def stopped(self) -> bool:
        """Whether the build has failed elsewhere."""
        return self._stopped

    @property
    def cache_mounts(self) -> CacheMounts:
        """The folders that outlive builds."""
        from tiffin.store.cachemounts import CacheMounts

        return CacheMounts(self._store.layout.cache_mounts)

    def aside(self, folder: str) -> Copier:
        """Return what writes into an empty folder: files for a command, not for a layer."""
        return Copier(folder, (), xattr=self.xattr, now_ns=self._now_ns)

    def copier(
        self,
        stage: Stage,
        draft: Draft,
        *,
        owner: tuple[int, int] | None = None,
        mode: Callable[[int], int] | None = None,
        alone: bool = False,
    ) -> Copier:
        """Return what writes into a draft over a stage's layers; `alone`, as if there were none."""
        chain = () if alone else reversed(stage.chain)
        lower = [self._store.layout.layer(chain_id) for chain_id in chain]
        return Copier(draft.path, lower, xattr=self.xattr, now_ns=self._now_ns, owner=owner, mode=mode)

    # The image

    def _config(self, stage: Stage) -> ImageConfig:
        """Make the image's config; the same build again gives the same bytes, and so the same id."""
        config = stage.config
        if self.options.labels:
            config = config.replace(labels={**config.labels, **self.options.labels})
        history = stage.history
        diff_ids = tuple(layer.diff_id for layer in stage.layers)
        created = clock.from_ns(self._now_ns if self._epoch else time.time_ns())
        if not self._epoch:
            ingredients = {
                "kind": "image",
                "layers": list(diff_ids),
                "config": config.to_image_json(),
                "history": [entry.to_json() for entry in history],
                "platform": str(stage.platform),
                "author": stage.author,
            }
            created = self._cache.moment(ingredients, created)
        return ImageConfig.build(
            platform=stage.platform,
            config=config,
            diff_ids=diff_ids,
            history=tuple(entry if entry.created else entry.replace(created=created) for entry in history),
            created=created,
            author=stage.author,
        )


def _moment(build_args: Mapping[str, str]) -> int:
    """Return the moment (ns) that new things are dated with: SOURCE_DATE_EPOCH, or now."""
    text = build_args.get("SOURCE_DATE_EPOCH")
    if text is None:
        return time.time_ns()
    if not text.isascii() or not text.isdigit() or len(text) > 11:
        message = f"invalid SOURCE_DATE_EPOCH: {text}"
        raise InvalidArgument(message, hint="it is a number of seconds since 1970")
    return int(text) * 10**9
