# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-ls --nesting: the containers inside containers.

A running container is entered (by a process of its own, runtime.inside), the tree of a stopped one is looked at from a
process that has it as root directory: what is there must not lead out of it. Its containers cannot run.
"""

from __future__ import annotations

import os

from .. import container as api
from ..errors import LxcError, os_path
from . import _out, _rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._rows import Patience, Query, Row

_LIMIT = 2.0  # seconds for one container


def insert(query: Query, rows: list[Row], lxcpath: str, depth: int, patience: Patience) -> list[Row]:
    """The rows, each followed by those of its children down to that many levels."""
    api.preload_for_nesting()
    return _insert(query, rows, lxcpath, depth, patience)


def _insert(query: Query, rows: list[Row], lxcpath: str, depth: int, patience: Patience) -> list[Row]:
    result = []
    for row in rows:
        result.append(row)
        if depth:
            result += _children(query, row, lxcpath, depth - 1, patience)
    return result


def _children(query: Query, row: Row, lxcpath: str, depth: int, patience: Patience) -> list[Row]:
    def listed(asleep: bool) -> list[tuple[str, str, int, dict[str, str]]]:
        found = _rows.collect(query, lxcpath, patience, parent=row.path, level=row.level + 1, asleep=asleep)
        found = _insert(query, found, lxcpath, depth, patience)
        return [(child.name, child.path, child.level, child.fields) for child in found]

    if row.answers:
        answer = api.look_inside(row.container, lambda: listed(False), _LIMIT)
    elif not row.running and row.container.defined:
        answer = _in_tree(row, lambda: listed(True))
    else:
        return []
    children = []
    for name, path, level, fields in answer if isinstance(answer, list) else []:
        child = _rows.Row(name, lxcpath, level=level)
        child.path, child.fields = path, fields
        children.append(child)
    return children


def _in_tree(row: Row, function: object) -> object:
    assert callable(function)
    try:
        tree = row.container.rootfs_directory()
        folder = os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if tree else -1
    except (LxcError, OSError) as error:
        _out.complain(f"cannot look into the root file system of {os_path(row.path)}: {error}\n")
        return None
    if folder < 0:
        return None
    try:
        return api.look_into_tree(folder, function, _LIMIT)
    finally:
        os.close(folder)
