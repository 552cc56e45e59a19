# SPDX-License-Identifier: LGPL-2.1-or-later
"""What waits to be written to a descriptor."""

from __future__ import annotations

import os

ROOM = 65536


class Outbox:
    """Bytes on their way to a descriptor that takes them when it can: complete, in order.

    Whoever fills it looks at `full` first, so that what comes in waits where it comes from. atom: for a descriptor that
    may block, how much is written after one POLLOUT; 0 for a non-blocking one.
    """

    __slots__ = ("_atom", "_data", "fd")

    def __init__(self, fd: int, *, atom: int = 0) -> None:
        self.fd = fd
        self._atom = atom
        self._data = bytearray()

    def __len__(self) -> int:
        return len(self._data)

    @property
    def full(self) -> bool:
        """Whether nothing more should be added now."""
        return len(self._data) >= ROOM

    def add(self, data: bytes) -> None:
        """Queue these bytes."""
        self._data += data

    def clear(self) -> None:
        """Forget what waits."""
        self._data.clear()

    def flush(self) -> int:
        """Write what the descriptor takes now, and return how much that was. Raises OSError, but not for a full one."""
        written = 0
        while self._data:
            try:
                count = os.write(self.fd, self._data[: self._atom or len(self._data)])
            except BlockingIOError:
                break
            del self._data[:count]
            written += count
            if self._atom:
                break
        return written
