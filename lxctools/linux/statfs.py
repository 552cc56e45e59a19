# SPDX-License-Identifier: LGPL-2.1-or-later
"""statfs(2): the type of a file system, which os.statvfs does not tell."""

from __future__ import annotations

import os

from ._cdata import addressof, c_long, c_uint, create_string_buffer
from ._libc import bind, c_int, c_void_p, error

PROC_SUPER_MAGIC = 0x9FA0

_fstatfs = bind("fstatfs", c_int, c_void_p)
_SIZE = 256  # struct statfs is at most 120 bytes on any architecture


def fs_type(fd: int) -> int:
    """The magic number (f_type) of the file system that a descriptor is of; O_PATH will do. Raises OSError."""
    buffer = create_string_buffer(_SIZE)
    if _fstatfs(fd, addressof(buffer)) < 0:
        raise error("fstatfs(2)")
    # The first member: a long, but an unsigned int on s390.
    first = c_uint if os.uname().machine.startswith("s390") else c_long
    return int(first.from_buffer(buffer).value) & 0xFFFFFFFF
