# SPDX-License-Identifier: LGPL-2.1-or-later
"""The console's log: lxc.console.logfile, bounded by lxc.console.size and kept once by lxc.console.rotate."""

from __future__ import annotations

import os
import stat

from .. import log
from ..errors import LxcError, describe


class ConsoleLog:
    """A file that every byte of the console is appended to.

    size: its limit in bytes, 0 for none. A full one becomes FILE.1 (rotate) or is emptied; the bytes run on without a gap.
    What is no regular file has no limit. Raises LxcError when it cannot be opened; afterwards a failure is logged once
    and costs the container nothing.

    C LXC empties the file at the container's end and writes its ring buffer into it; all that is in this file already.
    """

    __slots__ = ("_failing", "_fd", "_path", "_rotate", "_size")

    def __init__(self, path: str, size: int, *, rotate: bool) -> None:
        self._path = path
        self._rotate = rotate
        self._failing = False
        try:
            self._fd = self._open()
        except OSError as error:
            raise LxcError(f"lxc.console.logfile: cannot open {path}: {describe(error)}") from error
        self._size = size if stat.S_ISREG(os.fstat(self._fd).st_mode) else 0

    def _open(self) -> int:
        # Reading as well: a FIFO that nobody reads yet can be opened then, and its end sends no signal. Non-blocking for the
        # same reason: a reader that does not read must not stop the monitor.
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(self._path, flags, 0o600)

    def write(self, data: bytes) -> None:
        """Append; never raises."""
        try:
            rest = memoryview(data)
            while rest:
                # The size is asked for each time: an administrator may empty the file, too.
                room = self._room() if self._size else len(rest)
                if room <= 0:
                    self._start_anew()
                    continue
                rest = rest[os.write(self._fd, rest[:room]) :]
            self._failing = False
        except BlockingIOError:
            pass  # a FIFO or a terminal that is full
        except OSError as error:
            if not self._failing:
                self._failing = True
                log.error(f"lxc.console.logfile: writing {self._path} failed: {describe(error)}")

    def _room(self) -> int:
        return self._size - os.fstat(self._fd).st_size

    def _start_anew(self) -> None:
        if self._rotate:
            os.rename(self._path, self._path + ".1")
            fresh = self._open()
            os.close(self._fd)
            self._fd = fresh
        if self._room() <= 0:
            os.ftruncate(self._fd, 0)

    def close(self) -> None:
        """Close it; closing twice does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
