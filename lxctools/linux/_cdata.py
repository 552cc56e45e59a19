# SPDX-License-Identifier: LGPL-2.1-or-later
"""C data and functions by the interpreter's `_ctypes`, the C part of ctypes, under ctypes' names.

`import ctypes` costs 1.4 ms and 0.4 MB, most of it for types that nothing here uses; this module 0.4 ms. lxc-attach pays it
twice, and every monitor keeps it. What is used of `_ctypes` is what ctypes itself is made of, from Python 3.11 to 3.14.
"""

from __future__ import annotations

import _ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from ctypes import Array, c_char, c_char_p, c_int, c_long, c_size_t, c_uint, c_uint32, c_uint64, c_ulong, c_void_p
else:

    class c_char(_ctypes._SimpleCData):
        _type_ = "c"

    class c_int(_ctypes._SimpleCData):
        _type_ = "i"

    class c_uint(_ctypes._SimpleCData):
        _type_ = "I"

    class c_long(_ctypes._SimpleCData):
        _type_ = "l"

    class c_ulong(_ctypes._SimpleCData):
        _type_ = "L"

    class c_uint64(_ctypes._SimpleCData):
        _type_ = "Q"

    class c_char_p(_ctypes._SimpleCData):
        _type_ = "z"

    class c_void_p(_ctypes._SimpleCData):
        _type_ = "P"

    c_uint32 = c_uint
    c_size_t = c_ulong

__all__ = [
    "addressof",
    "byref",
    "c_char",
    "c_char_p",
    "c_int",
    "c_long",
    "c_size_t",
    "c_uint",
    "c_uint32",
    "c_uint64",
    "c_ulong",
    "c_void_p",
    "create_string_buffer",
    "function",
    "get_errno",
    "library",
    "python_function",
]

addressof = _ctypes.addressof
byref = _ctypes.byref
get_errno = _ctypes.get_errno


class _Library:
    """What a function's class wants of its library."""

    __slots__ = ("_handle",)

    def __init__(self, handle: int) -> None:
        self._handle = handle


class _Function(_ctypes.CFuncPtr):
    """Called without the interpreter's lock; errno is kept for get_errno()."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = c_int


class _PythonFunction(_ctypes.CFuncPtr):
    """Called with the interpreter's lock held; an exception that it sets is raised."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO | _ctypes.FUNCFLAG_PYTHONAPI
    _restype_ = c_int


def library(name: str | None) -> _Library:
    """A shared library, loaded now; None: what the interpreter itself has loaded. Raises OSError."""
    return _Library(_ctypes.dlopen(name, 0))  # type: ignore[arg-type]  # typeshed does not know None


def function(of: _Library, name: str, argtypes: tuple[type, ...] | None, restype: type | None = c_int) -> Callable[..., int]:
    """A function with its prototype; argtypes None: any. Raises AttributeError when the library has none of that name."""
    return _bound(_Function, of, name, argtypes, restype)


def python_function(
    of: _Library, name: str, argtypes: tuple[type, ...] | None, restype: type | None = c_int
) -> Callable[..., int]:
    """Like function(), for a function of the interpreter itself, or one during which no other thread may run."""
    return _bound(_PythonFunction, of, name, argtypes, restype)


def _bound(
    kind: type[_ctypes.CFuncPtr], of: _Library, name: str, argtypes: tuple[type, ...] | None, restype: type | None
) -> Callable[..., int]:
    found = kind((name, of))  # type: ignore[arg-type]  # all that it asks for is _handle
    if argtypes is not None:
        found.argtypes = argtypes
    found.restype = restype
    return found


def create_string_buffer(init: bytes | int, size: int = -1) -> Array[c_char]:
    """Memory that C may write to: of this many bytes, or holding these and, unless size says otherwise, a NUL."""
    if isinstance(init, int):
        return (c_char * init)()
    buffer = (c_char * (len(init) + 1 if size < 0 else size))()
    buffer.value = init
    return buffer
