# SPDX-License-Identifier: LGPL-2.1-or-later
"""The client's side of a terminal: the caller's terminal in raw mode, bytes copied both ways, window size passed on.

lxc-console leaves by an escape: a control character, then q; the character twice sends it once, and any other byte after
it is sent alone. lxc-attach has no escape. The terminal gets its settings back on every way out.
"""

from __future__ import annotations

import _signal
import os
import select
import time

from ..errors import LxcError, NotRunning, describe
from ..linux import tty
from ..protocol import client
from .outbox import Outbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    Handler = Callable[[int, FrameType | None], object] | int | None

_CHUNK = 16384
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL
# Typed at a raw terminal these are bytes; sent to us they mean "come to an end".
ENDING = (_signal.SIGTERM, _signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT)
_PIPE_BUF = 4096  # what a pipe takes without blocking once it says that it can be written
_LAST_INPUT = 2.0  # seconds for the other side to take what was typed before the escape
_MOST_LAST_OUTPUT = 1 << 20  # bytes taken after the end: what runs on in the background could write for ever


class Proxy:
    """Copies between (stdin, stdout) and a pty master, which it owns.

    stdin -1: nothing is read. escape: the control character that begins the escape, -1 for none. ends_with_input: run()
    returns at the end of stdin. leave: signals that end run(); of SIGINT and SIGQUIT those that are not among them are
    ignored, as they are for lxc-attach. Raises LxcError when the log cannot be opened; the master is closed then.

    Signals are taken over in the main thread only, as the interpreter demands; elsewhere a new window size is not noticed.
    """

    __slots__ = (
        "_ends_with_input",
        "_escaped",
        "_handlers",
        "_hung_up",
        "_input",
        "_leave",
        "_left",
        "_log",
        "_master",
        "_output",
        "_over",
        "_own_stdout",
        "_reading",
        "_settings",
        "_stdin",
        "_stdout",
        "_taken",
        "_wake",
        "_was_blocking",
        "escape",
    )

    def __init__(
        self,
        master: int,
        *,
        stdin: int = 0,
        stdout: int = 1,
        log_path: str = "",
        escape: int = -1,
        ends_with_input: bool = False,
        leave: Iterable[int] = (_signal.SIGTERM, _signal.SIGHUP),
    ) -> None:
        self._master = master
        self._stdin = stdin
        self._stdout = stdout
        self.escape = escape
        self._escaped = False  # the escape's first character was typed
        self._ends_with_input = ends_with_input
        self._leave = frozenset(leave)
        self._left = 0.0  # when the user left; 0 before
        self._reading = stdin >= 0
        self._over = False  # the other side has ended: only what is in the pty is still to be taken
        self._taken = 0  # since then
        self._hung_up = False  # nothing more comes from the pty: only what is queued is still to be shown
        self._settings: tty.Settings | None = None
        self._handlers: dict[int, Handler] = {}
        self._wake: tuple[int, int] | None = None
        self._input = Outbox(master)
        self._output = Outbox(stdout, atom=_PIPE_BUF)
        self._own_stdout = -1
        self._was_blocking = True
        self._log = -1
        if log_path:
            try:
                self._log = os.open(
                    log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY | os.O_CLOEXEC, 0o600
                )
            except OSError as error:
                os.close(master)
                raise LxcError(f"cannot open the log of the terminal {log_path}: {describe(error)}") from error

    # -- before and after

    def prepare(self) -> None:
        """Raw mode for the caller's terminal, its size for the pty, and its changes from now on.

        Raises LxcError; close() undoes what was done.
        """
        self._take_signals()
        self._open_stdout()
        # The description may be shared with the monitor and the next client: close() puts it back.
        self._was_blocking = os.get_blocking(self._master)
        os.set_blocking(self._master, False)
        self._pass_size()
        if self._stdin >= 0 and os.isatty(self._stdin):
            # In the background of a shell this stops us (SIGTTOU), until the user brings us to the foreground.
            try:
                self._settings = tty.make_raw(self._stdin)
            except OSError as error:
                raise LxcError(f"cannot connect this terminal to the container's: {describe(error)}") from error

    def _take_signals(self) -> None:
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        except ValueError:  # not the main thread
            os.close(reader)
            os.close(writer)
            return
        self._wake = (reader, writer)
        for number in (_signal.SIGWINCH, _signal.SIGCONT, *self._leave):
            self._handle(number, _noted)
        for number in {_signal.SIGINT, _signal.SIGQUIT} - self._leave:
            self._handle(number, _signal.SIG_IGN)

    def _handle(self, number: int, handler: Handler) -> None:
        before = _signal.getsignal(number)
        if before is not None:  # one that Python did not install could not be put back
            self._handlers[number] = before
            _signal.signal(number, handler)

    def _open_stdout(self) -> None:
        """A terminal is opened anew, since only a description of our own can be made non-blocking."""
        if self._stdout >= 0 and os.isatty(self._stdout):
            try:
                flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
                self._own_stdout = os.open(f"/proc/self/fd/{self._stdout}", flags)
            except OSError:
                return  # another user's, say: then in small pieces
            self._output = Outbox(self._own_stdout)

    def close(self) -> None:
        """Give terminal and signals back, and close the pty; closing twice does nothing."""
        settings, self._settings = self._settings, None
        if settings is not None:
            # Somebody else may be in the terminal's foreground by now: the change must not stop us.
            mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGTTOU,))
            try:
                tty.restore(self._stdin, settings)
            except OSError:
                pass  # the terminal is gone
            finally:
                _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
        wake, self._wake = self._wake, None
        fds = [self._master, self._log, self._own_stdout]
        if self._master >= 0 and self._was_blocking:
            os.set_blocking(self._master, True)
        self._master = self._log = self._own_stdout = -1
        if wake is not None:
            _signal.set_wakeup_fd(-1)
            for number, handler in self._handlers.items():
                _signal.signal(number, handler)
            self._handlers.clear()
            fds += wake
        for fd in fds:
            if fd >= 0:
                os.close(fd)

    def _pass_size(self) -> None:
        for fd in (self._stdout, self._stdin):
            if fd >= 0 and os.isatty(fd):
                try:
                    tty.set_window_size(self._master, tty.window_size(fd))
                except OSError:
                    pass  # the other side has just gone
                return

    # -- the loop

    def run(self, ended: int = -1) -> int:
        """Copy until the escape, the pty's hangup, or until `ended` (a pidfd or a connection) becomes readable.

        What is in the pty then is copied first. Returns the signal that ended it, or 0; everything is closed by then, so
        that what runs on the pty gets the hangup.
        """
        try:
            number = 0
            while not number and not self._finished():
                number = self._step(ended)
            return number
        finally:
            self.close()

    def _finished(self) -> bool:
        if self._left:
            return not self._input or time.monotonic() >= self._left + _LAST_INPUT
        return self._hung_up and not self._output

    def _step(self, ended: int) -> int:
        """Wait, and copy what is there; returns the signal that is to end it, or 0."""
        happened = self._wait(ended)
        if self._wake is not None and self._wake[0] in happened:
            number = self._signalled()
            if number:
                return number
        if self._reading and not self._over and self._stdin in happened:
            self._take_input()
        if ended in happened:
            self._over = True
        elif self._over and self._master not in happened and not self._output.full:
            self._hung_up = True  # all that was in it is taken
        try:
            self._input.flush()
            if happened.get(self._master, 0) & (select.POLLIN | _GONE):
                self._take_output()
        except OSError:
            self._hung_up = True  # nobody has the other side open any more
        if self._output and (self._own_stdout >= 0 or self._output.fd in happened):
            try:
                self._output.flush()
            except OSError:
                self._output.clear()
                self._hung_up = True  # nobody sees us any more
        return 0

    def _wait(self, ended: int) -> dict[int, int]:
        """What happened, by descriptor."""
        masks: dict[int, int] = {}
        if self._wake is not None:
            masks[self._wake[0]] = select.POLLIN
        if not self._hung_up:
            if not self._over and ended >= 0:
                masks[ended] = select.POLLIN
            wanted = (0 if self._output.full else select.POLLIN) | (select.POLLOUT if self._input else 0)
            if wanted:
                masks[self._master] = wanted
            if self._reading and not self._over and not self._left and not self._input.full:
                masks[self._stdin] = select.POLLIN
        if self._output:
            masks[self._output.fd] = masks.get(self._output.fd, 0) | select.POLLOUT
        patience: float | None = None
        if self._left:
            patience = max(0.0, self._left + _LAST_INPUT - time.monotonic()) * 1000
        elif self._over and not self._hung_up and not self._output.full:
            patience = 0
        poller = select.poll()
        for fd, mask in masks.items():
            poller.register(fd, mask)
        return dict(poller.poll(patience))

    def _signalled(self) -> int:
        """Act on the signals that arrived; the number of one that ends us, or 0."""
        assert self._wake is not None
        arrived = os.read(self._wake[0], 4096)
        for number in arrived:
            if number in self._leave:
                return number
        if _signal.SIGCONT in arrived and self._settings is not None:
            try:
                tty.make_raw(self._stdin)  # the shell has changed it while we were stopped
            except OSError:
                pass  # the terminal is gone: reading it says so
        self._pass_size()
        return 0

    def _take_input(self) -> None:
        """Queue what the user typed, without escapes."""
        try:
            data = os.read(self._stdin, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # a terminal that has hung up
        if not data:
            self._reading = False
            if self._ends_with_input:
                self._left = time.monotonic()
        elif self.escape < 0:
            self._input.add(data)
        else:
            self._input.add(self._without_escapes(data))

    def _without_escapes(self, data: bytes) -> bytes:
        result = bytearray()
        for byte in data:
            if self._escaped and byte == ord("q"):
                self._left = time.monotonic()
                break
            if byte != self.escape or self._escaped:
                result.append(byte)
                self._escaped = False
            else:
                self._escaped = True
        return bytes(result)

    def _take_output(self) -> None:
        """Queue what the pty has. Raises OSError when it has hung up."""
        if self._output.full:
            return
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._hung_up = True
            return
        self._output.add(data)
        if self._over:
            self._taken += len(data)
            self._hung_up = self._taken > _MOST_LAST_OUTPUT
        if self._log >= 0:
            _write_all(self._log, data)


def _noted(_number: int, _frame: object) -> None:
    """The wake-up descriptor tells the loop."""


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def console(name: str, lxcpath: str, number: int, *, escape: int) -> int:
    """lxc-console: connect stdin and stdout to a tty of a running container; returns 0. Raises LxcError, NotRunning.

    A signal that ended it other than SIGTERM is sent to ourselves again, once the terminal is as it was.
    """
    found = client.tty(name, lxcpath, number)
    if found is None:
        raise NotRunning(f"{name} is not running", remedy=f"lxc-start -n {name} first")
    connection, master, number = found
    try:
        ended_by = _connect(connection.fileno(), Proxy(master, escape=escape, ends_with_input=True, leave=ENDING), number)
    finally:
        connection.close()
    if ended_by not in (0, _signal.SIGTERM):
        os.kill(os.getpid(), ended_by)
    return 0


def _connect(connection: int, proxy: Proxy, number: int) -> int:
    """The session of lxc-console; returns the signal that ended it, or 0."""
    try:
        _check_stdin()
        if proxy.escape >= 0:
            key = f"Ctrl+{chr(proxy.escape + ord('a') - 1)}"
            hint = f"Type <{key} q> to exit the console, <{key} {key}> to enter {key} itself"
            _write_all(2, f"\nConnected to tty {number}\n{hint}\n".encode())
        proxy.prepare()
        return proxy.run(connection)
    finally:
        proxy.close()


def _check_stdin() -> None:
    """What epoll(7) does not take (a file, /dev/null) would be at its end at once: C LXC refuses it, too."""
    poller = select.epoll()
    try:
        poller.register(0, select.EPOLLIN)
    except OSError as error:
        raise LxcError(
            f"Failed to add stdin handler: the standard input is neither a terminal nor a pipe: {describe(error)}",
            remedy="run it on a terminal, or use lxc-attach",
        ) from error
    finally:
        poller.close()
