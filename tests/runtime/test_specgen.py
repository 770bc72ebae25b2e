"""The configuration: docker's words in, the runtime's document out."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tiffin.errors import InvalidArgument, NotFound
from tiffin.runtime import bundle, limits, oci, seccomp, security, specgen
from tiffin.runtime.machine import Machine, kernel_version
from tiffin.runtime.user import User
from tiffin.spec.container import ContainerConfig, HostConfig, Ulimit

MACHINE = Machine(
    architecture="amd64", kernel=(6, 1), cpus=4, capabilities=(), cgroup_version=2, swap_limit=True
)


def generate(
    config: ContainerConfig | None = None, host: HostConfig | None = None, **changes: Any
) -> dict[str, Any]:
    fields = {
        "container_id": "c1",
        "rootfs": "/r",
        "process_user": User(),
        "mounts": (),
        "hostname": "h",
        "files": "/f",
        "machine": MACHINE,
        "security": security.Security(),
        "filter": seccomp.NONE,
        "granted": ("CAP_CHOWN",),
        "network": specgen.Network(),
    }
    return specgen.generate(
        config or ContainerConfig(cmd=("x",)), host or HostConfig(), **{**fields, **changes}
    )


def mount(spec: dict[str, Any], target: str) -> dict[str, Any]:
    found = [m for m in spec["mounts"] if m["destination"] == target]
    assert len(found) == 1, target
    return dict(found[0])


def test_namespaces() -> None:
    """Its own of each kind; the cgroup's only on v2; the user's is the host's."""
    kinds = [n["type"] for n in generate()["linux"]["namespaces"]]
    assert kinds == ["mount", "uts", "pid", "ipc", "cgroup", "network"]
    v1 = generate(machine=MACHINE.replace(cgroup_version=1))
    assert "cgroup" not in [n["type"] for n in v1["linux"]["namespaces"]]
    host = generate(network=specgen.Network(host=True))
    assert "network" not in [n["type"] for n in host["linux"]["namespaces"]]
    assert host["linux"]["sysctl"] == {}
    joined = generate(network=specgen.Network(namespace="/proc/7/fd/8"))
    assert {"type": "network", "path": "/proc/7/fd/8"} in joined["linux"]["namespaces"]


def test_mounts_come_parents_first_and_win_over_dockers_own() -> None:
    """A mount of the user's over /etc/hosts or /dev/shm replaces docker's; deeper paths come later."""
    mounts = (
        specgen.Bind(source="/b", target="/a/b/c"),
        specgen.Bind(source="/a", target="/a"),
        specgen.Bind(source="/h", target="/etc/hosts"),
        specgen.Tmpfs(target="/dev/shm", options=("size=1m",)),  # noqa: S108
    )
    spec = generate(mounts=mounts)
    targets = [m["destination"] for m in spec["mounts"]]
    assert targets.index("/a") < targets.index("/a/b/c")
    assert mount(spec, "/etc/hosts")["source"] == "/h"
    assert mount(spec, "/etc/resolv.conf")["source"] == "/f/resolv.conf"
    assert mount(spec, "/dev/shm")["options"] == ["noexec", "nosuid", "nodev", "size=1m"]  # noqa: S108


def test_options_of_binds_and_tmpfs() -> None:
    """Read-only means what is below, too; a given option wins over its opposite."""
    spec = generate(
        host=HostConfig(tmpfs={"/t": "exec,size=5m,size=6m"}),
        mounts=(
            specgen.Bind(source="/s", target="/ro", read_only=True),
            specgen.Bind(source="/s", target="/flat", recursive=False, propagation="rslave", read_only=True),
        ),
    )
    assert mount(spec, "/ro")["options"] == ["rbind", "rprivate", "ro", "rro"]
    assert mount(spec, "/flat")["options"] == ["bind", "rslave", "ro"]
    assert mount(spec, "/t")["options"] == ["nosuid", "nodev", "exec", "size=6m"]
    assert spec["linux"]["rootfsPropagation"] == "slave"


def test_privileged_opens_everything() -> None:
    """Nothing masked or read-only, all devices."""
    linux = generate(host=HostConfig(privileged=True))["linux"]
    assert "maskedPaths" not in linux
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert "/dev/null" in {d["path"] for d in linux["devices"]}
    assert "ro" not in mount(generate(host=HostConfig(privileged=True)), "/sys")["options"]


def test_no_annotation_but_ours() -> None:
    """Annotations steer crun (run.oci.*): nothing of the user's becomes one."""
    config = ContainerConfig(
        cmd=("x",), labels={"run.oci.hooks.stdout": "/x", "run.oci.keep_original_groups": "1"}
    )
    assert "annotations" not in generate(config)
    assert generate(config, filter=seccomp.Filter(compiled="QUJD"))["annotations"] == {
        seccomp.ANNOTATION: "QUJD"
    }


def test_the_environment_is_made() -> None:
    """PATH, HOSTNAME and HOME where nothing is said; the last value counts; `NAME` alone takes it away."""
    made = specgen.environment(ContainerConfig(env=("A=1", "PATH=/p", "A=2", "B=3", "B")), "h", "/root")
    assert made == ["PATH=/p", "HOSTNAME=h", "A=2", "HOME=/root"]
    assert "TERM=xterm" in specgen.environment(ContainerConfig(tty=True), "h", "/")
    assert "HOME=/x" in specgen.environment(ContainerConfig(env=("HOME=/x",)), "h", "/root")


def test_init_stands_before_the_program() -> None:
    """`--init` runs docker's init with the program behind it, mounted read-only."""
    spec = generate(init="/usr/bin/tini-static")
    assert spec["process"]["args"] == ["/sbin/docker-init", "--", "x"]
    assert "ro" in mount(spec, "/sbin/docker-init")["options"]


def test_terminal_size() -> None:
    """The size is the terminal's from the start, and only a terminal's."""
    config = ContainerConfig(cmd=("x",), tty=True)
    assert generate(config, size=(5, 6))["process"]["consoleSize"] == {"height": 5, "width": 6}
    assert "consoleSize" not in generate(size=(5, 6))["process"]
    assert "consoleSize" not in generate(config)["process"]


def test_limits() -> None:
    """Memory with as much swap unless said; cpus as a quota; pids."""
    found = limits.resources(HostConfig(memory=100, nano_cpus=1_500_000_000, pids_limit=9), MACHINE)
    assert found == {
        "memory": {"limit": 100, "swap": 200},
        "cpu": {"period": 100_000, "quota": 150_000},
        "pids": {"limit": 9},
    }
    assert limits.resources(HostConfig(memory=100, memory_swap=-1), MACHINE)["memory"]["swap"] == -1
    assert limits.resources(HostConfig(memory=100), MACHINE.replace(swap_limit=False))["memory"] == {
        "limit": 100
    }
    assert limits.resources(HostConfig(pids_limit=-1), MACHINE) == {}


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        (HostConfig(memory=1 << 20), "Minimum memory limit allowed is 6MB"),
        (
            HostConfig(memory_swap=1 << 30),
            "You should always set the Memory limit when using Memoryswap limit",
        ),
        (HostConfig(memory=2 << 30, memory_swap=1 << 30), "Minimum memoryswap limit should be larger"),
        (HostConfig(nano_cpus=5_000_000_000), "range of CPUs is from 0.01 to 4.00"),
    ],
)
def test_limits_that_cannot_be(host: HostConfig, sentence: str) -> None:
    """Docker's sentences."""
    with pytest.raises(InvalidArgument, match=sentence):
        limits.check(host, MACHINE)


def test_rlimits_are_never_above_our_own() -> None:
    """What this process may not raise is clamped; an unknown name is docker's error."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    made = limits.rlimits([Ulimit(name="nofile", soft=-1, hard=-1)])
    assert made[0]["type"] == "RLIMIT_NOFILE"
    assert made[0]["hard"] == (hard if hard >= 0 else (1 << 64) - 1)
    with pytest.raises(InvalidArgument, match="invalid ulimit type: flights"):
        limits.rlimits([Ulimit(name="flights", soft=1, hard=1)])
    assert limits.oom_score(0) is None
    with open("/proc/self/oom_score_adj") as stream:
        assert (limits.oom_score(-1000) or 0) >= int(stream.read())


def test_security_options(tmp_path: object) -> None:
    """Docker's words with = and :, a profile from a file, and its sentences for others."""
    path = f"{tmp_path}/p.json"
    with open(path, "w") as stream:
        stream.write('{"defaultAction":"SCMP_ACT_ALLOW"}')
    parse = security.parse
    assert parse(("no-new-privileges",)).no_new_privileges
    assert parse(("no-new-privileges:true", "seccomp:unconfined")).seccomp == "unconfined"
    assert not parse(("no-new-privileges=false",)).no_new_privileges
    assert parse((f"seccomp={path}",)).seccomp.startswith("{")
    assert parse(("seccomp=builtin",)).seccomp == ""
    assert parse(("systempaths=unconfined",)).system_paths
    for wrong in ("nothing", "no-new-privileges=maybe", "seccomp="):
        with pytest.raises(InvalidArgument, match="invalid --security-opt"):
            parse((wrong,))
    with pytest.raises(InvalidArgument, match=r"opening seccomp profile .* no such file or directory"):
        parse(("seccomp=/no/such",))


@pytest.mark.parametrize(
    ("text", "program", "code", "cause"),
    [
        (
            "executable file `x` not found in $PATH: No such file",
            *("x", 127, 'exec: "x": executable file not found in $PATH'),
        ),
        (
            "executable file `/x` not found in $PATH: No such file or directory",
            *("/x", 127, 'exec: "/x": stat /x: no such file or directory'),
        ),
        ("open executable: Permission denied", "x", 126, 'exec: "x": permission denied'),
        (
            (
                "runc run failed: unable to start container process: "
                'exec: "x": executable file not found in $PATH'
            ),
            *("x", 127, 'exec: "x": executable file not found in $PATH'),
        ),
        ("chdir `/x`: Not a directory", "y", 125, "chdir `/x`: Not a directory"),
        ("", "x", 125, "the runtime gave no reason"),
    ],
)
def test_errors_in_dockers_words(text: str, program: str, code: int, cause: str) -> None:
    """What either runtime says becomes one sentence and docker's exit code."""
    error = oci.start_error(text, program)
    assert error.message == f"failed to create task for container: unable to start container process: {cause}"
    assert error.exit_code == code


def test_the_last_error_of_a_log() -> None:
    """Warnings are passed over, torn lines too; text that is no JSON is itself."""
    log = b'{"level":"warning","msg":"h"}\n{"level":"error","msg":"1"}\n{"level":"error","msg":"last"}\n{"lev'
    assert oci.last_error(log) == "last"
    assert oci.last_error(b"plain text\n") == "plain text"
    assert oci.last_error(b"") == ""


def test_finding_runtimes() -> None:
    """By default crun, then runc; by name; by path; a missing one is named with its package."""
    assert oci.kind(oci.find()) == "crun"
    assert oci.kind(oci.find("runc")) == "runc"
    assert oci.find("/usr/bin/runc") == os.path.realpath("/usr/bin/runc")
    with pytest.raises(NotFound, match="unknown or invalid runtime name: nope"):
        oci.find("nope")
    with pytest.raises(NotFound):
        oci.find("/etc/passwd")


def test_resolv_conf() -> None:
    """Servers on the loopback are left out, docker's public ones fill in; what was given wins."""
    host = "# c\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nsearch a b\noptions edns0\n"
    nothing: tuple[list[str], list[str], list[str]] = ([], [], [])
    assert bundle.resolv_conf(host, nothing, host_network=False) == (
        "nameserver 10.0.0.1\nsearch a b\noptions edns0\n"
    )
    assert "127.0.0.53" in bundle.resolv_conf(host, nothing, host_network=True)
    assert "8.8.8.8" in bundle.resolv_conf("nameserver ::1\n", nothing, host_network=False)
    given = bundle.resolv_conf(host, (["10.9.9.9"], ["."], ["x"]), host_network=False)
    assert given == "nameserver 10.9.9.9\noptions x\n"


def test_kernel_versions() -> None:
    """Whatever distributions append, the two numbers are found."""
    assert kernel_version("6.18.44-fc-v657") == (6, 18)
    assert kernel_version("5.10+") == (5, 10)
    assert kernel_version("junk") == (0, 0)
