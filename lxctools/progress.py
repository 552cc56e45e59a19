# SPDX-License-Identifier: LGPL-2.1-or-later
"""Progress of what takes longer than a second: a line that rewrites itself on a terminal, nothing elsewhere."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_AFTER = 1.0
_EVERY = 0.2


class Progress:
    """`with Progress("copying the root file system") as beat: ... beat()`; the line appears after a second."""

    __slots__ = ("_fd", "_last", "_shown", "_started", "_what", "count")

    def __init__(self, what: str, fd: int = 2, *, quiet: bool = False) -> None:
        self._what = what
        self._fd = fd if not quiet and os.isatty(fd) else -1
        self._started = self._last = time.monotonic()
        self._shown = False
        self.count = 0

    def __enter__(self) -> Progress:
        return self

    def __call__(self, step: int = 1) -> None:
        """Something more has been done."""
        self.count += step
        if self._fd < 0:
            return
        now = time.monotonic()
        if now - self._started < _AFTER or now - self._last < _EVERY:
            return
        self._last = now
        self._shown = True
        counted = f", {self.count}" if self.count > 1 else ""
        os.write(self._fd, f"\r\033[K{self._what} ({now - self._started:.0f} s{counted})".encode())

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            os.write(self._fd, b"\r\033[K")
