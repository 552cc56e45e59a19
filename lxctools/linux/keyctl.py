# SPDX-License-Identifier: LGPL-2.1-or-later
"""keyctl(2)."""

from __future__ import annotations

import errno

from . import _nr
from ._libc import syscall

_KEYCTL_JOIN_SESSION_KEYRING = 1


def join_session_keyring() -> None:
    """A new anonymous session keyring; kernels and policies that have none are passed over. Raises OSError."""
    try:
        syscall("keyctl(KEYCTL_JOIN_SESSION_KEYRING)", _nr.KEYCTL, _KEYCTL_JOIN_SESSION_KEYRING, None, 0, 0, 0)
    except OSError as failure:
        if failure.errno not in (errno.ENOSYS, errno.EACCES, errno.EPERM):
            raise
