# SPDX-License-Identifier: LGPL-2.1-or-later
"""A container's root file system once more, for what copies a whole container."""

from __future__ import annotations

import os

from ..errors import LxcError, Unsupported
from ..storage import backend as storage
from ..storage.tree import copy_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..config.conf import Config


class Cloned:
    """What was made. value: for lxc.rootfs.path, "" for none. depends: the source's must stay. undo: removes it."""

    __slots__ = ("depends", "undo", "value", "vanished")

    def __init__(self, value: str, depends: bool, undo: Callable[[], object], vanished: Sequence[str] = ()) -> None:
        self.value = value
        self.depends = depends
        self.undo = undo
        self.vanished = vanished


def clone_rootfs(
    conf: Config,
    spec: storage.Spec,
    *,
    backend: str = "",
    snapshot: bool = False,
    maybe_snapshot: bool = False,
    keep_type: bool = False,
    beat: Callable[[int], object] | None = None,
) -> Cloned:
    """Make the root file system of a new container from that of another one. Raises LxcError; then nothing of it is left.

    conf: of the source. spec: the new container's folder, which exists. backend: the type wanted, "" for LXC's choice.
    snapshot: a snapshot, or nothing. maybe_snapshot with keep_type: as lxc-snapshot, a full copy where there can be none.
    """
    path = str.__str__(conf["lxc.rootfs.path"])
    if not path:
        return Cloned("", False, lambda: None)
    kind = storage.type_of(conf)
    module = storage.load(kind)
    if not module.exists(path):
        raise LxcError(f"the root file system {path} of the container to copy does not exist", remedy="check lxc.rootfs.path")
    if snapshot and not (maybe_snapshot and keep_type):
        raise Unsupported(f"not supported yet: a snapshot of a root file system of the type {kind}", remedy="copy it without -s")
    if backend not in ("", "dir"):
        raise Unsupported(f"not supported yet: a copy to the storage backend {backend}", remedy="use dir")
    target = storage.load("dir")
    value, made = target.create(storage.Spec(spec.folder, spec.name, {}))
    new = value.partition(":")[2]
    if not made and os.listdir(new):
        raise LxcError(f"cannot copy into {new}: it is there already", remedy="remove it, or choose another name")
    try:
        report = copy_tree(path, new, beat=beat)
    except BaseException:
        target.destroy(new, None, conf["lxc.idmap"])
        raise
    return Cloned(value, False, lambda: target.destroy(new, None, conf["lxc.idmap"]), report.vanished)
