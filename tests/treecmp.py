# SPDX-License-Identifier: LGPL-2.1-or-later
"""Comparing two trees: every inode's type, mode, owner, times, device, attributes, lists, link group, holes and content."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lxctools import files

_CHATTR = 0x8 | 0x10 | 0x20 | 0x40 | 0x80 | 0x10000 | 0x00800000  # S i a d A D C


def describe_tree(
    top: Path | str, *, holes: bool = True, flags: bool = True, ids: Callable[[str, int], int] = lambda kind, number: number
) -> dict[str, dict[str, Any]]:
    """What is at each path below top ("" is the top), as plain values.

    holes: with the places of data in each file (file systems differ in how small a hole may be). ids: applied to the owners.
    """
    groups: dict[tuple[int, int], str] = {}
    found: dict[str, dict[str, Any]] = {}

    def add(path: str, shown: str) -> None:
        # Through the descriptor of its folder: however deep it is, the path is short.
        status = os.lstat(path)
        kind = stat.S_IFMT(status.st_mode)
        entry: dict[str, Any] = {
            "type": kind,
            "mode": oct(stat.S_IMODE(status.st_mode)),
            "owner": (ids("u", status.st_uid), ids("g", status.st_gid)),
            "mtime": status.st_mtime_ns,
            "xattrs": {
                name: os.getxattr(path, name, follow_symlinks=False)
                for name in os.listxattr(path, follow_symlinks=False)
                if not name.startswith("trusted.SGI_ACL_")  # how xfs shows the lists once more
            },
        }
        if kind != stat.S_IFDIR:
            entry["links"] = status.st_nlink
            entry["group"] = groups.setdefault((status.st_dev, status.st_ino), shown) if status.st_nlink > 1 else ""
        if kind in (stat.S_IFBLK, stat.S_IFCHR):
            entry["device"] = status.st_rdev
        if kind == stat.S_IFLNK:
            entry["to"] = os.readlink(path)
        if kind in (stat.S_IFREG, stat.S_IFDIR):
            entry["atime"] = status.st_atime_ns
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOATIME)
            try:
                if flags:
                    entry["flags"] = hex(_flags(fd))
                if kind == stat.S_IFREG:
                    entry["size"] = status.st_size
                    entry["sha256"] = _content(fd)
                    if holes:
                        entry["data"] = _data(fd, status.st_size)
            finally:
                os.close(fd)
        found[shown] = entry
        if kind == stat.S_IFDIR:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOATIME)
            try:
                for name in sorted(os.listdir(fd)):
                    add(f"/proc/self/fd/{fd}/{name}", f"{shown}/{name}".lstrip("/"))
            finally:
                os.close(fd)

    add(str(top), "")
    return found


def _flags(fd: int) -> int:
    try:
        return files.inode_flags(fd) & _CHATTR
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP):
            raise
        return 0


def _content(fd: int) -> str:
    digest = hashlib.sha256()
    while part := os.read(fd, 1 << 20):
        digest.update(part)
    return digest.hexdigest()


def _data(fd: int, size: int) -> list[tuple[int, int]]:
    """The places that hold data, as the file system tells."""
    found: list[tuple[int, int]] = []
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            assert error.errno == errno.ENXIO
            break
        end = os.lseek(fd, start, os.SEEK_HOLE)
        found.append((start, end))
    return found


def differences(
    first: Path | str | dict[str, dict[str, Any]], second: Path | str | dict[str, dict[str, Any]], **how: Any
) -> list[str]:
    """A line for everything in which two trees differ; [] for equal ones."""
    one = first if isinstance(first, dict) else describe_tree(first, **how)
    two = second if isinstance(second, dict) else describe_tree(second, **how)
    lines = [f"{path or '.'}: only in the first" for path in one.keys() - two.keys()]
    lines += [f"{path or '.'}: only in the second" for path in two.keys() - one.keys()]
    for path in one.keys() & two.keys():
        for fact in one[path].keys() | two[path].keys():
            a, b = one[path].get(fact), two[path].get(fact)
            if a != b:
                lines.append(f"{path or '.'}: {fact}: {a!r} and {b!r}")
    return sorted(lines)
