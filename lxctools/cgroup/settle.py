# SPDX-License-Identifier: LGPL-2.1-or-later
"""Have the kernel's wait for the first move between cgroups over before it is needed.

A write to a cgroup.procs takes a lock whose first taker after a quiet time waits for an RCU grace period (5-15 ms);
those right after it do not. A thread that moves this process to where it is already takes that wait while the modules of
the start are still being loaded.
"""

from __future__ import annotations

import _thread
import os

_ROOT = "/sys/fs/cgroup"


class Settling:
    """begin() at once, wait() before the process forks: it has one thread again then."""

    __slots__ = ("_done",)
    # Once for a process and the forks of it that start a container each.
    begun = False

    def __init__(self) -> None:
        self._done = _thread.allocate_lock()

    def begin(self) -> None:
        """Start the thread; nothing happens where no cgroup that this process is in may be written."""
        path = "" if Settling.begun else _own_group()
        if not path:
            return
        Settling.begun = True
        self._done.acquire()
        _thread.start_new_thread(self._move, (path,))

    def _move(self, path: str) -> None:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, b"0")
            finally:
                os.close(fd)
        except OSError:
            pass  # then the wait comes later
        finally:
            self._done.release()

    def wait(self) -> None:
        """Until the thread has ended."""
        self._done.acquire()
        self._done.release()


def _own_group(proc_root: str = "/proc", root: str = _ROOT) -> str:
    """cgroup.procs of a cgroup that this process is in: systemd's own of version 1, else that of version 2; or ""."""
    try:
        with open(f"{proc_root}/self/cgroup", "rb", buffering=0) as file:
            lines = file.readall().splitlines()
    except OSError:
        return ""
    found = ""
    for line in lines:
        _number, name, place = line.split(b":", 2)
        if name in (b"name=systemd", b""):
            folder = f"{root}/systemd" if name else root
            path = f"{folder}{os.fsdecode(place).rstrip('/')}/cgroup.procs"
            found = found or (path if os.access(path, os.W_OK) else "")
    return found
