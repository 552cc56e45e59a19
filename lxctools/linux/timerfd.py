# SPDX-License-Identifier: LGPL-2.1-or-later
"""timerfd_create(2), timerfd_settime(2): a time limit as a descriptor. (os has them from Python 3.13 on.)"""

from __future__ import annotations

import os
import struct

from ._libc import bind, c_char_p, c_int, c_void_p, error

CLOCK_MONOTONIC = 1

_timerfd_create = bind("timerfd_create", c_int, c_int)
_timerfd_settime = bind("timerfd_settime", c_int, c_int, c_char_p, c_void_p)


def timerfd_create() -> int:
    """A timer of the monotonic clock, non-blocking and close-on-exec, not running. Raises OSError."""
    fd = _timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0:
        raise error("timerfd_create(2)")
    return fd


def timerfd_settime(fd: int, seconds: float) -> None:
    """Make it readable once, after so many seconds; 0 stops it. Raises OSError."""
    whole = int(seconds)
    # struct itimerspec: the interval, then the value, each seconds and nanoseconds
    if _timerfd_settime(fd, 0, struct.pack("4l", 0, 0, whole, int((seconds - whole) * 1e9)), None) < 0:
        raise error("timerfd_settime(2)")
