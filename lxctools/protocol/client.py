# SPDX-License-Identifier: LGPL-2.1-or-later
"""Questions to a container's monitor, ours or liblxc's: one connection each, every one with a time limit.

No monitor is not an error: the functions answer None. Raises Denied when the monitor refuses the caller, TimedOut when it
does not answer. Descriptors that are returned are close-on-exec and the caller's.

`_socket` and not `socket`: this module is half of the price of lxc-info.
"""

from __future__ import annotations

import _socket
import _struct
import errno
import os

from ..errors import Denied, LxcError, TimedOut
from . import commands

PATIENCE = 10.0

_NOT_RUNNING = (errno.ECONNREFUSED, errno.EPIPE, errno.ECONNRESET, errno.ENOENT)
_CREDENTIALS = _struct.Struct("iII")
_FD = _struct.calcsize("i")


class _Reply:
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
        for extra in self.fds[1:]:
            os.close(extra)
        return self.fds[0] if self.fds else None

    def text(self) -> str:
        """The payload without its NUL."""
        return os.fsdecode(self.payload.split(b"\0", 1)[0])


def connect(name: str, lxcpath: str, timeout: float | None = PATIENCE) -> _socket.socket | None:
    """A connection to the monitor, or None without one."""
    return _connect(commands.address(os.fsencode(name), os.fsencode(lxcpath)), name, timeout)


def _connect(address: bytes, name: str, timeout: float | None) -> _socket.socket | None:
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    sock.settimeout(timeout)
    try:
        sock.connect(address)
    except OSError as error:
        sock.close()
        if error.errno in _NOT_RUNNING:
            return None
        if error.errno in (errno.EAGAIN, errno.ETIMEDOUT) or isinstance(error, TimeoutError):
            raise _silent(name, timeout) from error
        raise
    return sock


def _silent(name: str, timeout: float | None) -> TimedOut:
    return TimedOut(
        f"the monitor of {name} did not answer within {timeout or 0:g} s",
        remedy="it may be starting or stopping, or its process is stopped: try again, or look at it with ps",
    )


def _ask(
    name: str,
    lxcpath: str,
    command: int,
    value: int = 0,
    payload: bytes = b"",
    *,
    timeout: float | None = PATIENCE,
    keep: bool = False,
    address: bytes = b"",
) -> _Reply | None:
    """One request and its reply; None without a monitor, or when it closes without answering."""
    sock = _connect(address, name, timeout) if address else connect(name, lxcpath, timeout)
    if sock is None:
        return None
    kept = False
    try:
        header = commands.HEADER.pack(command, len(payload), value)
        credentials = _CREDENTIALS.pack(os.getpid(), os.getuid(), os.getgid())
        sock.sendmsg(
            [header], [(_socket.SOL_SOCKET, _socket.SCM_CREDENTIALS, credentials)], _socket.MSG_NOSIGNAL
        )
        if payload:
            try:
                sock.send(payload, _socket.MSG_NOSIGNAL)
            except BrokenPipeError:
                pass  # refused before the payload was read; the reply says so
        reply = _read(sock)
        if reply is None:
            return None
        if reply.ret == -errno.EPERM and command not in (commands.GET_CONFIG_ITEM, commands.ADD_BPF_DEVICE_CGROUP):
            raise Denied(f"the monitor of {name} does not take orders from this user")
        if keep and reply.ret >= 0:
            reply.sock = sock
            kept = True
        return reply
    except TimeoutError as error:
        raise _silent(name, timeout) from error
    except OSError as error:
        if error.errno in _NOT_RUNNING:
            return None
        raise
    finally:
        if not kept:
            sock.close()


def _read(sock: _socket.socket) -> _Reply | None:
    size = commands.HEADER.size
    data, control, _flags, _peer = sock.recvmsg(
        size, _socket.CMSG_SPACE(commands.MOST_FDS * _FD), _socket.MSG_CMSG_CLOEXEC
    )
    fds: list[int] = []
    for level, kind, raw in control:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            fds.extend(number for (number,) in _struct.iter_unpack("i", raw[: len(raw) // _FD * _FD]))
    try:
        while data and len(data) < size:
            more = sock.recv(size - len(data))
            if not more:
                break
            data += more
        if len(data) < size:
            raise EOFError
        ret, length, value = commands.HEADER.unpack(data)
        payload = b""
        while len(payload) < length:
            more = sock.recv(length - len(payload))
            if not more:
                break
            payload += more
    except EOFError:
        for fd in fds:
            os.close(fd)
        return None
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    return _Reply(ret, _low(value), payload, fds, None)


def _low(value: int) -> int:
    """The low 32 bits, signed: what an int of the other side is."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value & 0x80000000 else value


def state(name: str, lxcpath: str, *, timeout: float = PATIENCE) -> int | None:
    """The state's number."""
    reply = _ask(name, lxcpath, commands.GET_STATE, timeout=timeout)
    return None if reply is None else reply.value


def init_pid(name: str, lxcpath: str, *, timeout: float = PATIENCE) -> int | None:
    """The process id of init in the monitor's pid namespace."""
    reply = _ask(name, lxcpath, commands.GET_INIT_PID, timeout=timeout)
    return None if reply is None or reply.value <= 0 else reply.value


def may_control(name: str, lxcpath: str) -> None:
    """Raise Denied when a monitor refuses the caller; no monitor refuses nobody."""
    _ask(name, lxcpath, commands.GET_INIT_PID)


def clone_flags(name: str, lxcpath: str) -> int | None:
    """The CLONE_* bits of the namespaces that are the container's own."""
    reply = _ask(name, lxcpath, commands.GET_CLONE_FLAGS)
    return None if reply is None else reply.value & 0xFFFFFFFF


def config_item(name: str, lxcpath: str, key: str, *, timeout: float = PATIENCE) -> str | None:
    """A value of the running configuration; None also for an unknown or empty one."""
    reply = _ask(name, lxcpath, commands.GET_CONFIG_ITEM, payload=os.fsencode(key) + b"\0", timeout=timeout)
    return None if reply is None or reply.ret < 0 or not reply.payload else reply.text()


def _fd_of(name: str, lxcpath: str, command: int, timeout: float = PATIENCE) -> int | None:
    reply = _ask(name, lxcpath, command, timeout=timeout)
    return None if reply is None else reply.fd()


def init_pidfd(name: str, lxcpath: str) -> int | None:
    """A pidfd of init; None also from monitors that have none to give."""
    return _fd_of(name, lxcpath, commands.GET_INIT_PIDFD)


def devpts_fd(name: str, lxcpath: str) -> int | None:
    """The container's devpts directory."""
    return _fd_of(name, lxcpath, commands.GET_DEVPTS_FD)


def seccomp_notify_fd(name: str, lxcpath: str) -> int | None:
    """The seccomp listener of init."""
    return _fd_of(name, lxcpath, commands.GET_SECCOMP_NOTIFY_FD)


def cgroup2_fd(name: str, lxcpath: str, *, limit: bool = False) -> int | None:
    """The payload's (or its limits') directory on a pure unified hierarchy; None on any other layout."""
    return _fd_of(name, lxcpath, commands.GET_LIMIT_CGROUP2_FD if limit else commands.GET_CGROUP2_FD)


def cgroup(name: str, lxcpath: str, controller: str, *, limit: bool = False) -> str | None:
    """The payload's (or its limits') path in a controller's hierarchy, relative to the hierarchy's root."""
    payload = os.fsencode(controller) + b"\0" if controller else b""
    wanted = [commands.GET_LIMIT_CGROUP, commands.GET_CGROUP] if limit else [commands.GET_CGROUP]
    for command in wanted:  # monitors before 4.0.3 do not know the first
        reply = _ask(name, lxcpath, command, payload=payload)
        if reply is not None and reply.ret >= 0 and reply.payload:
            return reply.text()
    return None


def cgroup_fd(
    name: str, lxcpath: str, controller: str, *, limit: bool = False, timeout: float = PATIENCE
) -> int | None:
    """The directory of one controller. limit: where limits are set, else where the processes are.

    liblxc's monitors answer the two the wrong way round; that matters only with lxc.cgroup.dir.container.inner, and
    lxc-cgroup then asks for the path.
    """
    command = commands.GET_LIMIT_CGROUP_FD if limit else commands.GET_CGROUP_FD
    request = commands.CGROUP_FD.pack(0, 0, 0, commands.UNUSED_FD, os.fsencode(controller))
    reply = _ask(name, lxcpath, command, payload=request, timeout=timeout)
    return None if reply is None else reply.fd()


def cgroup_ctx(name: str, lxcpath: str) -> tuple[int, int, list[int]] | None:
    """(layout, utilities, a directory of each hierarchy) of the payload; None when there is nothing to join.

    Falls back to the one unified directory for monitors that do not know the command.
    """
    request = bytes(commands.CGROUP_CTX.size)
    reply = _ask(name, lxcpath, commands.GET_CGROUP_CTX, payload=request)
    if reply is not None and reply.ret >= 0 and reply.fds:
        layout, utilities = _struct.unpack_from("<iI", reply.payload)
        return layout, utilities, reply.fds
    if reply is not None and reply.ret in (-errno.ENOSYS, -errno.EOPNOTSUPP):
        fd = cgroup2_fd(name, lxcpath)
        return None if fd is None else (2, 0, [fd])
    return None


def tty(name: str, lxcpath: str, number: int = -1) -> tuple[_socket.socket, int, int] | None:
    """(connection, master, number) of a tty: 0 the console, -1 the first free one; None without a monitor.

    The tty is taken as long as the connection lives. Raises LxcError when it is refused.
    """
    reply = _ask(name, lxcpath, commands.GET_TTY_FD, number, keep=True)
    if reply is None:
        return None
    fd = reply.fd()
    if reply.ret < 0 or fd is None or reply.sock is None:
        if fd is not None:
            os.close(fd)
        which = "the console" if number == 0 else "any tty" if number < 0 else f"tty {number}"
        raise LxcError(
            f"Denied access to tty: the monitor of {name} does not give out {which}",
            remedy="it is in use, or does not exist: lxc.tty.max sets their number",
        )
    reply.sock.settimeout(None)
    return reply.sock, fd, reply.value


def stop(name: str, lxcpath: str, *, wait: bool = True, timeout: float | None = None) -> None:
    """Have the monitor kill init, and wait until it has cleaned up: its end is the end of the connection.

    Raises Denied, TimedOut, LxcError when init cannot be signalled.
    """
    sock = connect(name, lxcpath)
    if sock is None:
        return
    try:
        sock.settimeout(timeout)
        credentials = _CREDENTIALS.pack(os.getpid(), os.getuid(), os.getgid())
        sock.sendmsg(
            [commands.HEADER.pack(commands.STOP, 0, 0)],
            [(_socket.SOL_SOCKET, _socket.SCM_CREDENTIALS, credentials)],
            _socket.MSG_NOSIGNAL,
        )
        if not wait:
            return
        reply = _read(sock)
        if reply is not None and reply.ret < 0:
            if reply.ret == -errno.EPERM:
                raise Denied(f"the monitor of {name} does not take orders from this user")
            raise LxcError(f"the monitor of {name} cannot signal its init: {os.strerror(-reply.ret)}")
    except TimeoutError as error:
        raise _silent(name, timeout) from error
    except OSError as error:
        if error.errno not in _NOT_RUNNING:
            raise
    finally:
        sock.close()


def add_state_client(
    name: str, lxcpath: str, wanted: dict[int, int], *, timeout: float = PATIENCE
) -> _socket.socket | int | None:
    """Ask to be told of states: {state: 1, or 2 for "not even now, and across a reboot"}.

    Returns the state when it is reached already, else the connection on which one message will come; None
    without a monitor.
    """
    request = commands.STATE_SET.pack(*(wanted.get(number, 0) for number in range(8)))
    reply = _ask(name, lxcpath, commands.ADD_STATE_CLIENT, payload=request, timeout=timeout, keep=True)
    if reply is None:
        return None
    if reply.ret < 0 or reply.sock is None:
        raise LxcError(f"the monitor of {name} does not announce states: {os.strerror(-reply.ret)}")
    if reply.value < 8:
        reply.sock.close()
        return reply.value
    reply.sock.settimeout(None)
    return reply.sock


def serve_state_clients(name: str, lxcpath: str, state_number: int) -> None:
    """Tell the monitor that the caller has changed the container's state."""
    _ask(name, lxcpath, commands.SERVE_STATE_CLIENTS, state_number)


def console_log(name: str, lxcpath: str, *, clear: bool, read: bool, most: int = 0) -> bytes | None:
    """The console's ring buffer; b"" when it is empty, None without a monitor. Raises LxcError without a buffer."""
    request = commands.CONSOLE_LOG_REQUEST.pack(int(clear), int(read), most, 0)
    reply = _ask(name, lxcpath, commands.CONSOLE_LOG, payload=request)
    if reply is None:
        return None
    if reply.ret == -errno.ENODATA:
        return b""
    if reply.ret < 0:
        raise LxcError(
            f"{name} keeps no console log: {os.strerror(-reply.ret)}", remedy="set lxc.console.buffer.size before the start"
        )
    return reply.payload


def active(lxcpath: str, table: str | int = "/proc/net/unix") -> list[str]:
    """The names of the containers of this lxcpath that have a monitor, in the order found. table: a path or descriptor.

    From the kernel's list of sockets; a hashed address is asked whose it is. Both a listening and a connected socket show the
    same name.
    """
    prefix = b"@" + os.fsencode(lxcpath.rstrip("/") or "/") + b"/"
    hashed = b"@lxc/"
    suffix = b"/command"
    found: dict[bytes, None] = {}
    with open(table, "rb", buffering=0) as file:
        data = file.readall()
    if prefix not in data and hashed not in data:
        return []
    for line in data.splitlines():
        start = line.find(b" @")
        if start < 0 or not line.endswith(suffix):
            continue
        socket_name = line[start + 1 :]
        if socket_name.startswith(prefix):
            name = socket_name[len(prefix) : -len(suffix)]
            if b"/" not in name:
                found[name] = None
        elif socket_name.startswith(hashed) and socket_name.count(b"/") == 2:
            address = b"\0" + socket_name[1:]
            place = _ask("", "", commands.GET_LXCPATH, address=address, timeout=1.0)
            if place is not None and place.text().rstrip("/") == lxcpath.rstrip("/"):
                name_reply = _ask("", "", commands.GET_NAME, address=address, timeout=1.0)
                if name_reply is not None:
                    found[os.fsencode(name_reply.text())] = None
    return [os.fsdecode(name) for name in found]
