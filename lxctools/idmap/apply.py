# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writing a process's id maps (user_namespaces(7)): directly where we may, else by newuidmap(1) and newgidmap(1).

C LXC uses the helpers even for root, which then needs ranges of its own in /etc/subuid; root needs no permission.
"""

from __future__ import annotations

import os

from .. import log, process
from ..errors import LxcError, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .ranges import IdMap

_MOST_BYTES = 4096


def write_maps(pid: int, maps: Sequence[IdMap]) -> None:
    """Write the uid and gid maps of a process in a new user namespace. Raises LxcError naming the map."""
    for kind, file, helper in (("u", "uid_map", "newuidmap"), ("g", "gid_map", "newgidmap")):
        rows = [row for row in maps if row.kind == kind]
        if not rows:
            continue
        if os.geteuid() == 0:
            _write(pid, file, rows)
        else:
            _by_helper(pid, helper, rows)


def _write(pid: int, file: str, rows: Sequence[IdMap]) -> None:
    text = "".join(f"{row.nsid} {row.hostid} {row.count}\n" for row in rows)
    shown = "; ".join(f"lxc.idmap = {row}" for row in rows)
    if len(text) > _MOST_BYTES:
        raise LxcError(f"the id map is longer than the kernel takes ({_MOST_BYTES} bytes): {shown}")
    try:
        fd = os.open(f"/proc/{pid}/{file}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise LxcError(
            f"the kernel refuses the id map ({shown}): {describe(error)}",
            remedy="ranges must not overlap, must not be empty, and must be mapped for this process itself",
        ) from error
    log.debug(f"wrote {file} of {pid} directly: root needs no {'newuidmap' if file == 'uid_map' else 'newgidmap'}")


def _by_helper(pid: int, helper: str, rows: Sequence[IdMap]) -> None:
    argv = [helper, str(pid)]
    for row in rows:
        argv += [str(row.nsid), str(row.hostid), str(row.count)]
    result = process.run(argv)
    if result.status != 0:
        raise LxcError(
            f"{' '.join(argv)} {result.why()}",
            remedy=f"the range must be given to this user in /etc/sub{'uid' if helper == 'newuidmap' else 'gid'}",
        )
