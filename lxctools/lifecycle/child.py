# SPDX-License-Identifier: LGPL-2.1-or-later
"""Work that needs namespaces or ids which this process must not take: in a child, whose failure comes back."""

from __future__ import annotations

import _signal
import os
import select

from ..errors import LxcError, describe
from ..undo import held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container

_PATIENCE = 2000  # ms until a child that was told to end is killed
_MOST_SAID = 60000  # bytes of its reason, which fit into a pipe


class Child:
    """The process that does the work; close() what it was given on our side, then wait()."""

    __slots__ = ("_errors", "_pid", "_what")

    def __init__(self, pid: int, errors: int, what: str) -> None:
        self._pid = pid
        self._errors = errors
        self._what = what

    def wait(self) -> None:
        """Until it has ended. Raises LxcError with its reason when it failed. Who is interrupted meanwhile ends it first."""
        try:
            with open(self._errors, "rb") as file:
                message = file.read().decode("utf-8", "replace")
        except BaseException:
            self.end()
            raise
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        if status != 0:
            raise LxcError(message or f"the process that {self._what} ended with status {status}")

    def end(self) -> None:
        """End it before its time: SIGTERM first, so that it ends a program of its own, too."""
        fd = os.pidfd_open(self._pid)
        try:
            _signal.pidfd_send_signal(fd, _signal.SIGTERM)
            poller = select.poll()
            poller.register(fd, select.POLLIN)
            if not poller.poll(_PATIENCE):
                _signal.pidfd_send_signal(fd, _signal.SIGKILL)
        finally:
            os.close(fd)
        os.waitpid(self._pid, 0)


def start(call: Callable[[], object], what: str, keep: Container[int] | None = None) -> Child:
    """Begin call() in a child. what: that it does, in the words of "the process that ...".

    keep: its descriptors; what is open besides stays with us, so that ends of pipes are noticed. None: all of ours.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
            for fd in map(int, os.listdir("/proc/self/fd")):
                if fd > 2 and fd != writer and (fd == reader if keep is None else fd not in keep):
                    _close_quietly(fd)
            call()
            status = 0
        except BaseException as error:
            os.write(writer, describe(error).encode("utf-8", "backslashreplace")[:_MOST_SAID])
        finally:
            os._exit(status)
    os.close(writer)
    return Child(pid, reader, what)


def run(call: Callable[[], object], what: str) -> None:
    """call() in a child, to its end. Raises LxcError with the reason when it failed."""
    child: Child | None = None
    try:
        with held() as signals:

            def work() -> None:
                signals.release()
                call()

            child = start(work, what)
    except BaseException:  # a signal that came during the fork
        if child is not None:
            child.end()
        raise
    child.wait()


def _close_quietly(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        pass  # the descriptor of the listing
