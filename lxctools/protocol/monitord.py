# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-monitord: hands what publishers write into the FIFO of a lxcpath to every subscriber of its socket.

    lxc-monitord LXCPATH FD          started by lxc-monitor; writes `S` to FD when ready; ends after 30 s without subscribers
    lxc-monitord --daemon [LXCPATH]  started by the service; stays

A subscriber that does not read is dropped when its socket is full: it must not stop the others.
"""

from __future__ import annotations

import _signal
import _socket
import errno
import fcntl
import os
import select
import stat
import struct
import sys
import time

from .. import log, paths
from ..errors import LxcError, describe
from . import commands, monitor

_IDLE = 30.0
_READY = b"S"
_BACKLOG = 100
_MOST_SUBSCRIBERS = 500
_AT_ONCE = 1 << 20  # as much as a FIFO can hold (pipe-max-size), so that every read ends where a write ended
_NOT_BLOCKED = (_signal.SIGILL, _signal.SIGSEGV, _signal.SIGBUS, _signal.SIGTERM)
_USAGE = "usage: lxc-monitord LXCPATH FD | --daemon [LXCPATH]"


def main(argv: list[str]) -> int:
    """The program; returns its exit status."""
    log.setup("lxc-monitord")
    daemon = len(argv) > 1 and argv[1] == "--daemon"
    if daemon and len(argv) <= 3:
        lxcpath = argv[2] if len(argv) > 2 else paths.default_lxcpath()
        ready = -1
    elif not daemon and len(argv) == 3 and argv[2].isdecimal():
        lxcpath, ready = argv[1], int(argv[2])
        _leave_the_caller(ready)
    else:
        print(_USAGE, file=sys.stderr)
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
    try:
        os.set_inheritable(ready, False)
    except OSError:
        pass  # no such descriptor: nobody waits for us to be ready


class _Monitord:
    def __init__(self, lxcpath: str, ready: int, *, stay: bool) -> None:
        self.lxcpath = lxcpath
        self.ready = ready
        self.stay = stay
        self.subscribers: dict[int, _socket.socket] = {}

    def run(self) -> int:
        """Serve until asked to quit, SIGTERM, or idle; 1 when another one runs. Raises LxcError, OSError."""
        stop = _arm_sigterm()
        path = monitor.fifo_path(self.lxcpath)
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        fifo = _own_fifo(path)
        if fifo < 0:
            return 1
        listening = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            listening.bind(monitor.socket_address(self.lxcpath))
            listening.listen(_BACKLOG)
            listening.setblocking(False)
            if self.ready >= 0:
                self._tell_ready()
            self._serve(fifo, listening, stop)
        finally:
            listening.close()
            os.unlink(path)
            os.close(fifo)  # and with it goes the lock
        return 0

    def _tell_ready(self) -> None:
        try:
            os.write(self.ready, _READY)
            os.close(self.ready)
        except OSError:
            pass  # the one who started us has gone; others may still subscribe

    def _serve(self, fifo: int, listening: _socket.socket, stop: int) -> None:
        poller = select.poll()
        for fd in (fifo, listening.fileno(), stop):
            poller.register(fd, select.POLLIN)
        quiet_since = time.monotonic()
        while True:
            idle = not self.stay and not self.subscribers
            left = max(0.0, quiet_since + _IDLE - time.monotonic()) if idle else None
            events = poller.poll(None if left is None else left * 1000)
            if not events and left is not None and time.monotonic() - quiet_since >= _IDLE:
                return
            for fd, _mask in events:
                quiet_since = time.monotonic()
                if fd == stop:
                    return
                if fd == fifo:
                    self._forward(fifo, poller)
                elif fd == listening.fileno():
                    self._accept(listening, poller)
                elif fd in self.subscribers and self._said_quit(fd, poller):
                    return

    def _accept(self, listening: _socket.socket, poller: select.poll) -> None:
        try:
            fd, _peer = listening._accept()  # type: ignore[attr-defined, unused-ignore]
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE) and self.subscribers:
                self._drop(next(iter(self.subscribers)), poller)  # else accept(2) would fail, and poll(2) wake, for ever
            return
        sock = _socket.socket(fileno=fd)
        raw = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
        assert isinstance(raw, bytes)  # as a length was given
        _pid, uid, _gid = struct.unpack("iII", raw)
        if uid not in (0, os.geteuid()) or len(self.subscribers) >= _MOST_SUBSCRIBERS:
            sock.close()
            return
        sock.setblocking(False)
        self.subscribers[fd] = sock
        poller.register(fd, select.POLLIN)

    def _said_quit(self, fd: int, poller: select.poll) -> bool:
        """A subscriber said something or hung up; True for `quit`. Anything else is not for us, as in liblxc."""
        try:
            data = self.subscribers[fd].recv(64)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._drop(fd, poller)
        return data == monitor.QUIT

    def _drop(self, fd: int, poller: select.poll) -> None:
        poller.unregister(fd)
        self.subscribers.pop(fd).close()

    def _forward(self, fifo: int, poller: select.poll) -> None:
        try:
            data = os.read(fifo, _AT_ONCE)
        except BlockingIOError:
            return
        size = commands.STATE_MESSAGE.size
        if len(data) % size:
            return  # somebody wrote what is no message, and where the next one begins cannot be known
        for start in range(0, len(data), size):
            for fd, sock in list(self.subscribers.items()):
                try:
                    sock.send(data[start : start + size], _socket.MSG_NOSIGNAL)
                except OSError:
                    self._drop(fd, poller)


def _arm_sigterm() -> int:
    """A descriptor that SIGTERM makes readable; what else could end us half-way is blocked."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    _signal.signal(_signal.SIGTERM, lambda _number, _frame: None)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, set(_signal.valid_signals()) - set(_NOT_BLOCKED))
    return reader


def _own_fifo(path: str) -> int:
    """The FIFO, made and locked; -1 when another lxc-monitord has it. Raises LxcError, OSError."""
    while True:
        try:
            os.mkfifo(path, 0o600)
        except FileExistsError:
            pass
        # For reading and writing: a FIFO without a writer would always be readable.
        fifo = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if not stat.S_ISFIFO(os.fstat(fifo).st_mode):
                raise LxcError(f"{path} is not a FIFO", remedy="remove it")
            # The lock that says "another one runs": a POSIX lock, as liblxc's.
            fcntl.fcntl(fifo, fcntl.F_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
            if _same_file(path, fifo):
                return fifo
        except BlockingIOError:
            os.close(fifo)
            return -1
        except BaseException:
            os.close(fifo)
            raise
        os.close(fifo)  # that of one which has just ended and removed it


def _same_file(path: str, fd: int) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(fd))
