"""Copying in and out by the library: what the API will answer, and a container that fights back."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.engine.parts import check_sound
from tiffin.errors import Conflict, Forbidden, InvalidArgument, NotFound, TiffinError
from tiffin.spec.container import ContainerConfig, HostConfig

if TYPE_CHECKING:
    from pathlib import Path

    from tiffin.engine.engine import Engine


def _run(engine: Engine, script: str, host: HostConfig | None = None) -> str:
    """Start a container and wait until its script says that it is ready."""
    config = ContainerConfig(image="base:1", cmd=("sh", "-c", script), attach_stdout=True)
    made = engine.containers.create(config, host or HostConfig(network_mode="none"))
    connection = engine.containers.start(made.id, attach=True)
    while (frame := connection.recv()) and b"ready" not in frame.data:
        pass
    connection.close()
    return made.id


def _tar(**files: bytes) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    out.seek(0)
    return out


def _names(engine: Engine, container: str, path: str) -> list[str]:
    with engine.containers.copy_out(container, path) as outgoing:
        data = b""
        while piece := outgoing.read():
            data += piece
        outgoing.finish()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getnames()


def test_the_stat_of_a_path_is_dockers(engine: Engine) -> None:
    """Mode bits are Go's, a link says where it leads, and a missing path is docker's sentence."""
    script = "mkdir -m 1777 /s; ln -s ../bin/../s/x /l; echo hello > /s/x; chmod 4751 /s/x; echo ready"
    box = _run(engine, script)
    stat = engine.containers.stat_path
    assert (stat(box, "/s").mode, stat(box, "/s").is_folder) == (0o777 | 1 << 31 | 1 << 20, True)
    assert (stat(box, "s/x").mode, stat(box, "/s/x").size) == (0o751 | 1 << 23, 6)
    link = stat(box, "/l")
    assert (link.mode, link.link_target, link.is_link) == (0o777 | 1 << 27, "/s/x", True)
    assert link.to_json().keys() == {"name", "size", "mode", "mtime", "linkTarget"}
    assert stat(box, "../../..").name == "/"
    with pytest.raises(NotFound, match=f"Could not find the file /no in container {box}"):
        stat(box, "no")
    with pytest.raises(InvalidArgument):
        stat(box, "a\0b")


def test_an_archive_goes_in_and_comes_out(engine: Engine) -> None:
    """A stream without a descriptor is unpacked; what is no folder, or no tar, is refused."""
    box = _run(engine, "mkdir /in; echo ready")
    assert engine.containers.copy_into(box, "/in", _tar(a=b"1", b=b"22")) == 3
    assert _names(engine, box, "/in") == ["in", "in/a", "in/b"]
    assert _names(engine, box, "/in/.") == [".", "./a", "./b"]
    with pytest.raises(InvalidArgument, match="extraction point is not a directory"):
        engine.containers.copy_into(box, "/in/a", _tar(a=b""))
    with pytest.raises(Conflict, match="cannot overwrite directory"):
        engine.containers.copy_into(box, "/", _tar(**{"in": b""}))
    with pytest.raises(Exception, match="garbage"):
        engine.containers.copy_into(box, "/in", io.BytesIO(b"junk" * 1000))


def test_a_reader_that_stops_lets_go_of_the_container(engine: Engine) -> None:
    """Closing half-way ends the worker, and a stopped container can start again."""
    box = _run(engine, "dd if=/dev/zero of=/big bs=1M count=8; echo ready")
    engine.containers.wait(box)
    with engine.containers.copy_out(box, "/big") as outgoing:
        assert outgoing.read(10)
    engine.containers.start(box).close()
    engine.containers.wait(box)
    check_sound(engine)


def test_links_that_change_under_the_copy_lead_nowhere_else(engine: Engine, tmp_path: Path) -> None:
    """A container that swaps a folder for a link to a path of the host makes nobody read or write there."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "word").write_text("of the host")
    script = (
        f"mkdir -p /real{secret} /real/sub {secret}; echo mine > /real/sub/word; echo mine > {secret}/word;"
        f"echo ready; while :; do ln -sfn /real /swap; ln -sfn / /swap; ln -sfn {secret} /real/way;"
        "rm /real/way; mkdir /real/way; rmdir /real/way; done"
    )
    box = _run(engine, script)
    for _ in range(12):
        for path in (f"/swap{secret}/word", "/real", "/swap/real/sub/word"):
            try:
                with engine.containers.copy_out(box, path) as outgoing:
                    while piece := outgoing.read():
                        assert b"of the host" not in piece
            except TiffinError:
                continue
        for path in ("/real/way", f"/swap{secret}"):
            try:
                engine.containers.copy_into(box, path, _tar(**{"planted": b"x", "way/planted": b"x"}))
            except TiffinError:
                continue
    assert os.listdir(secret) == ["word"]


def test_what_a_container_of_the_hosts_processes_points_at_stays_closed(engine: Engine) -> None:
    """A link through /proc to the root of a process of the host is not followed with our privileges."""
    pid = os.getpid()
    box = _run(engine, f"mkdir /p; ln -s /p/{pid}/root/etc /escape; echo ready; sleep 1000",
               HostConfig(network_mode="none", binds=("/proc:/p",)))  # fmt: skip
    for path in ("/escape/passwd", f"/p/{pid}/root/etc/passwd", f"/p/{pid}/cwd/pyproject.toml"):
        with pytest.raises((Forbidden, NotFound)):
            _names(engine, box, path)
    with pytest.raises((Forbidden, NotFound, InvalidArgument)):
        engine.containers.copy_into(box, "/escape", _tar(planted=b"x"))
    assert not os.path.exists("/etc/planted")
