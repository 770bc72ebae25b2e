"""Volumes on the command line: options, names, copies, tars; docker's sentences."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

from tests.rungs import PRIVILEGE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Tiffin


_WEB, _MAIL = ("0:0", "0:0") if PRIVILEGE.rung == "single" else ("7:8", "5:5")
"""Owners inside: with one id nobody but root can be one."""


def test_a_volume_is_renamed_and_cloned(tiffin: Tiffin) -> None:
    """What is in it goes with it, owners too; names that are taken and volumes in use are refused."""
    tiffin("volume", "create", "--label", "a=b", "first")
    fill = f"echo x > /v/x; busybox chown {_WEB} /v/x; busybox chmod 751 /v; busybox chown {_MAIL} /v"
    tiffin("run", "--rm", "-v", "first:/v", "box:1", "sh", "-c", fill)
    tiffin("volume", "rename", "first", "second")
    assert tiffin("volume", "clone", "second", "third") == "third\n"
    look = ("box:1", "busybox", "stat", "-c", "%u:%g %a", "/v", "/v/x")
    for name in ("second", "third"):
        assert tiffin("run", "--rm", "-v", f"{name}:/v", *look) == f"{_MAIL} 751\n{_WEB} 644\n"
        assert tiffin("volume", "inspect", "-f", "{{.Labels.a}}", name) == "b\n"
    assert "get first: no such volume" in tiffin.wrong("volume", "rename", "first", "fourth")
    assert "a volume named third already exists" in tiffin.wrong("volume", "rename", "second", "third")
    assert "a volume named third already exists" in tiffin.wrong("volume", "clone", "second", "third")
    assert "includes invalid characters" in tiffin.wrong("volume", "rename", "third", "th/ird")
    tiffin("create", "--name", "user", "-v", "third:/v", "box:1")
    assert "volume is in use - [" in tiffin.wrong("volume", "rename", "third", "fourth")
    assert "volume is in use - [" in tiffin.wrong("volume", "rm", "third")
    assert tiffin("volume", "ls", "-q", "-f", "dangling=true") == "second\n"
    assert tiffin("volume", "ls", "-q", "-f", "dangling=false", "-f", "label=a") == "third\n"
    assert "invalid filter 'x'" in tiffin.wrong("volume", "ls", "-f", "x=y")
    tiffin("rm", "user")
    tiffin("volume", "rm", "second", "third")


def test_a_volume_leaves_and_comes_as_a_tar(tiffin: Tiffin, tmp_path: Path) -> None:
    """What export writes import makes again; a tar that is none leaves no volume."""
    fill = f"echo x > /v/x; busybox chown {_WEB} /v/x"
    tiffin("run", "--rm", "-v", "out:/v", "box:1", "sh", "-c", fill)
    path = str(tmp_path / "v.tar")
    tiffin("volume", "export", "-o", path, "out")
    piped = tiffin.run("volume", "export", "out").stdout
    with tarfile.open(path) as one, tarfile.open(fileobj=io.BytesIO(piped)) as other:
        assert one.getnames() == other.getnames() == [".", "./x"]
    assert tiffin("volume", "import", "in", path) == "in\n"
    assert tiffin("volume", "import", "in2", "-", stdin=piped) == "in2\n"
    for name in ("in", "in2"):
        look = ("busybox", "stat", "-c", "%u:%g %s", "/v/x")
        assert tiffin("run", "--rm", "-v", f"{name}:/v", "box:1", *look) == f"{_WEB} 2\n"
    assert "garbage" in tiffin.run("volume", "import", "none", stdin=b"junk" * 500).stderr.decode()
    assert "no such volume" in tiffin.wrong("volume", "export", "none")
    tiffin("volume", "rm", "in", "in2", "out")


def test_the_options_of_the_local_driver(tiffin: Tiffin, tmp_path: Path) -> None:
    """A volume may be a folder of the host, filled at first use, or memory; wrong options are named."""
    folder = tmp_path / "folder"
    folder.mkdir()
    bind = ("-o", "type=none", "-o", "o=bind", "-o", f"device={folder}")
    tiffin("volume", "create", *bind, "bound")
    tiffin("run", "--rm", "-v", "bound:/etc", "box:1", "sh", "-c", "echo x > /etc/x")
    assert {"passwd", "x"} <= {path.name for path in folder.iterdir()}
    tiffin("run", "--name", "idle", "-v", "bound:/b:ro", "box:1", "cat", "/b/x")
    tiffin("cp", "idle:/b/x", f"{tmp_path}/copied")
    assert "mounted volume is marked read-only" in tiffin.wrong("cp", f"{tmp_path}/copied", "idle:/b/y")
    tiffin("rm", "idle")
    tiffin("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,mode=700", "mem")
    shown = tiffin("run", "--rm", "-v", "mem:/m", "box:1", "busybox", "grep", " /m ", "/proc/mounts")
    assert shown.startswith("tmpfs /m tmpfs")
    assert "size=1024k,mode=700" in shown
    assert tiffin("volume", "inspect", "-f", "{{.Options.o}}", "mem") == "size=1m,mode=700\n"
    wrong = tiffin.wrong
    assert 'invalid option: "color"' in wrong("volume", "create", "-o", "color=red")
    assert 'missing required option: "device"' in wrong("volume", "create", "-o", "type=tmpfs")
    assert 'missing required option: "type"' in wrong("volume", "create", "-o", "device=x")
    assert "no quota support" in wrong("volume", "create", "-o", "size=1g")
    gone = ("-o", "type=none", "-o", "o=bind", "-o", "device=/no/where")
    tiffin("volume", "create", *gone, "gone")
    said = wrong("run", "--rm", "-v", "gone:/g", "box:1", code=125)
    assert "failed to mount local volume: mount /no/where:" in said
    tiffin("volume", "create", "-o", "type=nfs", "-o", "device=:/x", "-o", "o=addr=nowhere.invalid", "net")
    said = wrong("run", "--rm", "-v", "net:/g", "box:1", code=125)
    reason = "error resolving passed in network volume address"
    assert (reason if PRIVILEGE.rung == "root" else "the kernel mounts nfs for root only") in said
    options = f"volume-opt=type=none,volume-opt=o=bind,volume-opt=device={folder}"
    mount = f"type=volume,src=direct,dst=/d,{options}"
    assert tiffin("run", "--rm", "--mount", mount, "box:1", "cat", "/d/x") == "x\n"
    said = tiffin.wrong("run", "--volume-driver", "other", "-v", "oo:/o", "box:1", code=125)
    assert "error looking up volume plugin other" in said
    tiffin("volume", "rm", "bound", "mem", "gone", "net", "direct")
