"""`tiffin registry serve`: what it says, how it ends, what it refuses."""

from __future__ import annotations

import base64
import http.client
import os
import signal
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Tiffin
from tests.servers import BoxRegistry, closed_port, htpasswd_line, make_certificate

if TYPE_CHECKING:
    from pathlib import Path


def test_it_serves_and_ends_cleanly(tmp_path: Path) -> None:
    """With a certificate and a password: it says where, lets the right one in, logs it, ends with success."""
    tiffin = Tiffin(f"{tmp_path}/root")
    made = make_certificate(f"{tmp_path}/tls", "127.0.0.1")
    (tmp_path / "users").write_text(htpasswd_line("ann", "se:cret"))
    served = subprocess.Popen(
        tiffin.argv(
            *("registry", "serve", "--addr", "127.0.0.1:0", "--root", f"{tmp_path}/box"),
            *("--htpasswd", f"{tmp_path}/users", "--tls-cert", made.chain, "--tls-key", made.key),
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert served.stdout is not None
    said = served.stdout.readline()
    assert said.startswith("listening on https://127.0.0.1:")
    context = ssl.create_default_context(cafile=made.ca)
    client = http.client.HTTPSConnection("127.0.0.1", int(said.rpartition(":")[2]), context=context)
    login = "Basic " + base64.b64encode(b"ann:se:cret").decode()
    for headers, status in (({}, 401), ({"Authorization": login}, 200)):
        client.request("GET", "/v2/", headers=headers)
        answer = client.getresponse()
        answer.read()
        assert answer.status == status
    served.send_signal(signal.SIGTERM)
    _, log = served.communicate(timeout=20)
    client.close()
    assert served.returncode == 0
    assert '127.0.0.1 "GET /v2/" 200 2 ' in log
    assert base64.b64encode(b"ann:se:cret").decode() not in log


def test_an_interrupt_ends_it(tmp_path: Path) -> None:
    """SIGINT is an end as good as any."""
    with BoxRegistry(str(tmp_path)) as running:
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(20) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--addr", "nowhere"], "--addr must be HOST:PORT"),
        (["--addr", "::1:5000"], "--addr must be HOST:PORT"),
        (["--addr", "127.0.0.1:70000"], "--addr must be HOST:PORT"),
        (["--tls-cert", "x"], "--tls-cert and --tls-key go together"),
        (["--tls-cert", "/none", "--tls-key", "/none"], "no such file"),
        (["--htpasswd", "/none"], "no such file"),
        (["--htpasswd", "/proc/self/comm"], "not NAME:HASH"),
    ],
)
def test_what_it_refuses(tmp_path: Path, words: list[str], said: str) -> None:
    """Bad addresses, half of a TLS pair and files that are none are said before it serves."""
    tiffin = Tiffin(f"{tmp_path}/root")
    assert said in tiffin.wrong("registry", "serve", *words)


def test_a_port_in_use(tmp_path: Path) -> None:
    """It is said; and without --root the registry's own is `box` below the engine's."""
    tiffin = Tiffin(f"{tmp_path}/root")
    with closed_port() as port:
        said = tiffin.wrong("registry", "serve", "--addr", f"127.0.0.1:{port}")
    assert "address already in use" in said
    assert os.path.exists(f"{tmp_path}/root/box/state.db")


def test_a_registrys_root_is_no_engines(tmp_path: Path) -> None:
    """An engine refuses a registry's root (its gc would empty it), and the other way round."""
    with BoxRegistry(str(tmp_path / "box")) as running:
        tiffin = Tiffin(running.data)
        assert "is a registry's root" in tiffin.wrong("images")
    tiffin = Tiffin(f"{tmp_path}/root")
    tiffin("images")
    said = tiffin.wrong("registry", "serve", "--addr", "127.0.0.1:0", "--root", f"{tmp_path}/root")
    assert "is an engine's root" in said
