# SPDX-License-Identifier: LGPL-2.1-or-later
"""One process that copies folders: the entries of each, then what the folder itself carries.

A folder in the target is closed to everybody, belongs to the caller and has nothing to inherit until all its entries are made;
only then it gets owner, mode, attributes and times. So what is made in it needs no call for what is the caller's anyway.
"""

from __future__ import annotations

import errno
import os
import stat

from .. import log
from ..errors import LxcError, describe
from ..linux.ioctl import ficlone
from .tree_meta import Shift, drop_inherited, read_flags, read_xattrs, set_first, set_last, write_xattrs
from .tree_source import FOLDER, GONE, SMALL, join, open_below, places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .tree_source import Source

_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_RANGES = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EPERM)
_CHUNK = 1024 * 1024
_RANGE = 16 * _CHUNK  # what copy_file_range(2) is given at once: a beat each
_NAMES = 256  # names of hard links that are handed over at once
_MANY = 4096  # folders that wait; then one is done before the next is looked for


class Linked:
    """An inode with several links that has been made: its folder and name, and how many of its links have not been seen."""

    __slots__ = ("folder", "left", "name")

    def __init__(self, folder: str, name: str, left: int) -> None:
        self.folder = folder
        self.name = name
        self.left = left


class Copier:
    """Copies folders from below one folder to below another.

    target: a descriptor of the new top. links(path, names, last) is called with the entries of a folder that have several links.
    """

    __slots__ = (
        "_beat", "_buffer", "_flags", "_here", "_links", "_own", "_ranges", "_reflink", "_shift", "_target", "bytes", "files",
        "late", "shown", "source", "stack", "vanished",
    )

    def __init__(self, source: Source, target: int, shift: Shift | None) -> None:
        self.source = source
        self._target = target
        self.shown = source.shown
        self._shift = shift
        self._own = os.geteuid(), os.getegid()
        self._reflink = self._ranges = self._flags = True
        self._buffer = memoryview(bytearray(0))
        self._beat: Callable[[], object] = lambda: None
        self._links: Callable[[str, list[str], bool], object] = lambda path, names, last: None
        self.stack: list[str] = []
        self.files = 0
        self._here = ""  # the folder whose entries are made
        self.bytes = 0
        self.vanished: list[str] = []
        self.late: list[tuple[str, int]] = []  # files with more than one link that must not change, and how

    def reset(self) -> None:
        """Forget what has been done, in a process that goes on from here."""
        self.stack = []
        self.vanished = []
        self.files = self.bytes = 0

    def on(self, beat: Callable[[], object], links: Callable[[str, list[str], bool], object]) -> None:
        """Set what is called after each folder and each part of a large file, and for hard links."""
        self._beat = beat
        self._links = links

    # -- folders

    def folder(self, path: str) -> None:
        """Copy what is in the folder path below the tops; folders in it are made, and put on the stack.

        Raises LxcError naming the entry that cannot be copied.
        """
        try:
            source = self.source.folder(path)
        except OSError as error:
            if path and error.errno in GONE:
                self._give_up(path)
                return
            if error.errno == errno.EXDEV:
                log.info(f"not copied: what is mounted on {self.shown}/{path}")
                return
            raise self._failed(path, error) from error
        try:
            target = open_below(self._target, path)
            try:
                linked = self._entries(path, source, target)
                if linked:
                    self._links(path, linked, True)
                else:
                    self._finish(source, target)
            finally:
                os.close(target)
        except OSError as error:
            raise self._failed(path, error) from error
        finally:
            os.close(source)
        self._beat()

    def _give_up(self, path: str) -> None:
        """The folder went before it was read."""
        self.vanished.append(path)
        try:
            head, _, name = path.rpartition("/")
            parent = open_below(self._target, head)
            try:
                os.rmdir(name, dir_fd=parent)
            finally:
                os.close(parent)
        except OSError as error:
            log.info(f"an empty folder stays for {path}, which vanished: {describe(error)}")

    def _entries(self, path: str, source: int, target: int) -> list[str]:
        """Make the entries of a folder; returns the names of those with several links that have not been handed over yet."""
        linked: list[str] = []
        self._here = path
        first = len(self.stack)
        name = ""
        try:
            with os.scandir(source) as entries:
                for entry in entries:
                    name = entry.name
                    if entry.is_file(follow_symlinks=False):
                        if self._regular(source, target, name):
                            continue
                    elif entry.is_dir(follow_symlinks=False):
                        self._make_folder(target, name)
                        self.files += 1
                        self.stack.append(join(path, name))
                        if len(self.stack) - first >= _MANY:
                            self.folder(self.stack.pop())
                            self._here = path
                        continue
                    elif self._other(source, target, name):
                        continue
                    linked.append(name)
                    if len(linked) > _NAMES:
                        self._links(path, linked[:-1], False)
                        linked = linked[-1:]
        except OSError as error:
            raise self._failed(join(path, name), error) from error
        return linked

    def _make_folder(self, parent: int, name: str) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:  # lost+found
            fd = os.open(name, FOLDER, dir_fd=parent)
            try:
                drop_inherited(fd)
            finally:
                os.close(fd)

    def _finish(self, source: int, target: int) -> None:
        """Give a folder, whose entries are made, what its original has."""
        status = os.fstat(source)
        self._own_and_mark(source, target, status, always=True)
        flags = self._flags_of(source)
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        if flags:
            set_first(target, flags)
            set_last(target, flags)

    def links(self, path: str, names: list[str], last: bool, known: dict[tuple[int, int], Linked]) -> None:
        """Make entries with several links; known: the inodes that were made, where, and how many links are to come.

        last: then finish the folder. Raises LxcError.
        """
        name = ""
        self._here = path
        try:
            source = self.source.folder(path)
            try:
                target = open_below(self._target, path)
                try:
                    for name in names:
                        self._link(path, source, target, name, known)
                    if last:
                        self._finish(source, target)
                finally:
                    os.close(target)
            finally:
                os.close(source)
        except OSError as error:
            raise self._failed(join(path, name), error) from error

    def _link(self, path: str, source: int, target: int, name: str, known: dict[tuple[int, int], Linked]) -> None:
        try:
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
        except FileNotFoundError:
            self._gone(name)
            return
        key = status.st_dev, status.st_ino
        first = known.get(key)
        if first is not None:
            folder = open_below(self._target, first.folder)
            try:
                os.link(first.name, name, src_dir_fd=folder, dst_dir_fd=target, follow_symlinks=False)
            finally:
                os.close(folder)
            self.files += 1
            first.left -= 1
            if not first.left:
                del known[key]
            return
        done = (
            self._regular(source, target, name, path=path)
            if stat.S_ISREG(status.st_mode)
            else self._other(source, target, name, linked=True)
        )
        if done and status.st_nlink > 1:
            known[key] = Linked(path, name, status.st_nlink - 1)

    def finish_late(self) -> None:
        """Set what would have prevented further links. Raises LxcError."""
        for path, flags in self.late:
            head, _, name = path.rpartition("/")
            try:
                folder = open_below(self._target, head)
                try:
                    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
                finally:
                    os.close(folder)
                set_last(fd, flags)
                os.close(fd)
            except OSError as error:
                raise self._failed(path, error) from error
        self.late.clear()

    # -- files

    def _regular(self, folder: int, into: int, name: str, *, path: str | None = None) -> bool:
        """Copy a regular file. False, and nothing done, for one with several links unless path says where the folder is."""
        try:
            source = self.source.file(folder, name)
        except OSError as error:
            if error.errno not in (*GONE, errno.EXDEV):
                raise
            return self._gone(name)
        try:
            status = os.fstat(source)
            if not stat.S_ISREG(status.st_mode):
                return self._gone(name)
            linked = status.st_nlink > 1
            if linked and path is None:
                return False
            mode = status.st_mode
            target = os.open(name, _MAKE, mode & 0o777, dir_fd=into)
            try:
                flags = self._flags_of(source)
                if flags:
                    set_first(target, flags)
                if status.st_size:
                    self._data(source, target, status)
                self._own_and_mark(source, target, status)
                os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
                if flags:
                    later = set_last(target, flags, linked=linked)
                    if later:
                        self.late.append((join(path or "", name), later))
            finally:
                os.close(target)
        finally:
            os.close(source)
        self.files += 1
        return True

    def _gone(self, name: str) -> bool:
        self.vanished.append(join(self._here, name))
        return True

    def _flags_of(self, source: int) -> int:
        if not self._flags:
            return 0
        flags = read_flags(source)
        if flags is None:
            self._flags = False
        return flags or 0

    def _own_and_mark(self, source: int, target: int, status: os.stat_result, *, always: bool = False) -> None:
        """Owner, mode and extended attributes, in the order in which one does not undo the other."""
        owner = status.st_uid, status.st_gid
        if self._shift is not None:
            owner = self._shift.id("u", owner[0]), self._shift.id("g", owner[1])
        mode = stat.S_IMODE(status.st_mode)
        if always or owner != self._own:
            os.fchown(target, *owner)
        if always or mode & 0o7000:
            os.fchmod(target, mode)
        attributes = read_xattrs(source)
        if attributes:
            write_xattrs(target, attributes, self._shift)

    def _data(self, source: int, target: int, status: os.stat_result) -> None:
        size = status.st_size
        if self._reflink:
            try:
                ficlone(target, source)
                self.bytes += size
                return
            except OSError as error:
                if error.errno in (errno.EOPNOTSUPP, errno.EXDEV, errno.ENOTTY, errno.ENOSYS):
                    self._reflink = False
                elif error.errno not in (errno.EINVAL, errno.EPERM, errno.ETXTBSY):
                    raise
        if size <= SMALL and status.st_blocks * 512 >= size:
            data = os.read(source, size)
            self.bytes += len(data)
            while data:
                data = data[os.write(target, data) :]
            return
        for begin, end in places(source, status):
            self._range(source, target, begin, end)
        os.ftruncate(target, size)

    def _range(self, source: int, target: int, start: int, end: int) -> None:
        while start < end and self._ranges:
            try:
                done = os.copy_file_range(source, target, min(end - start, _RANGE), start, start)
            except OSError as error:
                if error.errno not in _NO_RANGES:
                    raise
                self._ranges = False
                break
            if not done:
                break  # the file has become shorter, or its file system does not mean it
            start += done
            self.bytes += done
            self._beat()
        if start < end and not self._buffer:
            self._buffer = memoryview(bytearray(_CHUNK))
        while start < end:
            done = os.preadv(source, [self._buffer[: end - start]], start)
            if not done:
                return
            part = self._buffer[:done]
            while part:
                written = os.pwrite(target, part, start)
                start += written
                part = part[written:]
            self.bytes += done
            self._beat()

    def _other(self, folder: int, into: int, name: str, *, linked: bool = False) -> bool:
        """Copy a symbolic link, device, fifo or socket. False, and nothing done, for one with several links unless linked."""
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            kind = stat.S_IFMT(status.st_mode)
            text = os.readlink(name, dir_fd=folder) if kind == stat.S_IFLNK else ""
        except OSError as error:
            if error.errno not in (*GONE, errno.EINVAL):
                raise
            return self._gone(name)
        if status.st_nlink > 1 and not linked:
            return False
        mode = status.st_mode
        if kind == stat.S_IFLNK:
            os.symlink(text, name, dir_fd=into)
        elif kind in (stat.S_IFREG, stat.S_IFDIR):
            return self._gone(name)
        else:
            os.mknod(name, mode & ~0o7000, status.st_rdev, dir_fd=into)
        owner = status.st_uid, status.st_gid
        if self._shift is not None:
            owner = self._shift.id("u", owner[0]), self._shift.id("g", owner[1])
        if owner != self._own:
            os.chown(name, *owner, dir_fd=into, follow_symlinks=False)
        made = f"/proc/self/fd/{into}/{name}"
        if mode & 0o7000 and kind != stat.S_IFLNK:
            os.chmod(made, stat.S_IMODE(mode))
        write_xattrs(made, read_xattrs(f"/proc/self/fd/{folder}/{name}"), self._shift)
        os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=into, follow_symlinks=False)
        self.files += 1
        return True

    def _failed(self, path: str, error: OSError) -> LxcError:
        remedy = "make room on the target's file system" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        return LxcError(f"cannot copy {self.shown}/{path}: {describe(error)}", remedy=remedy)
