# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writing the id maps of a process in a new user namespace (user_namespaces(7), newuidmap(1)).

    the caller is root                    written directly; newuidmap(1) is not needed, and neither are ranges for root
                                          in /etc/subuid, which LXC asks for once newuidmap is installed
    only the caller's own ids, one each   written directly, after setgroups(2) is denied as the kernel asks
    anything else                         by newuidmap(1) and newgidmap(1), which know what ranges the caller has
"""

from __future__ import annotations

import errno
import os

from .. import log, process
from ..errors import LxcError, describe
from . import ranges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .ranges import IdMap

_MOST_BYTES = 4096  # one page: the kernel takes a map in one write (user_namespaces(7))
_FILES = {"u": ("uid_map", "newuidmap", "/etc/subuid"), "g": ("gid_map", "newgidmap", "/etc/subgid")}


def write_maps(pid: int, maps: Sequence[IdMap]) -> None:
    """Write both maps of a process that has just entered a new user namespace. Raises LxcError naming the map's lines."""
    wrong = ranges.check(maps)
    if wrong:
        raise LxcError(f"lxc.idmap: {wrong}")
    uid, gid = os.geteuid(), os.getegid()
    own_only = list(maps) in ([_one("u", maps, uid), _one("g", maps, gid)], [_one("g", maps, gid), _one("u", maps, uid)])
    if own_only and uid != 0:
        _write_file(pid, "setgroups", "deny", maps)
    for kind, (file, helper, given) in _FILES.items():
        rows = [row for row in maps if row.kind == kind]
        if uid == 0 or own_only:
            _write_file(pid, file, ranges.map_text(rows, kind), rows)
            log.debug(f"wrote /proc/{pid}/{file} directly: {helper} is not needed")
        else:
            _by_helper(pid, helper, rows, given)


def _one(kind: str, maps: Sequence[IdMap], own: int) -> IdMap | None:
    """The entry of this kind if it maps one id, the caller's own."""
    mine = [row for row in maps if row.kind == kind]
    return mine[0] if len(mine) == 1 and (mine[0].hostid, mine[0].count) == (own, 1) else None


def _write_file(pid: int, file: str, text: str, rows: Sequence[IdMap]) -> None:
    path = f"/proc/{pid}/{file}"
    if len(text) >= _MOST_BYTES:
        raise LxcError(
            f"cannot write {path}: {len(rows)} lines of lxc.idmap are {len(text)} bytes, and the kernel takes less than"
            f" {_MOST_BYTES}",
            remedy="join neighbouring ranges",
        )
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        remedy = ""
        if error.errno == errno.EPERM:
            remedy = "these ids must be mapped in the caller's own user namespace, too: see /proc/self/uid_map and gid_map"
        raise LxcError(f"cannot write {path} for {_shown(rows)}: {describe(error)}", remedy=remedy) from error


def _by_helper(pid: int, helper: str, rows: Sequence[IdMap], given: str) -> None:
    argv = [helper, str(pid)]
    for row in rows:
        argv += [str(row.nsid), str(row.hostid), str(row.count)]
    if process.find(helper) is None:
        raise LxcError(
            f"cannot map {_shown(rows)}: {helper} is missing, and only it may do so for a user other than root",
            remedy="install the package uidmap",
        )
    result = process.run(argv)
    if result.status != 0:
        raise LxcError(
            f"cannot map {_shown(rows)}: {' '.join(argv)} {result.why()}",
            remedy=f"the range must be given to this user in {given}",
        )


def _shown(rows: Sequence[IdMap]) -> str:
    return ", ".join(f'"lxc.idmap = {row}"' for row in rows)
