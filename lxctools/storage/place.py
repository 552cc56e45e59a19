# SPDX-License-Identifier: LGPL-2.1-or-later
"""A root file system as a folder to read or to fill, mounted where nobody else sees it when it is no folder by itself."""

from __future__ import annotations

import os

from ..errors import LxcError, describe
from ..linux import detached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType, TracebackType


class Place:
    """path: the folder, while the block runs. fd: of its mount, -1 for a folder."""

    __slots__ = ("fd", "path")

    def __init__(self, path: str, fd: int = -1) -> None:
        self.path = path if fd < 0 else f"/proc/self/fd/{fd}"
        self.fd = fd

    def __enter__(self) -> Place:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self.fd >= 0:
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
    return Place(path, module.open_to_fill(path))


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
