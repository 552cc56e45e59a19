# SPDX-License-Identifier: LGPL-2.1-or-later
"""The monitor's side of console and ttys: copying between the container's console and whoever looks at it.

                      ┌──────────────> log file, ring buffer
    container's pty ──┴──> peer         the terminal of lxc.console.path, or of lxc-start -F; else
         master     <───── peer         the proxy pty of one client of the command socket (lxc-console -t 0)

Everything is non-blocking and nothing is lost: what a peer does not take yet waits in the container's pty. But a
peer that takes nothing at all for a while (a stopped lxc-console) must not stop the container: then its output is dropped
until it takes some again.
"""

from __future__ import annotations

import errno
import os
import select
import time

from .. import log
from ..errors import LxcError, describe
from ..linux import timerfd, tty
from .logfile import ConsoleLog
from .outbox import Outbox
from .ring import Ring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.conf import Config

_CHUNK = 16384
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL
PATIENCE = 5.0  # seconds in which a peer must take something
_LAST_WORDS = 1.0  # seconds for a peer to take what is left at the end
_MOST_LAST_WORDS = 1 << 20  # bytes taken from the pty at the end: others could go on writing to it


class _Terminal:
    """A terminal that is the console's peer for a whole boot."""

    __slots__ = ("fd", "path", "reads", "settings")

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path
        self.reads = False
        self.settings: tty.Settings | None = None

    def connect(self) -> None:
        """Raw mode. In the background of a shell it is not ours to change or to read: then it shows output only."""
        try:
            if os.tcgetpgrp(self.fd) != os.getpgrp():
                return
        except OSError:
            pass  # not the terminal of our session: nobody else's either
        self.reads = True
        try:
            self.settings = tty.make_raw(self.fd)
        except OSError as error:
            log.warn(f"{self.path} cannot be made raw: {describe(error)}")

    def close(self) -> None:
        if self.settings is not None:
            try:
                tty.restore(self.fd, self.settings)
            except OSError as error:
                log.debug(f"the settings of {self.path} were not given back: {describe(error)}")
        os.close(self.fd)


class Console:
    """The console pty of one boot, with its peer, log and ring buffer.

    Raises LxcError for an lxc.console.path that is no terminal and an lxc.console.logfile that cannot be opened.
    """

    __slots__ = (
        "_input",
        "_log",
        "_output",
        "_proxy_master",
        "_proxy_size",
        "_stalled",
        "_terminal",
        "_timer",
        "master",
        "ring",
        "slave",
    )

    def __init__(self, conf: Config) -> None:
        self.master = -1
        self.slave = -1  # kept open: a console that no process has open must not hang up
        self.ring = Ring(conf["lxc.console.buffer.size"]) if conf["lxc.console.buffer.size"] else None
        self._input: Outbox | None = None  # to the container
        self._output: Outbox | None = None  # to the peer, which is its descriptor
        self._stalled = False  # the peer takes nothing
        self._timer = -1
        self._proxy_master = -1
        self._proxy_size = b""
        path = conf["lxc.console.path"]
        self._terminal = _open_terminal(path) if path else None
        self._log: ConsoleLog | None = None
        if conf["lxc.console.logfile"]:
            try:
                self._log = ConsoleLog(
                    conf["lxc.console.logfile"], conf["lxc.console.size"], rotate=bool(conf["lxc.console.rotate"])
                )
            except LxcError:
                if self._terminal is not None:
                    self._terminal.close()
                raise

    # -- the pty

    def open_host_pty(self) -> None:
        """A pty of the host's devpts. Raises LxcError."""
        try:
            pair = tty.openpty()
        except OSError as error:
            raise LxcError(f"cannot make a pty for the console: {describe(error)}") from error
        self.take_pty(*pair)

    def take_pty(self, master: int, slave: int) -> None:
        """This pty is the console; owned from now on."""
        self.master, self.slave = master, slave
        os.set_blocking(master, False)
        self._input = Outbox(master)

    # -- the peer

    def attach_peer(self, *, foreground: bool) -> None:
        """Connect the configured terminal, or in the foreground the monitor's own, if it has one."""
        if self._terminal is None and foreground:
            try:
                self._terminal = _Terminal(os.open("/dev/tty", _TERMINAL_FLAGS), "/dev/tty")
            except OSError as error:
                log.debug(f"the monitor has no terminal to connect the console to: {describe(error)}")
        if self._terminal is not None and self.master >= 0:
            self._terminal.connect()
            self._output = Outbox(self._terminal.fd)
            self.window_changed()

    def window_changed(self) -> None:
        """Give the container's console the size of the connected terminal."""
        if self._terminal is not None and self.master >= 0:
            self._copy_size(self._terminal.fd)

    def _copy_size(self, source: int) -> None:
        try:
            tty.set_window_size(self.master, tty.window_size(source))
        except OSError as error:
            log.debug(f"the window size was not passed on: {describe(error)}")

    def open_proxy(self) -> int:
        """Make the proxy pty, and return its master for the client. Raises OSError (EBUSY: there is another peer)."""
        if self._terminal is not None or self._proxy_master >= 0:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        if self.master < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        master, slave = tty.openpty()
        try:
            tty.make_raw(slave)
            os.set_blocking(slave, False)
            for_client = os.dup(master)
        except OSError:
            os.close(master)
            os.close(slave)
            raise
        # Our own master keeps the slave from hanging up before the client's connection says that it has gone.
        self._proxy_master = master
        self._proxy_size = tty.window_size(slave)
        self._output = Outbox(slave)
        self._stalled = False
        return for_client

    def close_proxy(self) -> None:
        """The client has gone; what it was still to see is gone, too."""
        if self._proxy_master >= 0 and self._output is not None:
            os.close(self._proxy_master)
            os.close(self._output.fd)
            self._proxy_master = -1
            self._no_output()

    def _no_output(self) -> None:
        self._output = None
        self._stalled = False
        self._stop_timer()

    def _lose_peer(self, why: str) -> None:
        """The peer's terminal is gone: the container goes on without."""
        log.debug(f"the console has lost its peer: {why}")
        if self._proxy_master >= 0:
            self.close_proxy()
        elif self._terminal is not None:
            self._terminal.close()
            self._terminal = None
            self._no_output()

    # -- the loop

    def poll_list(self) -> list[tuple[int, int]]:
        """(descriptor, poll mask) to wait for."""
        result = []
        if self._input is not None:
            waits = self._output is not None and self._output.full
            mask = (0 if waits else select.POLLIN) | (select.POLLOUT if self._input else 0)
            if mask:
                result.append((self.master, mask))
            if waits and self._timer >= 0:
                result.append((self._timer, select.POLLIN))
            if self._output is not None:
                reads = (self._terminal is None or self._terminal.reads) and not self._input.full
                result.append(
                    (self._output.fd, (select.POLLIN if reads else 0) | (select.POLLOUT if self._output else 0))
                )
        return result

    def handle(self, fd: int, events: int) -> None:
        """Something happened on one of poll_list()'s descriptors."""
        output = self._output
        if fd == self.master:
            if events & select.POLLOUT:
                self._to_container(b"")
            if events & (select.POLLIN | _GONE):
                self._from_container()
        elif output is not None and fd == output.fd:
            if events & select.POLLOUT:
                self._to_peer(b"")
            if events & (select.POLLIN | _GONE) and self._output is output:
                self._from_peer(output, events)
        elif fd == self._timer:
            self._out_of_patience()

    def _from_container(self) -> bool:
        """Take what the container wrote; False when there is nothing."""
        try:
            data = os.read(self.master, _CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            # Cannot happen while we hold the slave; if it does, the console is over and must not be polled again.
            log.error(f"reading the container's console failed: {describe(error)}")
            self._input = None
            return False
        if self.ring is not None:
            self.ring.add(data)
        if self._log is not None:
            self._log.write(data)
        self._to_peer(data)
        return True

    def _to_peer(self, data: bytes) -> None:
        output = self._output
        if output is None:
            return
        output.add(data)
        try:
            written = output.flush()
        except OSError as error:
            self._lose_peer(describe(error))
            return
        if written:
            self._stalled = False
        elif self._stalled:
            output.clear()
        if not output.full:
            self._stop_timer()
        elif written or self._timer < 0:
            self._start_timer()

    def _start_timer(self) -> None:
        try:
            if self._timer < 0:
                self._timer = timerfd.timerfd_create()
            timerfd.timerfd_settime(self._timer, PATIENCE)
        except OSError as error:
            log.warn(f"console output for a slow peer is dropped: {describe(error)}")
            self._out_of_patience()

    def _stop_timer(self) -> None:
        fd, self._timer = self._timer, -1
        if fd >= 0:
            os.close(fd)

    def _out_of_patience(self) -> None:
        self._stop_timer()
        if self._output is not None and self._output.full:
            log.warn(f"the console's peer has taken nothing for {PATIENCE:g} s: its output is dropped until it does")
            self._output.clear()
            self._stalled = True

    def _from_peer(self, output: Outbox, events: int) -> None:
        try:
            data = os.read(output.fd, _CHUNK)
        except BlockingIOError:
            if events & _GONE:
                self._lose_peer("hangup")
            return
        except OSError as error:
            self._lose_peer(describe(error))
            return
        if not data:
            self._lose_peer("end of file")
            return
        if self._proxy_master >= 0:
            self._follow_proxy_size(output.fd)
        self._to_container(data)

    def _follow_proxy_size(self, slave: int) -> None:
        """The client sets its size on the proxy, where nobody tells us; it is looked at when something is typed."""
        size = tty.window_size(slave)
        if size != self._proxy_size:
            self._proxy_size = size
            self._copy_size(slave)

    def _to_container(self, data: bytes) -> None:
        if self._input is None:
            return
        self._input.add(data)
        try:
            self._input.flush()
        except OSError as error:
            log.debug(f"console input is dropped: {describe(error)}")
            self._input.clear()

    # -- the end

    def drain(self) -> None:
        """The container has ended: take what is still in its pty, and give the peer a moment to take it."""
        taken = 0
        deadline = time.monotonic() + _LAST_WORDS
        while self._input is not None and taken < _MOST_LAST_WORDS:
            if self._output is not None and self._output.full and not self._wait_for_peer(deadline):
                self._output.clear()
                self._stalled = True
            if not self._from_container():
                break
            taken += _CHUNK
        while self._output and self._wait_for_peer(deadline):
            pass

    def _wait_for_peer(self, deadline: float) -> bool:
        """Let the peer take something; False when the time is over."""
        if self._output is None:
            return True
        left = deadline - time.monotonic()
        poller = select.poll()
        poller.register(self._output.fd, select.POLLOUT)
        if left <= 0 or not poller.poll(left * 1000):
            return False
        self._to_peer(b"")
        return True

    def close(self) -> None:
        """Give the terminal its settings back, and close everything; closing twice does nothing."""
        self.close_proxy()
        terminal, self._terminal = self._terminal, None
        self._no_output()
        self._input = None
        if terminal is not None:
            terminal.close()
        if self._log is not None:
            self._log.close()
            self._log = None
        fds = (self.master, self.slave)
        self.master = self.slave = -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)


_TERMINAL_FLAGS = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC


def _open_terminal(path: str) -> _Terminal:
    try:
        fd = os.open(path, _TERMINAL_FLAGS)
    except OSError as error:
        raise LxcError(f"lxc.console.path: cannot open {path}: {describe(error)}") from error
    if not os.isatty(fd):
        os.close(fd)
        raise LxcError(
            f"lxc.console.path: {path} is not a terminal", remedy="for a file use lxc.console.logfile; none for no console"
        )
    return _Terminal(fd, path)


class TtySlots:
    """The ptys of /dev/tty1 ... N, and which of them a client has. They are owned; the slaves keep them from hanging up."""

    __slots__ = ("_pairs", "_taken")

    def __init__(self, pairs: list[tuple[int, int]]) -> None:
        self._pairs = pairs
        self._taken: set[int] = set()

    def take(self, number: int) -> tuple[int, int]:
        """(number, master) of a tty, or for a negative number of the lowest free one; it stays ours. Raises OSError EBADF."""
        if number < 0:
            number = next((n for n in range(1, len(self._pairs) + 1) if n not in self._taken), 0)
        if not 0 < number <= len(self._pairs) or number in self._taken:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        self._taken.add(number)
        return number, self._pairs[number - 1][0]

    def release(self, number: int) -> None:
        """The client has gone."""
        self._taken.discard(number)

    def close(self) -> None:
        """Close every pty; closing twice does nothing."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for fd in pair:
                os.close(fd)
