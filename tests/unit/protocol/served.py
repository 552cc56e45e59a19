# SPDX-License-Identifier: LGPL-2.1-or-later
"""The server of the command socket in a forked process, with handlers that play a container, and what drives it."""

from __future__ import annotations

import errno
import itertools
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lxctools import states
from lxctools.protocol import commands, server
from lxctools.protocol.server import HOLD, Reply, Request

_numbers = itertools.count()
CLONE_FLAGS = 0x6E020000
CONFIG = {"lxc.uts.name": "w1", "lxc.net": "veth\n"}
CONSOLE = b"Please press Enter to activate this console"
V1, V2 = 0x27E0EB, 0x63677270


def new_place() -> tuple[str, str]:
    """(name, lxcpath) that nobody else uses."""
    return "w1", f"/nowhere/{os.getpid()}.{next(_numbers)}"


class Container:
    """What the handlers answer. folders: controller -> (inner, limit) directories; newest: the last command it knows."""

    def __init__(self, name: str, lxcpath: str) -> None:
        self.name = name
        self.lxcpath = lxcpath
        self.state = states.RUNNING
        self.init_pid = os.getpid()
        self.ttys = {1: False, 2: False}
        self.folders: dict[str, tuple[str, str]] = {}
        self.paths: dict[str, tuple[str, str]] = {}
        self.unified = ""
        self.swapped = False
        self.newest = commands.COUNT - 1
        self.not_known = Reply(ret=-errno.ENOSYS)
        self.console = CONSOLE
        self.stop = HOLD
        self.layout = 1

    def table(self) -> dict[int, Callable[[Request], Reply]]:
        rows: dict[int, Callable[[Request], Reply]] = {
            commands.GET_TTY_FD: self.get_tty,
            commands.STOP: lambda _r: self.stop,
            commands.GET_STATE: lambda _r: Reply(value=self.state),
            commands.GET_INIT_PID: lambda _r: Reply(value=self.init_pid),
            commands.GET_CLONE_FLAGS: lambda _r: Reply(value=CLONE_FLAGS),
            commands.GET_CGROUP: lambda r: self.get_cgroup(r, 0),
            commands.GET_CONFIG_ITEM: self.get_config,
            commands.GET_NAME: lambda _r: _text(self.name),
            commands.GET_LXCPATH: lambda _r: _text(self.lxcpath),
            commands.CONSOLE_LOG: self.console_log,
            commands.SERVE_STATE_CLIENTS: self.serve_states,
            commands.SECCOMP_NOTIFY_ADD_LISTENER: self.add_listener,
            commands.ADD_BPF_DEVICE_CGROUP: lambda r: Reply(ret=0 if r.payload[:1] == b"c" and self.unified else -1),
            commands.FREEZE: lambda r: Reply(ret=0 if self.unified and r.value == -1 else -errno.ENOENT),
            commands.UNFREEZE: lambda r: Reply(ret=0 if self.unified and r.value == 5 else -errno.ENOENT),
            commands.GET_CGROUP2_FD: lambda _r: self.unified_fd(),
            commands.GET_INIT_PIDFD: lambda _r: _give(os.pidfd_open(self.init_pid)),
            commands.GET_LIMIT_CGROUP: lambda r: self.get_cgroup(r, 1),
            commands.GET_LIMIT_CGROUP2_FD: lambda _r: self.unified_fd(),
            commands.GET_DEVPTS_FD: lambda _r: _give(os.open("/dev/pts", os.O_PATH)),
            commands.GET_SECCOMP_NOTIFY_FD: lambda _r: Reply(ret=-errno.EBADF),
            commands.GET_CGROUP_CTX: self.ctx,
            commands.GET_CGROUP_FD: lambda r: self.cgroup_fd(r, int(self.swapped)),
            commands.GET_LIMIT_CGROUP_FD: lambda r: self.cgroup_fd(r, int(not self.swapped)),
            commands.GET_SYSTEMD_SCOPE: lambda _r: Reply(ret=-errno.EINVAL),
        }
        return {number: row if number <= self.newest else self._unknown for number, row in rows.items()}

    def _unknown(self, _request: Request) -> Reply:
        return self.not_known

    def get_tty(self, request: Request) -> Reply:
        free = [n for n, taken in self.ttys.items() if not taken]
        number = (free[0] if free else -1) if request.value < 0 else request.value
        if number not in free:
            return Reply(ret=-errno.EBADF)
        self.ttys[number] = True
        fd = os.open("/dev/null", os.O_RDWR)
        return Reply(value=number, fds=[fd], close_fds=True, keep=lambda: self.ttys.update({number: False}))

    def get_cgroup(self, request: Request, which: int) -> Reply:
        if request.payload and not request.payload.endswith(b"\0"):
            return Reply(ret=-errno.EINVAL)
        found = self.paths.get(request.payload.rstrip(b"\0").decode())
        return Reply(close=True) if found is None else _text(found[which])

    def get_config(self, request: Request) -> Reply:
        value = CONFIG.get(request.payload.split(b"\0")[0].decode())
        return _text(value) if value else Reply(ret=-errno.ENOENT)

    def console_log(self, request: Request) -> Reply:
        if len(request.payload) != commands.CONSOLE_LOG_REQUEST.size:
            return Reply(ret=-errno.EINVAL)
        clear, read, most, _write = commands.CONSOLE_LOG_REQUEST.unpack(request.payload)
        data = b""
        if read:
            data = self.console[: most or None]
            self.console = self.console[len(data) :]
            if not data:
                return Reply(ret=-errno.ENODATA)
        if clear:
            self.console = b""
        return Reply(payload=data)

    def serve_states(self, request: Request) -> Reply:
        self.state = request.value
        self.server.announce(request.value)
        return Reply()

    server: server.Server

    def add_listener(self, request: Request) -> Reply:
        fd = request.take_fd()
        if fd < 0:
            return Reply(ret=-errno.EBADF)
        os.write(fd, b"mine")
        os.close(fd)
        return Reply()

    def unified_fd(self) -> Reply:
        return _give(os.open(self.unified, os.O_PATH)) if self.unified else Reply(ret=-errno.EINVAL)

    def ctx(self, request: Request) -> Reply:
        folders = [pair[0] for pair in self.folders.values()]
        if not folders:
            return Reply(ret=-errno.ENOENT)
        fds = [os.open(folder, os.O_PATH) for folder in folders]
        payload = commands.CGROUP_CTX.pack(self.layout, 0, len(fds), *[commands.UNUSED_FD] * 20)
        return Reply(payload=payload[: len(request.payload)], fds=fds, close_fds=True)

    def cgroup_fd(self, request: Request, which: int) -> Reply:
        _l, _u, kind, _fd, raw = commands.CGROUP_FD.unpack(request.payload[:80].ljust(80, b"\0"))
        controller = raw.rstrip(b"\0").decode()
        if not controller or kind not in (0, V1):
            return Reply(ret=-errno.EINVAL)
        if controller not in self.folders:
            return Reply(ret=-errno.ENOENT)
        fd = os.open(self.folders[controller][which], os.O_PATH)
        payload = commands.CGROUP_FD.pack(self.layout, 0, V1, commands.UNUSED_FD, raw)
        return Reply(payload=payload[: len(request.payload)], fds=[fd], close_fds=True)


def _text(value: str) -> Reply:
    return Reply(payload=value.encode() + b"\0")


def _give(fd: int) -> Reply:
    return Reply(fds=[fd], close_fds=True)


def step(served: server.Server, extra: tuple[int, ...] = (), most: float | None = None) -> list[int]:
    """One round of a monitor's loop; returns the extra descriptors that are readable."""
    poller = select.poll()
    for fd in extra:
        poller.register(fd, select.POLLIN)
    for fd, mask in served.poll_list():
        poller.register(fd, mask)
    deadline = served.next_deadline()
    waits = [most] if most is not None else []
    if deadline is not None:
        waits.append(max(0.0, deadline - time.monotonic()))
    ready = []
    for fd, mask in poller.poll(min(waits) * 1000 + 1 if waits else None):
        if fd in extra:
            ready.append(fd)
        else:
            served.handle(fd, mask)
    served.expire(time.monotonic())
    return ready


class Served:
    """A monitor in a process of its own. call() runs a function of (server, container) there and returns its text."""

    def __init__(
        self,
        name: str,
        lxcpath: str,
        prepare: Callable[[Container], object] = lambda _c: None,
        become: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = name
        self.lxcpath = lxcpath
        self.calls: list[Callable[[server.Server, Container], object]] = []
        self._ours, theirs = socket.socketpair()
        self._ours.settimeout(10)
        start, begun = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                signal.alarm(120)  # whatever a test does, nothing stays behind
                self._ours.close()
                os.close(start)
                become()
                listening = server.bind(name, lxcpath)
                container = Container(name, lxcpath)
                prepare(container)
                container.server = server.Server(listening, container.table())
                os.close(begun)
                self._loop(container, theirs)
                status = 0
            except BaseException as error:
                os.write(2, f"server: {error!r}\n".encode())
            finally:
                os._exit(status)
        theirs.close()
        os.close(begun)
        os.read(start, 1)
        os.close(start)

    def _loop(self, container: Container, control: socket.socket) -> None:
        while True:
            if step(container.server, (control.fileno(),)):
                order = control.recv(100).decode().split()
                if not order:
                    return
                control.sendall(str(_ORDERS[order[0]](container, *order[1:])).encode() + b"\n")

    def order(self, *words: object) -> str:
        """Have it do one of the orders; returns the answer."""
        self._ours.sendall(" ".join(map(str, words)).encode())
        return self._ours.recv(100).decode().strip()

    def close(self) -> int:
        """End it; returns its exit status."""
        self._ours.close()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill(self) -> None:
        os.kill(self.pid, 9)


def _connections(container: Container) -> int:
    return len(container.server._connections)


_ORDERS: dict[str, Callable[..., object]] = {
    "announce": lambda c, number: c.server.announce(int(number)),
    "state": lambda c, number: setattr(c, "state", int(number)),
    "close": lambda c: c.server.close_all(keep_reboot_waiters=False),
    "reboot": lambda c: c.server.close_all(keep_reboot_waiters=True),
    "unlisten": lambda c: c.server.stop_listening(),
    "connections": _connections,
    "fds": lambda _c: len(os.listdir("/proc/self/fd")),
    "ttys": lambda c: "".join(str(int(taken)) for taken in c.ttys.values()),
}


@contextmanager
def serving(
    prepare: Callable[[Container], object] = lambda _c: None,
    become: Callable[[], object] = lambda: None,
    place: tuple[str, str] | None = None,
) -> Iterator[Served]:
    """A monitor for the block; it must still live at the end, and ends well."""
    served = Served(*(place or new_place()), prepare, become)
    try:
        yield served
    except BaseException:
        served.close()
        raise
    assert served.close() == 0, "the server did not survive"


def address(served: Served) -> bytes:
    return commands.address(served.name.encode(), served.lxcpath.encode())


def raw_connect(served: Served) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Not settimeout(): a connect(2) that must not block fails at once where the backlog is full.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 5, 0))
    try:
        sock.connect(address(served))
    except BaseException:
        sock.close()
        raise
    sock.settimeout(5)
    return sock


def request(hex_or_number: str | int, payload: bytes = b"", value: int = 0) -> bytes:
    """A request: hex groups of a transcript, or a command number."""
    if isinstance(hex_or_number, str):
        return bytes.fromhex(hex_or_number) + payload
    return struct.pack("<iiq", hex_or_number, len(payload), value) + payload


def everything(sock: socket.socket) -> bytes:
    """All bytes up to the end of the connection."""
    data = b""
    while True:
        try:
            more = sock.recv(65536)
        except ConnectionResetError:
            return data
        if not more:
            return data
        data += more


def exchange(served: Served, data: bytes) -> bytes:
    with raw_connect(served) as sock:
        sock.sendall(data)
        return everything(sock)
