# SPDX-License-Identifier: LGPL-2.1-or-later
"""Progress of what takes longer than a second.

On a terminal a line that rewrites itself and is gone at the end; elsewhere nothing.

Bytes are shown with their rate, and once the total is known, with the time that is left.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_AFTER = 1.0
_EVERY = 0.2


class Progress:
    """`with Progress("copying the root file system") as beat: ... beat()`; nothing is shown in the first second.

    beat(n) says that n more of something has been done, beat(0) that it goes on. fd: where it is shown. in_bytes: what is
    counted are bytes.
    """

    __slots__ = ("_bytes", "_fd", "_last", "_shown", "_started", "_total", "_what", "count")

    def __init__(self, what: str, fd: int = 2, *, quiet: bool = False, in_bytes: bool = False) -> None:
        self._what = what
        self._bytes = in_bytes
        self._total = 0
        self._fd = fd if not quiet and _is_terminal(fd) else -1
        self._started = self._last = time.monotonic()
        self._shown = False
        self.count = 0

    def __enter__(self) -> Progress:
        return self

    def expect(self, total: int) -> None:
        """How much there will have been at the end, about."""
        self._total = total

    def reached(self, count: int) -> None:
        """So much has been done since the beginning."""
        self(count - self.count)

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
        text = f"{self._what} ({now - self._started:.0f} s{self._counted(now - self._started)})"
        self._write(f"\r\033[K{text[: _width(self._fd) - 1]}")

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._shown:
            self._write("\r\033[K")

    def _counted(self, seconds: float) -> str:
        if not self._bytes:
            return f", {self.count}" if self.count > 1 else ""
        rate = self.count / seconds
        text = f", {size(self.count)}, {size(rate)}/s"
        if self._total > self.count > 0:
            text += f", {duration((self._total - self.count) / rate)} left"
        return text

    def _write(self, text: str) -> None:
        try:
            os.write(self._fd, text.encode("utf-8", "backslashreplace"))
        except OSError:
            self._fd = -1  # nobody looks any more; the work goes on


def size(count: float) -> str:
    """A number of bytes for people: three digits and a unit of powers of ten."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if count >= 99.95 or unit == "B" else f"{count:.1f} {unit}"


def duration(seconds: float) -> str:
    """A time for people."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _width(fd: int) -> int:
    try:
        return os.get_terminal_size(fd).columns or 80
    except OSError:
        return 80
