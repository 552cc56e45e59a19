# SPDX-License-Identifier: LGPL-2.1-or-later
"""A root that can be thrown away: what erases the host erases a copy of it, in memory, that nobody misses.

A mount namespace with an overlay over `/` whose upper layer is a tmpfs, with /proc and /dev of its own, entered by pivot_root(2).
Mounts below / are not in it: the checkout is bound read-only to where it was.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from typing import Any

from lxctools.linux import mount, sched
from tests import host
from tests.forked import forked


def inside(function: Callable[[], Any], timeout: float = 120.0) -> Any:
    """function()'s plain result from a forked child in a throw-away root; its failure fails the test."""
    top = tempfile.mkdtemp(prefix="lxct.", dir="/var/tmp")

    def child() -> Any:
        enter(top)
        return function()

    try:
        return forked(child, unshare=sched.CLONE_NEWNS, timeout=timeout)
    finally:
        os.rmdir(top)


def on_btrfs(folder: str | os.PathLike[str], megabytes: int = 600) -> None:
    """Mount a new btrfs on a folder of the throw-away root; it goes with it."""
    image = "/run/btrfs.img"
    with open(image, "wb") as file:
        file.truncate(megabytes << 20)
    host.run("mkfs.btrfs", "-q", image, check=True)
    host.run("mount", "-o", "loop", image, folder, check=True)


def enter(top: str) -> None:
    """Make `/` of this process the throw-away root; it has a mount namespace of its own already."""
    mount.mount("lxct", top, "tmpfs", 0, "mode=0755")
    for name in ("upper", "work", "root"):
        os.mkdir(f"{top}/{name}")
    root = f"{top}/root"
    mount.mount("overlay", root, "overlay", 0, f"lowerdir=/,upperdir={top}/upper,workdir={top}/work")
    mount.mount("proc", f"{root}/proc", "proc", 0)
    mount.mount("dev", f"{root}/dev", "tmpfs", 0, "mode=0755")
    for name in ("null", "zero", "urandom", "random", "full", "tty"):
        status = os.stat(f"/dev/{name}")
        os.mknod(f"{root}/dev/{name}", 0o20666, status.st_rdev)
        os.chmod(f"{root}/dev/{name}", 0o666)  # whatever the umask is
    for name in ("loop-control", *(f"loop{number}" for number in range(64))):
        kind = stat.S_IFCHR if name == "loop-control" else stat.S_IFBLK
        os.mknod(f"{root}/dev/{name}", kind | 0o660, os.makedev(10, 237) if name == "loop-control" else os.makedev(7, int(name[4:])))
    # What the test itself lies on and reads; a removal cannot get through a read-only mount.
    for place in {str(host.CHECKOUT), os.path.realpath(f"{host.CHECKOUT}/.venv")}:
        os.makedirs(f"{root}{place}", exist_ok=True)
        mount.mount(place, f"{root}{place}", None, mount.MS_BIND)
        mount.mount("none", f"{root}{place}", None, mount.MS_BIND | mount.MS_REMOUNT | mount.MS_RDONLY)
    # containers lie on a file system that overlays may lie over
    os.makedirs(f"{root}/var/lib/lxct", exist_ok=True)
    mount.mount("lxct", f"{root}/run", "tmpfs", 0, "mode=0755")
    mount.mount("lxct", f"{root}/var/lib/lxct", "tmpfs", 0, "mode=0755")
    # Not chroot(2): who is in one may make no user namespace.
    os.chdir(root)
    mount.pivot_root(".", ".")
    mount.umount2(".", mount.MNT_DETACH)
    os.chdir("/")
