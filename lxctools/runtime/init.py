# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-execute's init: pid 1 of a container that has no init of its own.

Runs in the process that the start sequence made, inside the container, so nothing may be imported from here on.
It runs the program as its child, reaps whatever is orphaned to it, and lives until no process is left: a background
process of the program keeps the container running (LXC behaviour). Its exit status is the program's: n, or 128 + signal.

Signals: SIGTERM and SIGPWR ask for the end: SIGTERM to everyone, SIGKILL to what is left one second after the last
exit. All others are passed on to the program.
"""

from __future__ import annotations

import _signal
import errno
import fcntl
import os
import termios
import time

from ..linux import prctl, signals
from ..process import ALL_SIGNALS, exit_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CANNOT_EXECUTE = 255
_GRACE = 1.0
_NOT_PASSED_ON = frozenset((_signal.SIGCHLD, _signal.SIGHUP, _signal.SIGALRM))
_DEFAULT_EXEC_PATH = "/bin:/usr/bin"


def run(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run argv under this process as init and return the exit status for it.

    To be called with every signal blocked. When this is not pid 1 (a shared pid namespace) only its own
    descendants are ended, never the other processes of that namespace.
    """
    alone = os.getpid() == 1
    if not alone:
        prctl.set_child_subreaper(True)
    program = os.fork()
    if program == 0:
        _become(argv, environment)
    _stderr_to_console()
    os.closerange(3, 4096)
    return _reap(program, alone)


def _become(argv: Sequence[str], environment: Mapping[str, str]) -> None:
    """The program's process: own session, controlling terminal, default signals, execve. Never returns."""
    os.setsid()
    if os.isatty(0):
        try:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        except OSError:
            pass  # the terminal already controls another session
    default_signals()
    error = execute(argv, environment)
    os.write(2, f"lxc-init: cannot execute {argv[0]}: {error.strerror}\n".encode("utf-8", "backslashreplace"))
    os._exit(CANNOT_EXECUTE)


def default_signals() -> None:
    """Default dispositions and an empty mask: the interpreter ignores SIGPIPE and SIGXFSZ, a program must not."""
    signals.default_dispositions()
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def execute(argv: Sequence[str], environment: Mapping[str, str], default_path: str = _DEFAULT_EXEC_PATH) -> OSError:
    """execvpe(3) without the modules that os.execvpe would import; returns the error that counts, or never."""
    if "/" in argv[0]:
        candidates = [argv[0]]
    else:
        folders = environment.get("PATH", default_path).split(":")
        candidates = [f"{folder or '.'}/{argv[0]}" for folder in folders]
    denied: OSError | None = None
    last = OSError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])
    for candidate in candidates:
        try:
            os.execve(candidate, list(argv), dict(environment))
        except OSError as error:
            if error.errno == errno.EACCES:
                denied = error
            elif error.errno == errno.ENOEXEC:
                try:
                    os.execve("/bin/sh", ["/bin/sh", candidate, *argv[1:]], dict(environment))
                except OSError as failed:
                    last = failed
            elif len(candidates) == 1 or error.errno not in (errno.ENOENT, errno.ENOTDIR):
                return error
    return denied or last


def _stderr_to_console() -> None:
    try:
        console = os.open("/dev/console", os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return  # a container without /dev/console
    os.dup2(console, 2)
    os.close(console)


def _reap(program: int, alone: bool) -> int:
    """Wait until no child is left; the status of the program, as an exit code."""
    status = CANNOT_EXECUTE
    ending = False
    kill_at = 0.0
    everything = set(ALL_SIGNALS)
    while True:
        if ending:
            info = _signal.sigtimedwait(everything, max(0.0, kill_at - time.monotonic()))
        else:
            info = _signal.sigwaitinfo(everything)
        number = info.si_signo if info is not None else 0
        if number in (_signal.SIGTERM, _signal.SIGPWR) and not ending:
            ending = True
            kill_at = time.monotonic() + _GRACE
            _signal_all(_signal.SIGTERM, program, alone)
        elif number and number not in _NOT_PASSED_ON:
            _send(program, number)
        elif ending and time.monotonic() >= kill_at:
            _signal_all(_signal.SIGKILL, program, alone)
            kill_at = time.monotonic() + _GRACE
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return status
            if pid == 0:
                break
            if ending:
                kill_at = time.monotonic() + _GRACE
            if pid == program:
                status = exit_status(wait_status)


def _signal_all(number: int, program: int, alone: bool) -> None:
    if alone:
        _send(-1, number)
        return
    for pid in _own_children() or [program]:
        _send(pid, number)


def _own_children() -> list[int]:
    """Direct children (orphans come to us, the subreaper); empty where /proc does not tell."""
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children", "rb", buffering=0) as file:
            return [int(word) for word in file.readall().split()]
    except OSError:
        return []


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # ended in between
