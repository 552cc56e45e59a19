# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-console: connect this terminal to one of the container's."""

from __future__ import annotations

from ..container import ANY_TTY, Container
from ._options import REQUIRED, BadValue, Command, Option, Values
from ._values import unsigned

NO_ESCAPE = -1


def _escape(text: str) -> int:
    """The control character for a letter or ^letter, in either case; '' turns the escape off."""
    letter = text[1:2] if text[:1] == "^" and len(text) > 1 else text[:1]
    if not letter:
        return NO_ESCAPE
    if not (letter.isascii() and letter.isalpha()):
        raise BadValue(f'-e "{text}" is not a letter such as a or ^a')
    return ord(letter) & 0x1F


COMMAND = Command(
    "console",
    "[-n] NAME [-t NUMBER] [-e PREFIX]",
    "Connect this terminal to a tty of the running container; Ctrl-a q leaves it.",
    (
        Option("t", "tty", REQUIRED, "tty", "that tty; 0: the console; default: the first free one", metavar="NUMBER",
               default=ANY_TTY, convert=unsigned),
        Option("e", "escape", REQUIRED, "escape", "letter that begins the escape, with Ctrl", metavar="PREFIX",
               default=ord("a") & 0x1F, convert=_escape),
    ),
    undo=True,
    most_words=0,
)  # fmt: skip


def run(values: Values) -> int:
    """0 when the user left or the container ended."""
    container = Container(values.name, values.lxcpath, rcfile=values.rcfile)
    container.require_running()
    return container.console(values.tty, escape=values.escape)
