# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-execute: run one program in a container of its own, under a small init."""

from __future__ import annotations

from ..container import Container
from ..errors import AlreadyRunning, LxcError, NotDefined
from . import _overrides
from ._options import NONE, REQUIRED, Command, Option, Values
from ._values import unsigned

COMMAND = Command(
    "execute",
    "[-n] NAME [OPTIONS] [-- COMMAND...]",
    "Run COMMAND in a container made for it; the exit status is the program's.",
    (
        Option("d", "daemon", NONE, "daemon", "in the background"),
        Option("f", "rcfile", REQUIRED, "rcfile", "read FILE instead of the container's configuration", metavar="FILE"),
        _overrides.DEFINE,
        Option("u", "uid", REQUIRED, "uid", "run COMMAND as this user id", metavar="UID", convert=unsigned),
        Option("g", "gid", REQUIRED, "gid", "run COMMAND as this group id", metavar="GID", convert=unsigned),
        *_overrides.SHARE,
    ),
    makes=True,
    undo=True,
)


def run(values: Values) -> int:
    """COMMAND's exit status, or 128 + the signal that ended it; 1 when it could not be run."""
    container = Container(values.name, values.lxcpath, rcfile=values.rcfile)
    if not container.defined:
        raise NotDefined(
            f"Executing a container with no configuration file may crash the host: {container.name} is not defined",
            remedy="-f FILE names one",
        )
    _overrides.use_log_of(container, values)
    _overrides.define(container, values)
    words = values.words or split_words(container.config["lxc.execute.cmd"])
    if not words:
        raise LxcError("Missing command to execute!", remedy="after --, or in lxc.execute.cmd")
    for key, number in (("lxc.init.uid", values.uid), ("lxc.init.gid", values.gid)):
        if number is not None:
            _overrides.put(container, key, str(number))
    _overrides.share(container, values)
    try:
        return container.start(words, useinit=True, daemonize=values.daemon)
    except AlreadyRunning:
        raise AlreadyRunning(f'Container "{container.name}" appears to be already running') from None


def split_words(text: str) -> list[str]:
    """Split at blanks; quotes of both kinds group, a back-slash takes the next character as it is."""
    words: list[str] = []
    word: str | None = None
    quote = ""
    letters = iter(text)
    for letter in letters:
        if letter == "\\" and quote != "'":
            word = (word or "") + next(letters, "")
        elif quote:
            if letter == quote:
                quote = ""
            else:
                word = (word or "") + letter
        elif letter in "\"'":
            quote, word = letter, word or ""
        elif letter.isspace():
            if word is not None:
                words.append(word)
            word = None
        else:
            word = (word or "") + letter
    if quote:
        raise LxcError(f"lxc.execute.cmd = {text}: the quote {quote} is not closed")
    return words if word is None else [*words, word]
