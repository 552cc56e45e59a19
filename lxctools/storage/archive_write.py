# SPDX-License-Identifier: LGPL-2.1-or-later
"""A tree as members of an archive: each folder before what is in it, and all that is in it before the next one."""

from __future__ import annotations

import errno
import os
import stat

from .. import log
from ..errors import LxcError, describe
from .archive import Member, Sink, data_size
from .tree_meta import read_flags, read_xattrs
from .tree_source import GONE, join, places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .tree_source import Source

_CHUNK = 1 << 20
_MANY = 4096  # folders that wait; then one is written before the next is looked for


class TreeWriter:
    """Writes a tree below a path of the archive. bytes: of files' data so far; vanished: paths that went meanwhile."""

    __slots__ = ("_beat", "_buffer", "_flags", "_known", "_prefix", "_sink", "_source", "_stack", "bytes", "vanished")

    def __init__(self, sink: Sink, source: Source, prefix: str, beat: Callable[[int], object]) -> None:
        self._sink = sink
        self._source = source
        self._prefix = prefix
        self._beat = beat
        self._buffer = memoryview(bytearray(_CHUNK))
        self._flags = True
        # Inodes with several links: the first path, and how many links are to come.
        self._known: dict[tuple[int, int], list[str | int]] = {}
        self._stack: list[str] = []
        self.bytes = 0
        self.vanished: list[str] = []

    def run(self) -> None:
        """Write all of it. Raises LxcError naming what cannot be read, OSError from writing."""
        self._stack.append("")
        while self._stack:
            self._folder(self._stack.pop())

    def _folder(self, path: str) -> None:
        try:
            folder = self._source.folder(path)
        except OSError as error:
            if not self._is_gone(path, error):
                raise self._failed(path, error) from error
            return
        try:
            member = Member(self._path(path), 0)
            self._read(path, lambda: self._describe(member, folder, os.fstat(folder)))
            self._sink.begin(member)
            first = len(self._stack)
            with os.scandir(folder) as entries:
                for entry in entries:
                    below = join(path, entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        self._stack.append(below)
                        if len(self._stack) - first >= _MANY:
                            self._folder(self._stack.pop())
                    elif entry.is_file(follow_symlinks=False):
                        self._file(folder, entry.name, below)
                    else:
                        self._other(folder, entry.name, below)
        finally:
            os.close(folder)
        self._beat(self.bytes)

    def _path(self, path: str) -> str:
        return join(self._prefix, path) if path else self._prefix

    def _is_gone(self, path: str, error: OSError) -> bool:
        if error.errno in (*GONE, errno.EXDEV) and path:
            self.vanished.append(path)
            return True
        return False

    def _failed(self, path: str, error: OSError) -> LxcError:
        return LxcError(f"cannot read {self._source.shown}/{path}: {describe(error)}")

    def _read(self, path: str, call: Callable[[], None]) -> None:
        try:
            call()
        except OSError as error:
            raise self._failed(path, error) from error

    def _describe(self, member: Member, at: int | str, status: os.stat_result) -> None:
        member.mode = status.st_mode
        member.uid, member.gid = status.st_uid, status.st_gid
        member.mtime, member.atime = status.st_mtime_ns, status.st_atime_ns
        member.device = status.st_rdev
        member.xattrs = read_xattrs(at)
        if self._flags and isinstance(at, int):
            flags = read_flags(at)
            self._flags = flags is not None
            member.flags = flags or 0

    def _link(self, path: str, status: os.stat_result) -> bool:
        """Write another link of what has been written."""
        first = self._known.get((status.st_dev, status.st_ino)) if status.st_nlink > 1 else None
        if first is None:
            return False
        member = Member(self._path(path), status.st_mode)
        member.link = self._path(str(first[0]))
        self._sink.begin(member)
        first[1] = int(first[1]) - 1
        if not first[1]:
            del self._known[status.st_dev, status.st_ino]
        return True

    def _remember(self, path: str, status: os.stat_result) -> None:
        if status.st_nlink > 1:
            self._known[status.st_dev, status.st_ino] = [path, status.st_nlink - 1]

    def _file(self, folder: int, name: str, path: str) -> None:
        try:
            fd = self._source.file(folder, name)
        except OSError as error:
            if not self._is_gone(path, error):
                raise self._failed(path, error) from error
            return
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                self.vanished.append(path)
                return
            if self._link(path, status):
                return
            member = Member(self._path(path), 0)
            self._read(path, lambda: self._describe(member, fd, status))
            member.size = status.st_size
            parts: list[tuple[int, int]] = []
            self._read(path, lambda: parts.extend(places(fd, status)))
            if parts != [(0, status.st_size)] and status.st_size:
                member.places = [(begin, end - begin) for begin, end in parts]
            self._sink.begin(member)
            for begin, end in parts:
                self._data(path, fd, begin, end)
            self._sink.pad(data_size(member))
            self._remember(path, status)
        finally:
            os.close(fd)

    def _data(self, path: str, fd: int, begin: int, end: int) -> None:
        while begin < end:
            try:
                done = os.preadv(fd, [self._buffer[: end - begin]], begin)
            except OSError as error:
                raise self._failed(path, error) from error
            if not done:
                break
            self._sink.write(self._buffer[:done])
            begin += done
            self.bytes += done
            if done == _CHUNK:
                self._beat(self.bytes)
        if begin < end:  # its size has been written already
            log.warn(f"{self._source.shown}/{path} became shorter while it was read: the rest is zeros")
            while begin < end:
                part = min(end - begin, _CHUNK)
                self._sink.write(b"\0" * part)
                begin += part

    def _other(self, folder: int, name: str, path: str) -> None:
        member = Member(self._path(path), 0)
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                member.to = os.readlink(name, dir_fd=folder)
            elif stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
                raise FileNotFoundError(errno.ENOENT, "another kind of entry has its name by now")
            if self._link(path, status):
                return
            self._describe(member, f"/proc/self/fd/{folder}/{name}", status)
        except OSError as error:
            if not self._is_gone(path, error):
                raise self._failed(path, error) from error
            return
        self._sink.begin(member)
        self._remember(path, status)
