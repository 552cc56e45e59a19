# SPDX-License-Identifier: LGPL-2.1-or-later
"""The contract of a storage backend, and the table of those there are.

A backend is a module with these functions; what it cannot do it does not define, and callers ask INFO instead of its name.

    INFO                        facts: see Info
    create(spec)                make an empty root file system; (text for lxc.rootfs.path, whether it was made now)
    destroy(path, beat)         remove it; nothing outside it
    mount(path, target)         mount it for the start or a template
    exists(path)                whether it is there

`path` is the value of lxc.rootfs.path without its type.
"""

from __future__ import annotations

import os

from ..errors import LxcError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from ..config.conf import Config

# Type -> module of this package; "" is recognised and not there yet.
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
    """Facts about a backend. is_folder: its path is a folder that can be used without mounting."""

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
    """The type of a path that names none. Raises LxcError when nothing fits."""
    if os.path.isdir(path):
        return "dir"
    if os.path.isfile(path):
        return "loop"
    if path.count(":"):
        return "overlay"
    raise LxcError(f"the root file system {path} does not exist", remedy="check lxc.rootfs.path")


def type_of(conf: Config) -> str:
    """The type of a container's root file system. Raises LxcError."""
    return conf.rootfs_type or detect(conf["lxc.rootfs.path"])


def for_config(conf: Config) -> ModuleType:
    """The backend of a container's root file system. Raises LxcError."""
    return load(type_of(conf))


