"""What a process in a container may do, read from the kernel, in run and in exec, under each runtime."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.keeper.parts import collect, expect, read_until
from tiffin.engine import cgroups
from tiffin.keeper import frames
from tiffin.runtime import capabilities, specgen
from tiffin.runtime.user import User
from tiffin.spec.container import HostConfig

if TYPE_CHECKING:
    from tests.keeper.parts import Box

DEFAULT = "00000000a80425fb"
NOBODY = User(uid=1000, gid=1000, groups=(1000,))


def status(text: bytes) -> dict[str, str]:
    """Return the fields of /proc/PID/status."""
    return {k: v.strip() for k, _, v in (line.partition(":") for line in text.decode().splitlines())}


def run_status(box: Box, **options: object) -> dict[str, str]:
    out, err, code = box.run("cat", "/proc/self/status", **options)
    assert (err, code) == (b"", 0)
    return status(out)


def test_the_default_is_dockers(box: Box) -> None:
    """Seccomp filters, one filter; docker's capabilities, none inheritable or ambient."""
    found = run_status(box)
    assert (found["Seccomp"], found["Seccomp_filters"]) == ("2", "1")
    assert (found["CapBnd"], found["CapEff"], found["CapPrm"]) == (DEFAULT,) * 3
    assert (found["CapInh"], found["CapAmb"], found["NoNewPrivs"]) == ("0" * 16, "0" * 16, "0")


def test_exec_has_the_same_bounds(box: Box) -> None:
    """A process that comes later is as confined as the first."""
    with box.start("sleep", "1000") as connection:
        expect(connection, frames.STARTED)
    with box.execute("cat", "/proc/self/status") as connection:
        found = status(collect(connection)[0])
    assert (found["Seccomp"], found["Seccomp_filters"]) == ("2", "1")
    assert (found["CapBnd"], found["CapEff"], found["CapInh"]) == (DEFAULT, DEFAULT, "0" * 16)


def test_exec_as_an_ordinary_user(box: Box) -> None:
    """An ordinary user has no capabilities, only their bound, in run and in exec."""
    with box.start("sh", "-c", "cat /proc/self/status; sleep 1000", user=NOBODY) as connection:
        first = status(read_until(connection, b"nonvoluntary"))
        with box.execute("cat", "/proc/self/status", user=NOBODY) as other:
            second = status(collect(other)[0])
    for found in (first, second):
        assert (found["CapBnd"], found["CapEff"], found["CapPrm"]) == (DEFAULT, "0" * 16, "0" * 16)
        assert found["Seccomp"] == "2"


def test_the_filter_filters(box: Box) -> None:
    """A call that docker refuses is refused although its capability isn't what stops it."""
    _out, err, code = box.run("unshare", "-U", "true")
    assert (code != 0, b"Operation not permitted" in err) == (True, True)


def test_seccomp_unconfined(box: Box) -> None:
    """`--security-opt seccomp=unconfined` takes the filter away and nothing else."""
    found = run_status(box, host=HostConfig(security_opt=("seccomp=unconfined",)))
    assert (found["Seccomp"], found["CapBnd"]) == ("0", DEFAULT)


def test_a_profile_of_ones_own(box: Box) -> None:
    """A profile in docker's format is applied, conditions and all."""
    profile = (
        '{"defaultAction":"SCMP_ACT_ALLOW","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":[]}],'
        '"syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":13,"args":[]},'
        '{"names":["unlink","unlinkat"],"action":"SCMP_ACT_ERRNO","includes":{"caps":["CAP_SYS_ADMIN"]}}]}'
    )
    host = HostConfig(security_opt=(f"seccomp={profile}",), tmpfs={"/t": ""})
    script = "touch /t/x; busybox rm /t/x && echo removed; busybox mkdir /t/y; cat /proc/self/status"
    out, err, _code = box.run("sh", "-c", script, host=host)
    assert b"removed\n" in out
    assert b"Permission denied" in err
    assert b"Seccomp:\t2" in out


def test_no_new_privileges(box: Box) -> None:
    """`no-new-privileges` is set when asked for."""
    found = run_status(box, host=HostConfig(security_opt=("no-new-privileges",)))
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")


def test_privileged_has_all_that_there_is(box: Box) -> None:
    """`--privileged`: the whole bounding set of this process, no filter, nothing masked, host devices."""
    script = "cat /proc/self/status; test -e /dev/mem || test -b /dev/vda || test -e /dev/kmsg; echo dev $?; "
    script += "touch /proc/sys/kernel/hostname && echo writable"
    out, _err, _code = box.run("sh", "-c", script, host=HostConfig(privileged=True))
    found = status(out)
    mask = capabilities.to_mask(box.machine.capabilities)
    assert (int(found["CapBnd"], 16), int(found["CapEff"], 16), found["Seccomp"]) == (mask, mask, "0")
    assert b"writable" in out
    assert ("dev 0" in out.decode()) == any(os.path.exists(f"/dev/{n}") for n in ("mem", "vda", "kmsg"))


def test_capabilities_are_added_and_dropped(box: Box) -> None:
    """`--cap-drop ALL --cap-add CHOWN`."""
    found = run_status(box, host=HostConfig(cap_drop=("ALL",), cap_add=("chown",)))
    assert (found["CapBnd"], found["CapEff"]) == ("0" * 15 + "1",) * 2


def test_an_added_capability_opens_its_calls(box: Box) -> None:
    """With SYS_ADMIN the profile allows mount and unshare."""
    host = HostConfig(cap_add=("SYS_ADMIN",))
    assert box.run("sh", "-c", "mount -t tmpfs none /tmp && echo mounted", host=host)[0] == b"mounted\n"


def test_masked_and_read_only_paths(box: Box) -> None:
    """What docker hides is empty, what it protects cannot be written; the root itself can."""
    script = "cat /proc/kcore /proc/keys /proc/timer_list | wc -c; ls /proc/acpi /sys/firmware 2>/dev/null; "
    script += "for p in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/x "
    script += "/sys/fs/cgroup/x /sys/fs/cgroup/*/x; do "
    script += (
        "echo 1 2>/dev/null >$p && echo WROTE $p; done; cat /proc/sys/net/ipv4/ip_unprivileged_port_start"
    )
    out, _err, _code = box.run("sh", "-c", script)
    assert out.decode().split("\n")[0] == "0"
    assert "WROTE" not in out.decode()
    assert out.decode().splitlines()[-1] == "0"


def test_devices_are_dockers(box: Box) -> None:
    """The usual devices are there and work; no other can be opened, even by its number."""
    script = "cd /dev; ls; head -c 4 urandom | wc -c; busybox mknod /tmp/disk b 254 0 && cat /tmp/disk"
    out, err, _code = box.run("sh", "-c", script, host=HostConfig(tmpfs={"/tmp": "dev"}))  # noqa: S108
    names = out.decode().split()
    assert {"null", "zero", "full", "tty", "urandom", "random", "ptmx", "pts", "shm", "mqueue"} <= set(names)
    assert names[-1] == "4"
    assert b"Operation not permitted" in err


def test_a_network_of_its_own_has_only_a_loopback_that_is_up(box: Box) -> None:
    """`--network none`: lo, up, with its address; nothing else."""
    out, _err, _code = box.run("ip", "addr")
    text = out.decode()
    assert "LOOPBACK,UP" in text
    assert "inet 127.0.0.1/8" in text
    assert "eth" not in text


def test_the_hosts_network(box: Box) -> None:
    """`--network host`: the host's namespace, whose settings stay as they are."""
    path = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
    with open(path) as stream:
        before = stream.read()
    out, _err, code = box.run(
        "stat", "-L", "-c", "%i", "/proc/self/ns/net", more={"network": specgen.Network(host=True)}
    )
    assert (int(out), code) == (os.stat("/proc/self/ns/net").st_ino, 0)
    with open(path) as stream:
        assert stream.read() == before


def test_files_of_etc_and_shm(box: Box) -> None:
    """hosts, hostname and resolv.conf are the engine's; /dev/shm has its size."""
    out, _err, _code = box.run(
        "sh",
        "-c",
        "hostname; cat /etc/hostname /etc/hosts; df -m /dev/shm",
        host=HostConfig(shm_size=32 << 20),
    )
    text = out.decode()
    assert text.startswith("box\nbox\n127.0.0.1\tlocalhost\n")
    assert " 32 " in text.splitlines()[-1]


def test_read_only_root_with_a_tmpfs(box: Box) -> None:
    """`--read-only` refuses writes but on a `--tmpfs`, whose options are those that were given."""
    script = (
        "touch /x 2>/dev/null || echo refused; touch /scratch/x && echo taken; grep /scratch /proc/mounts"
    )
    host = HostConfig(readonly_rootfs=True, tmpfs={"/scratch": "size=1m,exec,mode=700"})
    out, _err, _code = box.run("sh", "-c", script, host=host)
    lines = out.decode().splitlines()
    assert lines[:2] == ["refused", "taken"]
    assert "noexec" not in lines[2]
    assert {"nosuid", "nodev", "size=1024k", "mode=700"} <= set(lines[2].split()[3].split(","))


def test_binds_read_only_and_writable(box: Box, tmp_path: object) -> None:
    """A bind shows the host's folder; a read-only one cannot be written, nor what is mounted below it."""
    mounts = (
        specgen.Bind(source=str(tmp_path), target="/rw"),
        specgen.Bind(source=str(tmp_path), target="/ro", read_only=True),
    )
    script = "touch /ro/x 2>/dev/null || echo refused; echo hi >/rw/y; cat /ro/y"
    assert box.run("sh", "-c", script, more={"mounts": mounts})[0] == b"refused\nhi\n"


def test_limits_reach_the_kernel(box: Box) -> None:
    """Memory, cpus and pids stand in the container's cgroup, on v1 and on v2."""
    host = HostConfig(memory=64 << 20, nano_cpus=500_000_000, pids_limit=33)
    with box.start("sleep", "1000", host=host) as connection:
        expect(connection, frames.STARTED)
        pid = box.facts()["pid"]
        names = {"memory": "memory.limit_in_bytes", "cpu": "cpu.cfs_quota_us", "pids": "pids.max"}
        if box.machine.cgroup_version == 2:
            names = {"memory": "memory.max", "cpu": "cpu.max", "pids": "pids.max"}
        found = {}
        for controller, name in names.items():
            with open(f"{cgroups.folder(box.id, pid, controller)}/{name}") as stream:
                found[controller] = int(stream.read().split()[0])
    assert found == {"memory": 64 << 20, "cpu": 50_000, "pids": 33}


def test_an_init_reaps_and_forwards(box: Box) -> None:
    """`--init`: pid 1 is the init program, and a signal reaches the program behind it."""
    init = specgen.find_init()
    script = "trap 'echo got; exit 4' TERM; head -c 16 /proc/1/cmdline; echo; while :; do sleep 0.05; done"
    with box.start("sh", "-c", script, more={"init": init}) as connection:
        assert read_until(connection, b"\n").startswith(b"/sbin/docker-ini")
        connection.send_kill(15)
        expect(connection, frames.DONE)
        assert collect(connection) == (b"got\n", b"", 4)
