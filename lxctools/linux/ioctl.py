# SPDX-License-Identifier: LGPL-2.1-or-later
"""ioctl(2) requests of file systems: ioctl_ficlone(2). Those on attributes of inodes are in files.py."""

from __future__ import annotations

import fcntl

from ..files import ioctl_number

FICLONE = ioctl_number("w", 0x94, 9, "i")


def ficlone(target: int, source: int) -> None:
    """Let target, an empty file open for writing, share all data of the file source. Raises OSError."""
    fcntl.ioctl(target, FICLONE, source)
