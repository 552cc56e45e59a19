# SPDX-License-Identifier: LGPL-2.1-or-later
"""A root file system that is a folder of the host's file system."""

from __future__ import annotations

import os

from .. import files, log, paths
from ..errors import LxcError, describe
from ..idmap.userns import run_in_userns
from ..linux import mount as kernel
from .backend import Info, Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..idmap.ranges import IdMap

INFO = Info("dir", is_folder=True)
# Folders of the host: one that is or holds any of them is nobody's root file system (hier(7)).
_HOST = tuple(f"/{name}" for name in "bin boot dev etc home lib media mnt opt proc root run sbin srv sys tmp usr var".split())
_HOST += ("/var/lib", "/var/tmp", "/var/cache", paths.GLOBAL_LXCPATH, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def create(spec: Spec) -> tuple[str, bool]:
    """Make the folder: the `dir` option, or rootfs in the container's. Returns (lxc.rootfs.path, whether this call made it).

    A folder that is there already is used as it is. Raises LxcError, also for one that holds the container or the host.
    """
    path = os.path.abspath(spec.options.get("dir") or f"{spec.folder}/rootfs")
    _refuse_host(path, "use", "name a folder of its own with --dir")
    if os.path.realpath(path) == os.path.realpath(spec.folder) or files.is_below(spec.folder, path):
        raise LxcError(
            f"refusing to use {path} as a root file system: it holds the container's own folder {spec.folder}",
            remedy="name a folder of its own with --dir",
        )
    made = not os.path.isdir(path)
    try:
        os.makedirs(path, 0o755, exist_ok=True)
    except OSError as error:
        raise LxcError(f"cannot make the root file system {path}: {describe(error)}") from error
    return f"dir:{path}", made


def exists(path: str) -> bool:
    """Whether the folder is there."""
    return os.path.isdir(path)


def destroy(path: str, beat: Callable[[], object] | None = None, maps: Sequence[IdMap] = ()) -> None:
    """Remove the folder with everything in it. Raises LxcError; refuses what holds the host, links and mount points.

    maps: of a container whose files belong to ids that a caller other than root reaches only as that container's root.
    """
    if os.path.islink(path):
        raise LxcError(f"refusing to remove {path}: it is a symbolic link", remedy="remove the link by hand")
    _refuse_host(path, "remove", "set lxc.rootfs.managed = 0")
    if maps and os.geteuid() != 0:
        try:
            run_in_userns(maps, files.remove_tree, path)
        except (LxcError, OSError) as error:
            # Its root may empty it, but perhaps not remove it from a folder that is the caller's; what is left decides.
            log.info(f"removing {path} as the container's root: {describe(error)}")
    files.remove_tree(path, beat)


def _refuse_host(path: str, verb: str, remedy: str) -> None:
    real = os.path.realpath(path)
    for folder in _HOST:
        host = os.path.realpath(folder)
        if host == real or host.startswith(real.rstrip("/") + "/"):
            raise LxcError(f"refusing to {verb} {path} as a root file system: it is or holds the host's {folder}", remedy=remedy)


def mount(path: str, target: str) -> None:
    """Bind the folder, with what is mounted below it, on target. Raises LxcError."""
    if not os.path.isdir(path):
        raise LxcError(f"the root file system {path} does not exist or is not a folder", remedy="check lxc.rootfs.path")
    try:
        kernel.mount(path, target, None, kernel.MS_BIND | kernel.MS_REC)
    except OSError as error:
        raise LxcError(f"cannot mount the root file system {path} on {target}: {describe(error)}") from error
