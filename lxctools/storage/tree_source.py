# SPDX-License-Identifier: LGPL-2.1-or-later
"""A tree that is read: every call by descriptors below its top, no link followed, nothing that is mounted in it, no trace left."""

from __future__ import annotations

import errno
import os

from ..errors import LxcError, describe
from ..linux import mount as kernel
from ..linux.open import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
GONE = (errno.ENOENT, errno.ESTALE, errno.ELOOP, errno.ENXIO, errno.ENOTDIR)  # another kind of entry has its name by now
SMALL = 128 * 1024  # a file of at most this size is read at once
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_WITHIN = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
_LONGEST = 900  # characters of a path in one call: PATH_MAX is 4096 bytes
_BLOCK, _INODE = 4096, 512  # bytes, of the file systems that are made
_QUIET = kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NODEV | kernel.MOUNT_ATTR_NOATIME | kernel.MOUNT_ATTR_NOSYMFOLLOW


class Source:
    """A folder and what is below it. detached: it is a mount of its own, read-only, in which nothing else is mounted.

    With a mount of one's own a file that is mounted over is what is below; without, it is not part of the tree.
    """

    __slots__ = ("_detached", "_flags", "shown", "top")

    def __init__(self, top: int, shown: str, *, detached: bool) -> None:
        self.top = top
        self.shown = shown
        self._detached = detached
        self._flags = 0 if detached else os.O_NOATIME

    def close(self) -> None:
        """Close the top."""
        os.close(self.top)

    def folder(self, path: str) -> int:
        """Open the folder path below the top. Raises OSError; EXDEV for a mount."""
        if self._detached:
            return open_below(self.top, path)
        try:
            return open_below(self.top, path, self._flags, RESOLVE_NO_XDEV)
        except PermissionError:
            return open_below(self.top, path, 0, RESOLVE_NO_XDEV)  # somebody else's

    def file(self, folder: int, name: str) -> int:
        """Open a regular file in a folder that is open. Raises OSError; EXDEV for a mount."""
        if self._detached:
            return os.open(name, _READ, dir_fd=folder)
        try:
            return openat2(folder, name, _READ | self._flags, 0, _WITHIN | RESOLVE_NO_XDEV)
        except PermissionError:
            return openat2(folder, name, _READ, 0, _WITHIN | RESOLVE_NO_XDEV)  # somebody else's


def opened(path: str) -> Source:
    """The folder at path, which may be a link itself. The caller closes it. Raises LxcError."""
    try:
        plain = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise LxcError(f"cannot read {path}: {describe(error)}") from error
    try:
        fd = kernel.open_tree(plain, "", kernel.OPEN_TREE_CLONE | kernel.OPEN_TREE_CLOEXEC | kernel.AT_EMPTY_PATH)
        try:
            kernel.mount_setattr(fd, "", kernel.AT_EMPTY_PATH, attr_set=_QUIET, attr_clr=kernel.MOUNT_ATTR__ATIME)
        except BaseException:
            os.close(fd)
            raise
    except OSError:
        return Source(plain, path, detached=False)  # not root of the mount namespace: mounts are recognised one by one
    os.close(plain)
    return Source(fd, path, detached=True)


def join(path: str, name: str) -> str:
    """The path of an entry of a folder, both below the top."""
    return f"{path}/{name}" if path else name


def measure(source: Source) -> tuple[int, int]:
    """(Bytes of data in a tree, bytes that a file system needs for all of it, about). What cannot be looked at is not counted."""
    data = room = 0
    stack = [""]
    while stack:
        path = stack.pop()
        try:
            fd = source.folder(path)
            try:
                with os.scandir(fd) as entries:
                    for entry in entries:
                        room += _INODE
                        if entry.is_dir(follow_symlinks=False):
                            stack.append(join(path, entry.name))
                            room += _BLOCK
                        elif entry.is_file(follow_symlinks=False):
                            status = entry.stat(follow_symlinks=False)
                            there = min(status.st_size, status.st_blocks * 512) // status.st_nlink
                            data += there
                            room += -(-there // _BLOCK) * _BLOCK
            finally:
                os.close(fd)
        except OSError:
            pass
    return data, room


def open_below(top: int, path: str, flags: int = 0, resolve: int = 0) -> int:
    """Open the folder path below top, of any length, without following a link. Raises OSError."""
    if not path:
        return os.open(".", FOLDER | flags, dir_fd=top)
    if len(path) < _LONGEST:
        return openat2(top, path, FOLDER | flags, 0, _WITHIN | resolve)
    at = os.dup(top)
    words = path.split("/")
    while words:
        part = [words.pop(0)]
        while words and sum(map(len, part)) + len(part) + len(words[0]) < _LONGEST:
            part.append(words.pop(0))
        before = at
        try:
            at = openat2(before, "/".join(part), FOLDER | (0 if words else flags), 0, _WITHIN | resolve)
        finally:
            os.close(before)
    return at


def places(fd: int, status: os.stat_result) -> Iterator[tuple[int, int]]:
    """Where a file has data: (begin, end). The whole file for one without holes. Raises OSError."""
    size = status.st_size
    if size <= SMALL and status.st_blocks * 512 >= size:
        if size:
            yield 0, size
        return
    end = 0
    while end < size:
        try:
            begin = os.lseek(fd, end, os.SEEK_DATA)
            end = os.lseek(fd, begin, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # a hole up to the end
            if error.errno != errno.EINVAL:
                raise
            begin, end = end, size  # a file system that does not tell
        if begin < size:
            yield begin, min(end, size)
