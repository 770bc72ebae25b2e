"""The server: listens, gives each connection its thread, and ends cleanly."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import ssl
import stat
import threading
import time

from tiffin.errors import Conflict, InvalidArgument, Unavailable
from tiffin.http.connection import Connection
from tiffin.http.limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.http.connection import Handler, Log, Served

_BACKLOG = 128
_BREATH_SECONDS = 0.1
"""How long accept rests when the process has no file descriptor left."""
_LAST_SECONDS = 1.0
"""For connections that were cut to notice it."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket; port 0 takes a free one. Raises Unavailable where that fails."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Unavailable(f"listen on {host}:{port}: {reason}", hint="choose another --addr") from error


def listen_unix(path: str, *, mode: int, group: int) -> socket.socket:
    """Return a listening unix socket, in place of one that nobody answers any more; -1 is no group.

    Raises Conflict where somebody does, Unavailable where it cannot be made.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _answers(path):
            raise Conflict(f"{path}: somebody serves there already")
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise OSError(errno.EEXIST, "there is a file, and no socket")
            os.unlink(path)
        before = os.umask(0o777)  # nobody may come in before owner and mode are right
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        if group >= 0:
            os.chown(path, -1, group)
        os.chmod(path, mode)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        reason = (error.strerror or str(error)).lower()
        raise Unavailable(f"listen on {path}: {reason}", hint="choose another -H") from error
    except Conflict:
        sock.close()
        raise
    return sock


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """Return what a server needs to speak TLS (1.2 or newer); raise InvalidArgument for bad files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A key with a passphrase must not wait for somebody to type it.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", "") or str(error)).lower()
        if not isinstance(error, OSError) or isinstance(error, ssl.SSLError):
            reason = "not a certificate in PEM form with its key"
        raise InvalidArgument(
            f"TLS certificate {certificate} with key {key}: {reason}",
            hint="both must be PEM files, the key without a passphrase",
        ) from error
    return context


class Server:
    """Answers what comes in on some listening sockets by `handler`, until `stop`."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        handler: Handler,
        *,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        log: Log | None = None,
    ) -> None:
        """Take the sockets over; nothing is accepted before `serve`."""
        self._listeners = list(listeners)
        self._handler = handler
        self._tls = tls
        self._limits = limits or Limits()
        self._log = log or _say_nothing
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        self._connections: dict[socket.socket, Connection | None] = {}

    def stop(self) -> None:
        """Let `serve` return; may be called from a signal handler and from any thread."""
        self._stopped.set()
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full (it will wake), or closed (it has ended)
            os.write(self._wake_write, b".")

    def serve(self) -> None:
        """Accept until `stop`, then finish what is being answered (`Limits.grace`) and close everything."""
        for listener in self._listeners:
            listener.settimeout(0)
        try:
            while not self._stopped.is_set():
                self._wait()
        finally:
            self._finish()

    def _wait(self) -> None:
        """Wait for a client (unless there are too many already) or for `_wake`, and see to it."""
        full = len(self._connections) >= self._limits.connections
        listening = {} if full else {listener.fileno(): listener for listener in self._listeners}
        poller = select.poll()
        for descriptor in (self._wake_read, *listening):
            poller.register(descriptor, select.POLLIN)
        for descriptor, _ in poller.poll():
            if descriptor == self._wake_read:
                os.read(descriptor, 4096)
            else:
                self._accept(listening[descriptor])

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, address = listener.accept()
        except BlockingIOError:
            return
        except OSError:
            self._stopped.wait(_BREATH_SECONDS)
            return
        with self._changed:
            self._connections[sock] = None
        peer = str(address[0]) if isinstance(address, tuple) else "@"
        thread = threading.Thread(target=self._run, args=(sock, peer), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread can be had: this client must come again
            self._forget(sock)
            sock.close()

    def _run(self, accepted: socket.socket, peer: str) -> None:
        try:
            sock = self._secured(accepted)
            if sock is None:
                return
            connection = Connection(
                sock, self._handler, self._limits, peer=peer, log=self._log, ending=self._stopped.is_set
            )
            with self._changed:
                self._connections[accepted] = connection
            if self._stopped.is_set():
                connection.end()
            connection.serve()
        finally:
            self._forget(accepted)

    def _secured(self, accepted: socket.socket) -> socket.socket | None:
        """Shake hands where TLS is spoken; None (and closed) where that fails."""
        accepted.settimeout(self._limits.handshake)
        try:
            if accepted.family != socket.AF_UNIX:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is None:
                return accepted
            # wrap_socket takes the descriptor out of `accepted`, which stays the key.
            return self._tls.wrap_socket(accepted, server_side=True)
        except (OSError, ValueError):
            accepted.close()
            return None

    def _forget(self, accepted: socket.socket) -> None:
        with self._changed:
            del self._connections[accepted]
            self._changed.notify_all()
        self._wake()

    def _finish(self) -> None:
        for listener in self._listeners:
            listener.close()
        deadline = time.monotonic() + self._limits.grace
        self._end_all(at_once=False)
        with self._changed:
            while self._connections and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
        self._end_all(at_once=True)
        with self._changed:
            self._changed.wait_for(lambda: not self._connections, _LAST_SECONDS)
        os.close(self._wake_read)
        wake, self._wake_write = self._wake_write, -1
        os.close(wake)

    def _end_all(self, *, at_once: bool) -> None:
        with self._changed:
            present = dict(self._connections)
        for sock, connection in present.items():
            if connection is not None:
                connection.end(at_once=at_once)
            else:
                _cut(sock)  # still shaking hands


def _cut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # handed to TLS, or closed: it ends by its own timeout
        sock.shutdown(socket.SHUT_RDWR)


def _say_nothing(_served: Served) -> None:
    """Keep no access log."""
