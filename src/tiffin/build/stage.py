"""One stage: its instructions, one after the other, over a growing stack of layers.

Instructions that only change the config cost nothing. RUN, COPY, ADD, and WORKDIR where its folder is
missing, each make one layer, or find it in the cache.
"""

from __future__ import annotations

import posixpath

from tiffin.build import history
from tiffin.build.events import Why
from tiffin.build.instructions import (
    Arg,
    Cmd,
    Command,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Health,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
    expanded,
    run_script,
)
from tiffin.build.plan import PROXIES
from tiffin.build.ports import exposed
from tiffin.build.roles import Layer, RunRequest
from tiffin.build.words import Lexer, WordError
from tiffin.errors import Forbidden, InvalidArgument
from tiffin.spec.container import ContainerConfig
from tiffin.spec.image import HistoryEntry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from tiffin.build.builder import Builder
    from tiffin.spec.platform import Platform

_SHELL = ("/bin/sh", "-c")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
COMMENT = "buildkit.dockerfile.v0"
"""What docker writes beside each line of history; tools look for it to tell how an image was built."""


class Outcome:
    """What one instruction did, for the events: `layer` is the new one, if it made or found one."""

    __slots__ = ("cached", "layer", "reason", "why")

    def __init__(
        self, *, layer: Layer | None = None, cached: bool = True, reason: str = "", why: Why | None = None
    ) -> None:
        """An instruction that made no layer counts as cached."""
        self.layer = layer
        self.cached = cached
        self.why = why or Why()
        self.reason = reason or ("" if cached else self.why.text)


class Stage:
    """The state of one stage while it is built; another stage may start from it by `inherit`."""

    def __init__(self, session: Builder, label: str, platform: Platform, escape: str) -> None:
        """Begin from scratch."""
        self.session = session
        self.label = label
        self.platform = platform
        self.escape = escape
        self.layers: tuple[Layer, ...] = ()
        self.number = 0
        """The number of the step that runs."""
        self.changed = False
        """Whether a layer was made anew, here or in the stage that this one starts from."""
        self.cause = 0
        """The number of the last step that ran for a reason of its own, there as well."""
        self.config = ContainerConfig(env=(f"PATH={DEFAULT_PATH}",), working_dir="/")
        self.history: list[HistoryEntry] = []
        self.author = ""
        self.arguments: dict[str, str | None] = {}
        self._own_command = False

    def inherit(self, base: Stage) -> None:
        """Start from another stage: files, config, history and build arguments."""
        self.layers = base.layers
        self.changed = base.changed
        self.cause = base.cause
        self.config = base.config
        self.history = list(base.history)
        self.author = base.author
        self.platform = base.platform
        self.arguments = dict(base.arguments)

    def take_triggers(self) -> tuple[str, ...]:
        """Return the ONBUILD triggers of what this stage starts from, which end here."""
        triggers = self.config.on_build
        self.config = self.config.replace(on_build=())
        return triggers

    @property
    def chain(self) -> tuple[str, ...]:
        """The chain ids of the layers, bottom first."""
        return tuple(layer.chain_id for layer in self.layers)

    @property
    def top(self) -> str:
        """The chain id of all layers, "" for none."""
        return self.layers[-1].chain_id if self.layers else ""

    def run(self, instruction: Instruction) -> Outcome:
        """Carry one instruction out; raise DockerfileError, BuildFailed..."""
        handler = _HANDLERS[type(instruction)]
        outcome: Outcome = handler(self, instruction)
        return outcome

    # Variables

    def environment(self) -> dict[str, str]:
        """Return what `$names` mean here: arguments, then the image's variables, which win."""
        found = {name: value for name, value in self.arguments.items() if value is not None}
        for pair in self.config.env:
            name, _, value = pair.partition("=")
            found[name] = value
        return found

    def expander(self, instruction: Instruction) -> Callable[[str], str]:
        """Return a function that expands words of an instruction, its errors placed there."""
        lexer = Lexer(self.environment(), escape=self.escape)
        return lambda text: expanded(instruction.statement, lexer.word, text)

    def note(self, text: str, *, created: str = "", layer: bool = False) -> None:
        """Add a line of history; one without a moment gets the image's at the end."""
        entry = HistoryEntry(created=created, created_by=text, comment=COMMENT, empty_layer=not layer)
        self.history.append(entry)

    def add_layer(self, layer: Layer, text: str, created: str) -> None:
        """Put a layer on top, with its line of history."""
        self.layers = (*self.layers, layer)
        self.note(text, created=created, layer=True)

    # Instructions that change only the config

    def _arg(self, instruction: Arg) -> Outcome:
        given = self.session.options.build_args
        shown = []
        expand = self.expander(instruction)
        for raw, default in instruction.arguments:
            name = expand(raw)
            value = expand(default) if default is not None else None
            if name in given:
                value = given[name]
            elif value is None:
                value = self.session.plan.arguments.get(name, self.arguments.get(name))
            self.arguments[name] = value
            shown.append(name if value is None else f"{name}={value}")
        self.note(f"ARG {' '.join(shown)}")
        return Outcome()

    def _env(self, instruction: Env) -> Outcome:
        expand = self.expander(instruction)
        pairs = [(expand(key), expand(value)) for key, value in instruction.pairs]
        for key, _ in pairs:
            if not key:
                raise instruction.statement.error("ENV names can not be blank", prefix=False)
        self.config = self.config.replace(env=with_variables(self.config.env, pairs))
        self.note("ENV " + " ".join(f"{key}={value}" for key, value in pairs))
        return Outcome()

    def _label(self, instruction: Label) -> Outcome:
        expand = self.expander(instruction)
        pairs = {expand(key): expand(value) for key, value in instruction.pairs}
        self.config = self.config.replace(labels={**self.config.labels, **pairs})
        self.note("LABEL " + " ".join(f"{key}={value}" for key, value in pairs.items()))
        return Outcome()

    def _argv(self, instruction: Command) -> tuple[str, ...]:
        if not instruction.shell:
            return instruction.argv
        return (self.config.shell or _SHELL) + instruction.argv

    def _cmd(self, instruction: Cmd) -> Outcome:
        argv = self._argv(instruction) if instruction.argv else ()
        self.config = self.config.replace(cmd=argv)
        self._own_command = True
        self.note(f"CMD {history.quoted(argv)}")
        return Outcome()

    def _entrypoint(self, instruction: Entrypoint) -> Outcome:
        argv = self._argv(instruction) if instruction.argv else ()
        self.config = self.config.replace(entrypoint=argv or None)
        if not self._own_command:
            self.config = self.config.replace(cmd=None)
        self.note(f"ENTRYPOINT {history.quoted(argv)}")
        return Outcome()

    def _user(self, instruction: User) -> Outcome:
        user = self.expander(instruction)(instruction.user)
        if not user:
            raise instruction.statement.error("USER is blank", caret=instruction.user, prefix=False)
        self.config = self.config.replace(user=user)
        self.note(f"USER {user}")
        return Outcome()

    def _expose(self, instruction: Expose) -> Outcome:
        lexer = Lexer(self.environment(), escape=self.escape)
        words: list[str] = []
        for port in instruction.ports:
            try:
                words += lexer.words(port)
            except WordError as error:
                raise instruction.statement.error(str(error), caret=port, prefix=False) from None
        try:
            ports = [port for word in words for port in exposed(word)]
        except InvalidArgument as error:
            raise instruction.statement.error(error.message, hint=error.hint, prefix=False) from None
        self.config = self.config.replace(exposed_ports=tuple(sorted({*self.config.exposed_ports, *ports})))
        self.note(f"EXPOSE [{' '.join(ports)}]")
        return Outcome()

    def _volume(self, instruction: Volume) -> Outcome:
        expand = self.expander(instruction)
        paths = [expand(path) for path in instruction.paths]
        if not all(paths):
            raise instruction.statement.error("VOLUME specified can not be an empty string", prefix=False)
        self.config = self.config.replace(volumes=tuple(sorted({*self.config.volumes, *paths})))
        self.note(f"VOLUME [{' '.join(paths)}]")
        return Outcome()

    def _shell(self, instruction: Shell) -> Outcome:
        self.config = self.config.replace(shell=instruction.argv)
        self.note(f"SHELL [{' '.join(instruction.argv)}]")
        return Outcome()

    def _stop_signal(self, instruction: StopSignal) -> Outcome:
        signal = self.expander(instruction)(instruction.signal)
        self.config = self.config.replace(stop_signal=signal)
        self.note(f"STOPSIGNAL {signal}")
        return Outcome()

    def _health(self, instruction: Health) -> Outcome:
        self.config = self.config.replace(healthcheck=instruction.check)
        self.note(f"HEALTHCHECK {history.healthcheck(instruction.check)}")
        return Outcome()

    def _on_build(self, instruction: OnBuild) -> Outcome:
        self.config = self.config.replace(on_build=(*self.config.on_build, instruction.trigger))
        return Outcome()

    def _maintainer(self, instruction: Maintainer) -> Outcome:
        self.author = instruction.author
        self.note(f"MAINTAINER {instruction.author}")
        return Outcome()

    # Instructions that make layers

    def absolute(self, path: str) -> str:
        """Return a path of an instruction as an absolute one, a final slash kept."""
        joined = posixpath.join("/", self.config.working_dir or "/", path)
        clean = posixpath.normpath(joined)
        clean = "/" + clean.lstrip("/")
        folder = path in {".", ".."} or path.endswith(("/", "/.", "/.."))
        return clean if clean == "/" or not folder else f"{clean}/"

    def _workdir(self, instruction: Workdir) -> Outcome:
        path = self.expander(instruction)(instruction.path)
        if not path:
            raise instruction.statement.error("WORKDIR is blank", caret=instruction.path, prefix=False)
        path = self.absolute(path).rstrip("/") or "/"
        self.config = self.config.replace(working_dir=path)
        text = f"WORKDIR {path}"
        node = self.session.stack(self.chain).find(path)[1]
        if path == "/" or (node is not None and node.is_folder):
            self.note(text)
            return Outcome()
        if node is not None:
            message = f"cannot make the working directory {path}: it is not a folder"
            raise instruction.statement.error(message, caret=instruction.path, prefix=False)
        from tiffin.build.copying import make_workdir

        return make_workdir(self, instruction, path, text)

    def _run(self, instruction: Run) -> Outcome:
        script, file = run_script(instruction) if instruction.shell else ("", None)
        files: tuple[tuple[str, bytes], ...] = ()
        argv = instruction.argv
        if file is not None:
            path = f"/dev/pipes/{file[0]}"
            files, argv = ((path, file[1]),), (path,)
        elif instruction.shell:
            argv = (*(self.config.shell or _SHELL), script)
        declared = {n: v for n, v in self.arguments.items() if v is not None}
        own = {pair.partition("=")[0] for pair in self.config.env}
        arguments = {name: value for name, value in declared.items() if name not in own}
        given = self.session.options.build_args
        hidden = {n: given[n] for n in PROXIES & given.keys() if n not in self.arguments and n not in own}
        network = instruction.network
        if network == "default":
            network = self.session.options.network or "default"
        request = RunRequest(
            argv=argv,
            env=(*self.config.env, *(f"{n}={v}" for n, v in (arguments | hidden).items())),
            user=self.config.user,
            cwd=self.config.working_dir or "/",
            layers=self.chain,
            network=network,
            files=files,
            insecure=instruction.insecure,
            devices=instruction.devices,
        )
        self._check_allowed(instruction)
        ingredients: dict[str, Any] = {
            "kind": "RUN",
            "parent": self.top,
            "argv": list(argv),
            "env": dict(pair.partition("=")[::2] for pair in self.config.env),
            "args": arguments,
            "user": request.user,
            "cwd": request.cwd,
            "network": network,
        }
        if instruction.insecure or instruction.devices:
            ingredients["security"] = [instruction.insecure, list(map(list, instruction.devices))]
        if self.session.options.host.extra_hosts:
            ingredients["hosts"] = list(self.session.options.host.extra_hosts)
        if files:
            ingredients["script"] = files[0][1].decode()
        text = history.run(argv, self.arguments)
        if not instruction.mounts:
            return self.session.steps.run(self, instruction, request, ingredients, text)
        from tiffin.build.mounting import Mounting

        mounting = Mounting(self, instruction)
        ingredients["mounts"] = mounting.ingredients()
        return self.session.steps.run(self, instruction, request, ingredients, text, mounting)

    def _check_allowed(self, instruction: Run) -> None:
        """Raise Forbidden for what a Dockerfile may ask only when its user says so (--allow)."""
        allowed = self.session.options.allow
        wanted = ["security.insecure"] if instruction.insecure else []
        wanted += ["device"] if instruction.devices else []
        for name in wanted:
            if not any(given.partition("=")[0] == name for given in allowed):
                raise Forbidden(f"{name} is not allowed", hint=f"build with --allow {name}")

    def _copy(self, instruction: Copy) -> Outcome:
        from tiffin.build.copying import copy

        return copy(self, instruction)


def with_variables(env: tuple[str, ...], pairs: list[tuple[str, str]]) -> tuple[str, ...]:
    """Return an environment with variables set; one that is there keeps its place."""
    found = dict(pair.partition("=")[::2] for pair in env)
    found.update(pairs)
    return tuple(f"{name}={value}" for name, value in found.items())


_HANDLERS: Mapping[type[Instruction], Callable[..., Outcome]] = {
    Arg: Stage._arg,  # noqa: SLF001 - the table of the class above
    Env: Stage._env,  # noqa: SLF001
    Label: Stage._label,  # noqa: SLF001
    Cmd: Stage._cmd,  # noqa: SLF001
    Entrypoint: Stage._entrypoint,  # noqa: SLF001
    User: Stage._user,  # noqa: SLF001
    Expose: Stage._expose,  # noqa: SLF001
    Volume: Stage._volume,  # noqa: SLF001
    Shell: Stage._shell,  # noqa: SLF001
    StopSignal: Stage._stop_signal,  # noqa: SLF001
    Health: Stage._health,  # noqa: SLF001
    OnBuild: Stage._on_build,  # noqa: SLF001
    Maintainer: Stage._maintainer,  # noqa: SLF001
    Workdir: Stage._workdir,  # noqa: SLF001
    Run: Stage._run,  # noqa: SLF001
    Copy: Stage._copy,  # noqa: SLF001
}
