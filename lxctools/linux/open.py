# SPDX-License-Identifier: LGPL-2.1-or-later
"""openat2(2): a path that cannot leave the folder it starts from."""

from __future__ import annotations

import os
import struct

from . import _nr
from ._libc import encode, syscall

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10


def openat2(dfd: int, path: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """Open path below dfd under the given resolution rules; close-on-exec. Raises OSError."""
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, mode, resolve)
    return syscall("openat2(2)", _nr.OPENAT2, dfd, encode(path), how, len(how), path=path)
