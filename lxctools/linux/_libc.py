# SPDX-License-Identifier: LGPL-2.1-or-later
"""The C library: the one CDLL, how a function is bound, and how a failure becomes an OSError.

Bound with errno kept (use_errno): without it get_errno() is always 0 and a failed call would look like success.
"""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

libc = ctypes.CDLL(None, use_errno=True)
c_int = ctypes.c_int
c_long = ctypes.c_long
c_ulong = ctypes.c_ulong
c_char_p = ctypes.c_char_p
c_void_p = ctypes.c_void_p
c_size_t = ctypes.c_size_t

_syscall = libc.syscall
_syscall.restype = c_long


def bind(name: str, *argtypes: type, restype: type = c_int) -> Callable[..., int]:
    """A function of the C library with its prototype; bound once, where it is used."""
    function = getattr(libc, name)
    function.argtypes = argtypes
    function.restype = restype
    return function  # type: ignore[no-any-return]


def error(call: str, path: str | bytes | int | None = None) -> OSError:
    """The OSError of the call that has just failed."""
    number = ctypes.get_errno()
    failure = OSError(number, os.strerror(number), path) if path is not None else OSError(number, os.strerror(number))
    failure.add_note(call)
    return failure


def syscall(call: str, number: int, *arguments: object, path: str | bytes | None = None) -> int:
    """syscall(2); every argument an int, bytes, a ctypes object or None. Raises OSError named after call."""
    result: int = _syscall(c_long(number), *(c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        raise error(call, path)
    return result


def encode(path: str | bytes | None) -> bytes | None:
    """A path for the C library. Raises ValueError for a NUL in it, where C would take another, shorter path."""
    if path is None:
        return None
    data = os.fsencode(path)
    if b"\0" in data:
        raise ValueError("embedded null byte")
    return data
