# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files: whole writes, and removals that cannot leave the folder they were given."""

from __future__ import annotations

import errno
import os
import stat

from .errors import LxcError, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def write_atomic(path: str, data: bytes, mode: int = 0o644) -> None:
    """Write a file so that it is there whole, or as it was before; owner and mode of an existing one stay. OSError."""
    try:
        before = os.stat(path)
    except FileNotFoundError:
        before = None
    temporary = f"{path}.{os.getpid()}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            if before is not None:
                os.fchmod(fd, before.st_mode & 0o7777)
                os.fchown(fd, before.st_uid, before.st_gid)
            os.fsync(fd)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def unlink_quietly(path: str) -> None:
    """Remove a file that may be gone already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def write_value(fd: int, name: str, text: str) -> None:
    """Write a kernel file below a directory descriptor in one write, without a newline. Raises OSError naming it."""
    try:
        file = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=fd)
        try:
            os.write(file, os.fsencode(text))
        finally:
            os.close(file)
    except OSError as error:
        error.filename = name
        raise


def remove_tree(path: str, beat: Callable[[], object] | None = None) -> None:
    """Remove a folder with everything in it, by descriptors, never following a link and never crossing a mount.

    Refuses `/`, a link, and a folder that is a mount point or holds one: what is mounted there is not ours to remove.
    beat is called now and then, for a progress line. Raises LxcError naming what stands in the way.
    """
    path = path.rstrip("/") or "/"
    parent, name = os.path.split(path)
    if not name or name in (".", ".."):
        raise LxcError(f"refusing to remove {path}")
    try:
        parent_fd = os.open(parent or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _refuse_mounts(os.path.join(os.path.realpath(parent or "."), name))
        try:
            status = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(status.st_mode):
            raise LxcError(f"refusing to remove {path}: it is not a folder", remedy="remove it by hand if it is yours")
        if status.st_dev != os.fstat(parent_fd).st_dev and not _is_subvolume(status):
            raise LxcError(f"refusing to remove {path}: something is mounted on it", remedy=f"umount {path} first")
        _remove_below(parent_fd, name, status.st_dev, path, beat)
    except OSError as error:
        raise LxcError(f"cannot remove {path}: {describe(error)}") from error
    finally:
        os.close(parent_fd)


def _is_subvolume(status: os.stat_result) -> bool:
    """btrfs gives each subvolume a device number of its own, and its root the inode 256."""
    return status.st_ino == 256


def _refuse_mounts(path: str) -> None:
    wanted = os.fsencode(path)
    with open("/proc/self/mountinfo", "rb", buffering=0) as file:
        for line in file.readall().splitlines():
            point = line.split(b" ")[4]
            if b"\\" in point:
                point = point.replace(b"\\040", b" ").replace(b"\\011", b"\t").replace(b"\\012", b"\n").replace(b"\\134", b"\\")
            if point == wanted or point.startswith(wanted + b"/"):
                shown = os.fsdecode(point)
                raise LxcError(
                    f"refusing to remove {path}: something is mounted on {shown}", remedy=f"umount {shown} first"
                )


def _remove_below(parent: int, name: str, device: int, shown: str, beat: Callable[[], object] | None) -> None:
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if os.fstat(fd).st_dev != device:
            raise LxcError(f"refusing to remove {shown}/{name}: another file system is mounted there")
        if beat is not None:
            beat()
        with os.scandir(fd) as entries:
            listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for entry_name, is_folder in listed:
            if is_folder:
                _remove_below(fd, entry_name, device, shown, beat)
            else:
                _unlink(fd, entry_name)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent)


def _unlink(fd: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=fd)
    except FileNotFoundError:
        pass  # somebody else was faster
    except PermissionError as error:
        if error.errno == errno.EPERM:
            error.add_note("the file may be immutable: chattr -i")
        raise
