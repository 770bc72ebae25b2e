"""What a keeper asks systemd for; with the real one in scripts/test-host."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tiffin.errors import Unavailable
from tiffin.keeper import scope

if TYPE_CHECKING:
    from pathlib import Path


def _message(kind: int, text: str) -> bytes:
    """Return a message without header fields whose body is one string."""
    body = scope._Writer()
    body.text(text)
    head = scope._Writer()
    head.data += bytes((ord("l"), kind, 0, 1))
    for number in (len(body.data), 1, 0):
        head.integer(number)
    return bytes(head.data + body.data)


def _refused(folder: Path, answer: bytes) -> str:
    """Ask a systemd that says this and hangs up; return why there is no scope."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/private")
        listener.listen()

        def serve() -> None:
            peer, _address = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        asked = scope.Scope(f"{folder}/private", 1000)
        with pytest.raises(Unavailable) as failure:
            asked.settle()
        thread.join()
    return failure.value.message


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"REJECTED EXTERNAL\r\n", "it does not know us"),
        (b"", "closed the connection"),
        (b"OK 0123\r\n", "closed the connection"),
        (b"OK 0123\r\n" + _message(3, "Unit x.scope already exists."), "Unit x.scope already exists."),
        (b"OK 0123\r\n" + _message(2, "/job/1") + _message(3, "late"), "late"),
    ],
)
def test_a_refusal_is_said(tmp_path: Path, answer: bytes, reason: str) -> None:
    """Whatever systemd answers that is no scope ends in a sentence with its reason."""
    assert reason in _refused(tmp_path, answer)


def test_no_systemd_is_said(tmp_path: Path) -> None:
    """A socket that is not there is a reason like any other."""
    with pytest.raises(Unavailable, match="No such file"):
        scope.Scope(f"{tmp_path}/private", 0).settle()


def test_the_message_is_aligned() -> None:
    """Header and body are as long as the header says, whatever the name's length is."""
    for length in range(1, 20):
        message = scope._start_unit("x" * length, 1)
        assert scope._length(message) == len(message)
