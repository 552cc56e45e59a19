# SPDX-License-Identifier: LGPL-2.1-or-later
"""Do something with many containers at the same time, each in a fork of this warm interpreter.

What a job raises comes back as text. A signal that ends the command ends the jobs, too, each with its own undoing.
"""

from __future__ import annotations

import _signal
import gc
import marshal
import os
import select

from ..errors import LxcError, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_MOST_TEXT = 65536


class _Running:
    """A job that runs: its number, its process, and the pipe its word comes through, -1 when nothing more can come.

    A job that executes a program closes the pipe long before it ends, so the process says when that is.
    """

    __slots__ = ("number", "pid", "pidfd", "reader", "text")

    def __init__(self, number: int, pid: int, pidfd: int, reader: int) -> None:
        self.number = number
        self.pid = pid
        self.pidfd = pidfd
        self.reader = reader
        self.text = b""

    def read(self) -> bool:
        """Take what it has said by now; whether there was anything."""
        try:
            data = os.read(self.reader, _MOST_TEXT) if self.reader >= 0 else b""
        except BlockingIOError:
            return False
        self.text += data
        if not data:
            self._close()
        return bool(data)

    def _close(self) -> None:
        if self.reader >= 0:
            os.close(self.reader)
        self.reader = -1

    def forget(self) -> None:
        """Give back what it took here."""
        self._close()
        os.close(self.pidfd)


def run(jobs: Sequence[Callable[[], object]], at_once: int) -> Iterator[tuple[int, str | None]]:
    """Run every job, that many at once; yields (number of the job, None or why it failed) as they end.

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
                    running.append(_begin(following, jobs[following]))
                except OSError as error:
                    if running:
                        break  # no process or descriptor is left: when one of ours has ended there is
                    yield following, f"cannot start a process for it: {describe(error)}"
                following += 1
            for job in _ended(running):
                outcome = _end(job)
                running.remove(job)
                job.forget()
                yield job.number, outcome
    finally:
        for job in running:
            _terminate(job)
        for job in running:
            _end(job)
            job.forget()
        gc.unfreeze()


def _ended(running: Sequence[_Running]) -> list[_Running]:
    """Wait until one has ended, or said something; those that have ended."""
    poller = select.poll()
    for job in running:
        for fd in (job.pidfd, job.reader):
            if fd >= 0:
                poller.register(fd, select.POLLIN)
    ready = {fd for fd, _events in poller.poll()} if running else set()
    for job in running:
        if job.reader in ready:
            job.read()
    return [job for job in running if job.pidfd in ready]


def _begin(number: int, job: Callable[[], object]) -> _Running:
    """Fork. Raises OSError."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = 0
    try:
        os.set_blocking(reader, False)
        pid = os.fork()
        if pid:
            pidfd = os.pidfd_open(pid)
    except OSError:
        os.close(reader)
        os.close(writer)
        if pid:
            os.kill(pid, _signal.SIGTERM)
            os.waitpid(pid, 0)
        raise
    if pid:
        os.close(writer)
        return _Running(number, pid, pidfd, reader)
    status = 1
    try:
        os.close(reader)
        os.write(writer, marshal.dumps(_outcome(job)))
        status = 0
    finally:
        os._exit(status)


def _outcome(job: Callable[[], object]) -> str | None:
    try:
        job()
    except LxcError as error:
        return str(error)
    except BaseException as error:
        return describe(error)
    return None


def _terminate(job: _Running) -> None:
    try:
        _signal.pidfd_send_signal(job.pidfd, _signal.SIGTERM)
    except ProcessLookupError:
        pass  # the signal that ends us came when it had been reaped


def _end(job: _Running) -> str | None:
    """Reap it; why it failed. A job that became another program (see seal.py) has told that itself."""
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(job.pid, 0)[1])
    except ChildProcessError:
        status = 0
    while job.read():
        pass
    if job.text and status == 0:
        outcome: str | None = marshal.loads(job.text)
        return outcome
    if status == 0:
        return None
    return f"it ended with status {status}" if status > 0 else f"it was killed by signal {-status}"
