# SPDX-License-Identifier: LGPL-2.1-or-later
"""<linux/loop.h>: a file as a block device (loop(4)). Linux 5.8 (LOOP_CONFIGURE)."""

from __future__ import annotations

import fcntl
import os
import struct

_GET_FREE = 0x4C82
_CONFIGURE = 0x4C0A
_READ_ONLY, _AUTOCLEAR = 1, 4
# struct loop_config: descriptor, block size, struct loop_info64, reserved. Of loop_info64: eight numbers of which the first
# three and the two limits stay 0, flags, the file's name.
_CONFIG = struct.Struct("=II 5Q 4I 64s 64s 32s 2Q 8Q")
_LONGEST_NAME = 63
_TRIES = 64
_EBUSY = 16


def attach(path: str, *, read_only: bool = False) -> int:
    """Make a file a block device that goes when nobody uses it any more (autoclear); returns its open descriptor.

    /proc/self/fd names the device. Another process may take the free device that the kernel names: then the next one is
    tried. Raises OSError.
    """
    mode = os.O_RDONLY if read_only else os.O_RDWR
    file = os.open(path, mode | os.O_CLOEXEC)
    try:
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
        try:
            for _ in range(_TRIES):
                device = os.open(f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}", mode | os.O_CLOEXEC)
                try:
                    fcntl.ioctl(device, _CONFIGURE, bytearray(_configuration(file, path, read_only)))
                    return device
                except OSError as error:
                    os.close(device)
                    if error.errno != _EBUSY:
                        raise
            raise OSError(_EBUSY, os.strerror(_EBUSY), "/dev/loop-control")
        finally:
            os.close(control)
    finally:
        os.close(file)


def _configuration(file: int, path: str, read_only: bool) -> bytes:
    flags = _AUTOCLEAR | (_READ_ONLY if read_only else 0)
    name = os.fsencode(path)[:_LONGEST_NAME]
    return _CONFIG.pack(file, 0, *[0] * 5, 0, 0, 0, flags, name, b"", b"", *[0] * 10)
