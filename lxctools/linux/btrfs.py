# SPDX-License-Identifier: LGPL-2.1-or-later
"""<linux/btrfs.h>: subvolumes, snapshots and quota groups (btrfs-ioctl(2)). Every folder is a descriptor; all raise OSError."""

from __future__ import annotations

import fcntl
import os
import struct

from ..files import ioctl_number
from .open import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2
from .statfs import fs_type

SUPER_MAGIC = 0x9123683E
SUBVOLUME_INODE = 256  # of every subvolume's top folder
LONGEST_NAME = 255

_KIND = 0x94
_VOLUME = struct.Struct("=q4088s")  # btrfs_ioctl_vol_args: a descriptor, a name
_VOLUME_V2 = struct.Struct("=qQQ32x4040s")  # btrfs_ioctl_vol_args_v2: a descriptor, a transaction, flags, a name
_LOOKUP = struct.Struct("=QQ4080s")  # btrfs_ioctl_ino_lookup_args
_LOOKUP_USER = struct.Struct("=QQ256s3824s")  # btrfs_ioctl_ino_lookup_user_args: folder, tree, name, path
_ROOTREFS = struct.Struct("=Q510QB7x")  # btrfs_ioctl_get_subvol_rootref_args: least tree, (tree, folder) pairs, their number
_QGROUP = struct.Struct("=QQ")  # btrfs_ioctl_qgroup_create_args: whether to make it, its id
_FS_INFO_SIZE = 1024
_FSID = slice(16, 32)

_SNAP_DESTROY = ioctl_number("w", _KIND, 15, _VOLUME.format)
_INO_LOOKUP = ioctl_number("rw", _KIND, 18, _LOOKUP.format)
_SNAP_CREATE_V2 = ioctl_number("w", _KIND, 23, _VOLUME_V2.format)
_SUBVOL_CREATE_V2 = ioctl_number("w", _KIND, 24, _VOLUME_V2.format)
_FS_INFO = ioctl_number("r", _KIND, 31, f"{_FS_INFO_SIZE}s")
_QGROUP_CREATE = ioctl_number("w", _KIND, 42, _QGROUP.format)
_GET_ROOTREF = ioctl_number("rw", _KIND, 61, _ROOTREFS.format)
_INO_LOOKUP_USER = ioctl_number("rw", _KIND, 62, _LOOKUP_USER.format)
_MORE = 75  # EOVERFLOW: there are more child subvolumes than one answer holds

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def _name(name: str) -> bytes:
    data = os.fsencode(name)
    if not 0 < len(data) <= LONGEST_NAME or b"/" in data:
        raise OSError(36, os.strerror(36), name)
    return data


def is_btrfs(folder: int) -> bool:
    """Whether a folder is on btrfs."""
    return fs_type(folder) == SUPER_MAGIC


def is_subvolume(folder: int) -> bool:
    """Whether a folder is the top of a subvolume."""
    return os.fstat(folder).st_ino == SUBVOLUME_INODE and is_btrfs(folder)


def fsid(folder: int) -> bytes:
    """The file system's own id: equal for every subvolume of it, unlike st_dev."""
    data = bytearray(_FS_INFO_SIZE)
    fcntl.ioctl(folder, _FS_INFO, data)
    return bytes(data[_FSID])


def create_subvolume(parent: int, name: str) -> None:
    """Make an empty subvolume; its mode is 0777 as the umask leaves it."""
    fcntl.ioctl(parent, _SUBVOL_CREATE_V2, bytearray(_VOLUME_V2.pack(0, 0, 0, _name(name))))


def snapshot(source: int, parent: int, name: str) -> None:
    """Make a writable snapshot of the subvolume source: parent/name."""
    fcntl.ioctl(parent, _SNAP_CREATE_V2, bytearray(_VOLUME_V2.pack(source, 0, 0, _name(name))))


def destroy_subvolume(parent: int, name: str) -> None:
    """Remove a subvolume in which there is no other one."""
    fcntl.ioctl(parent, _SNAP_DESTROY, bytearray(_VOLUME.pack(0, _name(name))))


def tree_id(folder: int) -> int:
    """The number of the subvolume that a folder is in."""
    data = bytearray(_LOOKUP.pack(0, SUBVOLUME_INODE, b""))
    fcntl.ioctl(folder, _INO_LOOKUP, data)
    return int(_LOOKUP.unpack(data)[0])


def children(subvolume: int) -> list[str]:
    """The subvolumes directly below one, by their paths in it. Those that the caller may not look up are left out."""
    found = []
    for tree, folder in _references(subvolume):
        data = bytearray(_LOOKUP_USER.pack(folder, tree, b"", b""))
        try:
            fcntl.ioctl(subvolume, _INO_LOOKUP_USER, data)
        except (PermissionError, FileNotFoundError):
            continue
        _folder, _tree, name, path = _LOOKUP_USER.unpack(data)
        found.append(os.fsdecode(path.split(b"\0", 1)[0] + name.split(b"\0", 1)[0]))
    return found


def _references(subvolume: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    least = 0
    while True:
        data = bytearray(_ROOTREFS.pack(least, *[0] * 510, 0))
        more = False
        try:
            fcntl.ioctl(subvolume, _GET_ROOTREF, data)
        except OSError as error:
            if error.errno != _MORE:
                raise
            more = True
        fields = _ROOTREFS.unpack(data)
        count = fields[511]
        found += list(zip(fields[1 : 2 * count : 2], fields[2 : 2 * count + 1 : 2], strict=True))
        if not more:
            return found
        least = fields[0]


def open_below(folder: int, path: str) -> int:
    """A descriptor of a folder below another one, reached without links and without crossing a mount."""
    return openat2(folder, path, _FOLDER, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV)


def remove_quota_group(folder: int, tree: int) -> None:
    """Remove the quota group of a subvolume that is no more; needs root, and quotas to be on."""
    fcntl.ioctl(folder, _QGROUP_CREATE, _QGROUP.pack(0, tree))
