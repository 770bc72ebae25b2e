"""Seccomp: our table decided as docker decides it, and the door for compiled filters, which fails closed."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from tiffin.errors import InvalidArgument
from tiffin.runtime import capabilities, oci, seccomp
from tiffin.runtime.machine import Machine

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT = capabilities.DEFAULT
HERE = Machine.here()


def allowed(profile: dict[str, Any]) -> set[str]:
    """Return the calls that are allowed whatever their arguments."""
    found: set[str] = set()
    for rule in profile["syscalls"]:
        if rule["action"] == "SCMP_ACT_ALLOW" and not rule.get("args"):
            found |= set(rule["names"])
    return found


def profile(granted: tuple[str, ...] = DEFAULT, **changes: Any) -> dict[str, Any]:
    return seccomp.default_profile(granted, HERE.replace(architecture="amd64", **changes))


def test_the_default_refuses_what_it_does_not_name() -> None:
    """EPERM for everything else; on x86-64 the two older ways to call are covered too."""
    made = profile()
    assert (made["defaultAction"], made["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)
    assert made["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    names = allowed(made)
    assert {"read", "execve", "chroot", "ptrace", "arch_prctl"} <= names
    assert (
        not {"mount", "unshare", "bpf", "keyctl", "add_key", "init_module", "reboot", "io_uring_setup"}
        & names
    )


def test_capabilities_open_their_calls() -> None:
    """SYS_ADMIN allows mount and unshare, and takes the argument check of clone away."""
    plain, admin = profile(), profile((*DEFAULT, "CAP_SYS_ADMIN"))
    assert {"mount", "unshare", "clone", "clone3", "setns"} <= allowed(admin) - allowed(plain)
    clones = [r for r in plain["syscalls"] if r["names"] == ["clone"]]
    assert clones[0]["args"] == [{"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]
    assert [r["errnoRet"] for r in plain["syscalls"] if r["names"] == ["clone3"]] == [38]
    assert "chroot" not in allowed(profile(tuple(c for c in DEFAULT if c != "CAP_SYS_CHROOT")))


def test_kernel_and_architecture_decide() -> None:
    """Ptrace needs 4.8; the ARM calls exist on ARM only."""
    assert "ptrace" not in allowed(profile(kernel=(4, 7)))
    assert "ptrace" in allowed(profile(kernel=(10, 0)))
    arm = seccomp.default_profile(DEFAULT, HERE.replace(architecture="arm64"))
    assert arm["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    assert ("set_tls" in allowed(arm), "arch_prctl" in allowed(arm)) == (True, False)


def fake(folder: Path, name: str, says: str) -> str:
    """Make a program that says something as its version."""
    path = f"{folder}/{name}"
    with open(path, "w") as stream:
        stream.write(f"#!/bin/sh\nprintf '%b' '{says}'\n")
    os.chmod(path, stat.S_IRWXU)
    return path


CRUN = "crun version {}\\ncommit: x\\n+SYSTEMD +CAP +SECCOMP +EBPF\\n"


@pytest.mark.parametrize(
    ("name", "says", "open_"),
    [
        ("crun", CRUN.format("1.8.1"), True),
        ("crun", CRUN.format("1.21"), True),
        ("crun", CRUN.format("1.7.9"), False),
        ("crun", CRUN.format("1.22"), False),
        ("crun", CRUN.format("2.0"), False),
        ("crun", CRUN.format("x.y"), False),
        ("crun", CRUN.format("1.8.1").replace("+SECCOMP ", ""), False),
        ("crun", "runc version 1.8.1\\n+SECCOMP", False),
        ("crun", "", False),
        ("runc", CRUN.format("1.8.1"), False),
        ("youki", CRUN.format("1.8.1"), False),
    ],
)
def test_the_door_is_for_known_runtimes_only(tmp_path: Path, name: str, says: str, open_: bool) -> None:  # noqa: FBT001
    """A runtime that is not known to honour the annotation gets the profile as JSON."""
    runtime = fake(tmp_path, name, says)
    found = seccomp.choose("", DEFAULT, HERE, runtime=runtime, cache=f"{tmp_path}/cache")
    assert (bool(found.compiled), found.profile is None) == (open_, open_)


def test_another_file_is_asked_again(tmp_path: Path) -> None:
    """A runtime that was replaced is not known any more."""
    runtime = fake(tmp_path, "crun", CRUN.format("1.8.1"))
    assert seccomp.takes_compiled(runtime, f"{tmp_path}/cache")
    os.unlink(runtime)
    fake(tmp_path, "crun", CRUN.format("99.0.10"))
    assert not seccomp.takes_compiled(runtime, f"{tmp_path}/cache")


def test_compiled_filters_are_kept_and_checked(tmp_path: Path) -> None:
    """The second time nothing is compiled; a damaged file is made anew."""
    cache, runtime = f"{tmp_path}/cache", oci.find("crun")
    first = seccomp.choose("", DEFAULT, HERE, runtime=runtime, cache=cache)
    name = next(n for n in os.listdir(cache) if n.endswith(".bpf"))
    assert stat.S_IMODE(os.stat(f"{cache}/{name}").st_mode) == 0o600
    for damage in (b"", b"!", b"AAAA", b"A" * 100_000):
        with open(f"{cache}/{name}", "wb") as stream:
            stream.write(damage)
        assert seccomp.choose("", DEFAULT, HERE, runtime=runtime, cache=cache) == first


def test_other_capabilities_have_another_filter(tmp_path: Path) -> None:
    """Filters of different conditions are not taken for each other."""
    cache, runtime = f"{tmp_path}/cache", oci.find("crun")
    filters = {
        seccomp.choose("", caps, HERE, runtime=runtime, cache=cache).compiled
        for caps in (DEFAULT, (*DEFAULT, "CAP_SYS_ADMIN"), ())
    }
    assert len(filters) == 3
    assert seccomp.choose("unconfined", DEFAULT, HERE, runtime=runtime, cache=cache) == seccomp.NONE


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"defaultAction":"X","syscalls":7}',
        '{"defaultAction":"X","syscalls":[{"names":["a"]}]}',
    ],
)
def test_a_profile_that_is_none(tmp_path: Path, text: str) -> None:
    """Junk is refused with docker's words, under every runtime; never is there no filter instead."""
    for runtime in ("crun", "runc"):
        with pytest.raises(InvalidArgument, match="Decoding seccomp profile failed"):
            seccomp.choose(text, DEFAULT, HERE, runtime=oci.find(runtime), cache=f"{tmp_path}/c")


def test_what_cannot_be_compiled_goes_as_json(tmp_path: Path) -> None:
    """An action that the compiler does not have is left to the runtime."""
    text = '{"defaultAction":"SCMP_ACT_NOTIFY","syscalls":[]}'
    found = seccomp.choose(text, DEFAULT, HERE, runtime=oci.find("crun"), cache=f"{tmp_path}/c")
    assert (found.compiled, (found.profile or {})["defaultAction"]) == ("", "SCMP_ACT_NOTIFY")
