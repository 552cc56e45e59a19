# SPDX-License-Identifier: LGPL-2.1-or-later
"""A root file system as a folder to read or to fill, mounted where nobody else sees it when it is no folder by itself."""

from __future__ import annotations

import os

from ..errors import LxcError, describe
from ..linux import detached
from ..linux.rename import syncfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType, TracebackType


class Place:
    """path: the folder, while the block runs. fd: of its mount, -1 for a folder.

    filled: what it is, if it is written to: the end of the block raises LxcError when not all that was written is on the device.
    """

    __slots__ = ("fd", "filled", "path")

    def __init__(self, path: str, fd: int = -1, filled: str = "") -> None:
        self.path = path if fd < 0 else f"/proc/self/fd/{fd}"
        self.fd = fd
        self.filled = filled

    def __enter__(self) -> Place:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self.fd < 0:
            return
        try:
            if self.filled and kind is None:
                syncfs(self.path)  # the unmounting would do it, too, and tell nobody of a pool that was full
        except OSError as error:
            raise LxcError(f"cannot write the root file system {self.filled}: {describe(error)}", remedy="look at the kernel's log") from error
        finally:
            os.close(self.fd)  # the last reference unmounts it, and frees its loop device
            self.fd = -1


def opened(module: ModuleType, path: str, options: str = "", *, read_only: bool = False) -> Place:
    """The root file system of a backend, whole. options: the value of lxc.rootfs.options. Raises LxcError."""
    if module.INFO.is_folder:
        return Place(path)
    return Place(path, module.open_mount(path, options, read_only=read_only))


def opened_to_fill(module: ModuleType, path: str) -> Place:
    """Where a new root file system is filled: of an overlay the lower folder. Raises LxcError."""
    if module.INFO.is_folder:
        return Place(path)
    return Place(path, module.open_to_fill(path), f"{module.INFO.name}:{path}")


def attach(tree: int, target: str, what: str) -> None:
    """Attach a mount to a folder, and close its descriptor. what: the root file system, for messages. Raises LxcError."""
    try:
        place = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            detached.attach(tree, place)
        finally:
            os.close(place)
    except OSError as error:
        raise LxcError(f"cannot mount the root file system {what} on {target}: {describe(error)}") from error
    finally:
        os.close(tree)
