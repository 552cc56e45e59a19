# SPDX-License-Identifier: LGPL-2.1-or-later
"""The monitor's end of the command socket: accepting, credentials, framing, waiting clients. What a command means is
given as a table of functions.

Every connection is a small state machine on a non-blocking descriptor with a deadline, so that no client can stop the monitor
(C LXC's can be stopped by a header without its payload, and killed by connections that never say anything). Connections
that have not proved who they are are few and short-lived; a spare descriptor keeps accept(2) working at the limit.
"""

from __future__ import annotations

import _socket
import _struct
import errno
import os
import select
import time

from .. import log, states
from ..errors import AlreadyRunning, LxcError, describe
from . import commands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ListeningSocket = _socket.socket

_BACKLOG = 100
_PATIENCE = 5.0  # seconds for a request to arrive, and for a reply to be taken
_MOST_UNPROVED = 64
_CREDENTIALS = _struct.Struct("iII")
_FD = _struct.calcsize("i")
_REBOOT_MARK = 2


class Request:
    """A complete request."""

    __slots__ = ("command", "fds", "payload", "value")

    def __init__(self, command: int, value: int, payload: bytes, fds: list[int]) -> None:
        self.command = command
        self.value = value
        self.payload = payload
        self.fds = fds


class Reply:
    """An answer. fds are passed and stay the monitor's unless close_fds; keep: the connection stays open, and keep() is
    called when it ends; close: no reply at all."""

    __slots__ = ("close", "close_fds", "fds", "keep", "payload", "ret", "value")

    def __init__(
        self,
        ret: int = 0,
        value: int = 0,
        payload: bytes = b"",
        fds: Sequence[int] = (),
        *,
        keep: Callable[[], object] | None = None,
        close: bool = False,
        close_fds: bool = False,
    ) -> None:
        self.ret = ret
        self.value = value
        self.payload = payload
        self.fds = fds
        self.keep = keep
        self.close = close
        self.close_fds = close_fds


# No reply; the connection is held until the container has ended (the STOP command).
HOLD = Reply()


def bind(name: str, lxcpath: str) -> ListeningSocket:
    """Bind and listen on a container's command socket: the start lock. Raises AlreadyRunning, LxcError."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        sock.bind(commands.address(os.fsencode(name), os.fsencode(lxcpath)))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise AlreadyRunning(f'Container "{name}" appears to be already running', remedy="lxc-info tells its state")
        raise LxcError(f"cannot bind the command socket of {name}: {describe(error)}") from error
    return sock


class _Connection:
    """One client."""

    __slots__ = ("deadline", "fds", "fixed", "input", "mode", "on_end", "output", "output_fds", "sock", "wanted")

    READING, WRITING, KEPT, HELD, WAITING = range(5)

    def __init__(self, sock: _socket.socket) -> None:
        self.sock = sock
        self.mode = self.READING
        self.deadline: float | None = time.monotonic() + _PATIENCE
        self.input = b""
        self.fds: list[int] = []
        self.fixed: tuple[int, int, int] | None = None  # command, payload length, value: the header, once proved
        self.output = b""
        self.output_fds: list[int] = []
        self.on_end: Callable[[], object] | None = None
        self.wanted: tuple[int, ...] = ()


class Server:
    """Serves the command socket inside a poll loop: poll_list(), handle(), expire(), announce()."""

    def __init__(self, listening: ListeningSocket, handlers: Mapping[int, Callable[[Request], Reply]]) -> None:
        self._listening: ListeningSocket | None = listening
        self._handlers = handlers
        self._connections: dict[int, _Connection] = {}
        self._spare = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._uid, self._gid = os.getuid(), os.getgid()
        self.state: Callable[[], int] = lambda: states.RUNNING

    def poll_list(self) -> list[tuple[int, int]]:
        """(descriptor, poll mask) of everything that this server waits for."""
        result = []
        if self._listening is not None:
            result.append((self._listening.fileno(), select.POLLIN))
        for fd, connection in self._connections.items():
            result.append((fd, select.POLLOUT if connection.mode == _Connection.WRITING else select.POLLIN))
        return result

    def next_deadline(self) -> float | None:
        """When expire() has something to do, in time.monotonic()."""
        deadlines = [c.deadline for c in self._connections.values() if c.deadline is not None]
        return min(deadlines) if deadlines else None

    def expire(self, now: float) -> None:
        """Drop the clients that took too long."""
        for connection in [c for c in self._connections.values() if c.deadline is not None and c.deadline <= now]:
            log.debug("a client of the command socket was too slow and is dropped")
            self._drop(connection)

    def handle(self, fd: int, events: int) -> None:
        """Something happened on one of poll_list()'s descriptors."""
        if self._listening is not None and fd == self._listening.fileno():
            self._accept()
            return
        connection = self._connections.get(fd)
        if connection is None:
            return
        try:
            if connection.mode == _Connection.READING:
                self._read(connection)
            elif connection.mode == _Connection.WRITING:
                self._write(connection)
            else:
                # A kept client hung up, or said something more: either frees what it held.
                self._drop(connection)
        except BlockingIOError:
            pass
        except OSError as error:
            log.debug(f"a client of the command socket failed: {describe(error)}")
            self._drop(connection)

    # -- accepting

    def _accept(self) -> None:
        assert self._listening is not None
        while True:
            try:
                fd, _peer = self._listening._accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._shed()
                elif error.errno not in (errno.ECONNABORTED, errno.EINTR):
                    log.error(f"accepting on the command socket failed: {describe(error)}")
                return
            os.set_inheritable(fd, False)
            sock = _socket.socket(fileno=fd)
            sock.setblocking(False)
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
            unproved = [c for c in self._connections.values() if c.fixed is None and c.mode == _Connection.READING]
            if len(unproved) >= _MOST_UNPROVED:
                self._drop(unproved[0])  # the oldest
            self._connections[fd] = _Connection(sock)

    def _shed(self) -> None:
        """No descriptor left: take the client with the spare one, and turn it away."""
        assert self._listening is not None
        os.close(self._spare)
        try:
            fd, _peer = self._listening._accept()
            os.close(fd)
        except OSError:
            pass
        self._spare = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        unproved = [c for c in self._connections.values() if c.fixed is None and c.mode == _Connection.READING]
        for connection in unproved:
            self._drop(connection)

    # -- requests

    def _read(self, connection: _Connection) -> None:
        size = commands.HEADER.size
        header = connection.fixed
        missing = size - len(connection.input) if header is None else header[1] - len(connection.input)
        if header is None and connection.input:
            # A header that arrives in pieces carries its credentials with the first one only.
            self._drop(connection)
            return
        data, control, _flags, _peer = connection.sock.recvmsg(
            max(1, missing),
            _socket.CMSG_SPACE(_CREDENTIALS.size) + _socket.CMSG_SPACE(commands.MOST_FDS * _FD),
            _socket.MSG_CMSG_CLOEXEC | _socket.MSG_DONTWAIT,
        )
        credentials = None
        for level, kind, raw in control:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                connection.fds += [number for (number,) in _struct.iter_unpack("i", raw[: len(raw) // _FD * _FD])]
            elif level == _socket.SOL_SOCKET and kind == _socket.SCM_CREDENTIALS:
                credentials = _CREDENTIALS.unpack(raw[: _CREDENTIALS.size])
        if not data:
            self._drop(connection)
            return
        if header is None:
            if len(data) < size:
                self._drop(connection)
                return
            command, length, value = commands.HEADER.unpack(data)
            if credentials is None or not self._allowed(credentials[1], credentials[2]):
                self._answer(connection, Reply(ret=-errno.EPERM))
                return
            limit = 1 << 20 if command == commands.CONSOLE_LOG else commands.LONGEST_PAYLOAD
            if length > limit:
                self._drop(connection)
                return
            connection.fixed = (command, max(0, length), value)
            connection.input = b""
            if length > 0:
                try:
                    self._read(connection)  # it has usually arrived already
                except BlockingIOError:
                    pass
                return
            self._complete(connection)
            return
        connection.input += data
        if len(connection.input) >= header[1]:
            self._complete(connection)

    def _allowed(self, uid: int, gid: int) -> bool:
        """Root, or the monitor's own user and group (credentials of the request's header: liblxc's rule)."""
        return uid == 0 or (uid == self._uid and gid == self._gid)

    def _complete(self, connection: _Connection) -> None:
        assert connection.fixed is not None
        command, _length, value = connection.fixed
        value &= 0xFFFFFFFF
        request = Request(command, value - (1 << 32) if value & 0x80000000 else value, connection.input, connection.fds)
        if command == commands.ADD_STATE_CLIENT:
            self._add_state_client(connection, request)
            return
        handler = self._handlers.get(command)
        if handler is None:
            known = 0 <= command < commands.COUNT
            self._answer(connection, Reply(close=True) if known else Reply(ret=-errno.ENOSYS))
            return
        try:
            reply = handler(request)
        except (OSError, LxcError) as error:
            log.error(f"command {command} of the command socket failed: {describe(error)}")
            reply = Reply(ret=-(getattr(error, "errno", None) or errno.EINVAL))
        if reply is HOLD:
            connection.mode = _Connection.HELD
            connection.deadline = None
            return
        self._answer(connection, reply)

    def _add_state_client(self, connection: _Connection, request: Request) -> None:
        """In a wanted state already (marked exactly 1): the state; else 8, and one message later."""
        if len(request.payload) != commands.STATE_SET.size:
            self._answer(connection, Reply(ret=-errno.EINVAL))
            return
        wanted = commands.STATE_SET.unpack(request.payload)
        now = self.state()
        if 0 <= now < len(wanted) and wanted[now] == 1:
            self._answer(connection, Reply(ret=now, value=now))
            return
        connection.wanted = wanted
        self._answer(connection, Reply(ret=states.MUST_WAIT, value=states.MUST_WAIT, keep=_nothing))

    # -- replies

    def _answer(self, connection: _Connection, reply: Reply) -> None:
        if reply.close:
            self._drop(connection)
            return
        header = commands.HEADER.pack(reply.ret, len(reply.payload), reply.value)
        connection.on_end = reply.keep
        connection.deadline = time.monotonic() + _PATIENCE
        control = []
        if reply.fds:
            packed = _struct.pack(f"{len(reply.fds)}i", *reply.fds)
            control.append((_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed))
        try:
            # The header alone carries the descriptors; liblxc reads it, then the payload with a single recv.
            sent = connection.sock.sendmsg([header], control, _socket.MSG_NOSIGNAL | _socket.MSG_DONTWAIT)
        except OSError:
            self._drop(connection)
            return
        finally:
            if reply.close_fds:
                for fd in reply.fds:
                    os.close(fd)
        connection.output = header[sent:] + reply.payload
        connection.mode = _Connection.WRITING
        self._write(connection)

    def _write(self, connection: _Connection) -> None:
        if connection.output:
            try:
                sent = connection.sock.send(connection.output, _socket.MSG_NOSIGNAL | _socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                self._drop(connection)
                return
            connection.output = connection.output[sent:]
        if connection.output:
            return
        if connection.on_end is None:
            self._drop(connection)
            return
        connection.mode = _Connection.WAITING if connection.wanted else _Connection.KEPT
        connection.deadline = None

    # -- states

    def announce(self, state: int, name: str = "") -> None:
        """Send a state to the clients that wait for it; each gets one message and is dropped."""
        message = commands.STATE_MESSAGE.pack(commands.MESSAGE_STATE, os.fsencode(name)[:255], state)
        for connection in list(self._connections.values()):
            if connection.mode == _Connection.WAITING and connection.wanted[state]:
                try:
                    connection.sock.send(message, _socket.MSG_NOSIGNAL | _socket.MSG_DONTWAIT)
                except OSError:
                    pass  # it does not listen; it is dropped like the others
                self._drop(connection)

    # -- the end

    def stop_listening(self) -> None:
        """Close the listening socket: from here on the container is stopped for every client."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.close()

    def close_all(self, *, keep_reboot_waiters: bool) -> None:
        """Drop every client; those that wait for RUNNING with the reboot mark stay when asked."""
        for connection in list(self._connections.values()):
            if (
                keep_reboot_waiters
                and connection.mode == _Connection.WAITING
                and connection.wanted[states.RUNNING] == _REBOOT_MARK
            ):
                continue
            self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        self._connections.pop(connection.sock.fileno(), None)
        connection.sock.close()
        for fd in connection.fds:
            os.close(fd)
        connection.fds = []
        on_end, connection.on_end = connection.on_end, None
        if on_end is not None:
            on_end()


def _nothing() -> None:
    """What has to be done when a waiting client ends."""
