"""What a build tells while it goes on: small values, given to one callback in order of time."""

from __future__ import annotations

from tiffin.spec.value import Value


class BuildEvent(Value):
    """Something happened; see the subclasses."""


class PlanMade(BuildEvent):
    """The Dockerfile was read; this many steps are needed. `stages` counts those that will be built."""

    total: int
    stages: int


class StepStarted(BuildEvent):
    """A step begins. `number` counts from 1 to `total` over all stages that are built.

    `text` is the instruction as written, on one line; an ONBUILD trigger has its FROM's number and
    `trigger` set.
    """

    number: int
    total: int
    text: str
    line: int
    stage: str = ""
    trigger: bool = False


class StepOutput(BuildEvent):
    """A piece of what a RUN wrote; `stream` is 1 or 2."""

    number: int
    stream: int
    data: bytes


class StepDone(BuildEvent):
    """A step is over. `size` counts the bytes of its new layer; `layer` says whether it has one.

    `reason` says why it was not cached ("changed: src/cart.py", "new instruction").
    """

    number: int
    total: int
    cached: bool
    seconds: float
    size: int = 0
    layer: bool = False
    reason: str = ""


class Warned(BuildEvent):
    """Something that the author should know; `line` is 0 where it has no place."""

    message: str
    line: int = 0


class Exported(BuildEvent):
    """The image has its id, and the tags."""

    image_id: str


class Difference(Value):
    """One ingredient of a step that is not what it was; a side that had none is None.

    `kind`: file (by `name`, mode and digest), files (which ones is no longer known), ARG, ENV (by name;
    the value of one that is called like a secret is not shown), parent, or what the step is made of
    (argv, user, cwd, network, sources, destination...).
    """

    kind: str
    name: str = ""
    before: str | None = None
    after: str | None = None


class Why(Value):
    """Why a step was cached or ran; `since` is when it ran before, `text` all that in one line.

    `verdict`: cached; config (it makes no files); new; changed (see `differences`, and `more` counts those
    left out); parent (only what it stands on changed); gone (it was pruned); unwanted (--no-cache).
    """

    verdict: str = "config"
    differences: tuple[Difference, ...] = ()
    more: int = 0
    since: str = ""
    text: str = ""


class Step(Value):
    """One step of a build that is over, for whoever looks at it later."""

    number: int
    text: str
    line: int
    stage: str = ""
    cached: bool = False
    seconds: float = 0.0
    size: int = 0
    layer: bool = False
    reason: str = ""
    chain_id: str = ""  # of the stack after this step, "" before the first layer
    why: Why = Why()
    cause: int = 0  # the step whose change made this one run, 0 where it is its own
    cost: tuple[int, ...] = ()  # the later steps that this one's change made run


class FailedStep(Value):
    """The RUN that failed: where it stands, how it ended, and the last of what it wrote.

    `layers` is the stack that it ran on (chain ids, bottom first) and `argv`, `env`, `user`, `cwd`
    how, so that somebody can look inside; `id` is what it was kept under, "" if nothing was.
    """

    number: int
    total: int
    text: str
    file: str
    line: int
    end_line: int
    source: tuple[str, ...]
    exit_code: int
    output: bytes
    layers: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    cwd: str = "/"
    id: str = ""
