# SPDX-License-Identifier: LGPL-2.1-or-later
"""regcomp(3), regexec(3): POSIX extended regular expressions, as C LXC matches names with.

Python's re is another language ([[:digit:]], leftmost-longest, back-slashes) and costs more to import.
"""

from __future__ import annotations

import ctypes
import os

from ._libc import libc

_REG_EXTENDED = 1
_REG_NOSUB = 8
_ROOM = 512  # more than regex_t of any C library

_regcomp = libc.regcomp
_regcomp.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int)
_regexec = libc.regexec
_regexec.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int)
_regerror = libc.regerror
_regerror.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
_regerror.restype = ctypes.c_size_t


class Regex:
    """A compiled expression; its memory lives as long as the process, as commands need one or two."""

    __slots__ = ("_compiled",)

    def __init__(self, pattern: str) -> None:
        """Raises ValueError with the C library's reason."""
        self._compiled = ctypes.create_string_buffer(_ROOM)
        text = os.fsencode(pattern)
        if b"\0" in text:
            raise ValueError("a regular expression cannot contain a NUL character")
        code = _regcomp(self._compiled, text, _REG_EXTENDED | _REG_NOSUB)
        if code:
            reason = ctypes.create_string_buffer(256)
            _regerror(code, self._compiled, reason, len(reason))
            raise ValueError(reason.value.decode("utf-8", "replace"))

    def search(self, text: str) -> bool:
        """Whether it matches anywhere in text."""
        return bool(_regexec(self._compiled, os.fsencode(text), 0, None, 0) == 0)
