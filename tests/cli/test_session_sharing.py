"""Namespaces, devices and rarer limits of containers, seen from inside, in real sessions."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.rungs import needs_cgroups, needs_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Tiffin


def namespace(kind: str) -> str:
    """Return the host's namespace of a kind, as a process there sees its own."""
    return os.readlink(f"/proc/self/ns/{kind}")


@needs_root
def test_ipc_of_ones_own_of_another_and_of_the_host(tiffin: Tiffin) -> None:
    """--ipc: shareable is joined with its /dev/shm, private cannot be, none has no such, host is ours."""
    script = "echo shared > /dev/shm/word; sleep 1000"
    tiffin("run", "-d", "--name", "donor", "--ipc", "shareable", "box:1", "sh", "-c", script)
    joined = tiffin(
        *("run", "--rm", "--ipc", "container:donor", "box:1"),
        *(
            "sh",
            "-c",
            "until cat /dev/shm/word; do :; done; ls -l /proc/self/ns/ipc; echo back > /dev/shm/answer",
        ),
    )
    assert joined.startswith("shared\n")
    assert tiffin("exec", "donor", "ls", "-l", "/proc/self/ns/ipc").split()[-1] in joined
    tiffin("run", "-d", "--name", "loner", "box:1", "sleep", "1000")
    assert "non-shareable IPC" in tiffin.wrong(
        "run", "--rm", "--ipc", "container:loner", "box:1", "true", code=125
    )
    assert "No such container: nobody" in tiffin.wrong(
        "run", "--rm", "--ipc", "container:nobody", "box:1", "true", code=125
    )
    tiffin("stop", "-t", "0", "donor")
    assert "non running container" in tiffin.wrong(
        "run", "--rm", "--ipc", "container:donor", "box:1", "true", code=125
    )
    tiffin("rm", "-f", "donor", "loner")
    none = tiffin("run", "--rm", "--ipc", "none", "box:1", "sh", "-c", "ls /dev/shm; ls -l /proc/self/ns/ipc")
    assert namespace("ipc") not in none
    host = tiffin("run", "--rm", "--ipc", "host", "box:1", "ls", "-l", "/proc/self/ns/ipc")
    assert namespace("ipc") in host
    assert "invalid IPC mode: odd" in tiffin.wrong("run", "--ipc", "odd", "box:1", "true", code=125)


@needs_root
def test_pids_of_the_host_and_of_another(tiffin: Tiffin) -> None:
    """--pid: the host's processes are seen, another container's too; what runs there ends with it."""
    tiffin("run", "-d", "--name", "first", "box:1", "sleep", "4711")
    seen = tiffin("run", "--rm", "--pid", "container:first", "box:1", "sh", "-c", "cat /proc/1/cmdline")
    assert seen == "sleep\x004711\x00"
    tiffin("rm", "-f", "first")
    script = "sleep 4712 & ls -l /proc/self/ns/pid; sleep 4713"
    tiffin("run", "-d", "--name", "open", "--pid", "host", "box:1", "sh", "-c", script)
    assert namespace("pid") in tiffin("exec", "open", "ls", "-l", "/proc/self/ns/pid")
    pids = [int(row.split()[1]) for row in tiffin("top", "open").splitlines()[1:]]
    assert len(pids) == 2
    handles = [os.pidfd_open(pid) for pid in pids]
    tiffin("rm", "-f", "open")
    assert len(select.select(handles, [], [], 10)[0]) == 2, "a process outlived its container"
    for handle in handles:
        os.close(handle)
    assert "--pid: invalid PID mode" in tiffin.wrong("run", "--pid", "odd", "box:1", "true", code=125)


@needs_root
def test_names_users_and_cgroups_of_the_host(tiffin: Tiffin) -> None:
    """--uts host keeps the host's name, --userns host is what there is, --cgroupns takes both words."""
    assert (
        tiffin("run", "--rm", "--uts", "host", "box:1", "/bin/busybox", "hostname")
        == f"{os.uname().nodename}\n"
    )
    assert "hostname and the UTS mode" in tiffin.wrong(
        "run", "--uts", "host", "--hostname", "x", "box:1", "true", code=125
    )
    own = tiffin("run", "--rm", "--cgroupns", "private", "box:1", "ls", "-l", "/proc/self/ns/cgroup")
    assert namespace("cgroup") not in own
    host = tiffin("run", "--rm", "--cgroupns", "host", "box:1", "ls", "-l", "/proc/self/ns/cgroup")
    assert namespace("cgroup") in host
    same = tiffin("run", "--rm", "--userns", "host", "box:1", "ls", "-l", "/proc/self/ns/user")
    assert namespace("user") in same
    for flag in ("uts", "userns", "cgroupns"):
        word = {"userns": "USER", "cgroupns": "CGROUP"}.get(flag, "UTS")
        said = tiffin.run("run", f"--{flag}", "odd", "box:1", "true")
        assert (said.returncode, f"--{flag}: invalid {word} mode" in said.stderr.decode()) == (125, True)
    assert "linux only supports 'default'" in tiffin.wrong(
        "run", "--isolation", "hyperv", "box:1", "true", code=125
    )
    tiffin("run", "--rm", "--isolation", "default", "box:1", "true")


def cgroup_file(container: str, controller: str, name: str, parent: str = "tiffin") -> str:
    """Return what a file of a container's cgroup says."""
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        pytest.skip("the names are v1's")
    with open(f"/sys/fs/cgroup/{controller}/{parent}/{container}/{name}") as stream:
        return stream.read().strip()


@needs_cgroups
def test_rarer_limits_reach_the_kernel(tiffin: Tiffin) -> None:
    """Block devices, swappiness, the OOM killer, a cgroup parent; what the kernel has not is warned of."""
    disk = next((f"/dev/{n}" for n in sorted(os.listdir("/sys/block")) if os.path.exists(f"/dev/{n}")), "")
    done = tiffin.run(
        *("run", "-d", "--name", "slow", "-m", "64m", "--memory-swappiness", "7", "--oom-kill-disable"),
        *("--cgroup-parent", "/tiffin-parent", "--device-read-bps", f"{disk}:1mb"),
        *("--device-write-bps", f"{disk}:2mb", "--device-read-iops", f"{disk}:30"),
        *("--device-write-iops", f"{disk}:40", "--blkio-weight", "300", "box:1", "sleep", "1000"),
    )
    assert done.returncode == 0, done.stderr
    container = done.stdout.decode().strip()

    def value(controller: str, name: str) -> str:
        return cgroup_file(container, controller, name, "tiffin-parent")

    assert value("memory", "memory.swappiness") == "7"
    assert "oom_kill_disable 1" in value("memory", "memory.oom_control")
    assert value("blkio", "blkio.throttle.read_bps_device").endswith(f" {1 << 20}")
    assert value("blkio", "blkio.throttle.write_bps_device").endswith(f" {2 << 20}")
    assert value("blkio", "blkio.throttle.read_iops_device").endswith(" 30")
    assert value("blkio", "blkio.throttle.write_iops_device").endswith(" 40")
    tiffin("update", "--blkio-weight", "400", "slow")
    assert json.loads(tiffin("inspect", "-f", "{{json .HostConfig.BlkioWeight}}", "slow")) == 400
    assert tiffin("top", "slow").count("sleep") == 1
    assert tiffin("stats", "--no-stream", "--format", "{{.PIDs}}", "slow") == "1\n"
    tiffin("rm", "-f", "slow")
    assert not os.path.exists(f"/sys/fs/cgroup/memory/tiffin-parent/{container}")
    for controller in os.listdir("/sys/fs/cgroup"):
        with contextlib.suppress(OSError):
            os.rmdir(f"/sys/fs/cgroup/{controller}/tiffin-parent")
    for flag, value_, why in (
        ("--blkio-weight", "5", "Range of blkio weight is from 10 to 1000"),
        ("--memory-swappiness", "101", "valid memory swappiness range is 0-100"),
        ("--device-read-bps", "/dev/zero:1mb", "not a block device"),
        ("--device-read-bps", "zero:1mb", "bad format for device path: zero:1mb"),
        ("--device-read-iops", "/dev/zero:1mb", "Number must be a positive integer"),
        ("--blkio-weight-device", "/dev/zero:5", "invalid weight for device: /dev/zero:5"),
        ("--cgroup-parent", "/a/../b", "invalid cgroup parent"),
    ):
        assert why in tiffin.wrong("run", flag, value_, "box:1", "true", code=125)
    tiffin("run", "--rm", "--blkio-weight-device", f"{disk}:500", "box:1", "true")


def test_real_time(tiffin: Tiffin) -> None:
    """--cpu-rt-* reach a kernel that schedules groups so, and are refused by any other."""
    done = tiffin.run("run", "--rm", "--cpu-rt-period", "1000000", "--cpu-rt-runtime", "0", "box:1", "true")
    if os.path.exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"):
        assert done.returncode == 0, done.stderr
    else:
        assert b"does not support CPU real-time scheduler" in done.stderr
    tiffin("run", "-d", "--name", "timely", "box:1", "sleep", "1000")
    tiffin.run("update", "--cpu-rt-period", "1000000", "--cpu-rt-runtime", "0", "timely")
    tiffin("rm", "-f", "timely")


@needs_cgroups
def test_rules_for_devices(tiffin: Tiffin) -> None:
    """A rule opens a number that no --device named; the node is made inside."""
    closed = tiffin.run(
        "run", "--rm", "box:1", "sh", "-c", "/bin/busybox mknod /m c 10 237; : < /m && echo open"
    )
    assert b"not permitted" in closed.stderr
    script = "/bin/busybox mknod /m c 10 237; : < /m && echo open"
    rule = ("--device-cgroup-rule", "c 10:237 rwm")
    assert tiffin("run", "--rm", *rule, "box:1", "sh", "-c", script) == "open\n"
    assert "invalid device cgroup format 'x 1:3 rwm'" in tiffin.wrong(
        "run", "--device-cgroup-rule", "x 1:3 rwm", "box:1", "true", code=125
    )


CDI = {
    "cdiVersion": "0.6.0",
    "kind": "example.com/thing",
    "containerEdits": {"env": ["THING=all"]},
    "devices": [
        {
            "name": "one",
            "containerEdits": {
                "env": ["ONE=1"],
                "deviceNodes": [{"path": "/dev/thing1", "hostPath": "/dev/full"}],
                "mounts": [
                    {"hostPath": "/etc/hostname", "containerPath": "/thing", "options": ["ro", "bind"]}
                ],
            },
        }
    ],
}


_CDI = "/var/run/cdi"


@contextlib.contextmanager
def described(devices: dict[str, object]) -> Iterator[None]:
    """Have a CDI file on this host for a while."""
    new = not os.path.isdir(_CDI)
    os.makedirs(_CDI, exist_ok=True)
    path = f"{_CDI}/tiffin-test-{os.getpid()}.json"
    with open(path, "w") as stream:
        json.dump(devices, stream)
    try:
        yield
    finally:
        os.unlink(path)
        if new:
            os.rmdir(_CDI)


@needs_root
def test_devices_by_name(tiffin: Tiffin) -> None:
    """A CDI name brings its environment, nodes and mounts; an unknown one and missing gpus are said."""
    with described(CDI):
        script = "echo $THING $ONE; echo x > /dev/thing1; cat /thing"
        done = tiffin.run("run", "--rm", "--device", "example.com/thing=one", "box:1", "sh", "-c", script)
        with open("/etc/hostname") as stream:
            assert done.stdout.decode() == f"all 1\n{stream.read()}"
        assert b"No space left" in done.stderr, "the node is not the host's /dev/full"
        assert "unresolvable CDI devices example.com/thing=two" in tiffin.wrong(
            "run", "--device", "example.com/thing=two", "box:1", "true", code=125
        )
        if not os.path.isdir("/etc/cdi"):
            assert "could not select device driver" in tiffin.wrong(
                "run", "--gpus", "all", "box:1", "true", code=125
            )


@needs_root
def test_gpus(tiffin: Tiffin) -> None:
    """--gpus gives what the CDI file says of all, of so many, or of those that are named, and no other."""
    devices = [{"name": name, "containerEdits": {"env": [f"GPU{name}=1"]}} for name in ("0", "1", "all")]
    if any(
        "nvidia" in name
        for folder in ("/etc/cdi", _CDI)
        if os.path.isdir(folder)
        for name in os.listdir(folder)
    ):
        pytest.skip("this host has real ones")
    with described({"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": devices}):
        for wanted, found in (("all", "all"), ("1", "0"), ("device=1", "1"), ('"device=0,1"', "0 1")):
            lines = tiffin("run", "--rm", "--gpus", wanted, "box:1", "env").splitlines()
            assert sorted(line for line in lines if line.startswith("GPU")) == [
                f"GPU{name}=1" for name in found.split()
            ], wanted


def test_unhealthy_ones_are_restarted_or_killed(tiffin: Tiffin) -> None:
    """--on-unhealthy: restart starts it again without a policy, kill ends it."""
    check = ("--health-cmd", "false", "--health-interval", "20ms", "--health-retries", "1")
    tiffin("run", "-d", "--name", "ill", *check, "--on-unhealthy", "kill", "box:1", "sleep", "1000")
    assert tiffin("wait", "ill") == "137\n"
    tiffin("rm", "ill")
    script = "[ -e /twice ] && exit 7; echo > /twice; trap 'exit 5' TERM; while :; do sleep 0.01; done"
    tiffin("run", "-d", "--name", "again", *check, "--on-unhealthy", "restart", "box:1", "sh", "-c", script)
    with subprocess.Popen(tiffin.argv("logs", "-f", "again")) as follower:  # until the keeper has gone
        follower.wait()
    shown = json.loads(tiffin("inspect", "again"))[0]
    assert (shown["RestartCount"], shown["State"]["ExitCode"]) == (1, 7)
    tiffin("rm", "-f", "again")
    assert "invalid --on-unhealthy: sing" in tiffin.wrong(
        "run", "--on-unhealthy", "sing", "box:1", "true", code=125
    )
