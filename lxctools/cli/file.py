# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-file: copy files into and out of a container, running or not, or edit one there."""

from __future__ import annotations

import os
import tempfile

from .. import files, log
from ..container import Container
from ..errors import LxcError, describe
from ._options import NONE, REQUIRED, BadValue, Command, Option, Values
from ._values import unsigned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_MODE = 0o7777


def _mode(text: str) -> int:
    if not text or text.strip("01234567") or int(text, 8) > _MOST_MODE:
        raise BadValue(f'-m "{text}" is no mode in octal such as 0644')
    return int(text, 8)


def _check(values: Values) -> None:
    if not values.words:
        raise BadValue("push, pull or edit is missing")
    verb, *rest = values.words
    if verb not in _VERBS:
        raise BadValue(f'"{verb}" is neither push, pull nor edit')
    if verb == "edit":
        if len(rest) != 1:
            raise BadValue("edit takes one path in the container")
    elif len(rest) < 2:
        raise BadValue(f"{verb} takes what to copy, and where to")
    if "" in rest:
        raise BadValue(f"{verb} was given an empty path")
    if verb != "push" and (values.uid is not None or values.gid is not None or values.parents):
        raise BadValue("-u, -g and -p are for push")
    if verb == "edit" and (values.recursive or values.mode is not None):
        raise BadValue("-r and -m are for push and pull")


COMMAND = Command(
    "file",
    "[-n] NAME push [-r] [-p] [-m MODE] [-u UID] [-g GID] SOURCE... PATH\n"
    "       lxc-file [-n] NAME pull [-r] [-m MODE] PATH... TARGET\n"
    "       lxc-file [-n] NAME edit PATH",
    "Copy files into the container, out of it, or edit one in it; it may be running or not.\n"
    "SOURCE - is standard input, TARGET - standard output; PATH is one in the container.",
    (
        Option("r", "recursive", NONE, "recursive", "copy folders with everything in them"),
        Option("p", "create-dirs", NONE, "parents", "make what is missing of PATH"),
        Option("m", "mode", REQUIRED, "mode", "give the files this mode", metavar="MODE", convert=_mode),
        Option("u", "uid", REQUIRED, "uid", "owner, as a number in the container (default 0)", metavar="UID", convert=unsigned),
        Option("g", "gid", REQUIRED, "gid", "group, as a number in the container (default 0)", metavar="GID", convert=unsigned),
    ),
    check=_check,
)  # fmt: skip


def run(values: Values) -> int:
    """0 done; 1 not, and then no file is half written."""
    container = Container(values.name, values.lxcpath, rcfile=values.rcfile)
    container.require_control()
    if not container.running:
        container.require_defined()
    verb, *words = values.words
    _VERBS[verb](container, words, values)
    return 0


def _push(container: Container, words: list[str], values: Values) -> None:
    container.push_files(
        words[:-1],
        words[-1],
        mode=values.mode,
        uid=values.uid,
        gid=values.gid,
        recursive=values.recursive,
        parents=values.parents,
    )


def _pull(container: Container, words: list[str], values: Values) -> None:
    container.pull_files(words[:-1], words[-1], mode=values.mode, recursive=values.recursive)


def _edit(container: Container, words: list[str], _values: Values) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "editor"
    folder = tempfile.mkdtemp(prefix="lxc-file.")
    try:
        if not container.edit_file(words[0], editor, folder):
            log.tell(f"{words[0]} is unchanged")
    except (LxcError, OSError) as error:
        if os.listdir(folder):
            text = error.message if isinstance(error, LxcError) else describe(error)
            raise LxcError(text, remedy=f"your text is kept in {folder}") from error
        os.rmdir(folder)
        raise
    files.remove_tree(folder)


_VERBS: dict[str, Callable[[Container, list[str], Values], None]] = {"push": _push, "pull": _pull, "edit": _edit}
