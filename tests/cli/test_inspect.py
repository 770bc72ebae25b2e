"""`inspect` of a container, member by member, against what docker's API says it has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.rungs import needs_cgroups

if TYPE_CHECKING:
    from tests.cli.conftest import Tiffin

# Members of the Engine API's definitions (v1.50), without those that docker leaves out where not set.
_CONTAINER = """
    Id Created Path Args State Image ResolvConfPath HostnamePath HostsPath LogPath Name RestartCount
    Driver Platform MountLabel ProcessLabel AppArmorProfile ExecIDs HostConfig GraphDriver Mounts
    Config NetworkSettings
"""
_STATE = "Status Running Paused Restarting OOMKilled Dead Pid ExitCode Error StartedAt FinishedAt"
_CONFIG = """
    Hostname Domainname User AttachStdin AttachStdout AttachStderr Tty OpenStdin StdinOnce Env Cmd
    Image Volumes WorkingDir Entrypoint OnBuild Labels
"""
_HOST = """
    Binds ContainerIDFile LogConfig NetworkMode PortBindings RestartPolicy AutoRemove VolumeDriver
    VolumesFrom ConsoleSize CapAdd CapDrop CgroupnsMode Dns DnsOptions DnsSearch ExtraHosts GroupAdd
    IpcMode Cgroup Links OomScoreAdj PidMode Privileged PublishAllPorts ReadonlyRootfs SecurityOpt
    UTSMode UsernsMode ShmSize Runtime Isolation MaskedPaths ReadonlyPaths CpuShares Memory
    CgroupParent BlkioWeight BlkioWeightDevice BlkioDeviceReadBps BlkioDeviceWriteBps
    BlkioDeviceReadIOps BlkioDeviceWriteIOps CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime
    CpusetCpus CpusetMems Devices DeviceCgroupRules DeviceRequests MemoryReservation MemorySwap
    MemorySwappiness NanoCpus OomKillDisable PidsLimit Ulimits CpuCount CpuPercent IOMaximumIOps
    IOMaximumBandwidth
"""
_NETWORK = """
    Bridge SandboxID HairpinMode LinkLocalIPv6Address LinkLocalIPv6PrefixLen Ports SandboxKey
    SecondaryIPAddresses SecondaryIPv6Addresses EndpointID Gateway GlobalIPv6Address
    GlobalIPv6PrefixLen IPAddress IPPrefixLen IPv6Gateway MacAddress Networks
"""
_ENDPOINT = """
    IPAMConfig Links MacAddress Aliases DriverOpts GwPriority NetworkID EndpointID Gateway IPAddress
    IPPrefixLen IPv6Gateway GlobalIPv6Address GlobalIPv6PrefixLen DNSNames
"""


def inspect(tiffin: Tiffin, name: str, *flags: str) -> dict[str, Any]:
    """Create a container and return what is shown of it."""
    tiffin("create", "--name", name, *flags, "box:1", "true")
    (shown,) = json.loads(tiffin("inspect", name))
    return dict(shown)


def test_every_member_is_there_and_no_other(tiffin: Tiffin) -> None:
    """A container that says nothing has exactly the members that docker shows of one."""
    shown = inspect(tiffin, "whole")
    assert shown.keys() == set(_CONTAINER.split())
    assert shown["State"].keys() == set(_STATE.split())
    assert shown["Config"].keys() == set(_CONFIG.split())
    assert shown["HostConfig"].keys() == set(_HOST.split())
    assert shown["HostConfig"]["Runtime"] in {"crun", "runc"}
    assert shown["NetworkSettings"].keys() == set(_NETWORK.split())
    for endpoint in shown["NetworkSettings"]["Networks"].values():
        assert endpoint.keys() == set(_ENDPOINT.split())


def test_a_template_sees_what_the_json_leaves_out(tiffin: Tiffin) -> None:
    """Members that docker leaves out where nothing is set are empty in a template, and there once set."""
    inspect(tiffin, "plain")
    parts = "{{json .HostConfig.Init}} {{.HostConfig.Mounts}} {{.HostConfig.Tmpfs}} {{.HostConfig.Sysctls}}"
    assert tiffin("inspect", "-f", parts, "plain") == "null [] map[] map[]\n"
    host = inspect(tiffin, "rich", "--init", "--mount", "type=tmpfs,dst=/a", "--tmpfs", "/b")["HostConfig"]
    assert (host["Init"], host["Mounts"], host["Tmpfs"]) == (
        True,
        [{"Type": "tmpfs", "Target": "/a"}],
        {"/b": ""},
    )


def test_what_nobody_chose_is_shown_as_it_is(tiffin: Tiffin) -> None:
    """Modes and paths have docker's words, and `--as docker` does not repeat them."""
    host = inspect(tiffin, "usual")["HostConfig"]
    assert host["IpcMode"] == "private"
    assert host["CgroupnsMode"] in {"private", "host"}
    assert {"/proc/kcore", "/proc/keys", "/sys/firmware"} <= set(host["MaskedPaths"])
    assert "/proc/sys" in host["ReadonlyPaths"]
    assert "ipc" not in tiffin("inspect", "--as", "docker", "usual")
    open_paths = inspect(tiffin, "open", "--security-opt", "systempaths=unconfined")["HostConfig"]
    assert (open_paths["MaskedPaths"], open_paths["ReadonlyPaths"]) == ([], [])


@needs_cgroups
def test_a_privileged_container_has_no_hidden_paths(tiffin: Tiffin) -> None:
    """They are null, and its cgroups are the host's."""
    host = inspect(tiffin, "mighty", "--privileged")["HostConfig"]
    assert (host["MaskedPaths"], host["ReadonlyPaths"], host["CgroupnsMode"]) == (None, None, "host")


def test_only_files_of_json_have_a_path(tiffin: Tiffin) -> None:
    """As docker, which shows LogPath for the driver whose files others read."""
    assert inspect(tiffin, "json")["LogPath"].endswith("-json.log")
    for driver in ("local", "none"):
        assert inspect(tiffin, driver, "--log-driver", driver)["LogPath"] == ""
