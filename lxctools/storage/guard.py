# SPDX-License-Identifier: LGPL-2.1-or-later
"""What no backend may use or remove: the host's own folders, links, and what others are mounted in."""

from __future__ import annotations

import os

from .. import files, paths
from ..errors import LxcError

# Folders of the host: one that is or holds any of them is nobody's root file system (hier(7)).
_HOST = tuple(f"/{name}" for name in "bin boot dev etc home lib media mnt opt proc root run sbin srv sys tmp usr var".split())
_HOST += ("/var/lib", "/var/tmp", "/var/cache", paths.GLOBAL_LXCPATH, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# What packages and the kernel fill: nothing below is a container's, but in these exceptions.
_SYSTEM = tuple(f"/{name}" for name in "bin boot dev etc lib lib32 lib64 libx32 proc sbin sys usr".split())
_SYSTEM_BUT = ("/dev/shm", "/usr/local")


def refuse_host(path: str, verb: str, remedy: str) -> None:
    """Raise LxcError for a folder that is or holds one of the host's, and for what is in the host's system."""
    real = os.path.realpath(path)
    if not any(files.is_below(real, place) for place in _SYSTEM_BUT):
        for folder in _SYSTEM:
            if files.is_below(real, os.path.realpath(folder)) and real != os.path.realpath(folder):
                raise LxcError(f"refusing to {verb} {path} as a root file system: it is a part of the host's {folder}", remedy=remedy)
    for folder in _HOST:
        host = os.path.realpath(folder)
        if host == real or host.startswith(real.rstrip("/") + "/"):
            raise LxcError(f"refusing to {verb} {path} as a root file system: it is or holds the host's {folder}", remedy=remedy)


def check_removable(path: str) -> None:
    """Raise LxcError for a folder or image that must not be removed: a link, the host's, a mount point or one that holds one."""
    if os.path.islink(path):
        raise LxcError(f"refusing to remove {path}: it is a symbolic link", remedy="remove the link by hand")
    refuse_host(path, "remove", "set lxc.rootfs.managed = 0")
    if not os.path.isdir(path):
        return
    mounted = files.mounts_in(os.path.realpath(path))
    if mounted:
        raise LxcError(f"refusing to remove {path}: something is mounted on {mounted[0]}", remedy=f"umount {mounted[0]} first")


def check_new(path: str, folder: str) -> None:
    """Raise LxcError for a root file system that would be or hold the host, or the container's own folder."""
    refuse_host(path, "use", "name a folder of its own with --dir")
    if os.path.realpath(path) == os.path.realpath(folder) or files.is_below(folder, path):
        raise LxcError(
            f"refusing to use {path} as a root file system: it holds the container's own folder {folder}",
            remedy="name a folder of its own with --dir",
        )
