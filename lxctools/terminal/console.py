# SPDX-License-Identifier: LGPL-2.1-or-later
"""The monitor's side of console and ttys: copying between the container's console and whoever looks at it.

The console has one peer at a time: the monitor's own terminal (lxc-start -F), a configured one (lxc.console.path), or a client
of the command socket through a proxy pty. Without a peer its output goes to the log file and the ring buffer only. Everything is
non-blocking: a peer that does not read loses nothing but its own connection's patience, and never stops the container.
"""

from __future__ import annotations

import errno
import os
import select

from .. import log
from ..errors import LxcError, describe
from ..linux import tty
from .ring import Ring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.conf import Config

_CHUNK = 65536
_MOST_PENDING = 1 << 20


class Console:
    """The console pty of one boot, with its peer, log and ring buffer."""

    __slots__ = ("_log_fd", "_log_path", "_log_size", "_pending", "_proxy", "_rotate", "_size", "_tty", "_tty_settings", "master", "ring", "slave")

    def __init__(self, conf: Config) -> None:
        self.master = -1
        self.slave = -1
        self.ring = Ring(conf["lxc.console.buffer.size"]) if conf["lxc.console.buffer.size"] else None
        self._tty = -1  # a terminal that is connected for the whole boot
        self._tty_settings: list[object] = []
        self._proxy: tuple[int, int] | None = None  # the master given to a client is its own; (our master, our slave)
        self._pending: dict[int, bytes] = {}
        self._log_path: str = conf["lxc.console.logfile"]
        self._log_fd = -1
        self._size: int = conf["lxc.console.size"]
        self._rotate: bool = bool(conf["lxc.console.rotate"])
        self._log_size = 0
        if self._log_path:
            self._open_log()

    def _open_log(self) -> None:
        try:
            self._log_fd = os.open(
                self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK, 0o600
            )
            self._log_size = os.fstat(self._log_fd).st_size
        except OSError as error:
            raise LxcError(f"lxc.console.logfile: cannot open {self._log_path}: {describe(error)}") from error

    # -- the pty

    def open_host_pty(self) -> None:
        """A pty of the host's devpts. Raises LxcError."""
        try:
            self.master, self.slave = tty.openpty()
        except OSError as error:
            raise LxcError(f"cannot make a pty for the console: {describe(error)}") from error
        os.set_blocking(self.master, False)

    def take_pty(self, master: int, slave: int) -> None:
        """The pty that was made inside; owned from now on."""
        self.master, self.slave = master, slave
        os.set_blocking(master, False)

    def attach_peer(self, path: str, *, foreground: bool) -> None:
        """Connect the configured terminal, or in the foreground the monitor's own. Raises LxcError for a configured one."""
        chosen = path or ("/dev/tty" if foreground else "")
        if not chosen:
            return
        try:
            fd = os.open(chosen, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY | os.O_CREAT * bool(path), 0o600)
        except OSError as error:
            if path:
                raise LxcError(f"lxc.console.path: cannot open {path}: {describe(error)}") from error
            return  # no terminal: nothing to connect
        self._tty = fd
        os.set_blocking(fd, False)
        if os.isatty(fd):
            try:
                self._tty_settings = tty.make_raw(fd)
            except OSError as error:
                log.warn(f"{chosen} cannot be made raw: {describe(error)}")
            self.window_changed()

    def window_changed(self) -> None:
        """Give the container's console the size of the connected terminal."""
        if self._tty >= 0 and os.isatty(self._tty):
            try:
                tty.set_window_size(self.master, tty.window_size(self._tty))
            except OSError as error:
                log.debug(f"the window size was not passed on: {describe(error)}")

    # -- a client's proxy

    def open_proxy(self) -> int:
        """Make the proxy pty and return its master for the client. Raises OSError (EBUSY: it has another peer)."""
        if self._tty >= 0 or self._proxy is not None or self.master < 0:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        master, slave = tty.openpty()
        tty.make_raw(slave)
        os.set_blocking(slave, False)
        self._proxy = (master, slave)
        return os.dup(master)

    def close_proxy(self) -> None:
        """The client has gone."""
        if self._proxy is not None:
            master, slave = self._proxy
            self._pending.pop(slave, None)
            os.close(master)
            os.close(slave)
            self._proxy = None

    # -- the loop

    def _peer(self) -> int:
        return self._proxy[1] if self._proxy is not None else self._tty

    def poll_list(self) -> list[tuple[int, int]]:
        """(descriptor, poll mask) to wait for."""
        result = []
        peer = self._peer()
        if self.master >= 0:
            # While a peer's output is stuck, the container's output waits in its pty.
            stuck = len(self._pending.get(peer, b"")) >= _MOST_PENDING
            mask = (0 if stuck else select.POLLIN) | (select.POLLOUT if self._pending.get(self.master) else 0)
            if mask:
                result.append((self.master, mask))
        if peer >= 0:
            result.append((peer, select.POLLIN | (select.POLLOUT if self._pending.get(peer) else 0)))
        return result

    def handle(self, fd: int, events: int) -> None:
        """Something happened on one of poll_list()'s descriptors."""
        peer = self._peer()
        if events & select.POLLOUT:
            self._flush(fd)
        if fd == self.master:
            if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                self._from_container(peer)
        elif fd == peer and events & (select.POLLIN | select.POLLHUP | select.POLLERR):
            data = self._read(fd)
            if data:
                self._send(self.master, data)
            elif data is not None and fd == self._tty:
                self._close_tty()

    def _from_container(self, peer: int) -> None:
        data = self._read(self.master)
        if data:
            self._record(data)
            if peer >= 0:
                self._send(peer, data)

    @staticmethod
    def _read(fd: int) -> bytes | None:
        """Bytes; b"" at the end; None when there is nothing now."""
        try:
            return os.read(fd, _CHUNK)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.EIO:  # nobody has the other side open
                return b""
            raise

    def _send(self, fd: int, data: bytes) -> None:
        pending = self._pending.get(fd, b"") + data
        self._pending[fd] = pending
        self._flush(fd)

    def _flush(self, fd: int) -> None:
        data = self._pending.get(fd, b"")
        while data:
            try:
                data = data[os.write(fd, data) :]
            except BlockingIOError:
                break
            except OSError as error:
                log.debug(f"console output is dropped: {describe(error)}")
                data = b""
        if data:
            self._pending[fd] = data
        else:
            self._pending.pop(fd, None)

    # -- the log

    def _record(self, data: bytes) -> None:
        if self.ring is not None:
            self.ring.add(data)
        if self._log_fd < 0:
            return
        try:
            if self._size and self._log_size + len(data) > self._size:
                self._roll()
                data = data[-self._size :]
            self._log_size += os.write(self._log_fd, data)
        except OSError as error:
            log.error(f"writing the console log {self._log_path} failed: {describe(error)}")

    def _roll(self) -> None:
        """The log is full: keep it as FILE.1, or start it anew."""
        if self._rotate:
            os.rename(self._log_path, self._log_path + ".1")
            os.close(self._log_fd)
            self._log_fd = -1
            self._open_log()
        else:
            os.ftruncate(self._log_fd, 0)
        self._log_size = 0

    # -- the end

    def drain(self) -> None:
        """The container has ended: take what is still in its pty."""
        for _ in range(1024):
            data = self._read(self.master) if self.master >= 0 else None
            if not data:
                return
            self._record(data)
            if self._peer() >= 0:
                self._send(self._peer(), data)

    def _close_tty(self) -> None:
        fd, self._tty = self._tty, -1
        if fd >= 0:
            if self._tty_settings:
                tty.restore(fd, self._tty_settings)
                self._tty_settings = []
            os.set_blocking(fd, True)
            os.close(fd)

    def close(self) -> None:
        """Give the terminal its settings back, write the ring buffer to a log that does not have it, close everything."""
        self.close_proxy()
        self._close_tty()
        if self.ring is not None and self._log_fd < 0 and self._log_path:
            self._open_log()
        for fd in (self.master, self.slave, self._log_fd):
            if fd >= 0:
                os.close(fd)
        self.master = self.slave = self._log_fd = -1


class TtySlots:
    """The masters of /dev/tty1 ... N, and which of them a client has."""

    __slots__ = ("_pairs", "_taken")

    def __init__(self, pairs: list[tuple[int, int]]) -> None:
        self._pairs = pairs
        self._taken: set[int] = set()

    def take(self, number: int) -> tuple[int, int]:
        """(number, master) of a tty, or for a negative number of the lowest free one. Raises OSError EBADF."""
        if number < 0:
            free = [n for n in range(1, len(self._pairs) + 1) if n not in self._taken]
            number = free[0] if free else 0
        if not 0 < number <= len(self._pairs) or number in self._taken:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        self._taken.add(number)
        return number, self._pairs[number - 1][0]

    def release(self, number: int) -> None:
        """The client has gone."""
        self._taken.discard(number)

    def close(self) -> None:
        """Close every pair."""
        for pair in self._pairs:
            for fd in pair:
                os.close(fd)
        self._pairs = []
