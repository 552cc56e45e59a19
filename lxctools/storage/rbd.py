# SPDX-License-Identifier: LGPL-2.1-or-later
"""A root file system on a Ceph image, by the program rbd. The value is its device, /dev/rbd/POOL/IMAGE."""

from __future__ import annotations

import errno
import os

from .. import process
from ..config.system import system_value
from ..errors import LxcError
from ..undo import held
from . import dir as folder_backend
from . import lvm as device_backend
from .backend import DEFAULT_FSTYPE, DEFAULT_SIZE, Info, Spec
from .device import make_filesystem, size_option, tool
from .place import attach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..idmap.ranges import IdMap

INFO = Info("rbd", is_block=True, can_backup=False)
_PREFIX = "/dev/rbd/"
size_and_type = device_backend.size_and_type
belongings = device_backend.belongings
folders = device_backend.folders


def is_usable(lxcpath: str) -> bool:
    """Whether the program and its configuration are there."""
    return os.path.exists("/etc/ceph/ceph.conf") and process.find("rbd") is not None


def _rbd(verb: str, *words: str, user: str = "", fine: tuple[int, ...] = (0,)) -> int:
    """Run it; its status, which is one of those that are fine. Raises LxcError."""
    user = user or system_value("lxc.bdev.rbd.rbduser") or ""
    argv = ["rbd", verb, *(["--id", user] if user else []), *words]
    result = tool(argv)
    if result.status not in fine:
        raise LxcError(f"{' '.join(argv)} {result.why()}")
    return result.status


def exists(path: str) -> bool:
    """Whether the image is there, mapped or not: after a reboot it is not. Raises LxcError where the cluster cannot be asked."""
    return os.path.exists(path) or (
        path.startswith(_PREFIX) and _rbd("info", path.removeprefix(_PREFIX), fine=(0, errno.ENOENT)) == 0
    )


def create(spec: Spec) -> tuple[str, bool]:
    """Make the image, map it, make its file system, and the mount point. Raises LxcError."""
    pool = spec.options.get("rbdpool") or system_value("lxc.bdev.rbd.rbdpool") or "lxc"
    image = spec.options.get("rbdname") or spec.name
    user = spec.options.get("rbduser", "")
    device = f"{_PREFIX}{pool}/{image}"
    megabytes = size_option(spec.options, DEFAULT_SIZE) >> 20
    with held():
        _rbd("create", "--pool", pool, image, "--size", str(megabytes), user=user)
        spec.begins(f"rbd:{device}")
    try:
        _rbd("map", "--pool", pool, image, user=user)
        make_filesystem(spec.options.get("fstype") or DEFAULT_FSTYPE, device)
        folder_backend.make_mount_point(spec)
    except BaseException:
        _remove(device, user)
        raise
    return f"rbd:{device}", True


def beside(path: str) -> dict[str, str]:
    """The pool."""
    return {"rbdpool": path.removeprefix(_PREFIX).partition("/")[0]}


def _remove(device: str, user: str = "") -> None:
    if os.path.exists(device):
        _rbd("unmap", device, user=user)
    _rbd("rm", device.removeprefix(_PREFIX), user=user, fine=(0, errno.ENOENT))


def destroy(path: str, beat: Callable[[], object] | None = None, maps: Sequence[IdMap] = ()) -> None:
    """Unmap and remove the image. Raises LxcError; one that is gone is no failure."""
    if not path.startswith(_PREFIX) or path.count("/") != 4:
        raise LxcError(f"refusing to remove {path}: it is not {_PREFIX}POOL/IMAGE", remedy="remove it by hand if it is yours")
    _remove(path)


def mount(path: str, target: str) -> None:
    """Mount it on a folder. Raises LxcError."""
    attach(open_mount(path), target, f"rbd:{path}")


def open_mount(path: str, options: str = "", *, read_only: bool = False) -> int:
    """Mount it detached. Raises LxcError, also for an image that is not mapped."""
    if not os.path.exists(path):
        name = path.removeprefix(_PREFIX)
        raise LxcError(f"Block device {path} is not mapped", remedy=f"rbd map {name}; at boot: rbdmap(8)")
    return device_backend.open_mount(path, options, read_only=read_only)


open_to_fill = open_mount
