# SPDX-License-Identifier: LGPL-2.1-or-later
"""The grammar of a container's configuration file: bytes to (line number, line, key, value).

    file    = line { (CR | LF)+ line }            up to the first NUL
    line    = blank* ( "" | "#" any* | foreign | assignment )
    foreign = any line that does not begin with "lxc." : passed over in silence
    assignment = key blank* "=" blank* value blank*
    value   = "'" any* "'" | '"' any* '"' | any*   one pair of equal quotes around the whole value is removed

There is no continuation and no trailing comment. Text is bytes kept as surrogates.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_BLANK = " \t"


class Line:
    """An assignment and where it stands; key is None for a line that has no `=`."""

    __slots__ = ("key", "number", "text", "value")

    def __init__(self, number: int, text: str, key: str | None, value: str) -> None:
        self.number = number
        self.text = text
        self.key = key
        self.value = value


def lines(data: bytes) -> Iterator[tuple[int, str]]:
    """(number, text) of every line; CR LF and a lone CR end a line too."""
    data = data.split(b"\0", 1)[0]
    text = os.fsdecode(data)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return enumerate(text.split("\n"), 1)


def assignment(number: int, text: str) -> Line | None:
    """The assignment that a line is, or None for an empty one, a comment or a foreign line."""
    stripped = text.lstrip(_BLANK)
    if not stripped.startswith("lxc."):
        return None
    key, equals, value = stripped.partition("=")
    if not equals:
        return Line(number, text, None, "")
    return Line(number, text, key.rstrip(_BLANK), unquote(value.strip(_BLANK)))


def unquote(value: str) -> str:
    """Remove one pair of equal quotes around the whole value."""
    if len(value) >= 2 and value[0] in "'\"" and value[-1] == value[0]:
        return value[1:-1]
    return value
