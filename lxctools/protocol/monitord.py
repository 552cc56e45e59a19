# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-monitord: hands what publishers write into the FIFO of a lxcpath to every subscriber of its socket.

    lxc-monitord LXCPATH FD         started by lxc-monitor; writes `S` to FD when ready; ends after 30 s without subscribers
    lxc-monitord --daemon [LXCPATH] started by the service; stays

A subscriber that does not read is dropped when its socket is full: it must not stop the others.
"""

from __future__ import annotations

import _signal
import _socket
import fcntl
import os
import select
import struct
import sys
import time

from .. import paths
from ..errors import LxcError, describe
from . import commands, monitor

_IDLE = 30.0
_READY = b"S"


def main(argv: list[str]) -> int:
    """The program; returns its exit status."""
    daemon = len(argv) > 1 and argv[1] == "--daemon"
    if daemon:
        lxcpath = argv[2] if len(argv) > 2 else paths.default_lxcpath()
        ready = -1
    elif len(argv) == 3 and argv[2].isdecimal():
        lxcpath, ready = argv[1], int(argv[2])
        _leave_the_caller(ready)
    else:
        print("usage: lxc-monitord LXCPATH FD | --daemon [LXCPATH]", file=sys.stderr)
        return 1
    try:
        return _Monitord(lxcpath, ready, stay=daemon).run()
    except (LxcError, OSError) as error:
        print(f"lxc-monitord: {describe(error)}", file=sys.stderr)
        return 1


def _leave_the_caller(ready: int) -> None:
    """A session of its own, nobody's child, and none of the caller's descriptors."""
    if os.fork():
        os._exit(0)
    os.chdir("/")
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for entry in os.listdir("/proc/self/fd"):
        fd = int(entry)
        if fd > 2 and fd != ready:
            try:
                os.close(fd)
            except OSError:
                pass  # the descriptor of the listing


class _Monitord:
    def __init__(self, lxcpath: str, ready: int, *, stay: bool) -> None:
        self.lxcpath = lxcpath
        self.ready = ready
        self.stay = stay
        self.subscribers: dict[int, _socket.socket] = {}

    def run(self) -> int:
        """Serve until asked to quit, SIGTERM, or idle."""
        path = monitor.fifo_path(self.lxcpath)
        address = monitor.socket_address(self.lxcpath)  # too long a name fails before anything is made
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        try:
            os.mkfifo(path, 0o600)
        except FileExistsError:
            pass
        fifo = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            # The lock that says "another one runs": a POSIX lock, as liblxc's.
            fcntl.fcntl(fifo, fcntl.F_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
        except OSError:
            os.close(fifo)
            return 1
        stop_reader, stop_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.set_wakeup_fd(stop_writer, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGTERM, lambda _number, _frame: None)
        listening = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            listening.bind(address)
            listening.listen(100)
            listening.setblocking(False)
            if self.ready >= 0:
                os.write(self.ready, _READY)
                os.close(self.ready)
            self._serve(fifo, listening, stop_reader)
        finally:
            listening.close()
            os.unlink(path)
            os.close(fifo)
        return 0

    def _serve(self, fifo: int, listening: _socket.socket, stop: int) -> None:
        poller = select.poll()
        for fd in (fifo, listening.fileno(), stop):
            poller.register(fd, select.POLLIN)
        quiet_since = time.monotonic()
        while True:
            for fd, _events in poller.poll(1000):
                quiet_since = time.monotonic()
                if fd == stop:
                    return
                if fd == fifo:
                    self._forward(fifo, poller)
                elif fd == listening.fileno():
                    self._accept(listening, poller)
                elif self._said_quit(fd, poller):
                    return
            if not self.stay and not self.subscribers and time.monotonic() - quiet_since >= _IDLE:
                return

    def _accept(self, listening: _socket.socket, poller: select.poll) -> None:
        try:
            fd, _peer = listening._accept()
        except OSError:
            return
        os.set_inheritable(fd, False)
        sock = _socket.socket(fileno=fd)
        raw = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
        assert isinstance(raw, bytes)
        _pid, uid, _gid = struct.unpack("iII", raw)
        if uid not in (0, os.geteuid()):
            sock.close()
            return
        sock.setblocking(False)
        self.subscribers[fd] = sock
        poller.register(fd, select.POLLIN)

    def _said_quit(self, fd: int, poller: select.poll) -> bool:
        """A subscriber said something or hung up; True for `quit`."""
        try:
            data = self.subscribers[fd].recv(64)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data == monitor.QUIT:
            return True
        self._drop(fd, poller)
        return False

    def _drop(self, fd: int, poller: select.poll) -> None:
        poller.unregister(fd)
        self.subscribers.pop(fd).close()

    def _forward(self, fifo: int, poller: select.poll) -> None:
        size = commands.STATE_MESSAGE.size
        while True:
            try:
                message = os.read(fifo, size)
            except BlockingIOError:
                return
            if len(message) != size:
                continue  # not one message: nobody of ours wrote it
            for fd, sock in list(self.subscribers.items()):
                try:
                    sock.send(message, _socket.MSG_NOSIGNAL)
                except OSError:
                    self._drop(fd, poller)
