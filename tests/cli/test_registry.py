"""`tiffin registry serve`: what it says, how it ends, what it refuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.servers import BoxRegistry, closed_port

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM = "from tiffin.cli.entry import main; main()"


def tiffin(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", _PROGRAM, "--root", f"{folder}/root", "--run", f"{folder}/run", *words]
    return subprocess.run(argv, capture_output=True, check=False, text=True, timeout=60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """It says where it listens, and a signal ends it with success."""
    with BoxRegistry(str(tmp_path)) as running:
        running.process.send_signal(number)
        assert running.process.wait(20) == 0


def test_what_it_refuses(tmp_path: Path) -> None:
    """Bad addresses, half of a TLS pair, a port in use and a weak htpasswd are said before it serves."""
    (tmp_path / "weak").write_text("ann:plain\n")
    with closed_port() as port:
        for words, said in (
            (("--addr", "nowhere"), "--addr must be HOST:PORT"),
            (("--addr", "::1:5000"), "--addr must be HOST:PORT"),
            (("--addr", "127.0.0.1:70000"), "--addr must be HOST:PORT"),
            (("--addr", f"127.0.0.1:{port}"), "address already in use"),
            (("--tls-cert", "x"), "--tls-cert and --tls-key go together"),
            (("--htpasswd", f"{tmp_path}/weak"), "only bcrypt is taken"),
            (("--tls-cert", "none", "--tls-key", "none"), "no such file"),
        ):
            done = tiffin(tmp_path, "registry", "serve", *words)
            assert (done.returncode, done.stdout) == (1, "")
            assert said in done.stderr


def test_a_registrys_root_is_no_engines(tmp_path: Path) -> None:
    """An engine refuses a registry's root (its gc would empty it), and the other way round."""
    with BoxRegistry(str(tmp_path / "box")) as running:
        done = tiffin(tmp_path, "--root", running.data, "images")
        assert done.returncode == 1
        assert "is a registry's root" in done.stderr
    assert tiffin(tmp_path, "images").returncode == 0
    done = tiffin(tmp_path, "registry", "serve", "--addr", "127.0.0.1:0", "--root", f"{tmp_path}/root")
    assert done.returncode == 1
    assert "is an engine's root" in done.stderr


def test_its_default_root_lies_in_the_engines(tmp_path: Path) -> None:
    """Without --root it is `box` below the engine's root."""
    with closed_port() as port:
        tiffin(tmp_path, "registry", "serve", "--addr", f"127.0.0.1:{port}")
    assert os.path.exists(f"{tmp_path}/root/box/state.db")
