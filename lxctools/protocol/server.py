# SPDX-License-Identifier: LGPL-2.1-or-later
"""The monitor's end of the command socket: accepting, credentials, framing, waiting clients.

What a command means is given as a table of functions: number -> handler(Request) -> Reply.

Every connection is a small state machine on a non-blocking descriptor with a deadline, so that no client can stop the
monitor (C LXC's can be stopped by a header without its payload, and killed by connections that never say anything):

    READING  the request's header, then its payload, or the one message with a descriptor
    WRITING  the reply
    KEPT     the reply is out and the connection itself means something: a tty is taken
    HELD     no reply: closed when the container has ended
    WAITING  one state message to come

A client that has sent several requests in one message gets all of their answers; one that has sent nothing more when it
is answered is closed, as liblxc's monitors do.

Strangers, whom nothing but their credentials could let in, are few and short-lived, and the oldest of the one with the
most connections goes first; a spare descriptor keeps accept(2) working when there are no others.
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

# More than liblxc's 100: a stranger must open that many before a start is over to keep others out until then.
_BACKLOG = 1024
_PATIENCE = 10.0  # seconds for a request to arrive, and for a reply to be taken
_PATIENCE_WITH_STRANGERS = 2.0
_MOST_STRANGERS = 64
_MOST_OF_ONE_STRANGER = 16
_MOST_CONNECTIONS = 512  # half of the usual limit of descriptors: the other half is the monitor's and its hooks'
_ACCEPTED_AT_ONCE = 32  # then the console has its turn
_MOST_REQUESTS = 32  # of one connection
_LARGE = 65536
_SO_SNDBUFFORCE = 32

_CREDENTIALS = _struct.Struct("iII")
_FD = _struct.calcsize("i")
_CREDENTIALS_SPACE = _socket.CMSG_SPACE(_CREDENTIALS.size)
_REBOOT_MARK = 2


class Request:
    """A complete request: its payload, or (if it has none) its value; fds that came with it are the server's."""

    __slots__ = ("command", "fds", "payload", "value")

    def __init__(self, command: int, value: int, payload: bytes, fds: list[int]) -> None:
        self.command = command
        self.value = value
        self.payload = payload
        self.fds = fds

    def take_fd(self) -> int:
        """The first descriptor, the caller's from now on; -1 when none came."""
        return self.fds.pop(0) if self.fds else -1


class Reply:
    """An answer: ret is 0 or -errno.

    fds are passed and stay the monitor's, unless close_fds. keep: the connection stays open, and keep() is called when
    it ends. close: no reply at all, the connection is closed.
    """

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
        # Here, as accepted ones inherit it: what arrives between accept(2) and a later setsockopt(2) would lack its sender.
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise AlreadyRunning(f'Container "{name}" appears to be already running', remedy="lxc-info tells its state")
        raise LxcError(f"cannot bind the command socket of {name}: {describe(error)}") from error
    return sock


READING, WRITING, KEPT, HELD, WAITING = range(5)


class _Connection:
    """One client. uid: who connected (not who may command: that is in the request's credentials)."""

    __slots__ = (
        "command",
        "deadline",
        "expected",
        "fds",
        "header",
        "input",
        "mode",
        "on_end",
        "output",
        "served",
        "sock",
        "stranger",
        "uid",
        "value",
        "wanted",
    )

    def __init__(self, sock: _socket.socket, uid: int, *, stranger: bool) -> None:
        self.sock = sock
        self.uid = uid
        self.stranger = stranger
        self.mode = READING
        self.deadline: float | None = time.monotonic() + (_PATIENCE_WITH_STRANGERS if stranger else _PATIENCE)
        self.served = 0  # requests answered
        self.header = False  # complete, and its sender may command
        self.input = b""
        self.expected = commands.HEADER.size
        self.command = -1
        self.value = 0
        self.fds: list[int] = []
        self.output = b""
        self.on_end: Callable[[], object] | None = None
        self.wanted: tuple[int, ...] = ()

    @property
    def answered(self) -> bool:
        """Whether it has its answers, and no other request came with them."""
        return self.served > 0 and self.mode == READING and not self.header


class Server:
    """Serves the command socket inside a poll loop: poll_list(), handle(), next_deadline(), expire(), announce().

    handlers: what each command means. The name and, unless `state` is set, the state that waiting clients are told come
    from the handlers of GET_NAME and GET_STATE.
    """

    def __init__(self, listening: ListeningSocket, handlers: Mapping[int, Callable[[Request], Reply]]) -> None:
        self._listening: ListeningSocket | None = listening
        self._handlers = handlers
        self._connections: dict[int, _Connection] = {}
        self._spare = _open_spare()
        self._uid, self._gid = os.getuid(), os.getgid()
        self.state: Callable[[], int] = self._state

    def poll_list(self) -> list[tuple[int, int]]:
        """(descriptor, poll mask) of everything that this server waits for."""
        result = []
        if self._listening is not None and not self._full():
            result.append((self._listening.fileno(), select.POLLIN))
        for fd, connection in self._connections.items():
            result.append((fd, select.POLLOUT if connection.mode == WRITING else select.POLLIN))
        return result

    def next_deadline(self) -> float | None:
        """When expire() has something to do, in time.monotonic()."""
        deadlines = [c.deadline for c in self._connections.values() if c.deadline is not None]
        return min(deadlines) if deadlines else None

    def expire(self, now: float) -> None:
        """Drop the clients that took too long."""
        for connection in [c for c in self._connections.values() if c.deadline is not None and c.deadline <= now]:
            log.debug(f"a client of the command socket (uid {connection.uid}) was too slow and is dropped")
            self._drop(connection)

    def handle(self, fd: int, _events: int) -> None:
        """Something happened on one of poll_list()'s descriptors. A client's failure ends that client only."""
        if self._listening is not None and fd == self._listening.fileno():
            self._accept()
            return
        connection = self._connections.get(fd)
        if connection is not None:
            self._serve(connection)

    def _serve(self, connection: _Connection) -> None:
        try:
            if connection.mode == WRITING:
                self._write(connection)
            elif connection.mode != READING:
                # A kept client hung up, or said something more: either frees what it held. Looked at first, because the
                # event may be meant for an earlier connection with the same number.
                connection.sock.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT)
                self._drop(connection)
            while connection.mode == READING and connection.sock.fileno() >= 0:
                self._read(connection)
        except BlockingIOError:
            if connection.answered:
                self._drop(connection)
        except OSError as error:
            log.debug(f"a client of the command socket failed: {describe(error)}")
            self._drop(connection)

    # -- accepting

    def _accept(self) -> None:
        assert self._listening is not None
        for _ in range(_ACCEPTED_AT_ONCE):
            if self._full():
                return
            try:
                fd, _peer = self._listening._accept()  # type: ignore[attr-defined, unused-ignore]
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._shed()
                    continue
                # ECONNABORTED, or no memory: nothing that would be better with the monitor, and its container, dead.
                log.debug(f"accepting on the command socket failed: {describe(error)}")
                return
            self._begin(_socket.socket(fileno=fd))
            if len(self._connections) > _MOST_CONNECTIONS:
                for oldest in self._idle()[:1]:
                    self._drop(oldest)

    def _begin(self, sock: _socket.socket) -> None:
        """Serve a new client at once: its request has nearly always arrived, and then no flood can push it out."""
        sock.setblocking(False)
        raw = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _CREDENTIALS.size)
        assert isinstance(raw, bytes)  # as a length was given
        uid: int = _CREDENTIALS.unpack(raw)[1]
        connection = _Connection(sock, uid, stranger=uid not in (0, self._uid))
        self._connections[sock.fileno()] = connection
        self._serve(connection)
        if connection.stranger and connection.mode == READING:
            self._limit_strangers(uid)

    def _limit_strangers(self, uid: int) -> None:
        strangers = [c for c in self._idle() if c.stranger]
        same = [c for c in strangers if c.uid == uid]
        if len(same) > _MOST_OF_ONE_STRANGER:
            self._drop(same[0])
        elif len(strangers) > _MOST_STRANGERS:
            self._drop(_oldest_of_the_most(strangers))

    def _full(self) -> bool:
        """Whether no other connection can be taken, not even in the place of an idle one: it waits in the backlog."""
        return len(self._connections) >= _MOST_CONNECTIONS and not self._idle()

    def _idle(self) -> list[_Connection]:
        """The connections that have not proved that they may command, strangers first, then the oldest."""
        idle = [c for c in self._connections.values() if c.mode == READING and not c.header]
        return [c for c in idle if c.stranger] + [c for c in idle if not c.stranger]

    def _shed(self) -> None:
        """No descriptor left: give up idle clients, and turn one away that waits, with the spare descriptor."""
        assert self._listening is not None
        for connection in self._idle():
            if connection.stranger:
                self._drop(connection)
        if self._spare >= 0:
            os.close(self._spare)
        try:
            fd, _peer = self._listening._accept()  # type: ignore[attr-defined, unused-ignore]
            os.close(fd)
        except OSError:
            pass  # it has gone by itself
        self._spare = _open_spare()

    # -- requests

    def _read(self, connection: _Connection) -> None:
        """Take what has arrived of the part that is expected next. Raises BlockingIOError when nothing has."""
        with_fd = connection.header and connection.command == commands.SECCOMP_NOTIFY_ADD_LISTENER
        # Room for descriptors only where one is expected: elsewhere the kernel then drops what a client sends.
        space = _CREDENTIALS_SPACE + (_socket.CMSG_SPACE(_FD) if with_fd else 0)
        missing = connection.expected - len(connection.input)
        data, control, _flags, _peer = connection.sock.recvmsg(missing, space, _socket.MSG_CMSG_CLOEXEC | _socket.MSG_DONTWAIT)
        allowed = False
        for level, kind, raw in control:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                connection.fds += [number for (number,) in _struct.iter_unpack("i", raw[: len(raw) // _FD * _FD])]
            elif level == _socket.SOL_SOCKET and kind == _socket.SCM_CREDENTIALS:
                _pid, uid, gid = _CREDENTIALS.unpack(raw[: _CREDENTIALS.size])
                allowed = self._allowed(uid, gid)
        if not data:
            self._drop(connection)
            return
        connection.input += data
        if not connection.header and not allowed:
            # Every piece of the header is looked at; the payload is not read.
            self._answer(connection, Reply(ret=-errno.EPERM))
        elif len(connection.input) == connection.expected:
            if connection.header:
                self._complete(connection)
            else:
                self._header(connection)

    def _allowed(self, uid: int, gid: int) -> bool:
        """Root, or the monitor's own user and group (credentials of the request's header: liblxc's rule)."""
        return uid == 0 or (uid == self._uid and gid == self._gid)

    def _header(self, connection: _Connection) -> None:
        connection.command, length, value = commands.HEADER.unpack(connection.input)
        connection.value = commands.low32(value)
        connection.header = True
        connection.deadline = time.monotonic() + _PATIENCE
        connection.input = b""
        if length > commands.LONGEST_PAYLOAD:
            self._drop(connection)
        elif length > 0:
            connection.expected = length
        elif connection.command == commands.SECCOMP_NOTIFY_ADD_LISTENER:
            connection.expected = 1
        else:
            self._complete(connection)

    def _complete(self, connection: _Connection) -> None:
        command = connection.command
        request = Request(command, connection.value, connection.input, connection.fds)
        if command == commands.ADD_STATE_CLIENT:
            self._add_state_client(connection, request)
            return
        if not 0 <= command < commands.COUNT:
            self._answer(connection, Reply(ret=-errno.ENOSYS))
            return
        handler = self._handlers.get(command)
        if handler is None:
            self._drop(connection)  # retired, like TERMINAL_WINCH
            return
        try:
            reply = handler(request)
        except Exception as error:
            # Whatever a handler gets wrong, the container lives on.
            log.error(f"{commands.NAMES[command]} on the command socket failed: {describe(error)}")
            reply = Reply(ret=-(getattr(error, "errno", None) or errno.EINVAL))
        if reply is HOLD:
            connection.mode = HELD
            connection.deadline = None
        else:
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

    def _state(self) -> int:
        return self._handlers[commands.GET_STATE](Request(commands.GET_STATE, 0, b"", [])).value

    # -- replies

    def _answer(self, connection: _Connection, reply: Reply) -> None:
        if reply.close:
            self._drop(connection)
            return
        connection.on_end = reply.keep
        connection.deadline = time.monotonic() + _PATIENCE
        connection.mode = WRITING
        data = commands.HEADER.pack(reply.ret, len(reply.payload), reply.value) + reply.payload
        control = []
        if reply.fds:
            packed = _struct.pack(f"{len(reply.fds)}i", *reply.fds)
            control.append((_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed))
        if len(data) > _LARGE:
            _widen(connection.sock, len(data))
        try:
            # The descriptors ride on the first byte. liblxc reads the header, then the payload with a single recv(2), so
            # all of it is sent at once.
            sent = connection.sock.sendmsg([data], control, _socket.MSG_NOSIGNAL | _socket.MSG_DONTWAIT)
        except OSError as error:
            # Full of earlier answers to the same client: neither descriptors nor what comes after the answer can wait for it.
            if error.errno != errno.EAGAIN or reply.fds or reply.keep is not None:
                self._drop(connection)
                return
            sent = 0
        finally:
            if reply.close_fds:
                for fd in reply.fds:
                    os.close(fd)
        connection.output = data[sent:]
        self._written(connection)

    def _write(self, connection: _Connection) -> None:
        sent = connection.sock.send(connection.output, _socket.MSG_NOSIGNAL | _socket.MSG_DONTWAIT)
        connection.output = connection.output[sent:]
        self._written(connection)

    def _written(self, connection: _Connection) -> None:
        if connection.output:
            return
        if connection.on_end is None:
            self._next(connection)
            return
        connection.mode = WAITING if connection.wanted else KEPT
        connection.deadline = None

    def _next(self, connection: _Connection) -> None:
        """After an answer: read on, unless the client was refused or has had its share."""
        connection.served += 1
        if not connection.header or connection.served >= _MOST_REQUESTS:
            self._drop(connection)
            return
        while connection.fds:
            os.close(connection.fds.pop())
        connection.mode = READING
        connection.header = False
        connection.input = b""
        connection.expected = commands.HEADER.size

    # -- states

    def announce(self, state: int, name: str | None = None) -> None:
        """Send a state to the clients that wait for it; each gets one message and is dropped. Never blocks.

        name: what stands in the message, the container's by default.
        """
        waiting = [c for c in self._connections.values() if c.wanted and c.wanted[state] and c.mode == WAITING]
        if not waiting:
            return
        raw = os.fsencode(name) if name is not None else self._name()
        message = commands.STATE_MESSAGE.pack(commands.MESSAGE_STATE, raw[:255], state)
        for connection in waiting:
            try:
                connection.sock.send(message, _socket.MSG_NOSIGNAL | _socket.MSG_DONTWAIT)
            except OSError:
                pass  # it does not listen; it is dropped like the others
            self._drop(connection)

    def _name(self) -> bytes:
        handler = self._handlers.get(commands.GET_NAME)
        return b"" if handler is None else handler(Request(commands.GET_NAME, 0, b"", [])).payload.split(b"\0", 1)[0]

    # -- the end

    def stop_listening(self) -> None:
        """Close the listening socket: from here on the container is stopped for every client."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.close()

    def close_all(self, *, keep_reboot_waiters: bool) -> None:
        """Drop every client.

        keep_reboot_waiters (a reboot): those that wait for RUNNING with the reboot mark stay, and so do requests that
        are not answered yet: the next boot answers them.
        """
        for connection in list(self._connections.values()):
            if keep_reboot_waiters and (
                connection.mode in (READING, WRITING)
                or (connection.mode == WAITING and connection.wanted[states.RUNNING] == _REBOOT_MARK)
            ):
                continue
            self._drop(connection)
        if not keep_reboot_waiters and self._spare >= 0:
            os.close(self._spare)
            self._spare = -1

    def _drop(self, connection: _Connection) -> None:
        fd = connection.sock.fileno()
        if fd < 0:
            return
        del self._connections[fd]
        connection.sock.close()
        while connection.fds:
            os.close(connection.fds.pop())
        on_end, connection.on_end = connection.on_end, None
        if on_end is not None:
            on_end()


def _oldest_of_the_most(connections: Sequence[_Connection]) -> _Connection:
    """The oldest connection of the user who has the most."""
    count: dict[int, int] = {}
    for connection in connections:
        count[connection.uid] = count.get(connection.uid, 0) + 1
    most = max(count.values())
    return next(c for c in connections if count[c.uid] == most)


def _widen(sock: _socket.socket, size: int) -> None:
    """Make room for a reply of this size; where that is not allowed it goes out in pieces."""
    for option in (_SO_SNDBUFFORCE, _socket.SO_SNDBUF):
        try:
            sock.setsockopt(_socket.SOL_SOCKET, option, size * 2)
            return
        except OSError:
            continue


def _open_spare() -> int:
    try:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1  # taken by somebody else meanwhile; tried again at the next shortage


def _nothing() -> None:
    """What has to be done when a waiting client ends."""
