# SPDX-License-Identifier: LGPL-2.1-or-later
"""pidfd_getfd(2). (os.pidfd_open and _signal.pidfd_send_signal are the interpreter's own.)"""

from __future__ import annotations

from . import _nr
from ._libc import syscall


def pidfd_getfd(pidfd: int, fd: int) -> int:
    """A copy of another process's descriptor, close-on-exec. Raises OSError."""
    return syscall("pidfd_getfd(2)", _nr.PIDFD_GETFD, pidfd, fd, 0)
