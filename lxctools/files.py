# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files: whole writes, and removals that cannot leave the folder they were given."""

from __future__ import annotations

import _signal
import errno
import fcntl
import itertools
import os
import stat
import struct
import time

from .errors import LxcError, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
IMMUTABLE, APPEND = 0x10, 0x20  # ioctl_iflags(2)
_SUBVOLUME_ROOT = 256  # the inode of every btrfs subvolume's top folder
_ALONE = 0.02  # seconds after which a removal is long
_AT_ONCE = 10000  # entries that are listed before they are removed
_TRIES = 100
_DEEPEST = 100  # descriptors that are held open at once; what lies deeper is first moved up


def read_text(path: str) -> str:
    """A whole file as text, whatever bytes it holds (surrogateescape). Raises OSError."""
    with open(path, "rb", buffering=0) as file:
        return file.readall().decode("utf-8", "surrogateescape")


def write_atomic(path: str, data: bytes, mode: int = 0o644) -> None:
    """Write a file so that, whatever happens, it holds either all of data or what it held before.

    mode is that of a new file, as the umask leaves it; an existing one keeps owner and mode. A symbolic link stays one: what
    it names is written. Raises OSError.
    """
    path = os.path.realpath(path)
    try:
        before = os.stat(path)
    except FileNotFoundError:
        before = None
    temporary = f"{path}.{os.getpid()}.new"
    fd = create_new(temporary, mode)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            if before is not None:
                os.fchown(fd, before.st_uid, before.st_gid)
                os.fchmod(fd, before.st_mode & 0o7777)
            os.fsync(fd)
        os.rename(temporary, path)
    except BaseException:
        unlink_quietly(temporary)
        raise


def create_new(path: str, mode: int) -> int:
    """Open a new file to write; path has this process's number in it, and what is there was left by a killed one. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, mode)
    except FileExistsError:
        os.unlink(path)
        return os.open(path, flags, mode)


def sync_folder(path: str) -> None:
    """Wait until the names in a folder are on disk. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def unlink_quietly(path: str) -> None:
    """Remove a file that may be gone already. Raises OSError for every other reason."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def is_below(path: str, folder: str) -> bool:
    """Whether path, its links resolved, lies in folder (and is not folder itself)."""
    real = os.path.realpath(folder)
    return os.path.realpath(path).startswith(real.rstrip("/") + "/")


def mounts_in(path: str, mountinfo: str = "/proc/self/mountinfo") -> list[str]:
    """The mount points at or below an absolute path without links, in this mount namespace. Raises OSError."""
    wanted = os.fsencode(path).rstrip(b"/")
    found = []
    with open(mountinfo, "rb", buffering=0) as file:
        for line in file.readall().splitlines():
            point = _unescape(line.split(b" ", 5)[4])
            if point == wanted or point.startswith(wanted + b"/"):
                found.append(os.fsdecode(point))
    return found


def _unescape(field: bytes) -> bytes:
    """proc(5): blanks, tabs, newlines and backslashes are octal in mountinfo."""
    if b"\\" not in field:
        return field
    for escape, byte in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        field = field.replace(escape, byte)
    return field


def remove_tree(path: str, beat: Callable[[], object] | None = None) -> None:
    """Remove a folder with everything in it, by descriptors, never following a link and never crossing a mount.

    Refuses `/`, what is not a folder, and a folder that is a mount point or holds one: what is mounted there is not ours
    to remove. btrfs subvolumes in it are part of it. A missing one is no failure. Immutable files are made mutable.
    beat is called now and then, for a progress line. Raises LxcError naming what stands in the way.
    """
    parent, name = os.path.split(path.rstrip("/"))
    if name in ("", ".", ".."):
        raise LxcError(f"refusing to remove {path}", remedy="name the folder itself")
    try:
        parent_fd = os.open(parent or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LxcError(f"cannot remove {path}: {describe(error)}") from error
    try:
        if _is_removable(parent_fd, name, path):
            _Removal(path, beat).run(parent_fd, name)
    except OSError as error:
        raise LxcError(f"cannot remove {path}: {describe(error)}") from error
    finally:
        os.close(parent_fd)


def _is_removable(parent: int, name: str, path: str) -> bool:
    """Whether there is something; raises LxcError when it must not be removed."""
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        raise LxcError(f"refusing to remove {path}: it is not a folder", remedy="remove it by hand if it is yours")
    root = os.stat("/")
    if (status.st_dev, status.st_ino) == (root.st_dev, root.st_ino):
        raise LxcError(f"refusing to remove {path}: it is the root of this system")
    real = os.path.join(os.path.realpath(f"/proc/self/fd/{parent}"), name)
    mounted = mounts_in(real)
    if mounted:
        raise LxcError(f"refusing to remove {path}: something is mounted on {mounted[0]}", remedy=f"umount {mounted[0]} first")
    if status.st_dev != os.fstat(parent).st_dev and status.st_ino != _SUBVOLUME_ROOT:
        raise LxcError(f"refusing to remove {path}: another file system is mounted on it", remedy=f"umount {path} first")
    return True


class _Removal:
    """One removal. Without recursion: a container's owner decides how deep its folders are.

    When it takes long a helper, a process, begins at the other end. The two need not speak with each other: each passes over
    what is gone already, and whoever is alone removes everything.
    """

    __slots__ = ("_anew", "_beat", "_helper", "_lifted", "_moved", "_prefix", "_shown", "_top")

    def __init__(self, shown: str, beat: Callable[[], object] | None) -> None:
        self._shown = shown
        self._beat = beat
        self._top = -1
        self._moved = 0
        self._lifted: list[str] = []  # what was moved to the top and is still to be removed
        self._prefix = f".{os.urandom(8).hex()}."
        self._helper = 0  # its pid; -1 when none is to be started
        self._anew = _TRIES  # how often a folder that has been filled again is emptied again

    def run(self, parent: int, name: str) -> None:
        """Remove the folder name in parent. Raises OSError, LxcError."""
        # A folder being emptied: its descriptor, its name in the one before it, and the folders in it that are left.
        stack: list[tuple[int, str, list[str]]] = []
        alone_until = time.monotonic() + _ALONE
        try:
            self._enter(stack, parent, name)
            self._top = stack[0][0]
            while stack:
                fd, own_name, left = stack[-1]
                if left:
                    self._descend(stack, fd, left)
                    if self._helper == 0 and time.monotonic() > alone_until:
                        self._get_help(stack)
                elif len(stack) == 1 and self._lifted:
                    left += self._lifted
                    self._lifted.clear()
                else:
                    self._leave(stack, stack[-2][0] if len(stack) > 1 else parent, own_name)
        finally:
            if self._helper > 0:
                _end(self._helper)
            for fd, _name, _left in stack:
                os.close(fd)

    def _leave(self, stack: list[tuple[int, str, list[str]]], parent: int, name: str) -> None:
        """Remove the innermost folder, which has been emptied."""
        os.close(stack.pop()[0])
        try:
            self._rmdir(parent, name)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or not self._anew:
                raise
            # Somebody writes in it, or its file system has not listed what came after a removed entry.
            self._anew -= 1
            self._enter(stack, parent, name)
            if len(stack) == 1:
                self._top = stack[0][0]

    def _get_help(self, stack: list[tuple[int, str, list[str]]]) -> None:
        """Start the helper, where it can run beside us."""
        self._helper = -1
        if len(os.sched_getaffinity(0)) < 2 or not any(len(left) > 1 for _fd, _name, left in stack):
            return
        parent = os.getpid()
        before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
        try:
            self._helper = os.fork()
            if self._helper == 0:
                try:
                    self._help(stack, parent)
                finally:
                    os._exit(0)
        except OSError:
            self._helper = -1  # then it takes longer
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, before)

    def _help(self, stack: list[tuple[int, str, list[str]]], parent: int) -> None:
        """The helper's life: what the other comes to last, first. What it cannot remove is left to the other to tell of."""
        self._beat = None
        for fd, _name, left in stack:
            for name in left:
                own: list[tuple[int, str, list[str]]] = []
                try:
                    self._enter(own, fd, name)
                    while own and os.getppid() == parent:
                        inner, own_name, inside = own[-1]
                        if inside and len(own) < _DEEPEST:
                            self._enter(own, inner, inside.pop(0))
                        else:
                            own.pop()
                            os.close(inner)
                            self._rmdir(own[-1][0] if own else fd, own_name)
                except (OSError, LxcError):
                    for inner, _own_name, _inside in own:
                        os.close(inner)

    def _descend(self, stack: list[tuple[int, str, list[str]]], fd: int, left: list[str]) -> None:
        name = left.pop()
        if len(stack) < _DEEPEST:
            self._enter(stack, fd, name)
            return
        # Too deep to go on: the folder is moved to the top, and its turn comes later.
        self._moved += 1
        lifted = f"{self._prefix}{self._moved}"
        try:
            os.rename(name, lifted, src_dir_fd=fd, dst_dir_fd=self._top)
            self._lifted.append(lifted)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._enter(stack, fd, name)  # a subvolume

    def _enter(self, stack: list[tuple[int, str, list[str]]], parent: int, name: str) -> None:
        """Open a folder, remove the files in it, and put it on the stack with the folders in it."""
        try:
            fd = os.open(name, _FOLDER, dir_fd=parent)
        except FileNotFoundError:
            if stack:
                return  # somebody else was faster
            raise
        try:
            status = os.fstat(fd)
            if stack and status.st_dev != os.fstat(parent).st_dev and status.st_ino != _SUBVOLUME_ROOT:
                raise LxcError(f"refusing to remove {self._shown}: another file system is mounted on {name} in it")
            if status.st_ino == _SUBVOLUME_ROOT:
                make_writable(fd)
            if self._beat is not None:
                self._beat()
            inside: list[str] = []
            with os.scandir(fd) as entries:
                while listed := list(itertools.islice(entries, _AT_ONCE)):
                    self._unlink(fd, listed, inside)
        except BaseException:
            os.close(fd)
            raise
        stack.append((fd, name, inside))

    def _unlink(self, fd: int, listed: list[os.DirEntry[str]], inside: list[str]) -> None:
        """Remove those of the entries of a folder that are none, and add the names of the others to inside."""
        unlink = os.unlink
        for entry in listed:
            if entry.is_dir(follow_symlinks=False):
                inside.append(entry.name)
                continue
            try:
                unlink(entry.name, dir_fd=fd)
            except PermissionError as error:
                self._again(fd, entry.name, error, unlink)
            except FileNotFoundError:
                pass  # somebody else was faster

    def _rmdir(self, parent: int, name: str) -> None:
        try:
            os.rmdir(name, dir_fd=parent)
        except FileNotFoundError:
            pass
        except PermissionError as error:
            self._again(parent, name, error, os.rmdir)

    def _again(self, parent: int, name: str, error: OSError, remove: Callable[..., None]) -> None:
        """Take away the attributes that protect an entry and the folder it is in (chattr(1)), and try once more."""
        if error.errno != errno.EPERM:
            raise error
        unprotect(os.open(".", _FOLDER, dir_fd=parent))
        try:
            kind = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
            if stat.S_ISREG(kind) or stat.S_ISDIR(kind):
                unprotect(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent))
            remove(name, dir_fd=parent)
        except FileNotFoundError:
            pass  # somebody else was faster


def _end(pid: int) -> None:
    """End a helper."""
    try:
        os.kill(pid, _signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass  # who waits for every child was faster


def unprotect(fd: int) -> None:
    """Clear the immutable and append-only attributes, and close fd; what has no attributes is left alone."""
    try:
        flags = inode_flags(fd)
        if flags & (IMMUTABLE | APPEND):
            set_inode_flags(fd, flags & ~(IMMUTABLE | APPEND))
    except OSError:
        pass  # then the second attempt says why it cannot be removed
    finally:
        os.close(fd)


def make_writable(fd: int) -> None:
    """Take the read-only mark off a btrfs subvolume, which may be removed but not emptied; anything else is left alone."""
    try:
        flags = struct.unpack("=Q", fcntl.ioctl(fd, _SUBVOL_GETFLAGS, bytes(8)))[0]
        if flags & _SUBVOL_RDONLY:
            fcntl.ioctl(fd, _SUBVOL_SETFLAGS, struct.pack("=Q", flags & ~_SUBVOL_RDONLY))
    except OSError:
        pass  # then the removal says why it cannot be done


def ioctl_number(direction: str, kind: int, number: int, argument: str) -> int:
    """The number of an ioctl whose argument, in struct's notation, is read by the caller ("r"), written ("w") or both ("rw").

    Reading and writing change places, and the size is shorter, on some architectures (<asm/ioctl.h>).
    """
    swapped = os.uname().machine.startswith(("ppc", "mips", "sparc", "alpha", "parisc"))
    read, write = (0x40000000, 0x80000000) if swapped else (0x80000000, 0x40000000)
    bits = (read if "r" in direction else 0) | (write if "w" in direction else 0)
    return bits | struct.calcsize(argument) << 16 | kind << 8 | number


# <linux/fs.h>: the numbers speak of a long but the value is an int.
_GETFLAGS, _SETFLAGS = ioctl_number("r", ord("f"), 1, "l"), ioctl_number("w", ord("f"), 2, "l")
# <linux/btrfs.h>
_SUBVOL_GETFLAGS, _SUBVOL_SETFLAGS, _SUBVOL_RDONLY = ioctl_number("r", 0x94, 25, "=Q"), ioctl_number("w", 0x94, 26, "=Q"), 2
_INT = struct.Struct("i")
_ZERO = _INT.pack(0)


def inode_flags(fd: int) -> int:
    """The attributes of a file or folder as chattr(1) shows them (FS_*_FL of <linux/fs.h>). Raises OSError."""
    return int(_INT.unpack(fcntl.ioctl(fd, _GETFLAGS, _ZERO))[0])


def set_inode_flags(fd: int, flags: int) -> None:
    """Set the attributes that inode_flags() reads. Raises OSError."""
    fcntl.ioctl(fd, _SETFLAGS, _INT.pack(flags))
