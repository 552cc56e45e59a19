# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a killed command has left half done is finished or undone by the next one on that name, which says so."""

from __future__ import annotations

import os

from .. import locks, log
from . import rename, swap
from .folder import clear_abandoned, remove_if_empty


def settle(name: str, lxcpath: str) -> None:
    """Finish or undo what an interrupted command on this container has left. Raises LxcError; also while one goes on."""
    folder = f"{lxcpath}/{name}"
    if locks.partial_state(lxcpath, name) == locks.ABANDONED:
        with locks.ContainerLock(lxcpath, name):
            if clear_abandoned(name, lxcpath):
                log.tell(f"removed what an interrupted command had left in {folder}")
    elif _is_empty(folder):
        with locks.ContainerLock(lxcpath, name):  # whoever makes a container holds it until the folder is marked
            if _is_empty(folder):
                remove_if_empty(folder)
                log.tell(f"removed the empty folder {folder} of an interrupted command")
    if swap.pending(folder):
        with locks.ContainerLock(lxcpath, name):
            said = swap.recover(name, lxcpath)
        if said:
            log.tell(said)
    said = rename.recover(name, lxcpath)
    if said:
        log.tell(said)


def _is_empty(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return False
