# SPDX-License-Identifier: LGPL-2.1-or-later
"""The contract of a storage backend, and the table of those there are.

A backend is a module with these names. `path` is the value of lxc.rootfs.path without its type. All raise LxcError that says
what, on what and why.

    INFO                             what it is like, see Info: callers ask this and not its name
    create(spec)                     make an empty root file system: (value for lxc.rootfs.path, whether this call made it). What
                                     was there before is never removed when the creation fails later. Whatever there is to be
                                     removed is told to spec.begins() as soon as it is there, with signals held; spec.intends()
                                     says before what a program is going to make, if it can carry a mark
    destroy(path, beat, maps)        remove it and nothing outside of it; what is gone already is no failure. beat is called
                                     now and then. maps: remove it as that container's root (a caller other than root)
    mount(path, target)              mount it on a folder, with what is mounted in it
    exists(path)                     whether it is there
    belongings(path)                 what destroy() removes: folders, files, devices; a dataset by its name
    folders(path)                    those of the host's that the container's root owns; not what is in a file system of its own

Where the root file system is no folder (INFO.is_folder), these too:

    open_mount(path, options, *, read_only)    mount it detached; the descriptor is the caller's, the last one unmounts it.
                                     options: the value of lxc.rootfs.options
    open_to_fill(path)               the same of what a template or a copy fills

Where INFO.can_snapshot: snapshot(source_value, spec), which makes a clone in constant time and returns its lxc.rootfs.path, and
depends(source_value): whether the source must stay as long as that clone. Where INFO.is_block: size_and_type(path), bytes and
file system. Where INFO.is_layered: lowers(path), folders it cannot be without and destroy() leaves alone. Where it is made in a
place that the new container's folder does not tell (a volume group, a dataset, a pool): beside(path), the options that put
another one into the same place. Where it can carry the mark that spec.intends() gave: has_mark(path, mark).
"""

from __future__ import annotations

import os
import stat

from .. import files, load_module
from ..errors import LxcError, describe
from ..idmap.ranges import to_host, to_ns, with_caller
from ..idmap.userns import run_in_userns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from ..config.conf import Config
    from ..idmap.ranges import IdMap
    from .tree import CopyReport

# Type of lxc.rootfs.path -> module of this package.
_MODULES = {
    "dir": "dir",
    "overlay": "overlay",
    "overlayfs": "overlay",
    "btrfs": "btrfs",
    "zfs": "zfs",
    "lvm": "lvm",
    "loop": "loop",
    "nbd": "nbd",
    "rbd": "rbd",
}
DEFAULT_SIZE = 1 << 30  # bytes, of a new block device
DEFAULT_FSTYPE = "ext4"
BEST = ("btrfs", "zfs", "lvm", "dir", "rbd")  # the order in which `best` tries


class Info:
    """What a backend is like.

    is_folder: its path is a folder that a template can fill and a container can be bound to without mounting anything first.
    is_block: it is a file system on a device. host_only: only the host's root can mount it, not that of a container with id
    maps. is_layered: it lies over folders that may be others'. can_snapshot: it can make a clone in constant time.
    can_backup: lxc-snapshot may be used. by_monitor: what attaches it must see the container's end, so its monitor mounts it.
    """

    __slots__ = ("by_monitor", "can_backup", "can_snapshot", "host_only", "is_block", "is_folder", "is_layered", "name")

    def __init__(
        self,
        name: str,
        *,
        is_folder: bool = False,
        is_block: bool = False,
        host_only: bool = False,
        is_layered: bool = False,
        can_snapshot: bool = False,
        can_backup: bool = True,
        by_monitor: bool = False,
    ) -> None:
        self.name = name
        self.by_monitor = by_monitor
        self.is_folder = is_folder
        self.is_block = is_block
        self.host_only = host_only or is_block
        self.is_layered = is_layered
        self.can_snapshot = can_snapshot
        self.can_backup = can_backup


class Spec:
    """What a new root file system is wanted for: the container's folder, and the --dir, --fssize ... options.

    begun: called with TYPE:PATH of what a backend has made and not filled yet, while signals are held. final: where the folder
    is going to be, if not where it is. intended: called with TYPE:PATH and a mark before a program makes it, which may come to
    its end when this process has been killed.
    """

    __slots__ = ("begun", "final", "folder", "intended", "name", "options")

    def __init__(
        self,
        folder: str,
        name: str,
        options: dict[str, str],
        begun: Callable[[str], object] | None = None,
        final: str = "",
        intended: Callable[[str, str], object] | None = None,
    ) -> None:
        self.folder = folder
        self.name = name
        self.options = options
        self.begun = begun
        self.final = final or folder
        self.intended = intended

    def with_options(self, options: dict[str, str]) -> Spec:
        """The same with other options."""
        return Spec(self.folder, self.name, options, self.begun, self.final, self.intended)

    def intends(self, value: str) -> str:
        """Tell what is about to be made; returns the mark by which it is known, "" when nobody wants one."""
        if self.intended is None:
            return ""
        mark = f"lxctools-{os.urandom(8).hex()}"
        self.intended(value, mark)
        return mark

    def begins(self, value: str) -> None:
        """Tell that there is now what destroy() of this type removes by this path."""
        if self.begun is not None:
            self.begun(value)

    @property
    def rootfs(self) -> str:
        """The usual folder of the root file system, or where it is mounted."""
        return f"{self.folder}/rootfs"


def names() -> tuple[str, ...]:
    """Every type that lxc.rootfs.path may name."""
    return tuple(_MODULES)


def plain(name: str) -> str:
    """The one name of a type that has two; "" and "none" stay "" and "dir"."""
    return {"overlayfs": "overlay", "none": "dir"}.get(name, name)


def load(name: str) -> ModuleType:
    """The module of a type. Raises LxcError for an unknown one."""
    if name not in _MODULES:
        if name == "aufs":
            raise LxcError("aufs is not in any kernel of today", remedy="an overlay does the same: lxc.rootfs.path = overlay:...")
        raise LxcError(f'there is no storage backend "{name}"', remedy=f"one of {' '.join(_MODULES)}")
    return load_module(f"{__package__}.{_MODULES[name]}")


def tree_copier() -> Callable[..., CopyReport]:
    """tree.copy_tree, loaded when it is asked for: snapshots, and starts from an overlay, do without it."""
    from .tree import copy_tree

    return copy_tree


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


def container_root(maps: Sequence[IdMap]) -> tuple[int, int]:
    """The host's ids of the container's root, -1 without maps. Raises LxcError when it has none."""
    if not maps:
        return -1, -1
    uid, gid = to_host(maps, "u", 0), to_host(maps, "g", 0)
    if uid is None or gid is None:
        raise LxcError("lxc.idmap maps no id 0: a container needs a root", remedy="map u 0 ... and g 0 ...")
    return uid, gid


def places(module: ModuleType, path: str, folder: str) -> list[str]:
    """What of a new root file system is given to the container's root, as LXC does: its folders in the container's, and the mount point."""
    found = [place for place in module.folders(path) if module.INFO.is_folder or files.is_below(place, folder)]
    mount_point = f"{folder}/rootfs"
    return found if mount_point in found or not os.path.isdir(mount_point) else [*found, mount_point]


def give(path: str, maps: Sequence[IdMap]) -> None:
    """Give a folder to the root of the container with these id maps; without maps it stays as it is. Raises LxcError.

    By a caller other than root the group is kept, through which he can still enter it.
    """
    uid, gid = container_root(maps)
    if uid < 0:
        return
    try:
        if os.geteuid() == 0:
            os.chown(path, uid, gid)
            return
        status = os.stat(path)
        if status.st_uid == uid:
            return
        if status.st_uid == os.geteuid() and to_ns(with_caller(maps, os.geteuid(), os.getegid()), "g", status.st_gid) is None:
            os.chown(path, -1, os.getegid())  # the container's root can change only what is all mapped
        run_in_userns(maps, os.chown, path, 0, -1)
    except OSError as error:
        raise LxcError(f'Error chowning "{path}" to container root: {describe(error)}') from error


def take_back(path: str, uid: int, gid: int, maps: Sequence[IdMap]) -> None:
    """Undo give(): the folder gets the owner back that it had. Raises OSError, LxcError."""
    if os.geteuid() == 0:
        os.chown(path, uid, gid)
        return
    inside = to_ns(with_caller(maps, os.geteuid(), os.getegid()), "u", uid)
    if inside is not None:
        run_in_userns(maps, os.chown, path, inside, -1)
