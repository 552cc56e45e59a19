# SPDX-License-Identifier: LGPL-2.1-or-later
"""Have the kernel's wait for the first move between cgroups over before it is needed.

A write to a cgroup.procs takes a lock whose first taker after a quiet time waits for an RCU grace period (5-20 ms); those
that come within a grace period of the last one do not. So this process is moved to where it is already, again and again: by
a thread while the modules of the start are still being loaded, then, in a hierarchy of version 1, by the command that waits for
its monitor. In version 2 the monitor may have to move the command out of its cgroup (cgroup.session), where it must stay out.
"""

from __future__ import annotations

import _thread
import os

INTERVAL = 0.002  # seconds: less than any grace period
_ROOT = "/sys/fs/cgroup"


class Settling:
    """begin() at once, wait() before the process forks: it has one thread again then; keep() every INTERVAL after that."""

    __slots__ = ("_done", "_fd", "_stop", "_version_1")
    # Once for a process and the forks of it that start a container each.
    begun = False

    def __init__(self) -> None:
        self._done = _thread.allocate_lock()
        self._stop = _thread.allocate_lock()
        self._fd = -1
        self._version_1 = False

    def begin(self) -> None:
        """Start the thread; nothing happens where no cgroup that this process is in may be written."""
        path = "" if Settling.begun else _own_group()
        if not path:
            return
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return  # then the wait comes later
        Settling.begun = True
        self._version_1 = path.startswith(f"{_ROOT}/systemd/")
        self._done.acquire()
        self._stop.acquire()
        try:
            _thread.start_new_thread(self._move, ())
        except RuntimeError:  # as many as may be
            self._done.release()

    def _move(self) -> None:
        while self.touch() and not self._stop.acquire(timeout=INTERVAL):
            pass
        self._done.release()

    def touch(self) -> bool:
        """One move; whether another one makes sense."""
        try:
            return self._fd >= 0 and bool(os.write(self._fd, b"0"))
        except OSError:
            return False

    def keep(self) -> bool:
        """One move after the fork; whether another one makes sense."""
        return self._version_1 and self.touch()

    def wait(self) -> None:
        """Until the thread has ended. May be called again, also when a signal handler raised here."""
        if self._done.locked():
            if self._stop.locked():
                self._stop.release()
            with self._done:
                pass

    def close(self) -> None:
        """No move is needed any more."""
        self.wait()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


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
