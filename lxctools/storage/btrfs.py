# SPDX-License-Identifier: LGPL-2.1-or-later
"""A root file system that is a subvolume of btrfs.

Subvolumes that lie in it are part of it: a snapshot has snapshots of them in their places, and they are removed with it.
"""

from __future__ import annotations

import os

from .. import files, log
from ..errors import LxcError, describe
from ..linux import btrfs
from ..undo import held
from . import dir as folder_backend
from . import guard
from .backend import Info, Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..idmap.ranges import IdMap

INFO = Info("btrfs", is_folder=True, can_snapshot=True)
mount = folder_backend.mount
exists = folder_backend.exists
belongings = folder_backend.belongings
folders = folder_backend.folders
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def is_usable(lxcpath: str) -> bool:
    """Whether a container in lxcpath can have a subvolume."""
    try:
        fd = os.open(lxcpath, _FOLDER)
    except OSError:
        return False
    try:
        return btrfs.is_btrfs(fd)
    finally:
        os.close(fd)


def is_shared(path: str, folder: str) -> bool:
    """Whether path is a subvolume on the same file system as folder: then a snapshot can do for a copy."""
    try:
        source, target = os.open(path, _FOLDER), os.open(folder, _FOLDER)
    except OSError:
        return False
    try:
        return btrfs.is_subvolume(source) and btrfs.is_btrfs(target) and btrfs.fsid(source) == btrfs.fsid(target)
    except OSError:
        return False
    finally:
        os.close(source)
        os.close(target)


def create(spec: Spec) -> tuple[str, bool]:
    """Make the subvolume rootfs in the container's folder. Raises LxcError, also where the folder is not on btrfs."""
    path = spec.rootfs
    if os.path.isdir(path):
        # A folder that was there before is used as it is, as by dir; an empty one gives way.
        try:
            os.rmdir(path)
        except OSError:
            return f"btrfs:{path}", False
    parent = _open_parent(path)
    try:
        with held():
            btrfs.create_subvolume(parent, os.path.basename(path))
            spec.begins(f"btrfs:{path}")
    except OSError as error:
        raise LxcError(f"cannot make the btrfs subvolume {path}: {describe(error)}") from error
    finally:
        os.close(parent)
    return f"btrfs:{path}", True


def _open_parent(path: str) -> int:
    folder = os.path.dirname(path)
    try:
        fd = os.open(folder, _FOLDER)
    except OSError as error:
        raise LxcError(f"cannot make the btrfs subvolume {path}: {describe(error)}") from error
    if not btrfs.is_btrfs(fd):
        os.close(fd)
        raise LxcError(
            f"cannot make the btrfs subvolume {path}: {folder} is not on btrfs", remedy="use -B dir, or an lxcpath on btrfs"
        )
    return fd


def depends(source_value: str) -> bool:
    """A snapshot needs nothing of its source."""
    return False


def snapshot(source_value: str, spec: Spec) -> str:
    """Make rootfs in the new folder a snapshot of the source's subvolume, with those in it. Raises LxcError."""
    source, path = source_value.partition(":")[2], spec.rootfs
    parent = _open_parent(path)
    try:
        try:
            os.rmdir(path)
        except FileNotFoundError:
            pass
        fd = os.open(source, _FOLDER)
        try:
            if not btrfs.is_subvolume(fd):
                raise LxcError(f"cannot snapshot {source}: it is no btrfs subvolume", remedy="copy it without -s")
            with held():
                btrfs.snapshot(fd, parent, os.path.basename(path))
                spec.begins(f"btrfs:{path}")
            try:
                _snapshot_children(fd, path)
            except BaseException:
                destroy(path)
                raise
        finally:
            os.close(fd)
    except OSError as error:
        remedy = "a snapshot is on the file system of its source; copy it without -s" if error.errno == 18 else ""
        raise LxcError(f"cannot snapshot {source} as {path}: {describe(error)}", remedy=remedy) from error
    finally:
        os.close(parent)
    return f"btrfs:{path}"


def _snapshot_children(source: int, path: str) -> None:
    """A snapshot has an empty folder where its source has a subvolume: put a snapshot of that in its place. Raises OSError."""
    top = os.open(path, _FOLDER)
    waiting = [""]
    try:
        while waiting:
            place = waiting.pop()
            outer = _below(source, place)
            try:
                for child in btrfs.children(outer):
                    inside = f"{place}/{child}" if place else child
                    _snapshot_child(source, top, inside)
                    waiting.append(inside)
            finally:
                os.close(outer)
    finally:
        os.close(top)


def _below(folder: int, path: str) -> int:
    return btrfs.open_below(folder, path) if path else os.dup(folder)


def _snapshot_child(source: int, top: int, path: str) -> None:
    above, name = os.path.split(path)
    fd = btrfs.open_below(source, path)
    try:
        parent = _below(top, above)
        try:
            os.rmdir(name, dir_fd=parent)
            btrfs.snapshot(fd, parent, name)
        finally:
            os.close(parent)
    finally:
        os.close(fd)


def destroy(path: str, beat: Callable[[], object] | None = None, maps: Sequence[IdMap] = ()) -> None:
    """Remove the subvolume with those in it, and their quota groups. Raises LxcError; refuses what dir refuses.

    What has the type and is a mere folder (C LXC's `lxc-copy -B btrfs` makes that) is removed as one.
    """
    guard.check_removable(path)
    try:
        fd = os.open(path, _FOLDER | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LxcError(f"cannot remove {path}: {describe(error)}") from error
    try:
        removed = btrfs.is_subvolume(fd) and _remove_all(fd, path, beat)
    finally:
        os.close(fd)
    if not removed:
        folder_backend.destroy(path, beat, maps)


def _remove_all(top: int, path: str, beat: Callable[[], object] | None) -> bool:
    """Remove the subvolumes, those that lie deepest first. False when the kernel does not let this caller."""
    found = [""]
    at = 0
    try:
        while at < len(found):
            place = found[at]
            outer = _below(top, place)
            try:
                inner = btrfs.children(outer)
                if inner:
                    files.make_writable(outer)
                found += [f"{place}/{child}" if place else child for child in inner]
            finally:
                os.close(outer)
            at += 1
        for place in reversed(found):
            if beat is not None:
                beat()
            _remove_one(top, path, place)
    except PermissionError as error:
        # Without the mount option user_subvol_rm_allowed. Emptying it and rmdir(2) is allowed.
        log.info(f"the subvolume {path} is removed file by file: {describe(error)}")
        return False
    except OSError as error:
        raise LxcError(f"cannot remove the btrfs subvolume {path}: {describe(error)}") from error
    return True


def _remove_one(top: int, path: str, place: str) -> None:
    folder = _below(top, place)
    try:
        tree = btrfs.tree_id(folder)
        files.unprotect(os.dup(folder))
    finally:
        os.close(folder)
    if place:
        above, name = os.path.split(place)
        parent = _below(top, above)
    else:
        above, name = os.path.split(path.rstrip("/"))
        parent = os.open(above, _FOLDER)
    try:
        btrfs.destroy_subvolume(parent, name)
        try:
            btrfs.remove_quota_group(parent, tree)
        except OSError as error:
            log.debug(f"no quota group of the subvolume {tree} is removed: {describe(error)}")
    finally:
        os.close(parent)
