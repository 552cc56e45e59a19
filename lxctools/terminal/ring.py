# SPDX-License-Identifier: LGPL-2.1-or-later
"""The console's ring buffer (lxc.console.buffer.size): the newest bytes, read by CONSOLE_LOG."""

from __future__ import annotations


class Ring:
    """At most size bytes; what is older is overwritten."""

    __slots__ = ("_data", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._data = bytearray()

    def __len__(self) -> int:
        return len(self._data)

    def add(self, data: bytes) -> None:
        """Append; the oldest bytes make room."""
        self._data += data
        excess = len(self._data) - self._size
        if excess > 0:
            del self._data[:excess]

    def read(self, most: int = 0) -> bytes:
        """Take the oldest bytes out: all, or at most this many."""
        count = min(most, len(self._data)) if most else len(self._data)
        data = bytes(self._data[:count])
        del self._data[:count]
        return data

    def clear(self) -> None:
        """Forget everything."""
        self._data.clear()
