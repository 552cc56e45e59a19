# SPDX-License-Identifier: LGPL-2.1-or-later
"""A root file system that is a file system in a file, mounted through a loop device that goes with its last user."""

from __future__ import annotations

import os
import stat

from .. import files
from ..errors import LxcError, describe
from ..linux import loop
from ..undo import held
from . import dir as folder_backend
from . import guard
from .backend import DEFAULT_FSTYPE, DEFAULT_SIZE, Info, Spec
from .device import fstype_of, make_filesystem, open_filesystem, size_option
from .place import attach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..idmap.ranges import IdMap

INFO = Info("loop", is_block=True)


def create(spec: Spec) -> tuple[str, bool]:
    """Make rootdev in the container's folder, with a file system, and the mount point rootfs. Raises LxcError.

    A sparse file of --fssize and one byte, as LXC makes it. One that is there already is used as it is.
    """
    path = f"{spec.folder}/rootdev"
    folder_backend.make_mount_point(spec)
    try:
        with held():
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            spec.begins(f"loop:{path}")
    except FileExistsError:
        return f"loop:{path}", False
    except OSError as error:
        raise LxcError(f"cannot make {path}: {describe(error)}") from error
    try:
        try:
            os.pwrite(fd, b"1", size_option(spec.options, DEFAULT_SIZE))
        except OSError as error:
            raise LxcError(f"cannot make {path}: {describe(error)}") from error
        finally:
            os.close(fd)
        make_filesystem(spec.options.get("fstype") or DEFAULT_FSTYPE, path)
    except BaseException:
        files.unlink_quietly(path)
        raise
    return f"loop:{path}", True


def exists(path: str) -> bool:
    """Whether the file is there."""
    return os.path.isfile(path)


def belongings(path: str) -> list[str]:
    """The file."""
    return [path]


def folders(path: str) -> list[str]:
    """Nothing: the owner of what is in the file system is set in it."""
    return []


def destroy(path: str, beat: Callable[[], object] | None = None, maps: Sequence[IdMap] = ()) -> None:
    """Remove the file. Raises LxcError; refuses a link, a device and a folder."""
    try:
        mode = os.lstat(path).st_mode
        if not stat.S_ISREG(mode):
            raise LxcError(f"refusing to remove {path}: it is no regular file", remedy="remove it by hand if it is yours")
        guard.check_removable(path)
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise LxcError(f"cannot remove {path}: {describe(error)}") from error


def size_and_type(path: str) -> tuple[int, str]:
    """Bytes and type of the file system. Raises LxcError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.fstat(fd).st_size // 512 * 512, fstype_of(fd) or DEFAULT_FSTYPE
        finally:
            os.close(fd)
    except OSError as error:
        raise LxcError(f"cannot read {path}: {describe(error)}") from error


def mount(path: str, target: str) -> None:
    """Mount it on a folder. Raises LxcError."""
    attach(open_mount(path), target, f"loop:{path}")


def open_mount(path: str, options: str = "", *, read_only: bool = False) -> int:
    """Mount it detached: the loop device is cleared when the last mount is gone. Raises LxcError."""
    try:
        device = loop.attach(path)
    except OSError as error:
        raise LxcError(f"cannot make {path} a loop device: {describe(error)}") from error
    try:
        return open_filesystem(os.readlink(f"/proc/self/fd/{device}"), device, f"loop:{path}", options, read_only=read_only)
    finally:
        os.close(device)


open_to_fill = open_mount
