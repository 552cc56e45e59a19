# SPDX-License-Identifier: LGPL-2.1-or-later
"""Several processes that copy folders of one tree, each with a Copier of its own.

Processes and not threads: most of the work is short system calls, between which threads would wait for the interpreter's lock.

    coordinator -> worker    [folder, ...]                      copy these and what is below
    worker -> coordinator    ("give", [folder, ...])            for those who have nothing to do
                             ("links", folder, names, last)     several links: the coordinator makes them, who knows all inodes
                             ("done", entries, vanished)        of what it was given last
                             ("failed", message, remedy)        the end of this worker

Each message is a length and a marshalled value. How many bytes each has copied, and whether somebody waits for work, is in
shared memory: asking costs nothing.
"""

from __future__ import annotations

import marshal
import mmap
import os
import select
import struct

from ..errors import LxcError, describe
from ..linux import prctl, signals
from .tree_source import measure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .tree_copy import Copier

_SIGKILL = 9
_EVERY = 0.1  # seconds between two beats
_LENGTH = struct.Struct("I")
_COUNT = struct.Struct("Q")  # one a worker in the shared memory, after the one that is not 0 while somebody waits
_FEW = 64  # folders that a worker gets at once


class _Worker:
    """A process, the pipes to it and from it, and what has been read of a message."""

    __slots__ = ("busy", "data", "hear", "pid", "tell")

    def __init__(self, pid: int, tell: int, hear: int) -> None:
        self.pid = pid
        self.tell = tell
        self.hear = hear
        self.busy = False
        self.data = b""


class Pool:
    """`with Pool(copier, number) as pool: pool.run(...)`: the processes end with the block, however it ends."""

    def __init__(self, copier: Copier, number: int) -> None:
        self._copier = copier
        self._number = number
        self._workers: list[_Worker] = []
        self._measurer: _Worker | None = None
        self._expect: Callable[[int], object] = lambda total: None
        self._shared = mmap.mmap(-1, _COUNT.size * (number + 1))

    def __enter__(self) -> Pool:
        try:
            for index in range(self._number):
                self._start(index)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._end()

    def _end(self) -> None:
        ending = [*self._workers, *([self._measurer] if self._measurer else ())]
        for worker in ending:
            os.kill(worker.pid, _SIGKILL)
            os.close(worker.tell)
            os.close(worker.hear)
        for worker in ending:
            os.waitpid(worker.pid, 0)
        self._workers.clear()
        self._measurer = None
        self._shared.close()

    def _start(self, index: int) -> None:
        self._workers.append(self._fork(lambda jobs, results: _work(self._copier, jobs, results, self._shared, index)))

    def measure(self, expect: Callable[[int], object]) -> None:
        """Have the size of the whole tree measured meanwhile, and expect called with it."""
        self._expect = expect
        self._measurer = self._fork(lambda _jobs, results: _measure(self._copier, results))

    def _fork(self, life: Callable[[int, int], None]) -> _Worker:
        jobs, results = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        mask = signals.block_all_but(())  # a worker ends when the coordinator says so, and not at ^C
        try:
            pid = os.fork()
            if pid == 0:
                try:
                    prctl.set_pdeathsig(_SIGKILL)
                    if os.getppid() == parent:
                        for fd in (jobs[1], results[0], *(fd for other in self._workers for fd in (other.tell, other.hear))):
                            os.close(fd)
                        life(jobs[0], results[1])
                finally:
                    os._exit(0)
        finally:
            signals.restore(mask)
        os.close(jobs[0])
        os.close(results[1])
        return _Worker(pid, jobs[1], results[0])

    def copied(self) -> int:
        """Bytes copied by the workers so far."""
        return sum(int(_COUNT.unpack_from(self._shared, _COUNT.size * (index + 1))[0]) for index in range(self._number))

    def run(self, waiting: list[str], links: Callable[[str, list[str], bool], object], beat: Callable[[], object]) -> int:
        """Copy the folders in waiting and all below them; returns the number of entries made. Raises LxcError."""
        poller = select.poll()
        by_fd = {worker.hear: worker for worker in self._workers}
        if self._measurer:
            by_fd[self._measurer.hear] = self._measurer
        for fd in by_fd:
            poller.register(fd, select.POLLIN)
        entries = 0
        while self._give(waiting):
            for fd, _events in poller.poll(int(_EVERY * 1000)):
                worker = by_fd[fd]
                if worker is self._measurer:
                    poller.unregister(fd)
                    self._measured(worker)
                    continue
                for message in self._read(worker):
                    if message[0] == "give":
                        waiting += message[1]
                    elif message[0] == "links":
                        links(*message[1:])
                    elif message[0] == "done":
                        worker.busy = False
                        entries += message[1]
                        self._copier.vanished += message[2]
                    else:
                        raise LxcError(message[1], remedy=message[2])
            beat()
        return entries

    def _measured(self, measurer: _Worker) -> None:
        data = os.read(measurer.hear, _COUNT.size)
        if len(data) == _COUNT.size:
            self._expect(_COUNT.unpack(data)[0])

    def _give(self, waiting: list[str]) -> bool:
        """Hand out what waits; False when all is done."""
        idle = [worker for worker in self._workers if not worker.busy]
        for number, worker in enumerate(idle):
            if not waiting:
                break
            some = min(_FEW, -(-len(waiting) // (len(idle) - number)))
            _send(worker.tell, waiting[:some])
            del waiting[:some]
            worker.busy = True
        hungry = sum(not worker.busy for worker in self._workers)
        _COUNT.pack_into(self._shared, 0, hungry)
        return hungry < len(self._workers)

    def _read(self, worker: _Worker) -> list[Any]:
        """The messages of a worker that are there. Raises LxcError when it has ended."""
        data = os.read(worker.hear, 1 << 16)
        if not data:
            raise LxcError(f"cannot copy {self._copier.shown}: a helper process ended unexpectedly")
        worker.data += data
        found = []
        while len(worker.data) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(worker.data)[0]
            if len(worker.data) < end:
                break
            found.append(marshal.loads(worker.data[_LENGTH.size : end]))
            worker.data = worker.data[end:]
        return found


def _send(fd: int, message: Any) -> None:
    data = marshal.dumps(message)
    data = _LENGTH.pack(len(data)) + data
    while data:
        data = data[os.write(fd, data) :]


def _receive(fd: int) -> Any:
    """The next message; None when the other side has ended."""
    head = _exactly(fd, _LENGTH.size)
    return marshal.loads(_exactly(fd, _LENGTH.unpack(head)[0])) if head else None


def _exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(fd, size - len(data))
        if not part:
            return b""
        data += part
    return data


def _work(copier: Copier, jobs: int, results: int, shared: mmap.mmap, index: int) -> None:
    """A worker's life."""
    copier.reset()
    stack = copier.stack
    place = _COUNT.size * (index + 1)

    def beat() -> None:
        _COUNT.pack_into(shared, place, copier.bytes)
        if shared[0] and len(stack) > 1:
            half = len(stack) // 2 if len(stack) < 2 * _FEW else _FEW
            _send(results, ("give", stack[:half]))
            del stack[:half]

    def links(path: str, names: list[str], last: bool) -> None:
        _send(results, ("links", path, names, last))

    copier.on(beat, links)
    try:
        while some := _receive(jobs):
            stack += some
            while stack:
                copier.folder(stack.pop())
            _send(results, ("done", copier.files, copier.vanished))
            copier.files = 0
            copier.vanished.clear()
    except LxcError as error:
        _send(results, ("failed", error.message, error.remedy))
    except Exception as error:
        _send(results, ("failed", f"cannot copy {copier.shown}: {describe(error)}", ""))


def _measure(copier: Copier, results: int) -> None:
    """The measurer's life: how much data there is, while the others copy it."""
    os.nice(10)
    os.write(results, _COUNT.pack(measure(copier.source)[0]))
