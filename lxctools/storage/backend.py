# SPDX-License-Identifier: LGPL-2.1-or-later
"""The contract of a storage backend, and the table of those there are.

A backend is a module with these names. `path` is the value of lxc.rootfs.path without its type. All raise LxcError that says
what, on what and why.

    INFO                             what it is like, see Info: callers ask this and not its name
    create(spec)                     make an empty root file system: (value for lxc.rootfs.path, whether this call made it). What
                                     was there before is never removed when the creation fails later
    destroy(path, beat, maps)        remove it and nothing outside of it; what is gone already is no failure. beat is called
                                     now and then. maps: remove it as that container's root (a caller other than root)
    mount(path, target)              mount it on a folder, with what is mounted in it
    exists(path)                     whether it is there

What only some can do (snapshot, copy, resize) is a function that the others do not have, and a fact in INFO.
"""

from __future__ import annotations

import os
import stat

from ..errors import LxcError, Unsupported, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from ..config.conf import Config

# Type of lxc.rootfs.path -> module of this package; "" is recognised and not there yet.
_MODULES = {
    "dir": "dir",
    "overlay": "",
    "overlayfs": "",
    "btrfs": "",
    "zfs": "",
    "lvm": "",
    "loop": "",
    "nbd": "",
    "rbd": "",
}


class Info:
    """What a backend is like.

    is_folder: its path is a folder that a template can fill and a container can be bound to without mounting anything first.
    """

    __slots__ = ("is_folder", "name")

    def __init__(self, name: str, *, is_folder: bool) -> None:
        self.name = name
        self.is_folder = is_folder


class Spec:
    """What a new root file system is wanted for: the container's folder, and the --dir, --fssize ... options."""

    __slots__ = ("folder", "name", "options")

    def __init__(self, folder: str, name: str, options: dict[str, str]) -> None:
        self.folder = folder
        self.name = name
        self.options = options


def names() -> tuple[str, ...]:
    """Every type that lxc.rootfs.path may name."""
    return tuple(_MODULES)


def load(name: str) -> ModuleType:
    """The module of a type. Raises Unsupported for one that is not there yet, LxcError for an unknown one."""
    if name not in _MODULES:
        raise LxcError(f'there is no storage backend "{name}"', remedy=f"one of {' '.join(_MODULES)}")
    if not _MODULES[name]:
        raise Unsupported(f"not supported yet: the {name} storage backend", remedy="use dir")
    from importlib import import_module

    return import_module("." + _MODULES[name], __package__)


def detect(path: str) -> str:
    """The type of a path that names none, found as LXC does. Raises LxcError when it is none.

    A folder is `dir` even where it is a btrfs subvolume or a mounted zfs dataset (LXC behaviour since 2.1).
    """
    try:
        status = os.stat(path)
    except OSError as error:
        remedy = "check lxc.rootfs.path" if path.startswith("/") else "a zfs dataset is written zfs:DATASET"
        raise LxcError(f"cannot use the root file system {path}: {describe(error)}", remedy=remedy) from error
    if stat.S_ISDIR(status.st_mode):
        return "dir"
    if stat.S_ISREG(status.st_mode):
        return "loop"
    if stat.S_ISBLK(status.st_mode):
        if path.startswith("/dev/rbd/"):
            return "rbd"
        if _mapper_uuid(status.st_rdev).startswith("LVM-"):
            return "lvm"
    raise LxcError(
        f"cannot use the root file system {path}: it is no folder, no file and no logical volume",
        remedy="mount it, and set lxc.rootfs.path to where it is mounted",
    )


def _mapper_uuid(device: int) -> str:
    try:
        with open(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/dm/uuid", encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


def type_of(conf: Config) -> str:
    """The type of a container's root file system. Raises LxcError."""
    return conf.rootfs_type or detect(conf["lxc.rootfs.path"])


def for_config(conf: Config) -> ModuleType:
    """The backend of a container's root file system. Raises LxcError."""
    return load(type_of(conf))
