"""The flags of run and create become docker's Config and HostConfig."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tiffin.cli import mounts, options, parser
from tiffin.cli.run import RUN
from tiffin.errors import InvalidArgument
from tiffin.spec.mount import Mount

if TYPE_CHECKING:
    import pathlib

    from tiffin.spec.container import ContainerConfig, HostConfig


def _config(*words: str, caller: dict[str, str] | None = None) -> ContainerConfig:
    return options.config(parser.parse(RUN, "run", [*words, "box", "sh", "-c", "x"]), caller or {})


def _host(*words: str) -> HostConfig:
    return options.host(parser.parse(RUN, "run", [*words, "box"]))


def test_image_and_command() -> None:
    """What stands behind the image is the command, flags and all."""
    config = _config("-it", "-w", "/w", "-u", "1:2", "--hostname", "h", "--stop-timeout", "0")
    assert (config.image, config.cmd) == ("box", ("sh", "-c", "x"))
    assert (config.tty, config.open_stdin, config.stdin_once) == (True, True, True)
    assert (config.working_dir, config.user, config.hostname, config.stop_timeout) == ("/w", "1:2", "h", 0)
    assert config.entrypoint is None


def test_an_empty_entrypoint_clears_the_images() -> None:
    """`--entrypoint ""` is docker's way to run without the image's entrypoint."""
    assert _config("--entrypoint", "").entrypoint == ("",)
    assert _config("--entrypoint", "sh").entrypoint == ("sh",)


def test_what_is_attached() -> None:
    """The outputs, and stdin with -i; nothing with -d; with -a only what it says."""
    assert _config().attach_stdout
    assert not _config().attach_stdin
    assert _config("-i").attach_stdin
    detached = _config("-di")
    assert (detached.attach_stdin, detached.attach_stdout, detached.open_stdin) == (False, False, True)
    only = _config("-a", "STDERR")
    assert (only.attach_stdin, only.attach_stdout, only.attach_stderr) == (False, False, True)


def test_variables(tmp_path: pathlib.Path) -> None:
    """Files first, flags over them; a bare name takes the caller's value, or takes the image's away."""
    path = tmp_path / "env"
    path.write_text("# c\n\n  A=file\nB=file\nCALLER\nABSENT\n")
    config = _config(
        "--env-file",
        str(path),
        "-e",
        "A=flag",
        "-e",
        "HOME",
        "-e",
        "NONE",
        caller={"HOME": "/h", "CALLER": "c"},
    )
    assert config.env == ("A=flag", "B=file", "CALLER=c", "HOME=/h", "NONE")


def test_labels(tmp_path: pathlib.Path) -> None:
    """Files first; a label without a value is empty; the last one of a name wins."""
    path = tmp_path / "labels"
    path.write_text("a=1\nb=2\n")
    assert dict(_config("--label-file", str(path), "-l", "a=3", "-l", "c").labels) == {
        "a": "3",
        "b": "2",
        "c": "",
    }


def test_volumes_by_kind(tmp_path: pathlib.Path) -> None:
    """A path alone is an anonymous volume; a relative source is the caller's folder."""
    config, host = _config("-v", "/data"), _host("-v", "/a:/b:ro", "-v", "name:/c", "-v", "./x:/d")
    assert config.volumes == ("/data",)
    assert host.binds[:2] == ("/a:/b:ro", "name:/c")
    assert host.binds[2].endswith("/x:/d")
    assert host.binds[2].startswith("/")


def test_limits_and_rights() -> None:
    """Sizes in bytes, processors in billionths, capabilities in docker's normal form."""
    host = _host(
        "-m", "64m", "--memory-swap", "-1", "--cpus", "1.5", "--pids-limit", "-1", "--cap-add", "net_admin",
        "--cap-add", "CAP_SYS_TIME", "--cap-drop", "all", "--read-only", "--privileged",
        "--tmpfs", "/t:size=1m",
        "--shm-size", "1m", "--rm", "--network", "host",
    )  # fmt: skip
    assert (host.memory, host.memory_swap, host.nano_cpus, host.pids_limit) == (
        64 << 20,
        -1,
        1_500_000_000,
        -1,
    )
    assert (host.cap_add, host.cap_drop) == (("CAP_NET_ADMIN", "CAP_SYS_TIME"), ("ALL",))
    assert (host.readonly_rootfs, host.privileged, host.auto_remove) == (True, True, True)
    assert (dict(host.tmpfs), host.shm_size, host.network_mode) == ({"/t": "size=1m"}, 1 << 20, "host")


def test_defaults_of_the_host() -> None:
    """Without flags a container has docker's defaults."""
    host = _host()
    assert (host.shm_size, host.network_mode, host.auto_remove, host.memory) == (
        64 << 20,
        "default",
        False,
        0,
    )


def test_security_options(tmp_path: pathlib.Path) -> None:
    """A profile's file is read by the command line; unknown options are refused."""
    path = tmp_path / "profile.json"
    path.write_text('{ "defaultAction": "SCMP_ACT_ALLOW" }')
    host = _host("--security-opt", f"seccomp={path}", "--security-opt", "no-new-privileges")
    assert host.security_opt == ('seccomp={"defaultAction":"SCMP_ACT_ALLOW"}', "no-new-privileges")
    words = ("apparmor=unconfined", "label:disable", "systempaths=unconfined")
    host = _host(*(part for word in words for part in ("--security-opt", word)))
    assert host.security_opt == ("apparmor=unconfined", "label=disable")
    assert (host.masked_paths, host.readonly_paths) == ((), ())
    for wrong in ("systempaths=x", "credentialspec=x", "nothing=x"):
        with pytest.raises(InvalidArgument, match="invalid --security-opt"):
            _host("--security-opt", wrong)


def test_a_cidfile_is_never_overwritten(tmp_path: pathlib.Path) -> None:
    """A file that exists may be another container's: nothing is made."""
    path = tmp_path / "cid"
    options.check_cidfile(str(path))
    options.write_cidfile(str(path), "abc")
    assert path.read_text() == "abc"
    with pytest.raises(InvalidArgument, match="container ID file found"):
        options.check_cidfile(str(path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type=bind,src=/a,dst=/b,ro", Mount(type="bind", source="/a", target="/b", read_only=True)),
        ("target=/b", Mount(type="volume", target="/b")),
        (
            "type=volume,source=v,target=/b,volume-nocopy",
            Mount(type="volume", source="v", target="/b", no_copy=True),
        ),
        (
            "type=tmpfs,target=/b,tmpfs-size=1m,tmpfs-mode=700",
            Mount(type="tmpfs", target="/b", tmpfs_size=1 << 20, tmpfs_mode=0o700),
        ),
        ('type=bind,"src=/a,b",dst=/c,readonly=false', Mount(type="bind", source="/a,b", target="/c")),
        (
            "type=bind,src=/a,dst=/b,bind-propagation=rshared",
            Mount(type="bind", source="/a", target="/b", propagation="rshared"),
        ),
    ],
)
def test_mounts(text: str, expected: Mount) -> None:
    """Docker's words for --mount, its short names, and CSV's quotes."""
    parsed = mounts.parse(text)
    assert {k: v for k, v in parsed.as_dict().items() if v} == {
        k: v for k, v in expected.as_dict().items() if v
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "value is empty"),
        ("type=bind,src=/a", "target is required"),
        ("foo", "must be a key=value pair"),
        ("type=bind,dst=/a,x=y", "unexpected key 'x' in 'x=y'"),
        ("type=tmpfs,dst=/a,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
        ("type=tmpfs,dst=/a,bind-propagation=rshared", "cannot mix 'bind-*' options with mount type 'tmpfs'"),
    ],
)
def test_wrong_mounts(text: str, words: str) -> None:
    """Docker's sentence says what is wrong."""
    with pytest.raises(ValueError, match=words.replace("*", ".")):
        mounts.parse(text)
