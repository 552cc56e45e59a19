# SPDX-License-Identifier: LGPL-2.1-or-later
"""<sys/mount.h>: mount(2), umount2(2), pivot_root(2), and the descriptor-based calls of Linux 5.2 and 5.12."""

from __future__ import annotations

import os
import struct

from . import _nr
from ._libc import bind, c_char_p, c_int, c_ulong, c_void_p, encode, error, syscall

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
AT_SYMLINK_NOFOLLOW = 0x100

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24

MNT_DETACH = 2

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING = 0, 1
FSCONFIG_CMD_CREATE = 6
MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR__ATIME = 0x70  # the field of the three access time modes
MOUNT_ATTR_RELATIME = 0x00
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x00100000
MOUNT_ATTR_NOSYMFOLLOW = 0x00200000

_mount = bind("mount", c_char_p, c_char_p, c_char_p, c_ulong, c_void_p)
_umount2 = bind("umount2", c_char_p, c_int)


def mount(source: str | None, target: str, fstype: str | None, flags: int = 0, data: str | None = None) -> None:
    """mount(2). Raises OSError with target as its path."""
    if _mount(encode(source), encode(target), encode(fstype), flags, encode(data)) < 0:
        raise error(f"mount(2) of {source or fstype or 'flags'}", target)


def umount2(target: str, flags: int = 0) -> None:
    """umount2(2). Raises OSError."""
    if _umount2(encode(target), flags) < 0:
        raise error("umount2(2)", target)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2). Raises OSError."""
    syscall("pivot_root(2)", _nr.PIVOT_ROOT, encode(new_root), encode(put_old), path=new_root)


def open_tree(dfd: int, path: str, flags: int) -> int:
    """open_tree(2): a descriptor of the mount at path, with OPEN_TREE_CLONE of a detached copy. Raises OSError."""
    return syscall("open_tree(2)", _nr.OPEN_TREE, dfd, encode(path), flags | OPEN_TREE_CLOEXEC, path=path)


def move_mount(from_dfd: int, from_path: str, to_dfd: int, to_path: str, flags: int) -> None:
    """move_mount(2). Raises OSError."""
    syscall("move_mount(2)", _nr.MOVE_MOUNT, from_dfd, encode(from_path), to_dfd, encode(to_path), flags, path=to_path)


def mount_setattr(
    dfd: int,
    path: str,
    at_flags: int,
    *,
    attr_set: int = 0,
    attr_clr: int = 0,
    propagation: int = 0,
    userns_fd: int = 0,
) -> None:
    """mount_setattr(2). Raises OSError."""
    attributes = struct.pack("QQQQ", attr_set, attr_clr, propagation, userns_fd)
    syscall("mount_setattr(2)", _nr.MOUNT_SETATTR, dfd, encode(path), at_flags, attributes, len(attributes), path=path)


def fsopen(fstype: str) -> int:
    """fsopen(2). Raises OSError."""
    return syscall("fsopen(2)", _nr.FSOPEN, encode(fstype), FSOPEN_CLOEXEC, path=fstype)


def fsconfig(fd: int, command: int, key: str | None = None, value: str | None = None) -> None:
    """fsconfig(2) with a string value. Raises OSError."""
    syscall("fsconfig(2)", _nr.FSCONFIG, fd, command, encode(key), encode(value), 0, path=key)


def fsmount(fd: int, attributes: int = 0) -> int:
    """fsmount(2): a detached mount of the configured file system. Raises OSError."""
    return syscall("fsmount(2)", _nr.FSMOUNT, fd, FSMOUNT_CLOEXEC, attributes)
