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
    """A job that runs: its number, process and the pipe its word comes through."""

    __slots__ = ("number", "pid", "reader", "text")

    def __init__(self, number: int, pid: int, reader: int) -> None:
        self.number = number
        self.pid = pid
        self.reader = reader
        self.text = b""


def run(jobs: Sequence[Callable[[], object]], at_once: int) -> Iterator[tuple[int, str | None]]:
    """Run every job, that many at once; yields (number of the job, None or why it failed) as they end.

    This process must have one thread. Raises what a signal handler raises, when the jobs have ended.
    """
    # What is here now stays: collections in the jobs would copy the pages they share with us.
    gc.freeze()
    running: dict[int, _Running] = {}
    poller = select.poll()
    following = 0
    try:
        while running or following < len(jobs):
            while following < len(jobs) and len(running) < at_once:
                try:
                    job = _begin(following, jobs[following])
                except OSError as error:
                    if running:
                        break  # no process or descriptor is left: when one of ours has ended there is
                    yield following, f"cannot start a process for it: {describe(error)}"
                else:
                    running[job.reader] = job
                    poller.register(job.reader, select.POLLIN)
                following += 1
            for fd, _events in poller.poll() if running else ():
                job = running[fd]
                data = os.read(fd, _MOST_TEXT)
                if data:
                    job.text += data
                    continue
                poller.unregister(fd)
                del running[fd]
                yield job.number, _end(job)
    finally:
        for job in running.values():
            os.kill(job.pid, _signal.SIGTERM)
        for job in running.values():
            _end(job)
        gc.unfreeze()


def _begin(number: int, job: Callable[[], object]) -> _Running:
    """Fork. Raises OSError."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
    except OSError:
        os.close(reader)
        os.close(writer)
        raise
    if pid:
        os.close(writer)
        return _Running(number, pid, reader)
    try:
        os.close(reader)
        os.write(writer, marshal.dumps(_outcome(job)))
    finally:
        os._exit(0)


def _outcome(job: Callable[[], object]) -> str | None:
    try:
        job()
    except LxcError as error:
        return str(error)
    except BaseException as error:
        return describe(error)
    return None


def _end(job: _Running) -> str | None:
    """Reap it; why it failed. A job that became another program (see seal.py) has told that itself."""
    os.close(job.reader)
    status = os.waitstatus_to_exitcode(os.waitpid(job.pid, 0)[1])
    if job.text:
        outcome: str | None = marshal.loads(job.text)
        return outcome
    if status == 0:
        return None
    return f"it ended with status {status}" if status > 0 else f"it was killed by signal {-status}"

