# SPDX-License-Identifier: LGPL-2.1-or-later
"""A container replaced by another state of it: built beside the old one, put in its place, and only then the old one goes.

    NAME/.restore             the new state is being built
    NAME/.restore/.journal    it is complete: the entries that change places, with the inode of each new one. From here on an
                              interrupted replacement is finished, before it is undone.

The caller holds the container's lock. The old state is complete in the folder, under the names it had, until the journal
is on disk, and is removed when the new one is in place, on disk.
"""

from __future__ import annotations

import os

from .. import files
from ..errors import LxcError, describe
from ..linux import rename as kernel
from .folder import CONFIG
from .steps import step

STAGE = ".restore"
_JOURNAL = ".journal"


def pending(folder: str) -> bool:
    """Whether there is something of a replacement, one that goes on or an interrupted one."""
    return os.path.lexists(f"{folder}/{STAGE}")


def commit(folder: str, names: list[str]) -> None:
    """Put these entries of the stage in their places. Raises LxcError; then the old ones are back."""
    stage = f"{folder}/{STAGE}"
    done: list[str] = []
    names = [name for name in names if name != CONFIG] + [CONFIG]
    try:
        step("sync the new state")
        kernel.syncfs(stage)
        step("write the journal")
        text = "".join(f"{os.lstat(f'{stage}/{name}').st_ino} {name}\0" for name in names)
        files.write_atomic(f"{stage}/{_JOURNAL}", text.encode("utf-8", "surrogateescape"), 0o600)
        files.sync_folder(stage)
        for name in names:
            step("put into place")
            _place(folder, name)
            done.append(name)
        files.sync_folder(folder)
    except BaseException as error:
        for name in reversed(done):
            _place(folder, name)
        files.unlink_quietly(f"{stage}/{_JOURNAL}")
        if isinstance(error, OSError):
            raise LxcError(f"cannot put the restored state into {folder}: {describe(error)}") from error
        raise


def clean(folder: str) -> None:
    """Remove the stage with what is in it: the old state after commit(), the unfinished new one before. Raises LxcError."""
    stage = f"{folder}/{STAGE}"
    try:
        step("remove the old state")
        listed = sorted(name for name in os.listdir(stage) if name != _JOURNAL)
        for name in listed:
            path = f"{stage}/{name}"
            if os.path.isdir(path) and not os.path.islink(path):
                files.remove_tree(path)
            else:
                files.unlink_quietly(path)
            step("remove the old state")
        files.unlink_quietly(f"{stage}/{_JOURNAL}")
        os.rmdir(stage)
    except OSError as error:
        raise LxcError(f"cannot remove {stage}: {describe(error)}") from error


def recover(name: str, lxcpath: str) -> str:
    """Finish an interrupted replacement, or undo it when its new state was not complete; what was done, in words.

    Raises LxcError.
    """
    folder = f"{lxcpath}/{name}"
    stage = f"{folder}/{STAGE}"
    if not os.path.isdir(stage):
        return ""
    try:
        journal = files.read_text(f"{stage}/{_JOURNAL}")
    except FileNotFoundError:
        clean(folder)
        return f"undid an interrupted restore of {name}: it is as it was before"
    except OSError as error:
        raise LxcError(f"cannot read the journal of an interrupted restore in {stage}: {describe(error)}") from error
    try:
        for entry in journal.split("\0")[:-1]:
            inode, entry_name = entry.split(" ", 1)
            if _inode(f"{folder}/{entry_name}") != int(inode) and _inode(f"{stage}/{entry_name}") == int(inode):
                _place(folder, entry_name)
        files.sync_folder(folder)
    except OSError as error:
        raise LxcError(f"cannot finish an interrupted restore in {folder}: {describe(error)}") from error
    clean(folder)
    return f"finished an interrupted restore of {name}"


def _place(folder: str, name: str) -> None:
    """Let an entry of the folder and the stage's change places; either may be missing. Raises OSError."""
    here, there = f"{folder}/{name}", f"{folder}/{STAGE}/{name}"
    if not os.path.lexists(here):
        os.rename(there, here)
    elif not os.path.lexists(there):
        os.rename(here, there)
    else:
        kernel.exchange(there, here)


def _inode(path: str) -> int:
    try:
        return os.lstat(path).st_ino
    except FileNotFoundError:
        return -1
