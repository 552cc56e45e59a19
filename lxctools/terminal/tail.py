# SPDX-License-Identifier: LGPL-2.1-or-later
"""The end of a log file, and what is added to it; and text of a container's made harmless for a terminal."""

from __future__ import annotations

import io
import os
import stat

from ..errors import LxcError, describe

_CHUNK = 65536
_LONGEST_COLOUR = 32
# The control characters U+0080 to U+009F as UTF-8; a byte of theirs alone is no character.
_C1_LEAD = 0xC2
_C1 = frozenset(bytes([number]) for number in range(0x80, 0xA0))


class Tail:
    """A regular file that something else appends to.

    Rotated (another file has its name) the rest of the old one comes first, then the new one; emptied, it is read from its
    beginning. Raises LxcError when it cannot be opened or is no regular file.
    """

    __slots__ = ("_fd", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            # Non-blocking: a FIFO without a writer would hold the open.
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            raise LxcError(f"cannot read the log {path}: {describe(error)}") from error
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.close(self._fd)
            raise LxcError(f"cannot read the log {path}: it is no regular file", remedy="read it from where it leads to")

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def seek_lines(self, count: int) -> None:
        """Go to where the last count lines begin. Raises OSError."""
        position = os.fstat(self._fd).st_size
        if count == 0:
            os.lseek(self._fd, position, os.SEEK_SET)
            return
        found = -1  # the newline that ends the last line is none between two
        if position and os.pread(self._fd, 1, position - 1) != b"\n":
            found = 0
        while position > 0:
            start = max(0, position - _CHUNK)
            data = os.pread(self._fd, position - start, start)
            at = len(data)
            while (at := data.rfind(b"\n", 0, at)) >= 0:
                found += 1
                if found == count:
                    os.lseek(self._fd, start + at + 1, os.SEEK_SET)
                    return
            position = start
        os.lseek(self._fd, 0, os.SEEK_SET)

    def read(self) -> bytes:
        """What is there now, at most 64 KiB; b"" at the end. Raises OSError."""
        data = os.read(self._fd, _CHUNK)
        if data:
            return data
        here = os.fstat(self._fd)
        if here.st_size < os.lseek(self._fd, 0, os.SEEK_CUR):
            os.lseek(self._fd, 0, os.SEEK_SET)
            return os.read(self._fd, _CHUNK)
        try:
            named = os.stat(self.path)
        except OSError:
            return b""  # between the two steps of a rotation
        if not os.path.samestat(here, named):
            fresh = Tail(self.path)
            os.close(self._fd)
            self._fd = fresh._fd
            return os.read(self._fd, _CHUNK)
        return b""


def last_lines(data: bytes, count: int) -> bytes:
    """The last count lines of data, which end at newlines only, as in Tail.seek_lines()."""
    lines = io.BytesIO(data).readlines()
    return b"".join(lines[max(0, len(lines) - count) :])


class Filter:
    """Text of a container's for a terminal: colours stay, everything else that a terminal obeys is shown as ^X.

    What is written to a console is the container's to choose; it must not type into or rename the reader's terminal.
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, data: bytes, *, final: bool = False) -> bytes:
        """The harmless form; the beginning of a sequence that is not complete is kept back, unless final."""
        data = self._kept + data
        self._kept = b""
        result = bytearray()
        index = 0
        while index < len(data):
            byte = data[index]
            if byte == 0x1B:
                end = _colour_end(data, index)
                if end == 0 and not final and len(data) - index < _LONGEST_COLOUR:
                    self._kept = data[index:]
                    break
                if end > 0:
                    result += data[index:end]
                    index = end
                    continue
            if byte == _C1_LEAD and index + 1 == len(data) and not final:
                self._kept = data[index:]
                break
            if byte == _C1_LEAD and data[index + 1 : index + 2] in _C1:
                result += b"^" + bytes([data[index + 1] ^ 0xC0])
                index += 1
            elif (byte >= 0x20 and byte != 0x7F) or byte in b"\t\n\r":
                result.append(byte)
            else:
                result += b"^" + bytes([byte ^ 0x40])
            index += 1
        return bytes(result)


def _colour_end(data: bytes, start: int) -> int:
    """Where `ESC [ numbers m` ends; 0 when data ends before, -1 when it is another sequence."""
    if start + 1 == len(data):
        return 0
    if data[start + 1 : start + 2] != b"[":
        return -1
    for index in range(start + 2, len(data)):
        if data[index : index + 1] == b"m":
            return index + 1
        if data[index] not in b"0123456789;":
            return -1
    return 0
