# SPDX-License-Identifier: LGPL-2.1-or-later
"""How lxc-ls lays out names and rows. Widths count bytes, as in LXC."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NARROWEST = 4


def width(text: str) -> int:
    """Bytes that the text takes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))


def pad(text: str, wanted: int) -> str:
    """Left-justified."""
    return text + " " * (wanted - width(text))


def terminal_width() -> int:
    """Columns of the first of stdout, stderr and stdin that is a terminal; 0 when none is."""
    for fd in (1, 2, 0):
        if os.isatty(fd):
            try:
                return os.get_terminal_size(fd).columns
            except OSError:
                return 0
    return 0


def in_columns(names: Sequence[str], columns: int, widest: int) -> str:
    """Names side by side, each padded to the widest; without columns one a line, padded all the same."""
    wide = max(_NARROWEST, widest)
    parts: list[str] = []
    used = 0
    for name in names:
        parts.append(pad(name, wide))
        used += wide
        if used + wide >= columns:
            parts.append("\n")
            used = 0
        else:
            parts.append(" ")
            used += 1
    if used:
        parts.append("\n")
    return "".join(parts)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], least: Sequence[int]) -> str:
    """Headers and rows, every column as wide as its widest value or least, and a blank after each, the last too."""
    lines = [headers, *rows]
    widths = [max(least[index], *(width(line[index]) for line in lines)) for index in range(len(headers))]
    return "".join("".join(pad(text, widths[i]) + " " for i, text in enumerate(line)) + "\n" for line in lines)
