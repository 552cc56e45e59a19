# SPDX-License-Identifier: LGPL-2.1-or-later
"""The C library: the one library, how a function is bound, and how a failure becomes an OSError.

Bound with errno kept (use_errno): without it get_errno() is always 0 and a failed call would look like success.
"""

from __future__ import annotations

import os

from ._cdata import c_char_p, c_int, c_long, c_size_t, c_ulong, c_void_p, function, get_errno, library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["bind", "c_char_p", "c_int", "c_long", "c_size_t", "c_ulong", "c_void_p", "encode", "error", "libc", "syscall"]

libc = library(None)
_syscall = function(libc, "syscall", None, c_long)


def bind(name: str, *argtypes: type, restype: type = c_int) -> Callable[..., int]:
    """A function of the C library with its prototype; bound once, where it is used."""
    return function(libc, name, argtypes, restype)


def error(call: str, path: str | bytes | int | None = None) -> OSError:
    """The OSError of the call that has just failed."""
    number = get_errno()
    failure = OSError(number, os.strerror(number), path) if path is not None else OSError(number, os.strerror(number))
    failure.add_note(call)
    return failure


def syscall(call: str, number: int, *arguments: object, path: str | bytes | None = None) -> int:
    """syscall(2); every argument an int, bytes, an object of _cdata or None. Raises OSError named after call."""
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
