# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-ls --nesting: the containers inside containers.

A running container is entered (by a process of its own, runtime.inside), the tree of a stopped one is looked at from a
process that has it as root directory: what is there must not lead out of it. Its containers cannot run.
"""

from __future__ import annotations

import os

from ..config import conf, peek
from ..errors import LxcError, os_path
from ..runtime import inside, networks
from . import _out, _rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ._rows import Patience, Query, Row

_LIMIT = 2.0  # seconds for one container


def insert(query: Query, rows: list[Row], lxcpath: str, depth: int, patience: Patience) -> list[Row]:
    """The rows, each followed by those of its children down to that many levels."""
    assert conf and peek and networks  # used inside containers, where nothing may be imported
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return _Descent(query, lxcpath, patience, proc).insert(rows, depth)


class _Descent:
    """What stays the same from level to level. proc: a descriptor of the host's /proc."""

    __slots__ = ("lxcpath", "patience", "proc", "query")

    def __init__(self, query: Query, lxcpath: str, patience: Patience, proc: int) -> None:
        self.query = query
        self.lxcpath = lxcpath
        self.patience = patience
        self.proc = proc

    def insert(self, rows: list[Row], depth: int) -> list[Row]:
        """The rows with their children."""
        result = []
        for row in rows:
            result.append(row)
            if depth:
                result += self._children(row, depth - 1)
        return result

    def _children(self, row: Row, depth: int) -> list[Row]:
        asleep = not row.running

        def listed() -> list[tuple[str, str, int, dict[str, str]]]:
            place = _rows.Place(self.lxcpath, parent=row.path, level=row.level + 1, asleep=asleep, proc=self.proc)
            found = self.insert(_rows.collect(self.query, place, self.patience), depth)
            return [(child.name, child.path, child.level, child.fields) for child in found]

        if row.answers:
            answer = inside.in_running(row.container.name, row.container.lxcpath, listed, _LIMIT)
        elif asleep and row.container.defined:
            answer = _in_tree(row, listed)
        else:
            return []
        return self._received(answer)

    def _received(self, answer: object) -> list[Row]:
        children = []
        for name, path, level, fields in answer if isinstance(answer, list) else []:
            child = _rows.Row(name, self.lxcpath, level=level)
            child.path, child.fields = path, fields
            children.append(child)
        return children


def _in_tree(row: Row, function: Callable[[], object]) -> object:
    try:
        tree = row.container.rootfs_directory()
        folder = os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if tree else -1
    except (LxcError, OSError) as error:
        _out.complain(f"cannot look into the root file system of {os_path(row.path)}: {error}\n")
        return None
    if folder < 0:
        return None
    try:
        return inside.in_root(folder, function, _LIMIT)
    finally:
        os.close(folder)
