# SPDX-License-Identifier: LGPL-2.1-or-later
"""A root file system on a logical volume, thick or in a thin pool, by LVM's own programs."""

from __future__ import annotations

import fcntl
import os
import stat

from .. import log
from ..config.system import system_value
from ..errors import LxcError, describe
from ..files import ioctl_number
from ..undo import held
from . import dir as folder_backend
from .backend import DEFAULT_FSTYPE, DEFAULT_SIZE, Info, Spec
from .device import fstype_of, make_filesystem, open_filesystem, size_option, tool
from .place import attach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..idmap.ranges import IdMap

INFO = Info("lvm", is_block=True, can_snapshot=True, can_backup=False)
_QUIET = {"LVM_SUPPRESS_FD_WARNINGS": "1"}
_NO_SUCH_OPTION = 3  # exit status of lvcreate
_BLKGETSIZE64 = ioctl_number("r", 0x12, 114, "N")
_THIN_POOL, _THIN_VOLUME = (0, "t"), (6, "t")  # attribute letters of lvs(8): volume type, target type
# A new UUID: two file systems with the same one cannot be mounted together.
_NEW_UUID = {"xfs": ("xfs_admin", "-U", "generate"), "btrfs": ("btrfstune", "-f", "-u")}


def is_usable(lxcpath: str) -> bool:
    """Whether the volume group of lxc.conf is there."""
    return os.path.isdir(f"/dev/{system_value('lxc.bdev.lvm.vg')}")


def _lvs(field: str, device: str) -> str:
    """A field of a volume, "" when there is none. Waits for a command of LVM that is at work. Raises LxcError without LVM."""
    result = tool(["lvs", "--unbuffered", "--noheadings", "-o", field, device])
    return result.text().strip() if result.status == 0 else ""


def _has(device: str, letter: tuple[int, str]) -> bool:
    attributes = _lvs("lv_attr", device)
    return attributes[letter[0] : letter[0] + 1] == letter[1]


def _lvcreate(words: Sequence[str], device: str) -> None:
    result = tool(["lvcreate", "-Wy", "--yes", *words], _QUIET)
    if result.status == _NO_SUCH_OPTION:
        result = tool(["lvcreate", "-qq", *words], _QUIET)
    if result.status != 0:
        raise LxcError(f"cannot make the logical volume {device}: lvcreate {result.why()}", remedy="lvs and vgs show what is there")


def create(spec: Spec) -> tuple[str, bool]:
    """Make the volume, thin when the pool is there, its file system, and the mount point. Raises LxcError."""
    options = spec.options
    group = options.get("vgname") or system_value("lxc.bdev.lvm.vg") or "lxc"
    return _make(spec, group, options.get("lvname") or spec.name)


def _make(spec: Spec, group: str, name: str) -> tuple[str, bool]:
    device = f"/dev/{group}/{name}"
    if os.path.lexists(device):
        raise LxcError(f"cannot make the logical volume {device}: it exists", remedy="choose another name with --lvname")
    pool = f"/dev/{group}/{spec.options.get('thinpool') or system_value('lxc.bdev.lvm.thin_pool') or 'lxc'}"
    size = f"{size_option(spec.options, DEFAULT_SIZE)}b"
    words = ["--thinpool", pool, "-V"] if _has(pool, _THIN_POOL) else ["-L"]
    mark = _tag(spec.intends(f"lvm:{device}"))
    with held():  # lvcreate itself tells that one is there: nothing of it can be undone before it has made ours
        _lvcreate([*mark, *words, size, group, "-n", name], device)
        spec.begins(f"lvm:{device}")
    try:
        make_filesystem(spec.options.get("fstype") or DEFAULT_FSTYPE, device)
        folder_backend.make_mount_point(spec)
    except BaseException:
        _remove(device)
        raise
    return f"lvm:{device}", True


def _tag(mark: str) -> list[str]:
    return ["--addtag", mark] if mark else []


def has_mark(path: str, mark: str) -> bool:
    """Whether there is this volume, made with this mark. Raises LxcError without LVM."""
    return mark in _lvs("lv_tags", path).split(",")


def _remove(device: str) -> None:
    result = tool(["lvremove", "-f", device], _QUIET)
    if result.status != 0:
        raise LxcError(f"cannot remove the logical volume {device}: lvremove {result.why()}")


def beside(path: str) -> dict[str, str]:
    """The volume group."""
    return {"vgname": os.path.basename(os.path.dirname(path))}


def depends(source_value: str) -> bool:
    """A snapshot that is not thin goes when its origin goes."""
    return not _has(source_value.partition(":")[2], _THIN_VOLUME)


def snapshot(source_value: str, spec: Spec) -> str:
    """A snapshot in the same volume group. Raises LxcError."""
    source = source_value.partition(":")[2]
    group = os.path.basename(os.path.dirname(source))
    name = spec.options.get("lvname") or spec.name
    device = f"/dev/{group}/{name}"
    if os.path.lexists(device):
        raise LxcError(f"cannot make the logical volume {device}: it exists", remedy="choose another name")
    size, fstype = size_and_type(source)
    # LVM gives thin snapshots a mark that keeps them from being activated: -kn.
    words = ["-kn", "-s"] if _has(source, _THIN_VOLUME) else ["-s", "-L", f"{size_option(spec.options, size)}b"]
    mark = _tag(spec.intends(f"lvm:{device}"))
    with held():
        result = tool(["lvcreate", *mark, *words, "-n", name, source], _QUIET)
        if result.status != 0:
            raise LxcError(f"cannot snapshot {source} as {device}: lvcreate {result.why()}")
        spec.begins(f"lvm:{device}")
    try:
        if fstype in _NEW_UUID:
            changed = tool([*_NEW_UUID[fstype], device])
            if changed.status != 0:
                raise LxcError(f"cannot give {device} a UUID of its own: {_NEW_UUID[fstype][0]} {changed.why()}")
        folder_backend.make_mount_point(spec)
    except BaseException:
        _remove(device)
        raise
    return f"lvm:{device}"


def size_and_type(path: str) -> tuple[int, str]:
    """Bytes of the device and type of its file system. Raises LxcError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if not stat.S_ISBLK(os.fstat(fd).st_mode):
                raise LxcError(f"{path} is no block device")
            data = fcntl.ioctl(fd, _BLKGETSIZE64, b"\0" * 8)
            return int.from_bytes(data, "little" if memoryview(b"\1\0").cast("H")[0] == 1 else "big"), fstype_of(fd) or DEFAULT_FSTYPE
        finally:
            os.close(fd)
    except OSError as error:
        raise LxcError(f"cannot read {path}: {describe(error)}") from error


def exists(path: str) -> bool:
    """Whether the volume is there, active or not: thin snapshots by C LXC never are. Raises LxcError without LVM."""
    return os.path.exists(path) or bool(path.startswith("/dev/") and _lvs("lv_attr", path))


def belongings(path: str) -> list[str]:
    """The device."""
    return [path]


def folders(path: str) -> list[str]:
    """Nothing: the owner of what is in the file system is set in it."""
    return []


def destroy(path: str, beat: Callable[[], object] | None = None, maps: Sequence[IdMap] = ()) -> None:
    """lvremove -f. Raises LxcError; one that is gone is no failure."""
    if not path.startswith("/dev/") or path.count("/") != 3:
        raise LxcError(f"refusing to remove {path}: it is not /dev/VG/LV", remedy="remove it by hand if it is yours")
    if not exists(path):
        log.info(f"the logical volume {path} is gone already")
        return
    _remove(path)


def mount(path: str, target: str) -> None:
    """Mount it on a folder. Raises LxcError."""
    attach(open_mount(path), target, f"lvm:{path}")


def open_mount(path: str, options: str = "", *, read_only: bool = False) -> int:
    """Mount it detached. Raises LxcError."""
    try:
        device = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LxcError(f"cannot use {path}: {describe(error)}", remedy="lvchange -ay -K activates a volume") from error
    try:
        return open_filesystem(path, device, f"lvm:{path}", options, read_only=read_only)
    finally:
        os.close(device)


open_to_fill = open_mount
