# SPDX-License-Identifier: LGPL-2.1-or-later
"""A tree out of the members of an archive that anybody may have made.

Nothing is made but below the top: members come in the order that archive_write gives them, so the folder of each is one that
has just been made here and is still open; its own name is one word; links are made between files of this tree only.

What is made for a container with an id map gives nobody rights on the host: device nodes but the harmless, and rights to be
somebody else (set-id bits, capabilities) of files of ids that the map does not have, are left out, and told.
"""

from __future__ import annotations

import errno
import os
import stat

from .. import files, log
from ..errors import LxcError, describe
from ..idmap.ranges import to_ns
from .archive import Damaged, Member, Stream, shown
from .tree_meta import CAPABILITY, Shift, drop_inherited, set_first, set_last, write_xattrs
from .tree_source import FOLDER, open_below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..idmap.ranges import IdMap

_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20
_FOUND = "lost+found"  # which a new file system may have
# Character devices that every container has or may have: null, zero, full, random, urandom; tty, console, ptmx; fuse and tun,
# which check their user; 0:0 is an overlay's mark of a removed file.
_HARMLESS = {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (10, 229), (10, 200), (0, 0)}


class TreeReader:
    """Makes a tree in an empty folder. maps: of the container it is for. bytes: of files' data so far."""

    __slots__ = (
        "_beat", "_fd", "_late", "_left_out", "_maps", "_name", "_own", "_path", "_shift", "_stack", "_stream", "_top", "bytes",
    )  # fmt: skip

    def __init__(
        self, stream: Stream, top: str, shown: str, shift: Shift | None, maps: Sequence[IdMap], beat: Callable[[int], object]
    ) -> None:
        """top: the folder; shown: how it is called in messages. Raises LxcError."""
        self._stream = stream
        self._name = shown
        self._shift = shift
        self._maps = maps
        self._beat = beat
        self._own = os.geteuid(), os.getegid()
        self._fd = -1  # of the innermost folder on the stack
        self._path = ""
        self._stack: list[tuple[str, Member]] = []  # folders that more may come for
        self._late: list[tuple[str, int]] = []
        self._left_out: set[str] = set()
        self.bytes = 0
        try:
            self._top = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                drop_inherited(self._top)
            except BaseException:
                os.close(self._top)
                raise
        except OSError as error:
            raise LxcError(f"cannot unpack into {shown}: {describe(error)}") from error

    def __enter__(self) -> TreeReader:
        return self

    def __exit__(self, *exception: object) -> None:
        for fd in (self._fd, self._top):
            if fd >= 0:
                os.close(fd)
        self._fd = self._top = -1

    def member(self, path: str, member: Member, link: str) -> None:
        """Make a member, and read its data. path and link: below the top. Raises LxcError."""
        self._path = path
        try:
            self._member(path, member, link)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> LxcError:
        remedy = "make room on its file system" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        return LxcError(f"cannot unpack {self._name}/{shown(self._path)}: {describe(error)}", remedy=remedy)

    def _member(self, path: str, member: Member, link: str) -> None:
        if not path:
            if self._stack or not stat.S_ISDIR(member.mode) or member.link or self._fd >= 0:
                raise Damaged("its top is no folder")
            self._stack.append(("", member))
            self._fd = os.open(".", FOLDER, dir_fd=self._top)
            return
        parent, _slash, name = path.rpartition("/")
        _check(path, name)
        while self._stack and self._stack[-1][0] != parent:
            self._leave()
        if not self._stack:
            raise Damaged(f"{shown(path)} comes out of order")
        if member.link:
            self._link(path, name, link)
        elif stat.S_ISDIR(member.mode):
            try:
                os.mkdir(name, 0o700, dir_fd=self._fd)
            except FileExistsError:
                if path != _FOUND:
                    raise
            fd = os.open(name, FOLDER, dir_fd=self._fd)
            os.close(self._fd)
            self._fd = fd
            self._stack.append((path, member))
        elif stat.S_ISREG(member.mode):
            self._file(path, name, member)
        else:
            self._other(path, name, member)

    def finish(self) -> None:
        """No more members will come. Raises LxcError."""
        if self._fd < 0:
            raise Damaged("its top is missing")
        try:
            while self._stack:
                self._leave()
            for path, flags in self._late:
                self._path = path
                head, _slash, name = path.rpartition("/")
                folder = open_below(self._top, head)
                try:
                    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
                finally:
                    os.close(folder)
                try:
                    set_last(fd, flags)
                finally:
                    os.close(fd)
        except OSError as error:
            raise self._failed(error) from error

    def _leave(self) -> None:
        """Give the innermost folder what it carries; the one that it is in becomes the innermost."""
        self._path, member = self._stack.pop()
        owner = self._owner(member)
        os.fchown(self._fd, *owner)
        os.fchmod(self._fd, stat.S_IMODE(self._mode(member, owner)))
        write_xattrs(self._fd, self._attributes(member, owner), self._shift)
        os.utime(self._fd, ns=(member.atime, member.mtime))
        set_first(self._fd, member.flags)
        set_last(self._fd, member.flags)
        if self._stack:
            fd = open_below(self._top, self._stack[-1][0])
            os.close(self._fd)
            self._fd = fd
        self._beat(self.bytes)

    # -- owners and rights

    def _owner(self, member: Member) -> tuple[int, int]:
        if self._shift is None:
            return member.uid, member.gid
        return self._shift.id("u", member.uid), self._shift.id("g", member.gid)

    def _is_foreign(self, owner: tuple[int, int]) -> bool:
        """Whether an owner is nobody of the container: as itself such a file would run as somebody of the host."""
        return bool(self._maps) and (to_ns(self._maps, "u", owner[0]) is None or to_ns(self._maps, "g", owner[1]) is None)

    def _mode(self, member: Member, owner: tuple[int, int]) -> int:
        rights = member.mode & (stat.S_ISUID | stat.S_ISGID)
        if rights and self._is_foreign(owner):
            self._tell(member.path, "its set-id bits", "it belongs to an id that lxc.idmap does not have")
            return member.mode & ~rights
        return member.mode

    def _attributes(self, member: Member, owner: tuple[int, int]) -> Sequence[tuple[str, bytes]]:
        if not self._maps:
            return member.xattrs
        kept = []
        for name, value in member.xattrs:
            if name == CAPABILITY and not self._is_containers(value):
                self._tell(member.path, "its capability", "it is for an id that lxc.idmap does not have")
            else:
                kept.append((name, value))
        return kept

    def _is_containers(self, capability: bytes) -> bool:
        """Whether a file capability is for a root that the container's map has."""
        if self._shift is not None:
            capability = self._shift.capability(capability)
        root = int.from_bytes(capability[20:24], "little") if len(capability) == 24 else 0
        return to_ns(self._maps, "u", root) is not None

    def _tell(self, path: str, what: str, why: str) -> None:
        log.warn(f"left out: {what} of {shown(path)}: {why}")

    # -- entries

    def _own_and_mark(self, made: int | str, name: str, member: Member) -> None:
        """Owner, mode, attributes and times of what has just been made in the innermost folder."""
        owner = self._owner(member)
        mode = self._mode(member, owner)
        if owner != self._own:
            os.chown(name, *owner, dir_fd=self._fd, follow_symlinks=False)
        if mode & 0o7000 and not stat.S_ISLNK(mode):
            os.chmod(made, stat.S_IMODE(mode))
        if member.xattrs:
            write_xattrs(made, self._attributes(member, owner), self._shift)
        os.utime(name, ns=(member.atime, member.mtime), dir_fd=self._fd, follow_symlinks=False)

    def _file(self, path: str, name: str, member: Member) -> None:
        fd = os.open(name, _MAKE, member.mode & 0o777, dir_fd=self._fd)
        try:
            set_first(fd, member.flags)
            parts = member.places if member.places is not None else [(0, member.size)]
            stored = 0
            for begin, length in parts:
                self._data(fd, begin, length)
                stored += length
            if member.places is not None:
                os.ftruncate(fd, member.size)
            self._stream.skip_padding(stored)
            self._own_and_mark(fd, name, member)
            if member.flags & (files.IMMUTABLE | files.APPEND):
                self._late.append((path, member.flags))  # links to it may come
            else:
                set_last(fd, member.flags)
        finally:
            os.close(fd)

    def _data(self, fd: int, at: int, length: int) -> None:
        while length:
            part = self._stream.exactly(min(length, _CHUNK))
            length -= len(part)
            self.bytes += len(part)
            while part:
                done = os.pwrite(fd, part, at)
                at += done
                part = part[done:]
            self._beat(self.bytes)

    def _other(self, path: str, name: str, member: Member) -> None:
        mode = member.mode
        if stat.S_ISLNK(mode):
            os.symlink(member.to, name, dir_fd=self._fd)
        elif self._maps and not self._is_harmless(member):
            self._left_out.add(path)
            log.warn(f"left out: {shown(member.path)}: a device of the host is not for a container with an id map")
            return
        else:
            try:
                os.mknod(name, mode & ~0o7000, member.device, dir_fd=self._fd)
            except PermissionError:
                if not self._maps or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
                    raise
                self._left_out.add(path)
                log.warn(f"left out: {shown(member.path)}: only root of the host may make a device")
                return
        self._own_and_mark(f"/proc/self/fd/{self._fd}/{name}", name, member)

    def _is_harmless(self, member: Member) -> bool:
        if stat.S_ISCHR(member.mode):
            return (os.major(member.device), os.minor(member.device)) in _HARMLESS
        return not stat.S_ISBLK(member.mode)

    def _link(self, path: str, name: str, first: str) -> None:
        if first in self._left_out:
            self._left_out.add(path)
            return
        head, _slash, base = first.rpartition("/")
        _check(first, base)
        folder = open_below(self._top, head)
        try:
            os.link(base, name, src_dir_fd=folder, dst_dir_fd=self._fd, follow_symlinks=False)
        finally:
            os.close(folder)


def _check(path: str, name: str) -> None:
    if name in ("", ".", "..") or "\0" in path or path.startswith("/"):
        raise Damaged(f'the path "{shown(path)}" is none of lxc-export')


def below(prefix: str, path: str) -> str | None:
    """The part of a member's path below the top of its tree; None for one that is not in that tree."""
    if path == prefix:
        return ""
    return path[len(prefix) + 1 :] if path.startswith(f"{prefix}/") else None
