# SPDX-License-Identifier: LGPL-2.1-or-later
"""A root file system that is a zfs dataset, by the program zfs. The value is the dataset's name."""

from __future__ import annotations

from .. import log
from ..config.system import system_value
from ..errors import LxcError, describe
from ..linux import detached
from ..linux import mount as kernel
from ..linux.mountopts import parse_options
from ..undo import held
from . import dir as folder_backend
from .backend import Info, Spec
from .device import tool
from .place import attach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..idmap.ranges import IdMap

_MADE = "lxctools:made"  # a property of the user's kind, see zfsprops(7)
INFO = Info("zfs", host_only=True, can_snapshot=True)


def is_usable(lxcpath: str) -> bool:
    """Whether the dataset of lxc.conf below which containers get theirs is there."""
    try:
        return exists(system_value("lxc.bdev.zfs.root") or "lxc")
    except LxcError:
        return False


def _dataset(path: str) -> str:
    """The dataset of a path: itself, or of an old configuration the one that is mounted there. Raises LxcError."""
    if not path.startswith("/"):
        return path
    result = tool(["zfs", "list", "-H", "-o", "name,mountpoint"])
    if result.status == 0:
        for line in result.text().splitlines():
            name, _, place = line.partition("\t")
            if place == path.rstrip("/"):
                return name
    raise LxcError(f"no zfs dataset is mounted on {path}", remedy="name the dataset: lxc.rootfs.path = zfs:DATASET")


def _zfs(*words: str) -> str:
    result = tool(["zfs", *words])
    if result.status != 0:
        raise LxcError(f"zfs {' '.join(words)} {result.why()}")
    return result.text().strip()


def exists(path: str) -> bool:
    """Whether there is such a dataset. Raises LxcError where zfs is missing."""
    dataset = _dataset(path)
    result = tool(["zfs", "get", "-H", "-o", "name", "type", dataset])
    return result.status == 0 and result.text().strip() == dataset


def create(spec: Spec) -> tuple[str, bool]:
    """Make the dataset and the mount point. Raises LxcError."""
    root = spec.options.get("zfsroot") or system_value("lxc.bdev.zfs.root") or "lxc"
    return _make(f"{root}/{spec.name}", spec)


def _make(dataset: str, spec: Spec) -> tuple[str, bool]:
    if exists(dataset):
        raise LxcError(f"cannot make the zfs dataset {dataset}: it exists", remedy="choose another name, or another --zfsroot")
    mark = _property(spec.intends(f"zfs:{dataset}"))
    with held():
        _zfs("create", *mark, "-o", f"mountpoint={spec.final}/rootfs", "-o", "canmount=noauto", "-p", dataset)
        spec.begins(f"zfs:{dataset}")
    try:
        folder_backend.make_mount_point(spec)
    except BaseException:
        destroy(dataset)
        raise
    return f"zfs:{dataset}", True


def _property(mark: str) -> list[str]:
    return ["-o", f"{_MADE}={mark}"] if mark else []


def has_mark(path: str, mark: str) -> bool:
    """Whether there is this dataset or snapshot, made with this mark. Raises LxcError where zfs is missing."""
    return _mark(path) == mark


def _mark(path: str) -> str:
    result = tool(["zfs", "get", "-H", "-s", "local", "-o", "value", _MADE, path])
    return result.text().strip() if result.status == 0 else ""


def beside(path: str) -> dict[str, str]:
    """The dataset above."""
    dataset = _dataset(path)
    return {"zfsroot": dataset.rpartition("/")[0] or dataset}


def depends(source_value: str) -> bool:
    """What a clone shares becomes its own when its source is removed: destroy()."""
    return False


def snapshot(source_value: str, spec: Spec) -> str:
    """A clone of a snapshot of the source, beside it. Raises LxcError.

    Both have the container's name, as LXC gives it; where that is taken, with a number: every container has a snap0, and one
    that is restored in place has its own name still.
    """
    source = _dataset(source_value.partition(":")[2])
    dataset, saved = _free_names(source, spec.name)
    marks = [_property(spec.intends(f"zfs:{made}")) for made in (saved, dataset)]
    with held():
        _zfs("snapshot", *marks[0], "-r", saved)
        try:
            _zfs("clone", *marks[1], "-p", "-o", "canmount=noauto", "-o", f"mountpoint={spec.final}/rootfs", saved, dataset)
            spec.begins(f"zfs:{dataset}")
        except BaseException:
            _remove_clone(dataset, saved)
            raise
    try:
        folder_backend.make_mount_point(spec)
    except BaseException:
        _remove_clone(dataset, saved)
        raise
    return f"zfs:{dataset}"


def _free_names(source: str, name: str) -> tuple[str, str]:
    """The names of a clone and of the snapshot that it is one of."""
    parent = source.rpartition("/")[0] or source
    number = 0
    while True:
        last = f"{name}.{number}" if number else name
        names = f"{parent}/{last}", f"{source}@{last}"
        if not any(map(exists, names)):
            return names
        number += 1


def _remove_clone(dataset: str, saved: str) -> None:
    tool(["zfs", "destroy", "-r", dataset])
    tool(["zfs", "destroy", "-r", saved])


def belongings(path: str) -> list[str]:
    """The dataset."""
    return [path]


def folders(path: str) -> list[str]:
    """Nothing: the owner of what is in the file system is set in it."""
    return []


def destroy(path: str, beat: Callable[[], object] | None = None, maps: Sequence[IdMap] = ()) -> None:
    """zfs destroy -r, and the snapshot of another dataset that it was cloned from. Raises LxcError.

    Its own snapshots go to their clones before, which stay whole: zfs removes nothing of which there are clones.
    """
    dataset = _dataset(path)
    if "@" in dataset and _mark(dataset):  # half of a snapshot() that was killed
        _zfs("destroy", "-r", dataset)
        return
    if "/" not in dataset or "@" in dataset:
        raise LxcError(f"refusing to remove {dataset}: it is a whole pool or a snapshot", remedy="remove it by hand if it is yours")
    if not exists(dataset):
        log.info(f"the zfs dataset {dataset} is gone already")
        return
    involved = [dataset, *_promote_clones(dataset)]
    origin = _zfs("get", "-H", "-o", "value", "origin", dataset)
    _zfs("destroy", "-r", dataset)
    if "@" in origin and origin.rpartition("@")[2] in [name.rpartition("/")[2] for name in involved]:
        _zfs("destroy", "-r", origin)  # one that snapshot() made; others are somebody else's


def _promote_clones(dataset: str) -> list[str]:
    """Give the snapshots of a dataset that have clones to those; returns the new owners. Raises LxcError."""
    promoted: list[str] = []
    while True:
        rows = [line.partition("\t") for line in _zfs("list", "-H", "-d", "1", "-t", "snapshot", "-o", "name,clones", dataset).splitlines()]
        clones = [clones.split(",")[0] for _name, _tab, clones in rows if clones not in ("", "-")]
        if not clones or clones[-1] in promoted:
            return promoted
        _zfs("promote", clones[-1])  # of the latest: those before it go along
        promoted.append(clones[-1])


def mount(path: str, target: str) -> None:
    """Mount it on a folder. Raises LxcError."""
    attach(open_mount(path), target, f"zfs:{path}")


def open_mount(path: str, options: str = "", *, read_only: bool = False) -> int:
    """Mount it detached. Raises LxcError."""
    dataset = _dataset(path)
    wanted = parse_options(options)
    attributes = wanted.attributes | (kernel.MOUNT_ATTR_RDONLY if read_only else 0)
    data = [*wanted.data, ("zfsutil", None), ("mntpoint", dataset)]
    try:
        return detached.filesystem("zfs", data, attributes, dataset)
    except OSError as error:
        raise LxcError(f"cannot mount the zfs dataset {dataset}: {describe(error)}") from error


open_to_fill = open_mount
