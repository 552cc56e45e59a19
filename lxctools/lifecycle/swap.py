# SPDX-License-Identifier: LGPL-2.1-or-later
"""A container replaced by another state of it: built beside the old one, put in its place, and only then the old one goes.

    NAME/.restore             the new state is being built; its mark `partial` notes what is made elsewhere
    NAME/.restore/.journal    it is complete: the entries that change places, with the identity of each new one. From here on an
                              interrupted replacement is finished, before it is undone.

The caller holds the container's lock. The old state is complete in the folder, under the names it had, until the journal
is on disk, and is removed when the new one is in place, on disk.
"""

from __future__ import annotations

import errno
import os
import stat

from .. import files, log
from ..config.conf import Config
from ..errors import LxcError, describe
from ..idmap.userns import run_in_userns
from ..linux import btrfs
from ..linux import rename as kernel
from ..storage import backend as storage
from .folder import CONFIG, MARK, keeps_rootfs, noted, read_config, remove_noted
from .shared import refuse_shared
from .steps import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..idmap.ranges import IdMap

STAGE = ".restore"
_JOURNAL = ".journal"


def pending(folder: str) -> bool:
    """Whether there is something of a replacement, one that goes on or an interrupted one."""
    return os.path.lexists(f"{folder}/{STAGE}")


def commit(folder: str, names: list[str], maps: Sequence[IdMap]) -> None:
    """Put these entries of the stage in their places. Raises LxcError; then the old ones are back. maps: of the container."""
    stage = f"{folder}/{STAGE}"
    done: list[str] = []
    names = [name for name in names if name != CONFIG] + [CONFIG]
    try:
        step("sync the new state")
        kernel.syncfs(stage)
        step("write the journal")
        text = "".join(f"{_identity(f'{stage}/{name}')} {name}\0" for name in names)
        files.write_atomic(f"{stage}/{_JOURNAL}", text.encode("utf-8", "surrogateescape"), 0o600)
        files.sync_folder(stage)
        for name in names:
            step("put into place")
            _place(folder, name, maps)
            done.append(name)
        files.sync_folder(folder)
    except BaseException as error:
        for name in reversed(done):
            _place(folder, name, maps)
        files.unlink_quietly(f"{stage}/{_JOURNAL}")
        if isinstance(error, OSError):
            # A read-only subvolume cannot change places; on a read-only file system there would be no stage.
            remedy = f"btrfs property set {folder}/rootfs ro false" if error.errno == errno.EROFS else ""
            raise LxcError(f"cannot put the restored state into {folder}: {describe(error)}", remedy=remedy) from error
        raise


def clean(folder: str) -> None:
    """Remove the stage with what is in it: the old state after commit(), the unfinished new one before. Raises LxcError.

    A root file system of it that lies elsewhere goes first: the old one's is named by the configuration, the new one's by the
    stage's mark.
    """
    stage = f"{folder}/{STAGE}"
    try:
        step("remove the old state")
        conf = read_config(stage)
        maps: Sequence[IdMap] = conf["lxc.idmap"] if conf is not None else ()
        if not os.path.lexists(f"{stage}/{_JOURNAL}"):
            if os.path.lexists(f"{stage}/{MARK}"):
                remove_noted(noted(folder, STAGE), maps)
        elif conf is not None:
            _remove_outside(folder, conf)
        listed = sorted(name for name in os.listdir(stage) if name not in (MARK, CONFIG, _JOURNAL))
        for name in listed:
            path = f"{stage}/{name}"
            if os.path.isdir(path) and not os.path.islink(path):
                storage.load("btrfs").destroy(path, None, maps)  # a subvolume may be read-only; any other folder goes as one
            else:
                files.unlink_quietly(path)
            step("remove the old state")
        for name in (MARK, CONFIG, _JOURNAL):
            files.unlink_quietly(f"{stage}/{name}")
        os.rmdir(stage)
    except OSError as error:
        raise LxcError(f"cannot remove {stage}: {describe(error)}") from error


def _remove_outside(folder: str, old: Config) -> None:
    """Remove the old root file system where it is not in the folder, as lxc-destroy would. Raises LxcError."""
    path = str.__str__(old["lxc.rootfs.path"])
    if not path or not old["lxc.rootfs.managed"] or not (old.rootfs_type or os.path.lexists(path)) or keeps_rootfs(folder, path):
        return
    module = storage.for_config(old)
    outside = [thing for thing in module.belongings(path) if not (thing.startswith("/") and files.is_below(thing, folder))]
    new = Config.read(f"{folder}/{CONFIG}")
    now = storage.for_config(new).belongings(str.__str__(new["lxc.rootfs.path"])) if new["lxc.rootfs.path"] else []
    if not outside or set(outside) & set(now):
        return
    try:
        refuse_shared(folder, outside)
    except LxcError as error:
        log.tell(f"kept {path}: {error.message}")
        return
    module.destroy(path, None, old["lxc.idmap"])


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
    conf = read_config(folder)
    try:
        for entry in journal.split("\0")[:-1]:
            identity, entry_name = entry.split(" ", 1)
            if _identity(f"{folder}/{entry_name}") != identity == _identity(f"{stage}/{entry_name}"):
                _place(folder, entry_name, conf["lxc.idmap"] if conf is not None else ())
        files.sync_folder(folder)
    except OSError as error:
        raise LxcError(f"cannot finish an interrupted restore in {folder}: {describe(error)}") from error
    clean(folder)
    return f"finished an interrupted restore of {name}"


def _place(folder: str, name: str, maps: Sequence[IdMap]) -> None:
    """Let an entry of the folder and the stage's change places; either may be missing. Raises OSError, LxcError."""
    here, there = f"{folder}/{name}", f"{folder}/{STAGE}/{name}"
    try:
        _exchange(here, there)
    except PermissionError:
        # A folder gets another parent, which only those may do who may write to it: the container's root.
        if not maps or os.geteuid() == 0:
            raise
        run_in_userns(maps, _exchange, here, there)


def _exchange(here: str, there: str) -> None:
    if not os.path.lexists(here):
        os.rename(there, here)
    elif not os.path.lexists(there):
        os.rename(here, there)
    else:
        kernel.exchange(there, here)


def _identity(path: str) -> str:
    """By what an entry is known again after a reboot: its inode; all subvolumes of a btrfs have the same, so theirs with the subvolume's."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return ""
    if stat.S_ISDIR(status.st_mode) and status.st_ino == btrfs.SUBVOLUME_INODE:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if btrfs.is_subvolume(fd):
                return f"{status.st_ino}.{btrfs.tree_id(fd)}"
        finally:
            os.close(fd)
    return str(status.st_ino)
