# SPDX-License-Identifier: LGPL-2.1-or-later
"""A root file system that is a folder of the host's file system."""

from __future__ import annotations

import os

from .. import files, log
from ..errors import LxcError, describe
from ..idmap.userns import run_in_userns
from ..linux import mount as kernel
from ..undo import held
from . import guard
from .backend import Info, Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..idmap.ranges import IdMap

INFO = Info("dir", is_folder=True)


def create(spec: Spec) -> tuple[str, bool]:
    """Make the folder: the `dir` option, or rootfs in the container's. Returns (lxc.rootfs.path, whether this call made it).

    A folder that is there already is used as it is. Raises LxcError, also for one that holds the container or the host.
    """
    path = os.path.abspath(spec.options.get("dir") or spec.rootfs)
    guard.check_new(path, spec.folder)
    return f"dir:{path}", _make(spec, path)


def make_mount_point(spec: Spec) -> bool:
    """Make rootfs in the container's folder, where what is no folder is mounted; False when it is there. Raises LxcError."""
    return _make(spec, spec.rootfs)


def _make(spec: Spec, path: str) -> bool:
    with held():
        made = make_folder(path)
        if made:
            spec.begins(f"dir:{path}")
    return made


def make_folder(path: str) -> bool:
    """Make a folder with its parents; False when it is there already. Raises LxcError."""
    made = not os.path.isdir(path)
    try:
        os.makedirs(path, 0o755, exist_ok=True)
    except OSError as error:
        raise LxcError(f"cannot make the root file system {path}: {describe(error)}") from error
    return made


def exists(path: str) -> bool:
    """Whether the folder is there."""
    return os.path.isdir(path)


def belongings(path: str) -> list[str]:
    """The folder."""
    return [path]


def folders(path: str) -> list[str]:
    """The folder."""
    return [path]


def destroy(path: str, beat: Callable[[], object] | None = None, maps: Sequence[IdMap] = ()) -> None:
    """Remove the folder with everything in it. Raises LxcError; refuses what holds the host, links and mount points.

    maps: of a container whose files belong to ids that a caller other than root reaches only as that container's root.
    """
    guard.check_removable(path)
    if maps and os.geteuid() != 0:
        try:
            run_in_userns(maps, files.remove_tree, path)
        except (LxcError, OSError) as error:
            # Its root may empty it, but perhaps not remove it from a folder that is the caller's; what is left decides.
            log.info(f"removing {path} as the container's root: {describe(error)}")
    files.remove_tree(path, beat)


def mount(path: str, target: str) -> None:
    """Bind the folder, with what is mounted below it, on target. Raises LxcError."""
    if not os.path.isdir(path):
        raise LxcError(f"the root file system {path} does not exist or is not a folder", remedy="check lxc.rootfs.path")
    try:
        kernel.mount(path, target, None, kernel.MS_BIND | kernel.MS_REC)
    except OSError as error:
        raise LxcError(f"cannot mount the root file system {path} on {target}: {describe(error)}") from error
