# SPDX-License-Identifier: LGPL-2.1-or-later
"""Do something with many containers at the same time, each in a fork of this warm interpreter.

What a job raises comes back as text. A signal that ends the command ends the jobs, too, each with its own undoing.
A job may stay: it becomes a monitor, and has done its part once it has told that the container runs. One fork a container
it is then, not three; each fork costs both sides a fault for every page that they go on to use.
"""

from __future__ import annotations

import _signal
import _socket
import gc
import marshal
import os
import select

from ..errors import LxcError, describe
from ..undo import held
from .daemon import Report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_MOST_TEXT = 65536


class _Running:
    """A job that runs: its number, its process, and the socket its word comes through, None when nothing more can come.

    A job that executes a program closes the socket long before it ends, so the process says when that is.
    """

    __slots__ = ("number", "outcome", "pid", "pidfd", "reader", "stay", "text", "told")

    def __init__(self, number: int, pid: int, pidfd: int, reader: _socket.socket, *, stay: bool) -> None:
        self.number = number
        self.stay = stay
        self.pid = pid
        self.pidfd = pidfd
        self.reader: _socket.socket | None = reader
        self.text = b""
        self.told = False  # whether it has said how it went, whatever its process does now
        self.outcome: tuple[str, str, int] | None = None  # what it has said, as Report carries it

    def read(self) -> bool:
        """Take what it has said by now; whether there was anything."""
        if self.reader is None:
            return False
        try:
            data = self.reader.recv(_MOST_TEXT)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        self.text += data
        if not data:
            self._close()
            return False
        try:
            self.outcome = marshal.loads(self.text)
            self.told = True
        except EOFError:
            pass  # there is more to come
        return True

    @property
    def stays(self) -> bool:
        """Whether it has done its part and goes on."""
        return self.stay and self.told and self.outcome is None

    def wait(self) -> None:
        """Until it stays or has ended."""
        while not self.stays and self not in _over([self]):
            pass

    def _close(self) -> None:
        if self.reader is not None:
            self.reader.close()
        self.reader = None

    def forget(self) -> None:
        """Give back what it took here."""
        self._close()
        os.close(self.pidfd)


def run(jobs: Sequence[Callable[[Report], object]], at_once: int, *, stay: bool = False) -> Iterator[tuple[int, str | None]]:
    """Run every job, that many at once; yields (number of the job, None or why it failed) as they end.

    stay: they use the Report they are given, and those that tell of success go on; that of others is used for them, by
    how they return.
    This process must have one thread. Raises what a signal handler raises, when the jobs have ended.
    """
    # What is here now stays: collections in the jobs would copy the pages they share with us.
    gc.freeze()
    running: list[_Running] = []
    following = 0
    try:
        while running or following < len(jobs):
            while following < len(jobs) and len(running) < at_once:
                try:
                    with held() as signals:
                        running.append(_begin(following, jobs[following], signals, stay=stay))
                except OSError as error:
                    if running:
                        break  # no process or descriptor is left: when one of ours has ended there is
                    yield following, f"cannot start a process for it: {describe(error)}"
                following += 1
            for job in _over(running):
                outcome = _end(job)
                running.remove(job)
                job.forget()
                yield job.number, outcome
    finally:
        for job in running:
            _terminate(job)
        for job in running:
            job.wait()
            _end(job)
            job.forget()
        gc.unfreeze()


def _over(running: Sequence[_Running]) -> list[_Running]:
    """Wait until one is over, or has said something; those that are over."""
    poller = select.poll()
    for job in running:
        poller.register(job.pidfd, select.POLLIN)
        if job.reader is not None:
            poller.register(job.reader.fileno(), select.POLLIN)
    ready = {fd for fd, _events in poller.poll()} if running else set()
    for job in running:
        if job.reader is not None and job.reader.fileno() in ready:
            job.read()
    return [job for job in running if job.pidfd in ready or job.stays]


def _begin(number: int, job: Callable[[Report], object], signals: held, *, stay: bool) -> _Running:
    """Fork; signals are held, and the job does not inherit that. Raises OSError."""
    reader, writer = _socket.socketpair()
    parent = os.getpid()
    pid = 0
    try:
        reader.setblocking(False)
        pid = os.fork()
        if pid:
            pidfd = os.pidfd_open(pid)
    except OSError:
        reader.close()
        writer.close()
        if pid:
            os.kill(pid, _signal.SIGTERM)
            os.waitpid(pid, 0)
        raise
    if pid:
        writer.close()
        return _Running(number, pid, pidfd, reader, stay=stay)
    status = 1
    try:
        reader.close()
        _do(job, Report(writer, parent), signals)
        status = 0
    finally:
        os._exit(status)


def _do(job: Callable[[Report], object], report: Report, signals: held) -> None:
    try:
        signals.release()
        job(report)
    except BaseException as error:
        report.failed(error)
    else:
        report.running()


def _terminate(job: _Running) -> None:
    try:
        _signal.pidfd_send_signal(job.pidfd, _signal.SIGTERM)
    except ProcessLookupError:
        pass  # the signal that ends us came when it had been reaped


def _end(job: _Running) -> str | None:
    """Why a job that is over failed. It is reaped, unless it stays. One that became another program (see seal.py) has told
    that itself.
    """
    while job.read():
        pass
    try:
        pid, wait_status = os.waitpid(job.pid, os.WNOHANG if job.stays else 0)
        status = os.waitstatus_to_exitcode(wait_status) if pid else 0
    except ChildProcessError:
        status = 0
    if job.outcome is not None:
        message, remedy, _code = job.outcome
        return str(LxcError(message, remedy=remedy))
    if status == 0 or job.told:
        return None
    return f"it ended with status {status}" if status > 0 else f"it was killed by signal {-status}"
