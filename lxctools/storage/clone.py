# SPDX-License-Identifier: LGPL-2.1-or-later
"""A container's root file system once more: a snapshot where the storage can make one, otherwise a full copy.

Which copies there are: from every type to every type, but for nbd, which is never made. Snapshots: within btrfs (one file
system), lvm and zfs, and an overlay over a folder or with the lower folders of another overlay.
"""

from __future__ import annotations

import os

from ..errors import LxcError
from ..idmap.userns import run_in_userns
from ..linux import sched
from . import backend as storage
from . import tree_source
from .best import resolve_best
from .place import opened, opened_to_fill

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from ..config.conf import Config
    from ..idmap.ranges import IdMap
    from .tree import CopyReport

_FOR_ALL = ("dir", "overlay", "btrfs", "loop")  # types that a caller other than root may ask for


class Cloned:
    """What clone_rootfs() made.

    value: for lxc.rootfs.path of the new container, "" for one without a root file system. depends: the source's root file
    system must stay as long as this one. vanished: paths that went away while they were being copied.
    """

    __slots__ = ("depends", "value", "vanished")

    def __init__(self, value: str, depends: bool, vanished: Sequence[str] = ()) -> None:
        self.value = value
        self.depends = depends
        self.vanished = vanished


class _Job:
    """What the steps share. kind, path, module: of the source; folder: the source container's."""

    __slots__ = ("beat", "conf", "expect", "folder", "kind", "maps", "module", "new_maps", "path", "spec")

    def __init__(self, conf: Config, spec: storage.Spec, folder: str, maps: Sequence[IdMap] | None) -> None:
        self.conf = conf
        self.spec = spec
        self.folder = folder
        self.kind = storage.plain(storage.type_of(conf))
        self.path: str = str.__str__(conf["lxc.rootfs.path"])
        self.module = storage.load(self.kind)
        self.maps: Sequence[IdMap] = conf["lxc.idmap"]
        self.new_maps = self.maps if maps is None else maps
        self.beat: Callable[[int], object] | None = None
        self.expect: Callable[[int], object] | None = None

    @property
    def shift(self) -> tuple[Sequence[IdMap], Sequence[IdMap]] | None:
        return None if list(self.maps) == list(self.new_maps) else (self.maps, self.new_maps)


def clone_rootfs(
    conf: Config,
    spec: storage.Spec,
    *,
    source: str = "",
    backend: str = "",
    snapshot: bool = False,
    maybe_snapshot: bool = False,
    keep_type: bool = False,
    maps: Sequence[IdMap] | None = None,
    beat: Callable[[int], object] | None = None,
    expect: Callable[[int], object] | None = None,
) -> Cloned:
    """Make the root file system of a new container from that of another one. Raises LxcError.

    What is made is told to spec.begun: whoever goes on, or gives up, removes it.

    conf: of the source. spec: the new container's folder (which exists), its name, and --fssize ... options. source: the
    source container's folder; default: where conf was read. backend: the type wanted, "" for LXC's choice. snapshot: a
    snapshot, or nothing. maybe_snapshot with keep_type: as lxc-snapshot does it, a full copy where there can be no snapshot.
    maps: of the new container, default: the source's; owners are shifted. beat: called with the bytes copied so far;
    expect: with how many there are, about, when it takes a while.
    """
    if not conf["lxc.rootfs.path"]:
        return Cloned("", False)
    job = _Job(conf, spec, source or os.path.dirname(conf.path), maps)
    job.beat = beat
    job.expect = expect
    if not job.module.exists(job.path):
        raise LxcError(f"the root file system {job.path} of the container to copy does not exist", remedy="check lxc.rootfs.path")
    target, snapshot = _choose(job, storage.plain(backend), snapshot, maybe_snapshot, keep_type)
    return _snapshot(job, target) if snapshot else _copy(job, target)


# -- the choice ---------------------------------------------------------------------------------------------------------


def _choose(job: _Job, wanted: str, snapshot: bool, maybe: bool, keep: bool) -> tuple[str, bool]:
    """The type of the new root file system, and whether it is a snapshot (LXC behaviour, but for what fails there)."""
    kind = job.kind
    if maybe and keep and not wanted and not job.module.INFO.can_snapshot:
        snapshot = False
    if snapshot and not wanted and not keep and kind == "dir":
        wanted = "overlay"
    if os.geteuid() != 0 and (wanted or kind) not in _FOR_ALL:
        raise LxcError(
            f"Unsupported snapshot type: {wanted or kind} needs root", remedy=f"as a user: -B {', '.join(_FOR_ALL)}"
        )
    same_place = os.path.dirname(job.folder) == os.path.dirname(job.spec.folder)
    # In constant time where the file system can, also when a copy was asked for: nobody can tell them apart.
    twin = kind == "btrfs" and wanted in ("", "btrfs") and storage.load("btrfs").is_shared(job.path, job.spec.folder)
    if not wanted:
        wanted = kind if snapshot or same_place or twin else "dir"
    if wanted == "best":
        wanted = resolve_best(os.path.dirname(job.spec.folder))
    if wanted == "nbd":
        raise LxcError(
            "a root file system of the type nbd cannot be made", remedy="copy it to another type, -B loop for one; or use qemu-img(1)"
        )
    return wanted, snapshot or (twin and wanted == "btrfs" and job.shift is None)


# -- snapshots ----------------------------------------------------------------------------------------------------------


def _snapshot(job: _Job, target: str) -> Cloned:
    if target != job.kind and not (target == "overlay" and job.kind == "dir"):
        raise LxcError(
            f"there is no snapshot of a root file system of the type {job.kind} as {target}: {_why_not(target)}",
            remedy="copy it without -s",
        )
    module = storage.load(target)
    if not module.INFO.can_snapshot:
        raise LxcError(
            f"a root file system of the type {target} cannot be snapshotted: {_why_not(target)}", remedy="copy it without -s"
        )
    if job.shift is not None:
        raise LxcError("the owners in a snapshot cannot be shifted to other id maps", remedy="copy it without -s")
    value: str = module.snapshot(f"{job.kind}:{job.path}", job.spec)
    if not module.INFO.is_folder:
        _give(module, value, job)
    return Cloned(value, module.depends(f"{job.kind}:{job.path}"))


def _why_not(target: str) -> str:
    if target == "dir":
        return "directories cannot be snapshotted"
    if target == "overlay":
        return "an overlay lies over a folder or shares another overlay's"
    if target in ("btrfs", "lvm", "zfs"):
        return f"{target} makes snapshots of {target} only"
    return f"{target} has no snapshots"


# -- full copies --------------------------------------------------------------------------------------------------------


def _copy(job: _Job, target: str) -> Cloned:
    module = storage.load(target)
    if target == "overlay" and job.kind == "overlay":
        # The changes are copied and the lower folders shared: what is below stays as it is.
        return _snapshot(job, target)
    if module.INFO.is_block:
        _choose_size(job)
    options = {name: value for name, value in job.spec.options.items() if name != "dir" or target == "dir"}
    if target == job.kind and hasattr(module, "beside"):
        options = {**module.beside(job.path), **options}
    value, made = module.create(job.spec.with_options(options))
    path = value.partition(":")[2]
    if not made:
        raise LxcError(f"cannot copy into {path}: it is there already", remedy="remove it, or choose another place")
    _give(module, value, job)
    if os.geteuid() != 0 and job.maps:
        run_in_userns(job.maps, _copy_apart, job, module, path)
        return Cloned(value, False)
    return Cloned(value, False, _copy_now(job, module, path).vanished)


def _copy_apart(job: _Job, module: ModuleType, path: str) -> None:
    """In the container's user namespace, which may mount in a mount namespace of its own only."""
    sched.unshare(sched.CLONE_NEWNS)
    _copy_now(job, module, path)


def _copy_now(job: _Job, module: ModuleType, path: str) -> CopyReport:
    with opened(job.module, job.path, job.conf["lxc.rootfs.options"]) as source, opened_to_fill(module, path) as target:
        try:
            return storage.tree_copier()(source.path, target.path, shift=job.shift, beat=job.beat, expect=job.expect)
        except LxcError as error:
            # The paths of mounts that nobody else sees say nothing to the user.
            error.message = error.message.replace(source.path, job.path).replace(target.path, path)
            raise


def _give(module: ModuleType, value: str, job: _Job) -> None:
    for place in storage.places(module, value.partition(":")[2], job.spec.folder):
        storage.give(place, job.new_maps)


def _choose_size(job: _Job) -> None:
    """--fssize and --fstype of a copy to a block device: the source's own, or what holds the source's files."""
    options = dict(job.spec.options)
    if job.module.INFO.is_block:
        size, fstype = job.module.size_and_type(job.path)
        options.setdefault("fssize", str(size))
        options.setdefault("fstype", fstype)
    elif "fssize" not in options:
        with opened(job.module, job.path, "") as source:
            options["fssize"] = str(room_for(used(source.path)))
    job.spec = job.spec.with_options(options)


def room_for(size: int) -> int:
    """Bytes of a file system that is to hold files which take so many (used()): never less than LXC makes it."""
    return max(storage.DEFAULT_SIZE, size * 5 // 4)


def used(folder: str) -> int:
    """Bytes that a file system needs for what is in a folder, about. Raises LxcError."""
    tree = tree_source.opened(folder)
    try:
        return tree_source.measure(tree)[1]
    finally:
        tree.close()
