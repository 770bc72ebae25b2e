"""The flags of `run` and `create` as docker's Config and HostConfig, with docker's checks and sentences."""

from __future__ import annotations

import os

from tiffin.cli import keyvalues
from tiffin.errors import InvalidArgument
from tiffin.spec.container import ContainerConfig, Healthcheck, HostConfig, RestartPolicy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tiffin.cli.parser import Parsed
    from tiffin.spec.mount import Mount
    from tiffin.spec.network import EndpointConfig

_SHM_SIZE = 64 << 20
_ENDPOINT = ("ip", "ip6", "mac-address", "link-local-ip", "network-alias")
_STREAMS = ("stdin", "stdout", "stderr")
_BIND_PARTS = 3  # source, destination, options


def config(parsed: Parsed, environment: Mapping[str, str]) -> ContainerConfig:
    """Return what is portable; raises UsageError and InvalidArgument."""
    image, *command = parsed.arguments
    attached = streams(parsed)
    interactive = parsed.flag("interactive")
    env = keyvalues.environment(parsed, environment)
    labels = keyvalues.labels(parsed)
    return ContainerConfig(
        hostname=parsed.text("hostname"),
        domainname=parsed.text("domainname"),
        user=parsed.text("user"),
        attach_stdin="stdin" in attached,
        attach_stdout="stdout" in attached,
        attach_stderr="stderr" in attached,
        exposed_ports=_exposed(parsed),
        tty=parsed.flag("tty"),
        open_stdin=interactive,
        stdin_once=interactive and "stdin" in attached,
        env=tuple(env),
        cmd=tuple(command) or None,
        entrypoint=_entrypoint(parsed),
        image=image,
        volumes=tuple(dict.fromkeys(text for text in parsed.many("volume") if ":" not in text)),
        working_dir=parsed.text("workdir"),
        labels=labels,
        stop_signal=parsed.text("stop-signal"),
        healthcheck=_healthcheck(parsed),
        stop_timeout=parsed.number("stop-timeout") if parsed.given("stop-timeout") else None,
    )


def host(parsed: Parsed) -> HostConfig:
    """Return what ties the container to this host; raises UsageError and InvalidArgument."""
    if parsed.given("disable-content-trust") and not parsed.flag("disable-content-trust"):
        raise InvalidArgument(
            "content trust is not supported", hint="leave --disable-content-trust=false out"
        )
    return HostConfig(
        binds=tuple(dict.fromkeys(_bind(text) for text in parsed.many("volume") if ":" in text)),
        mounts=_mounts(parsed),
        tmpfs=dict(_tmpfs(text) for text in parsed.many("tmpfs")),
        **_wires(parsed),
        auto_remove=parsed.given("rm") and parsed.flag("rm"),
        privileged=parsed.flag("privileged"),
        init=parsed.flag("init") if parsed.given("init") else None,
        readonly_rootfs=parsed.flag("read-only"),
        shm_size=_bytes(parsed, "shm-size") or _SHM_SIZE,
        runtime=parsed.text("runtime"),
        cap_add=_capabilities(parsed, "cap-add"),
        cap_drop=_capabilities(parsed, "cap-drop"),
        **_security(parsed),
        container_id_file=parsed.text("cidfile"),
        volumes_from=tuple(parsed.many("volumes-from")),
        volume_driver=parsed.text("volume-driver"),
        restart_policy=_restart(parsed),
        oom_score_adj=parsed.number("oom-score-adj"),
        **limits(parsed),
        **_plumbing(parsed),
    )


_RARE_LIMITS = (
    *("blkio-weight", "blkio-weight-device", "cpu-rt-period", "cpu-rt-runtime", "device-read-bps"),
    *("device-read-iops", "device-write-bps", "device-write-iops", "memory-swappiness", "oom-kill-disable"),
)
_PLUMBING = (
    *("add-host", "annotation", "cgroup-parent", "cgroupns", "device", "device-cgroup-rule", "dns"),
    *("dns-option", "dns-search", "egress", "gpus", "group-add", "ipc", "isolation", "log-driver", "log-opt"),
    *("on-unhealthy", "pid", "sysctl", "ulimit", "userns", "uts"),
)


def _wires(parsed: Parsed) -> dict[str, Any]:
    """Return what is said of networks and ports, as members of HostConfig."""
    found: dict[str, Any] = {}
    if parsed.given("network"):
        found["network_mode"] = endpoints(parsed)[0]
    if parsed.given("publish"):
        from tiffin.cli import networking

        found["port_bindings"] = networking.published(parsed)
    if parsed.given("publish-all"):
        found["publish_all_ports"] = parsed.flag("publish-all")
    if parsed.given("link"):
        found["links"] = tuple(parsed.many("link"))
    return found


def endpoints(parsed: Parsed) -> tuple[str, dict[str, EndpointConfig]]:
    """Return the network mode and how the container wants to be on its networks."""
    names = parsed.many("network")
    if names in (["none"], ["host"], []) and not any(map(parsed.given, _ENDPOINT)):
        return (names or ["default"])[0], {}  # nothing to read
    from tiffin.cli import networking

    return networking.networks(parsed)


def _plumbing(parsed: Parsed) -> dict[str, Any]:
    """Return what few containers ask for, as members of HostConfig."""
    if not any(map(parsed.given, _PLUMBING)):
        return {}
    from tiffin.cli import plumbing

    return plumbing.members(parsed)


def limits(parsed: Parsed) -> dict[str, Any]:
    """Return the limits that were given, by their names in HostConfig; shared with `update`."""
    found: dict[str, Any] = {}
    for name in ("memory", "memory-swap", "memory-reservation"):
        if parsed.given(name):
            found[name] = _bytes(parsed, name)
    for name in ("pids-limit", "cpu-shares", "cpu-period", "cpu-quota"):
        if parsed.given(name):
            found[name] = parsed.number(name)
    for name in ("cpuset-cpus", "cpuset-mems"):
        if parsed.given(name):
            found[name] = parsed.text(name)
    if parsed.given("cpus"):
        found["nano-cpus"] = _cpus(parsed)
    if any(map(parsed.given, _RARE_LIMITS)):
        from tiffin.cli import plumbing

        found |= plumbing.limits(parsed)
    return {name.replace("-", "_"): value for name, value in found.items()}


def restart_policy(text: str) -> RestartPolicy:
    """Read `--restart NAME[:N]`; raises InvalidArgument in docker's words."""
    name, colon, count = text.partition(":")
    if colon and not name:
        raise InvalidArgument("invalid restart policy format: no policy provided before colon")
    digits = count.removeprefix("-").removeprefix("+")
    if count and not (digits.isascii() and digits.isdigit()):
        raise InvalidArgument("invalid restart policy format: maximum retry count must be an integer")
    return RestartPolicy(name=name or "no", maximum_retry_count=int(count or 0))


def _restart(parsed: Parsed) -> RestartPolicy:
    policy = restart_policy(parsed.text("restart"))
    if policy.name != "no" and parsed.given("rm") and parsed.flag("rm"):
        raise InvalidArgument("conflicting options: cannot specify both --restart and --rm")
    return policy


def _healthcheck(parsed: Parsed) -> Healthcheck | None:
    names = ("cmd", "interval", "timeout", "retries", "start-period", "start-interval")
    given = [f"health-{name}" for name in names if parsed.given(f"health-{name}")]
    if parsed.given("no-healthcheck") and parsed.flag("no-healthcheck"):
        if given:
            raise InvalidArgument("--no-healthcheck conflicts with --health-* options")
        return Healthcheck(test=("NONE",))
    if not given:
        return None
    from tiffin.cli import amounts

    times = ("interval", "timeout", "start-period", "start-interval")
    numbers = {name: amounts.duration(parsed.text(f"health-{name}")) for name in times}
    numbers["retries"] = parsed.number("health-retries")
    for name, number in numbers.items():
        if number < 0:
            raise InvalidArgument(f"--health-{name} cannot be negative")
    command = parsed.text("health-cmd")
    return Healthcheck(
        test=("CMD-SHELL", command) if command else (),
        interval=numbers["interval"],
        timeout=numbers["timeout"],
        retries=numbers["retries"],
        start_period=numbers["start-period"],
        start_interval=numbers["start-interval"],
    )


def streams(parsed: Parsed) -> tuple[str, ...]:
    """Return what is attached: what -a says, else (unless detached) the outputs, and stdin with -i."""
    asked = []
    for value in parsed.many("attach"):
        name = value.lower()
        if name not in _STREAMS:
            raise parsed.invalid("attach", value, "valid streams are STDIN, STDOUT and STDERR")
        asked.append(name)
    if asked:
        return tuple(name for name in _STREAMS if name in asked)
    if parsed.given("detach") and parsed.flag("detach"):
        return ()
    return _STREAMS if parsed.flag("interactive") else _STREAMS[1:]


def pull_policy(parsed: Parsed) -> str:
    """Return --pull; raises InvalidArgument with docker's sentence."""
    policy = parsed.text("pull")
    if policy not in {"always", "missing", "never"}:
        message = f'invalid pull option: \'{policy}\': must be one of "always", "missing" or "never"'
        raise InvalidArgument(message)
    return policy


def check_cidfile(path: str) -> None:
    """Refuse a cidfile that exists, or cannot, before anything is made."""
    if path and os.path.lexists(path):
        message = f"container ID file found, make sure the other container isn't running or delete {path}"
        raise InvalidArgument(message)
    folder = os.path.dirname(path) or "."
    if path and not os.path.isdir(folder):
        reason = "not a directory" if os.path.lexists(folder) else "no such file or directory"
        raise InvalidArgument(f"failed to create the container ID file: open {path}: {reason}")


def write_cidfile(path: str, container_id: str) -> None:
    """Write the id, without a line end, as docker does."""
    if path:
        with open(path, "x", encoding="ascii") as stream:
            stream.write(container_id)


def _entrypoint(parsed: Parsed) -> tuple[str, ...] | None:
    # `--entrypoint ""` is one empty word: it clears the image's.
    return (parsed.text("entrypoint"),) if parsed.given("entrypoint") else None


def _bind(text: str) -> str:
    parts = text.split(":")
    if not all(parts):
        raise InvalidArgument(f"invalid spec: {text}: empty section between colons")
    if len(parts) > _BIND_PARTS:
        raise InvalidArgument(f"invalid spec: {text}: too many colons")
    source, _, rest = text.partition(":")
    if source.startswith("."):
        source = os.path.abspath(source)
    return f"{source}:{rest}"


def _tmpfs(text: str) -> tuple[str, str]:
    path, _, options = text.partition(":")
    return path, options


def _mounts(parsed: Parsed) -> tuple[Mount, ...]:
    values = parsed.many("mount")
    if not values:
        return ()
    from tiffin.cli import mounts

    found = []
    for value in values:
        try:
            found.append(mounts.parse(value))
        except ValueError as error:
            raise parsed.invalid("mount", value, str(error)) from None
    return tuple(found)


def _bytes(parsed: Parsed, name: str) -> int:
    text = parsed.text(name)
    if not text:
        return 0
    if text == "-1":
        return -1  # only --memory-swap gets this far with it: no limit
    from tiffin.cli import amounts

    return amounts.size(text)


def _cpus(parsed: Parsed) -> int:
    text = parsed.text("cpus")
    if not text:
        return 0
    from tiffin.cli import amounts

    return amounts.nano_cpus(text)


def _capabilities(parsed: Parsed, name: str) -> tuple[str, ...]:
    """Return capabilities in docker's normal form: `CAP_NET_ADMIN`, `ALL`; sorted, each once."""
    found = set()
    for value in parsed.many(name):
        word = value.strip().upper()
        found.add(word if word == "ALL" or word.startswith("CAP_") else f"CAP_{word}")
    return ("ALL",) if "ALL" in found else tuple(sorted(found))


def _security(parsed: Parsed) -> dict[str, Any]:
    """Return `security_opt`; systempaths=unconfined becomes empty lists of paths, as docker's client does."""
    found = [_security_option(value) for value in parsed.many("security-opt")]
    if "systempaths=unconfined" in found:
        found.remove("systempaths=unconfined")
        return {"security_opt": tuple(found), "masked_paths": (), "readonly_paths": ()}
    return {"security_opt": tuple(found)}


def _security_option(value: str) -> str:
    """Return one option; a seccomp profile's file is read here, as docker's client does."""
    if value == "no-new-privileges":
        return value
    key, equals, setting = value.partition("=")
    if not equals:
        key, equals, setting = value.partition(":")
    if not equals:
        raise InvalidArgument(f'Invalid --security-opt: "{value}"')
    if key == "no-new-privileges":
        if setting not in {"true", "false"}:
            raise InvalidArgument(f'invalid --security-opt 2: "{value}"')
        return f"no-new-privileges:{setting}"
    if key in {"apparmor", "label"} or value == "systempaths=unconfined":
        return f"{key}={setting}"
    if key != "seccomp":
        raise InvalidArgument(
            f'invalid --security-opt 2: "{value}"',
            hint="known are apparmor, label, no-new-privileges, seccomp and systempaths=unconfined",
        )
    if setting in {"unconfined", "builtin"}:
        return f"seccomp={setting}"
    return f"seccomp={_profile(setting)}"


def _profile(path: str) -> str:
    from tiffin.errors import Corrupt
    from tiffin.spec import jsontext

    try:
        with open(path, "rb") as stream:
            return jsontext.dumps(jsontext.load_object(stream.read()))
    except OSError as error:
        reason = f"open {path}: {(error.strerror or '').lower()}"
        raise InvalidArgument(f"opening seccomp profile ({path}) failed: {reason}") from error
    except Corrupt as error:
        raise InvalidArgument(
            f"compacting json for seccomp profile ({path}) failed: {error.message}"
        ) from error


def _exposed(parsed: Parsed) -> tuple[str, ...]:
    """Return the ports of `--expose` and `-p`."""
    found = [port for text in parsed.many("expose") for port in _ports(text)]
    if parsed.given("publish"):
        from tiffin.cli import networking

        found += [binding.port for binding in networking.published(parsed)]
    return tuple(dict.fromkeys(found))


def _ports(text: str) -> list[str]:
    """Return the ports of `--expose 80`, `53/udp`, `8000-8010`."""
    numbers, _, protocol = text.partition("/")
    first, _, last = numbers.partition("-")
    try:
        low, high = _port(first), _port(last or first)
        if low > high:
            raise ValueError(f"invalid port range: {numbers}")
        if (protocol or "tcp").lower() not in {"tcp", "udp", "sctp"}:
            raise ValueError(f"invalid proto: {protocol}")
    except ValueError as error:
        raise InvalidArgument(f"invalid range format for --expose: {text}, error: {error}") from None
    return [f"{port}/{(protocol or 'tcp').lower()}" for port in range(low, high + 1)]


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if int(text) > 65535:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)
