# SPDX-License-Identifier: LGPL-2.1-or-later
"""The client's side of a terminal: the caller's terminal in raw mode, bytes copied both ways, window size passed on.

lxc-console leaves by an escape: a control character, then q; the character twice sends it once. lxc-attach has no escape. The
terminal gets its settings back on every way out.
"""

from __future__ import annotations

import _signal
import errno
import os
import select
import stat

from ..errors import LxcError, NotRunning, describe
from ..linux import tty
from ..protocol import client

_CHUNK = 65536
_MOST_PENDING = 1 << 20
# Typed at a raw terminal these are bytes; sent to us they mean "come to an end", with the terminal restored.
_LEAVE = (_signal.SIGTERM, _signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT)


class Proxy:
    """Copies between (stdin, stdout) and a pty master, which it owns. run() returns when the other side is done."""

    __slots__ = ("_ends_with_input", "_escape", "_escaped", "_input_open", "_log", "_master", "_settings", "_stdin", "_stdout", "_wake")

    def __init__(
        self, master: int, *, stdin: int = 0, stdout: int = 1, log_path: str = "", escape: int = -1, ends_with_input: bool = False
    ) -> None:
        """stdin -1: nothing is read. escape: the control character that begins the escape, -1 for none. ends_with_input:
        run() returns at the end of stdin. Raises LxcError when the log cannot be opened."""
        self._master = master
        self._stdin = stdin
        self._stdout = stdout
        self._escape = escape
        self._escaped = False
        self._ends_with_input = ends_with_input
        self._input_open = stdin >= 0
        self._settings: list[object] = []
        self._wake: tuple[int, int] | None = None
        self._log = -1
        if log_path:
            try:
                self._log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise LxcError(f"cannot open the log of the terminal {log_path}: {describe(error)}") from error

    def prepare(self) -> None:
        """Raw mode for the caller's terminal, its size for the pty, and its changes from now on."""
        if self._stdin >= 0 and os.isatty(self._stdin):
            self._settings = tty.make_raw(self._stdin)
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wake = (reader, writer)
        _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (_signal.SIGWINCH, *_LEAVE):
            _signal.signal(number, _noted)
        self._pass_size()
        os.set_blocking(self._master, False)

    def _pass_size(self) -> None:
        for fd in (self._stdout, self._stdin):
            if fd >= 0 and os.isatty(fd):
                try:
                    tty.set_window_size(self._master, tty.window_size(fd))
                except OSError:
                    pass  # the other side has just gone
                return

    def run(self, ended: int = -1) -> None:
        """Copy until the escape, the pty's hangup, or until `ended` (a pidfd or a connection) becomes readable.

        What is still in the pty then is copied first.
        """
        assert self._wake is not None
        to_master = b""
        while True:
            poller = select.poll()
            poller.register(self._wake[0], select.POLLIN)
            poller.register(self._master, select.POLLIN | (select.POLLOUT if to_master else 0))
            if self._input_open and len(to_master) < _MOST_PENDING:
                poller.register(self._stdin, select.POLLIN)
            if ended >= 0:
                poller.register(ended, select.POLLIN)
            over = False
            for fd, events in poller.poll():
                if fd == self._wake[0]:
                    if set(os.read(fd, 4096)) & set(_LEAVE):
                        return
                    self._pass_size()
                elif fd == ended:
                    over = True
                elif fd == self._stdin and fd != self._master:
                    data = self._take_input()
                    if data is None:
                        return
                    to_master += data
                elif fd == self._master and events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                    if not self._give_output():
                        return
            if to_master:
                try:
                    to_master = to_master[os.write(self._master, to_master) :]
                except BlockingIOError:
                    pass
                except OSError:
                    return
            if over:
                while self._give_output(once=True):
                    pass
                return

    def _take_input(self) -> bytes | None:
        """What the user typed, without escapes; None when it was the escape."""
        try:
            data = os.read(self._stdin, _CHUNK)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EAGAIN):
                raise
            data = b""
        if not data:
            self._input_open = False
            return None if self._ends_with_input else b""
        if self._escape < 0:
            return data
        result = bytearray()
        for byte in data:
            if self._escaped:
                self._escaped = False
                if byte == ord("q"):
                    return None
                if byte != self._escape:
                    result.append(self._escape)
                result.append(byte)
            elif byte == self._escape:
                self._escaped = True
            else:
                result.append(byte)
        return bytes(result)

    def _give_output(self, *, once: bool = False) -> bool:
        """Copy what the pty has; False when it has hung up (or, once, when it has nothing now)."""
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return not once
        except OSError as error:
            if error.errno == errno.EIO:
                return False
            raise
        if not data:
            return False
        _write_all(self._stdout, data)
        if self._log >= 0:
            _write_all(self._log, data)
        return True

    def close(self) -> None:
        """Give the terminal its settings back, and close the pty."""
        if self._settings:
            tty.restore(self._stdin, self._settings)
            self._settings = []
        if self._wake is not None:
            _signal.set_wakeup_fd(-1)
            for fd in self._wake:
                os.close(fd)
            self._wake = None
        for fd in (self._master, self._log):
            if fd >= 0:
                os.close(fd)
        self._master = self._log = -1


def _noted(_number: int, _frame: object) -> None:
    """SIGWINCH: the wake-up descriptor tells the loop."""


def _write_all(fd: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            select.select([], [fd], [])


def console(name: str, lxcpath: str, number: int, *, escape: int) -> int:
    """lxc-console: connect stdin and stdout to a tty of a running container; returns 0. Raises LxcError, NotRunning."""
    kind = os.fstat(0).st_mode
    if not os.isatty(0) and not stat.S_ISFIFO(kind) and not stat.S_ISSOCK(kind):
        raise LxcError(
            "Failed to add stdin handler: the standard input is neither a terminal nor a pipe",
            remedy="run it on a terminal, or use lxc-attach",
        )
    found = client.tty(name, lxcpath, number)
    if found is None:
        raise NotRunning(f"{name} is not running", remedy=f"lxc-start -n {name} first")
    connection, master, number = found
    proxy = Proxy(master, escape=escape, ends_with_input=True)
    try:
        if 0 < escape < 27:
            key = f"Ctrl+{chr(escape + ord('a') - 1)}"
            hint = f"Type <{key} q> to exit the console, <{key} {key}> to enter {key} itself"
            os.write(2, f"\nConnected to tty {number}\n{hint}\n".encode())
        proxy.prepare()
        proxy.run(connection.fileno())
    finally:
        proxy.close()
        connection.close()
    return 0
