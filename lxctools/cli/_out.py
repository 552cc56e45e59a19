# SPDX-License-Identifier: LGPL-2.1-or-later
"""Standard output of the commands: bytes as they came from disk, written whole, and errors noticed.

Not print(): a name or path that is not UTF-8 must come out as it is (surrogates would be an exception there), a closed
stdout is no crash, and a full disk is reported instead of lost.
"""

from __future__ import annotations

import os

from ..errors import LxcError, describe

_waiting: list[str] = []


def line(text: str) -> None:
    """One line, kept until flush()."""
    _waiting.append(text)
    _waiting.append("\n")


def text(chunk: str) -> None:
    """Text without a line end, kept until flush()."""
    _waiting.append(chunk)


def flush() -> None:
    """Write what is kept. Raises BrokenPipeError when the reader has gone, LxcError when it cannot be written."""
    data = "".join(_waiting).encode("utf-8", "surrogateescape")
    _waiting.clear()
    now(data)


def now(data: bytes) -> None:
    """Write bytes at once. Raises BrokenPipeError when the reader has gone, LxcError when they cannot be written."""
    try:
        write(1, data)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LxcError(f"cannot write to standard output: {describe(error)}") from error


def write(fd: int, data: bytes) -> None:
    """All of data. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def complain(text: str) -> None:
    """Text on stderr, whatever happens to it."""
    try:
        write(2, text.encode("utf-8", "backslashreplace"))
    except OSError:
        pass
