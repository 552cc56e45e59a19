# SPDX-License-Identifier: LGPL-2.1-or-later
"""The forks of `lxc-start -d`, and how the result reaches the command.

    command ── fork ──> middle ── fork ──> monitor
       |                  exits               own session, /, /dev/null, only its own descriptors
       └── waits for one record: RUNNING, or the reason why not

The command prints the *reason*; end of file means that the monitor died without a word.
"""

from __future__ import annotations

import _signal
import _socket
import marshal
import os
import select

from .. import log
from ..cgroup.settle import INTERVAL, Settling
from ..errors import LxcError, describe
from ..linux import prctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

_FIRST_LISTEN_FD = 3
_TOUCHES = 100  # a start that takes longer waits for something else, a hook or a device
_CANCELLING = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)


def outcome_of(error: BaseException) -> tuple[str, str, int]:
    """What a Report carries of an error: message, remedy, exit status."""
    if isinstance(error, LxcError):
        return error.message, error.remedy, error.exit_code
    return describe(error), "", 1


class Report:
    """The monitor's end: tells the waiting command exactly once how the start ended: None for RUNNING, or outcome_of().

    command: that one's pid, 0 for none.
    """

    __slots__ = ("_sock", "command")

    def __init__(self, sock: _socket.socket | None = None, command: int = 0) -> None:
        self._sock = sock
        self.command = command

    def fileno(self) -> int:
        """The descriptor, or -1 once told."""
        return self._sock.fileno() if self._sock else -1

    def running(self) -> None:
        """The container runs."""
        self._tell(None)

    def failed(self, error: BaseException) -> None:
        """The start failed for this reason."""
        self._tell(outcome_of(error))

    def _tell(self, payload: object) -> None:
        sock, self._sock = self._sock, None
        if sock is None:
            return
        try:
            sock.sendall(marshal.dumps(payload), _socket.MSG_NOSIGNAL)  # type: ignore[arg-type]
        except OSError:
            pass  # the command is gone; the container does not depend on it
        sock.close()


def daemonize(title: str, keep: Iterable[int], body: Callable[[Report], int], settling: Settling | None = None) -> None:
    """Run body(report) in a daemon with this process title; return when it reports success.

    keep: descriptors that the daemon needs besides the log file and the LISTEN_FDS range. settling: goes on meanwhile.
    Raises LxcError with the monitor's reason otherwise. Never returns in the daemon.
    """
    kept = frozenset(keep)
    command = os.getpid()
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    middle = os.fork()
    if middle == 0:
        ours.close()
        try:
            prctl.set_title(title)
            monitor = os.fork()
            if monitor:
                theirs.send(marshal.dumps(monitor))
        except BaseException:
            os._exit(1)
        if monitor:
            os._exit(0)
        _run(Report(theirs, command), kept, body)
    theirs.close()
    os.waitpid(middle, 0)
    _wait(ours, settling)


def become(title: str, keep: Iterable[int], body: Callable[[Report], int], report: Report) -> NoReturn:
    """Run body(report) in this process, which becomes the daemon: for a fork that was made for it, whose parent reads the
    report. Never returns.
    """
    try:
        prctl.set_title(title)
    except BaseException as error:
        report.failed(error)
        os._exit(1)
    _run(report, frozenset(keep), body)


def _run(report: Report, keep: frozenset[int], body: Callable[[Report], int]) -> NoReturn:
    """The daemon: leave the caller's session and descriptors, run body, never return."""
    status = 1
    try:
        os.setsid()
        os.chdir("/")
        close_inherited(keep | {report.fileno(), log.file_fd()})
        _stdio_to_null()
        log.to_stderr(False)
        status = body(report)
    except BaseException as error:
        report.failed(error)
    finally:
        os._exit(status)


def listen_fds() -> range:
    """The descriptors of socket activation (sd_listen_fds(3)), which a daemon keeps and init inherits."""
    try:
        count = int(os.environ.get("LISTEN_FDS", "0"))
    except ValueError:
        count = 0
    return range(_FIRST_LISTEN_FD, _FIRST_LISTEN_FD + max(0, min(count, 1024)))


def close_inherited(keep: Iterable[int]) -> None:
    """Close every descriptor above 2 but these and those of socket activation."""
    wanted = set(keep) | set(listen_fds())
    for fd in _inherited():
        if fd not in wanted:
            os.close(fd)


def hide_inherited() -> None:
    """Make every descriptor above 2 close-on-exec: the caller's do not reach the container (C LXC hands them on)."""
    for fd in _inherited():
        os.set_inheritable(fd, fd in listen_fds())


def _inherited() -> list[int]:
    result = []
    for entry in os.listdir("/proc/self/fd"):
        fd = int(entry)
        try:
            os.fstat(fd)
        except OSError:
            continue  # the descriptor of the listing itself
        if fd > 2:
            result.append(fd)
    return result


def _stdio_to_null() -> None:
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def _cancel(number: int, _frame: object) -> None:
    raise LxcError(f"the start was cancelled by signal {number}", exit_code=128 + number)


def _keep_settled(sock: _socket.socket, settling: Settling) -> None:
    """Until there is a word, but not for long: the monitor has made its moves by then."""
    poller = select.poll()
    poller.register(sock.fileno(), select.POLLIN)
    for _ in range(_TOUCHES):
        if not settling.keep() or poller.poll(INTERVAL * 1000):
            return


def _wait(sock: _socket.socket, settling: Settling | None) -> None:
    """The command's side: the monitor's pid and its word. A signal to the command cancels the start."""
    before = {number: _signal.getsignal(number) for number in _CANCELLING}
    for number, handler in before.items():
        if handler != _signal.SIG_IGN:
            _signal.signal(number, _cancel)
    monitor, word = 0, b""
    try:
        try:
            # The monitor may be quicker with its word than the middle process with the monitor's pid.
            while word := sock.recv(65536):
                payload = marshal.loads(word)
                if not isinstance(payload, int):
                    break
                monitor = payload
                if settling is not None:
                    _keep_settled(sock, settling)
        except BaseException:
            # Interrupted: what is half started must not stay. The monitor passes this SIGTERM on to a running init
            # only when it did not come from us, so a start that has just succeeded is stopped by nobody by chance.
            if monitor:
                try:
                    os.kill(monitor, _signal.SIGTERM)
                    sock.recv(65536)
                except OSError:
                    pass
            raise
    finally:
        sock.close()
        for number, handler in before.items():
            if handler is not None:  # one that Python did not set
                _signal.signal(number, handler)
    if not word:
        raise LxcError(
            "the monitor died before the container was running",
            remedy="start again with -l DEBUG -o FILE and look for the last line of the monitor",
        )
    if payload is not None:
        text, remedy, code = payload
        raise LxcError(text, remedy=remedy, exit_code=code)
