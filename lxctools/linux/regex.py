# SPDX-License-Identifier: LGPL-2.1-or-later
"""regcomp(3), regexec(3): POSIX extended regular expressions, as C LXC matches names with.

Python's re is another language ([[:digit:]], leftmost-longest, back-slashes) and costs more to import.
"""

from __future__ import annotations

import os

from ._cdata import create_string_buffer
from ._libc import bind, c_char_p, c_int, c_size_t, c_void_p

_REG_EXTENDED = 1
_REG_NOSUB = 8
_ROOM = 512  # more than regex_t of any C library

_regcomp = bind("regcomp", c_char_p, c_char_p, c_int)
_regexec = bind("regexec", c_char_p, c_char_p, c_size_t, c_void_p, c_int)
_regerror = bind("regerror", c_int, c_char_p, c_char_p, c_size_t, restype=c_size_t)


class Regex:
    """A compiled expression; its memory lives as long as the process, as commands need one or two."""

    __slots__ = ("_compiled",)

    def __init__(self, pattern: str) -> None:
        """Raises ValueError with the C library's reason."""
        self._compiled = create_string_buffer(_ROOM)
        text = os.fsencode(pattern)
        if b"\0" in text:
            raise ValueError("a regular expression cannot contain a NUL character")
        code = _regcomp(self._compiled, text, _REG_EXTENDED | _REG_NOSUB)
        if code:
            reason = create_string_buffer(256)
            _regerror(code, self._compiled, reason, len(reason))
            raise ValueError(reason.value.decode("utf-8", "replace"))

    def search(self, text: str) -> bool:
        """Whether it matches anywhere in text."""
        return bool(_regexec(self._compiled, os.fsencode(text), 0, None, 0) == 0)
