# SPDX-License-Identifier: LGPL-2.1-or-later
"""One question to a monitor: the connection, who listens, the request, the reply; within one time limit.

`_socket` and not `socket`: this module is half of the price of lxc-info.
"""

from __future__ import annotations

import _socket
import _struct
import errno
import os
import time

from ..errors import Denied, LxcError, TimedOut
from . import commands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PATIENCE = 10.0
NOT_RUNNING = (errno.ECONNREFUSED, errno.EPIPE, errno.ECONNRESET, errno.ENOENT)

# For these a bare -1 means "no", which cannot be told from EPERM.
_MINUS_ONE_IS_NO = (commands.GET_CONFIG_ITEM, commands.ADD_BPF_DEVICE_CGROUP)
_AGAIN = 0.01
_CREDENTIALS = _struct.Struct("iII")
_FD = _struct.calcsize("i")


class Reply:
    """A monitor's answer."""

    __slots__ = ("fds", "payload", "ret", "sock", "value")

    def __init__(self, ret: int, value: int, payload: bytes, fds: list[int], sock: _socket.socket | None) -> None:
        self.ret = ret
        self.value = value
        self.payload = payload
        self.fds = fds
        self.sock = sock

    def fd(self) -> int | None:
        """The first descriptor; the others are closed."""
        close_all(self.fds[1:])
        return self.fds[0] if self.fds else None

    def text(self) -> str:
        """The payload without its NUL."""
        return os.fsdecode(self.payload.split(b"\0", 1)[0])


class Limit:
    """The time that one question may take, over all of its steps."""

    __slots__ = ("deadline", "seconds")

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.deadline = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """For settimeout(); raises TimeoutError when there is none. A limit of 0 never waits."""
        if self.deadline is None:
            return None
        if self.seconds == 0:
            return 0.0
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def error(self, name: str) -> TimedOut:
        """What is raised for a silent monitor."""
        return TimedOut(
            f"the monitor of {name} did not answer within {self.seconds or 0:g} s",
            remedy="it may be starting or stopping, or its process is stopped: try again, or look at it with ps",
        )


def connect(name: str, lxcpath: str, timeout: float | None = PATIENCE) -> _socket.socket | None:
    """A connection to the monitor, or None without one. Raises Denied when a stranger poses as the monitor, TimedOut."""
    return _connect_to(name, lxcpath, Limit(timeout))


def _connect_to(name: str, lxcpath: str, limit: Limit) -> _socket.socket | None:
    sock = _connect(commands.address(os.fsencode(name), os.fsencode(lxcpath)), name, limit)
    if sock is not None:
        _check_monitor(sock, name, lxcpath)
    return sock


def _connect(address: bytes, name: str, limit: Limit) -> _socket.socket | None:
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        while True:
            sock.settimeout(limit.left())
            try:
                sock.connect(address)
                return sock
            except BlockingIOError:
                if limit.seconds == 0:
                    raise TimeoutError from None
                # As many connections wait as may: a monitor that does not serve now. unix(7) has no way to wait for it.
                time.sleep(_AGAIN)
    except TimeoutError:
        sock.close()
        raise limit.error(name) from None
    except OSError as error:
        sock.close()
        if error.errno in NOT_RUNNING:
            return None
        raise


def _check_monitor(sock: _socket.socket, name: str, lxcpath: str) -> None:
    """Close, and raise Denied, unless root, the caller or the container's owner listens.

    An abstract address has no permissions: any user may bind that of a stopped container, and would tell root which
    namespaces to enter.
    """
    uid = listener(sock)[1]
    if uid in (0, os.geteuid()):
        return
    for path in (f"{lxcpath}/{name}/config", lxcpath):
        try:
            if os.stat(path).st_uid == uid:
                return
        except OSError:
            continue
    sock.close()
    raise Denied(
        f"the command socket of {name} is held by user {uid}, to whom {lxcpath} does not belong",
        remedy="`ss -xlp` shows the process",
    )


def listener(sock: _socket.socket) -> tuple[int, int, int]:
    """(pid, uid, gid) of the process that listens: the one that started the container, also after a fork."""
    raw = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _CREDENTIALS.size)
    assert isinstance(raw, bytes)  # as a length was given
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return pid, uid, gid


def ask(
    name: str,
    lxcpath: str,
    command: int,
    value: int = 0,
    payload: bytes = b"",
    *,
    timeout: float | None = PATIENCE,
    keep: bool = False,
    address: bytes = b"",
    fd: int = -1,
    ahead: Ahead | None = None,
) -> Reply | None:
    """One request and its reply; None without a monitor, or when it closes without answering.

    keep: a reply that is no failure owns the connection. address: instead of name and lxcpath. fd: sent after the request.
    ahead: may have sent it already.
    """
    limit = Limit(timeout)
    try:
        answer = ahead.take(limit, command, payload) if ahead is not None else None
        if answer is not None:
            return _allowed(answer, name, command)
        sock = _connect(address, name, limit) if address else _connect_to(name, lxcpath, limit)
        if sock is None:
            return None
        try:
            send(sock, limit, command, value, payload, fd)
        except BaseException:
            sock.close()
            raise
        return _reply(sock, limit, name, command, keep=keep)
    except (TimeoutError, BlockingIOError):
        raise limit.error(name) from None
    except OSError as error:
        if error.errno in NOT_RUNNING:
            return None
        raise


def _reply(sock: _socket.socket, limit: Limit, name: str, command: int, *, keep: bool) -> Reply | None:
    """The reply to what was sent; the connection is closed unless the reply keeps it."""
    kept = False
    try:
        reply = read(sock, limit, name, bounded=command != commands.CONSOLE_LOG, fds=command in commands.WITH_FDS)
        if reply is None:
            return None
        _allowed(reply, name, command)
        if keep and reply.ret >= 0:
            reply.sock = sock
            kept = True
        return reply
    finally:
        if not kept:
            sock.close()


def _allowed(reply: Reply, name: str, command: int) -> Reply:
    """The reply, unless it is a refusal: then its descriptors are closed. Raises Denied."""
    if reply.ret == -errno.EPERM and command not in _MINUS_ONE_IS_NO:
        close_all(reply.fds)
        raise denied(name)
    return reply


class Ahead:
    """Requests that were sent before their answers are wanted, and have no descriptors in them: many monitors work on them at
    the same time.

    All go in one message. liblxc's monitors since 5.0 close after the first answer: the others are asked for again when they
    are wanted, like what could not be sent at once. Sending never waits and never fails.
    """

    __slots__ = ("_answers", "_lxcpath", "_name", "_sent", "_sock")

    def __init__(self, name: str, lxcpath: str) -> None:
        self._name = name
        self._lxcpath = lxcpath
        self._sock: _socket.socket | Denied | None = None
        self._sent: tuple[tuple[int, bytes], ...] = ()
        self._answers: dict[tuple[int, bytes], Reply] = {}

    def send(self, requests: Iterable[tuple[int, bytes]]) -> None:
        """Send requests, (command, payload), that pass no value and no descriptor; not those whose answers are here."""
        missing = tuple(request for request in requests if request not in self._answers)
        if not missing or self._sent:
            return
        now = Limit(0.0)
        try:
            sock = _connect_to(self._name, self._lxcpath, now)
            if sock is None:
                return
            self._sock = sock
            data = b"".join([_packed(command, 0, payload) for command, payload in missing])
            if _send_as_us(sock, data) == len(data):
                self._sent = missing
            else:
                self._hang_up()
        except Denied as error:
            self._sock, self._sent = error, missing
        except (TimedOut, OSError):
            self._hang_up()

    def take(self, limit: Limit, command: int, payload: bytes) -> Reply | None:
        """The answer, for its only reader; None when it must be asked for. Raises Denied, TimeoutError, LxcError, OSError."""
        if (command, payload) in self._sent:
            self._receive(limit)
        return self._answers.pop((command, payload), None)

    def _receive(self, limit: Limit) -> None:
        sock, sent = self._sock, self._sent
        self._sock, self._sent = None, ()
        if isinstance(sock, Denied):
            raise sock
        assert sock is not None
        try:
            for request in sent:
                reply = read(sock, limit, self._name)
                if reply is None:
                    break
                self._answers[request] = reply
        except LxcError:
            pass  # a wrong answer is for its own question to tell
        except OSError as error:
            if error.errno not in NOT_RUNNING:
                self._answers.clear()  # they would be old when somebody asks again
                raise
        finally:
            sock.close()

    def close(self) -> None:
        """Give up what nobody has read."""
        self._hang_up()
        self._answers.clear()


    def _hang_up(self) -> None:
        sock, self._sock, self._sent = self._sock, None, ()
        if sock is not None and not isinstance(sock, Denied):
            sock.close()


def denied(name: str) -> Denied:
    """What is raised for a refusal."""
    return Denied(f"the monitor of {name} does not take orders from this user", remedy="run it as the user who started it")


def send(sock: _socket.socket, limit: Limit, command: int, value: int, payload: bytes = b"", fd: int = -1) -> None:
    """Send a request, and a descriptor after it. Raises TimeoutError, OSError."""
    data = _packed(command, value, payload)
    sock.settimeout(limit.left())
    sent = _send_as_us(sock, data)
    try:
        if sent < len(data):
            sock.settimeout(limit.left())
            sock.sendall(data[sent:], _socket.MSG_NOSIGNAL)
        if fd >= 0:
            sock.sendmsg([b"\0"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, _struct.pack("i", fd))], _socket.MSG_NOSIGNAL)
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused before the rest was read; the reply says so


def _packed(command: int, value: int, payload: bytes) -> bytes:
    return commands.HEADER.pack(command, len(payload), value) + payload


def _send_as_us(sock: _socket.socket, data: bytes) -> int:
    """Send data with our credentials, which every header needs; the number of bytes sent."""
    credentials = _CREDENTIALS.pack(os.getpid(), os.getuid(), os.getgid())
    return sock.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_CREDENTIALS, credentials)], _socket.MSG_NOSIGNAL)


def read(sock: _socket.socket, limit: Limit, name: str, *, bounded: bool = True, fds: bool = False) -> Reply | None:
    """The reply, or None for the end of the connection. fds: whether it may have descriptors; those of others stay out.

    Descriptors are owned before anything else is looked at.
    """
    size = commands.HEADER.size
    sock.settimeout(limit.left())
    space = _socket.CMSG_SPACE(commands.MOST_FDS * _FD) if fds else 0
    data, control, _flags, _peer = sock.recvmsg(size, space, _socket.MSG_CMSG_CLOEXEC)
    received: list[int] = []
    for level, kind, raw in control:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            received.extend(number for (number,) in _struct.iter_unpack("i", raw[: len(raw) // _FD * _FD]))
    try:
        data += _receive(sock, size - len(data), limit) if data else b""
        if len(data) == size:
            ret, length, value = commands.HEADER.unpack(data)
            if bounded and length > commands.LONGEST_PAYLOAD:
                raise LxcError(f"the monitor of {name} answers with {length} bytes, more than the protocol allows")
            payload = _receive(sock, length, limit)
            if len(payload) == max(0, length):
                return Reply(ret, commands.low32(value), payload, received, None)
    except BaseException:
        close_all(received)
        raise
    close_all(received)
    return None


def _receive(sock: _socket.socket, length: int, limit: Limit) -> bytes:
    """So many bytes, or fewer at the end of the connection."""
    data = bytearray()
    while len(data) < length:
        sock.settimeout(limit.left())
        more = sock.recv(min(length - len(data), 1 << 20))
        if not more:
            break
        data += more
    return bytes(data)


def close_all(fds: list[int]) -> None:
    """Close descriptors that nobody wants."""
    for fd in fds:
        os.close(fd)
