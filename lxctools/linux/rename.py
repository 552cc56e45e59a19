# SPDX-License-Identifier: LGPL-2.1-or-later
"""renameat2(2) and syncfs(2)."""

from __future__ import annotations

import os

from ._libc import bind, c_char_p, c_int, encode, error

_AT_FDCWD = -100
_NOREPLACE, _EXCHANGE = 1, 2
_renameat2 = bind("renameat2", c_int, c_char_p, c_int, c_char_p, c_int)
_syncfs = bind("syncfs", c_int)


def exchange(one: str, other: str) -> None:
    """Let two existing paths change places in one step. Raises OSError."""
    if _renameat2(_AT_FDCWD, encode(one), _AT_FDCWD, encode(other), _EXCHANGE) < 0:
        raise error("renameat2(2)", other)


def rename_new(old: str, new: str) -> None:
    """Rename, but never over something. Raises OSError (EEXIST)."""
    if _renameat2(_AT_FDCWD, encode(old), _AT_FDCWD, encode(new), _NOREPLACE) < 0:
        raise error("renameat2(2)", new)


def syncfs(path: str) -> None:
    """Wait until everything written to the file system that holds path is on disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _syncfs(fd) < 0:
            raise error("syncfs(2)", path)
    finally:
        os.close(fd)
