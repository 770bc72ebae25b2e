"""The terminal: detach keys, signals, input and output of an attached process."""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.cli import terminal
from tiffin.errors import Interrupted, InvalidArgument, StartFailed, Unavailable
from tiffin.keeper import frames
from tiffin.keeper.client import Connection
from tiffin.spec import detach

if TYPE_CHECKING:
    from collections.abc import Iterator


class Peer:
    """The other end of a connection: plays a keeper's part, frame by frame."""

    def __init__(self) -> None:
        """Make both ends."""
        self.sock, mine = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(10)
        self.connection = Connection(mine, "test")

    def send(self, kind: str, data: bytes = b"") -> None:
        """Send one frame."""
        self.sock.send(frames.pack(kind, data))

    def next(self) -> frames.Frame:
        """Return the next frame of the client's."""
        return frames.unpack(self.sock.recv(frames.PACKET_LIMIT))


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A keeper's end."""
    made = Peer()
    yield made
    made.sock.close()
    made.connection.close()


@pytest.fixture
def stdin() -> Iterator[int]:
    """Replaces descriptor 0 by a pipe for a test; yields the end to write to."""
    kept = os.dup(0)
    read, write = os.pipe()
    os.dup2(read, 0)
    os.close(read)
    yield write
    os.dup2(kept, 0)
    os.close(kept)
    try:
        os.close(write)
    except OSError:
        return  # the test closed it


def _converse(peer: Peer, *, stdin: bool = False, tty: bool = False, proxy: bool = True) -> int:
    peer.connection.input_quota = frames.INPUT_QUOTA if stdin else 0
    return terminal.converse(
        lambda: peer.connection, stdin=stdin, tty=tty, keys=detach.keys_of(""), proxy=proxy
    )


def test_output_and_exit_code(peer: Peer, capfd: pytest.CaptureFixture[str]) -> None:
    """Both outputs arrive where they belong, and the exit code is returned."""
    peer.send("O", b"out\n")
    peer.send("E", b"err\n")
    peer.send("X", bytes((7, 0)))
    assert _converse(peer) == 7
    assert capfd.readouterr() == ("out\n", "err\n")


def test_a_process_that_could_not_start(peer: Peer) -> None:
    """Docker's code and sentence come through."""
    peer.send("F", b"\x7fnot found")
    with pytest.raises(StartFailed, match="not found") as caught:
        _converse(peer)
    assert caught.value.exit_code == 127


def test_a_keeper_that_dies_is_an_error(peer: Peer) -> None:
    """The end of the connection without an exit code is never taken for success."""
    peer.sock.shutdown(socket.SHUT_WR)
    with pytest.raises(Unavailable, match="keeper"):
        _converse(peer)


def test_input_reaches_the_process_and_ends(peer: Peer, stdin: int) -> None:
    """What stands in stdin is sent, and its end is told once."""
    os.write(stdin, b"hello")
    os.close(stdin)
    result: list[int] = []
    thread = threading.Thread(target=lambda: result.extend(_frames_until_close(peer)))
    thread.start()
    assert _converse(peer, stdin=True) == 0
    thread.join()
    assert bytes(result) == b"hello"


def _frames_until_close(peer: Peer) -> bytes:
    data = b""
    while True:
        frame = peer.next()
        if frame.kind == frames.CLOSE_STDIN:
            peer.send("X", bytes((0, 0)))
            return data
        data += frame.data


def test_the_detach_keys_leave(peer: Peer, stdin: int) -> None:
    """ctrl-p ctrl-q ends the conversation; what was typed before them has been sent."""
    os.write(stdin, b"ab\x10\x11")
    assert _converse(peer, stdin=True, tty=True) == -1
    assert peer.next().data == b"ab"


def test_half_of_the_detach_keys_is_input(peer: Peer, stdin: int) -> None:
    """ctrl-p alone reaches the process as soon as the next key is another one."""
    os.write(stdin, b"\x10x\x10\x11")
    assert _converse(peer, stdin=True, tty=True) == -1
    assert peer.next().data == b"\x10x"


@given(st.lists(st.text("\x10\x11a", max_size=6).map(str.encode), max_size=5))
def test_nothing_but_the_detach_keys_is_taken_from_the_input(chunks: list[bytes]) -> None:
    """However input is cut into pieces, it comes through whole until the keys are complete."""
    keys = b"\x10\x11"
    escape = detach.Escape(keys)
    sent, left = b"", False
    for chunk in chunks:
        data, left = escape.feed(chunk)
        sent += data
        if left:
            break
    whole = b"".join(chunks)
    if left:
        assert whole.startswith(sent + keys)
    else:
        assert whole in {sent, sent + keys[:1]}
        assert keys not in whole


def test_signals_are_passed_on(peer: Peer) -> None:
    """A signal to the command is a signal to the process; the command itself goes on."""
    done: list[int] = []

    def keeper() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        frame = peer.next()
        done.append(frame.data[0])
        peer.send("D")
        peer.send("X", bytes((0, 0)))

    with terminal.Signals(terminal.proxied(enabled=True, tty=False)) as signals:
        thread = threading.Thread(target=keeper)
        thread.start()
        code = terminal.Conversation(peer.connection, signals, stdin=False, tty=False).run()
        thread.join()
    assert code == 0
    assert done == [signal.SIGUSR1]


def test_signals_are_given_back() -> None:
    """After a conversation every signal has the handler that it had before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGWINCH)}
    with terminal.Signals(terminal.proxied(enabled=True, tty=False)):
        pass
    assert {number: signal.getsignal(number) for number in before} == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", b"\x10\x11"), ("ctrl-a,d", b"\x01d"), ("ctrl-@", b"\x00"), ("ctrl-[", b"\x1b"), ("a,b,c", b"abc")],
)
def test_detach_keys(text: str, expected: bytes) -> None:
    """Docker's words for keys."""
    assert detach.keys_of(text) == expected


@pytest.mark.parametrize("text", ["abc", "ctrl-", "ctrl-1", "ctrl-A", ",", "a,"])
def test_wrong_detach_keys(text: str) -> None:
    """A key that does not exist is told before anything starts."""
    with pytest.raises(InvalidArgument, match="Invalid escape keys"):
        detach.keys_of(text)


def test_a_process_that_ignores_signals_does_not_hold_the_user(peer: Peer) -> None:
    """The third ctrl-C leaves, and the container goes on."""
    with terminal.Signals(terminal.proxied(enabled=True, tty=False)) as signals:
        conversation = terminal.Conversation(peer.connection, signals, stdin=False, tty=False)
        conversation._forward(bytes((signal.SIGINT, signal.SIGTERM)))
        with pytest.raises(Interrupted, match="got 3"):
            conversation._forward(bytes((signal.SIGINT,)))
    assert [peer.next().data[0], peer.next().data[0]] == [signal.SIGINT, signal.SIGTERM]
