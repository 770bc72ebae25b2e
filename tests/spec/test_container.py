"""Container and host configuration: docker's JSON in both directions."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tiffin.errors import TiffinError
from tiffin.spec import jsontext
from tiffin.spec.container import ContainerConfig, Healthcheck, HostConfig, LogConfig, RestartPolicy
from tiffin.spec.mount import Mount
from tiffin.spec.state import ContainerState

words = st.text(st.characters(codec="utf-8"), max_size=6)
texts = st.lists(words, max_size=3).map(tuple)
keys = st.sets(words, max_size=3).map(sorted).map(tuple)
labels = st.dictionaries(words, words, max_size=2)
counts = st.integers(0, 2**62)
healthchecks = st.builds(Healthcheck, test=texts, interval=counts, timeout=counts, retries=counts)
container_configs = st.builds(
    ContainerConfig,
    hostname=words,
    user=words,
    exposed_ports=keys,
    tty=st.booleans(),
    open_stdin=st.booleans(),
    env=texts,
    cmd=st.none() | texts,
    entrypoint=st.none() | texts,
    healthcheck=st.none() | healthchecks,
    image=words,
    volumes=keys,
    working_dir=words,
    on_build=texts,
    labels=labels,
    stop_signal=words,
    stop_timeout=st.none() | st.integers(-1, 100),
    shell=texts,
)
mounts = st.one_of(
    st.builds(
        Mount,
        type=st.just("bind"),
        target=words,
        source=words,
        read_only=st.booleans(),
        propagation=words,
        create_source=st.booleans(),
    ),
    st.builds(Mount, type=st.just("tmpfs"), target=words, tmpfs_size=counts, tmpfs_mode=counts),
    st.builds(Mount, type=st.just("volume"), target=words, source=words, labels=labels, driver=words),
)
host_configs = st.builds(
    HostConfig,
    binds=texts,
    mounts=st.lists(mounts, max_size=2).map(tuple),
    tmpfs=labels,
    auto_remove=st.booleans(),
    privileged=st.booleans(),
    readonly_rootfs=st.booleans(),
    init=st.none() | st.booleans(),
    memory=counts,
    nano_cpus=counts,
    pids_limit=st.integers(-1, 100),
    cap_add=texts,
    cap_drop=texts,
    restart_policy=st.builds(RestartPolicy, name=words.filter(bool), maximum_retry_count=counts),
    log_config=st.builds(LogConfig, type=words.filter(bool), config=labels),
    security_opt=texts,
)


def through_text(value: dict[str, Any]) -> dict[str, Any]:
    return jsontext.load_object(jsontext.dumps(value))


@given(container_configs)
def test_a_container_config_survives_its_json(config: ContainerConfig) -> None:
    """What `inspect` shows reads back to the same value."""
    assert ContainerConfig.from_json(through_text(config.to_json())) == config


@given(host_configs)
def test_a_host_config_survives_its_json(host: HostConfig) -> None:
    """What `inspect` shows reads back to the same value."""
    assert HostConfig.from_json(through_text(host.to_json())) == host


def test_the_defaults_survive_their_json() -> None:
    """A bare create is a bare create after its record was read again."""
    assert ContainerConfig.from_json(ContainerConfig().to_json()) == ContainerConfig()
    assert HostConfig.from_json(HostConfig().to_json()) == HostConfig()
    assert ContainerConfig.from_json({}) == ContainerConfig()
    assert HostConfig.from_json({}) == HostConfig()


@given(container_configs, host_configs)
def test_what_a_record_keeps_reads_back_the_same(config: ContainerConfig, host: HostConfig) -> None:
    """A record leaves out what is the default, and nothing else; one with everything reads the same."""
    assert ContainerConfig.from_json(through_text(config.stored())) == config
    assert HostConfig.from_json(through_text(host.stored())) == host
    assert ContainerConfig().stored() == {}
    assert HostConfig().stored() == {}
    assert ContainerConfig.from_json(ContainerConfig(cmd=(), stop_timeout=0).stored()).cmd == ()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
_CONFIG_MEMBERS = [*ContainerConfig().to_json(), "ExposedPorts", "Healthcheck", "StopTimeout", "Shell"]
_MOUNT_MEMBERS = ["Type", "Target", "Source", "BindOptions", "VolumeOptions", "TmpfsOptions"]
_OPTION_MEMBERS = [
    "SizeBytes",
    "Mode",
    "Labels",
    "DriverConfig",
    "Name",
    "MaximumRetryCount",
    "Type",
    "Config",
]
objects = st.dictionaries(st.sampled_from([*_MOUNT_MEMBERS, *_OPTION_MEMBERS]), json_values, max_size=4)
junk = json_values | objects | st.lists(objects, max_size=2) | st.dictionaries(words, objects, max_size=2)


@given(st.dictionaries(st.sampled_from(_CONFIG_MEMBERS), junk))
def test_a_hostile_container_config_ends_in_our_errors(body: dict[str, Any]) -> None:
    """Any JSON is read, or refused with an error of ours."""
    try:
        config = ContainerConfig.from_json(body)
    except TiffinError:
        return
    assert ContainerConfig.from_json(config.to_json()) == config
    assert ContainerConfig.from_json(config.stored()) == config


@given(st.dictionaries(st.sampled_from([*HostConfig().to_json()]), junk))
@example({"Mounts": ["x"]})
@example({"RestartPolicy": "always"})
@example({"Memory": float("inf")})
@example({"Mounts": [{"TmpfsOptions": {"SizeBytes": "many"}}]})
def test_a_hostile_host_config_ends_in_our_errors(body: dict[str, Any]) -> None:
    """Any JSON is read, or refused with an error of ours."""
    try:
        host = HostConfig.from_json(body)
    except TiffinError:
        return
    assert HostConfig.from_json(host.to_json()) == host
    assert HostConfig.from_json(host.stored()) == host


def test_entrypoint_and_command_make_the_arguments() -> None:
    """The entrypoint stands before the command; either may be missing."""
    assert ContainerConfig(entrypoint=("a",), cmd=("b", "c")).argv == ("a", "b", "c")
    assert ContainerConfig(cmd=("b",)).argv == ("b",)
    assert ContainerConfig().argv == ()


def test_a_state_survives_its_record() -> None:
    """What a keeper writes reads back; members of a newer keeper are ignored."""
    state = ContainerState(status="exited", exit_code=3, error="x")
    assert ContainerState.from_json(state.to_json() | {"new": 1}) == state
    assert not state.running
    assert ContainerState(status="paused").running
