# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mounts that are made complete before anybody can see them.

A mount is made detached (fsopen(2) and fsmount(2), or open_tree(2) with OPEN_TREE_CLONE for a bind mount), gets all its
flags, and is then attached to a descriptor of its target with move_mount(2). So no path of the container's root is resolved
twice, a read-only bind mount was never writable, and no remount step has to repeat what the source already forbids: a
clone inherits the source's flags. Linux 5.12 (mount_setattr(2)).
"""

from __future__ import annotations

import errno
import os

from . import mount

_TO_FD = mount.MOVE_MOUNT_F_EMPTY_PATH | mount.MOVE_MOUNT_T_EMPTY_PATH
_LONGEST_COMPLAINT = 1024

USUAL = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC


def bind(folder: int, path: str, *, recursive: bool = False, empty: bool = False, follow: bool = True) -> int:
    """A detached copy of what is mounted at a path below the descriptor (AT_FDCWD for the caller's own paths).

    recursive: with all that is mounted below it. empty: of the descriptor itself (path ""). follow: whether a symbolic
    link as the last component is followed. Returns an O_PATH descriptor of the mount. Raises OSError.
    """
    flags = mount.OPEN_TREE_CLONE
    if recursive:
        flags |= mount.AT_RECURSIVE
    if empty:
        flags |= mount.AT_EMPTY_PATH
    if not follow:
        flags |= mount.AT_SYMLINK_NOFOLLOW
    return mount.open_tree(folder, path, flags)


def filesystem(fstype: str, options: list[tuple[str, str | None]], attributes: int, source: str = "") -> int:
    """A detached mount of a file system.

    options: (name, value) pairs, value None for a word alone. attributes: MOUNT_ATTR_*. Returns an O_PATH descriptor.
    Raises OSError whose text is the kernel's own complaint where it gave one.
    """
    context = mount.fsopen(fstype)
    try:
        try:
            if source:
                mount.fsconfig(context, mount.FSCONFIG_SET_STRING, "source", source)
            for name, value in options:
                if value is None:
                    mount.fsconfig(context, mount.FSCONFIG_SET_FLAG, name)
                else:
                    mount.fsconfig(context, mount.FSCONFIG_SET_STRING, name, value)
            mount.fsconfig(context, mount.FSCONFIG_CMD_CREATE)
            return mount.fsmount(context, attributes)
        except OSError as error:
            complaint = _complaint(context)
            if complaint:
                told = OSError(error.errno, f"{os.strerror(error.errno or 0)}: {complaint}")
                raise told from error
            raise
    finally:
        os.close(context)


def _complaint(context: int) -> str:
    """The error messages that the kernel left in a file system context, as one line."""
    lines: list[str] = []
    while True:
        try:
            line = os.read(context, _LONGEST_COMPLAINT).decode("utf-8", "backslashreplace").strip()
        except OSError:
            return "; ".join(lines)
        kind, _, text = line.partition(" ")
        if kind == "e" and text:
            lines.append(text)


def attach(tree: int, target: int) -> None:
    """Attach a detached mount on top of the target descriptor. Raises OSError."""
    mount.move_mount(tree, "", target, "", _TO_FD)


def set_flags(tree: int, attributes: int = 0, *, clear: int = 0, propagation: int = 0, recursive: bool = False) -> None:
    """Set and clear MOUNT_ATTR_* of a mount, and its propagation (MS_SHARED ...), in one step. Raises OSError."""
    flags = mount.AT_EMPTY_PATH | (mount.AT_RECURSIVE if recursive else 0)
    mount.mount_setattr(tree, "", flags, attr_set=attributes, attr_clr=clear, propagation=propagation)


def set_idmap(tree: int, userns: int) -> None:
    """Show the files of a detached mount under the ids of a user namespace (a descriptor of it). Raises OSError."""
    mount.mount_setattr(tree, "", mount.AT_EMPTY_PATH | mount.AT_RECURSIVE, attr_set=mount.MOUNT_ATTR_IDMAP, userns_fd=userns)


def detach_all(target: int) -> None:
    """Lazily unmount whatever is mounted on a folder, given as an O_PATH descriptor opened through the top mount.

    Nothing to do when the descriptor is not the root of a mount; in a user namespace a mount of the outer one stays, as the
    kernel protects it.
    """
    try:
        mount.umount2(f"/proc/self/fd/{target}", mount.MNT_DETACH)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise
