# SPDX-License-Identifier: LGPL-2.1-or-later
"""What cgroups this host has: the layout, the hierarchies, and the folder in each below which we make ours (cgroups(7))."""

from __future__ import annotations

import os

from ..config.system import system_value
from ..errors import LxcError, describe
from ..linux import proc

LEGACY, HYBRID, UNIFIED = 0, 1, 2
V1_MAGIC, V2_MAGIC = 0x0027E0EB, 0x63677270
_ROOT = "/sys/fs/cgroup"
_INIT_SCOPE = "/init.scope"


class Hierarchy:
    """One hierarchy: version 1 or 2, its controllers, where it is mounted, and our base folder relative to that."""

    __slots__ = ("base", "controllers", "mountpoint", "version")

    def __init__(self, version: int, controllers: list[str], mountpoint: str, base: str) -> None:
        self.version = version
        self.controllers = controllers
        self.mountpoint = mountpoint
        self.base = base.strip("/")

    @property
    def magic(self) -> int:
        """statfs(2) type of its file system."""
        return V1_MAGIC if self.version == 1 else V2_MAGIC

    @property
    def folder(self) -> str:
        """Absolute path of the base folder."""
        return f"{self.mountpoint}/{self.base}".rstrip("/")

    def __repr__(self) -> str:
        return f"{'v1' if self.version == 1 else 'v2'} {','.join(self.controllers)} at {self.folder}"


class Host:
    """The hierarchies in the order of /proc/PID/cgroup (the unified one last), and the layout."""

    __slots__ = ("hierarchies", "layout")

    def __init__(self, layout: int, hierarchies: list[Hierarchy]) -> None:
        self.layout = layout
        self.hierarchies = hierarchies

    @property
    def unified(self) -> Hierarchy | None:
        """The version 2 hierarchy."""
        return next((h for h in self.hierarchies if h.version == 2), None)


def detect(*, relative: bool = False, proc_root: str = "/proc", root: str = _ROOT) -> Host:
    """Find the hierarchies. relative: start from the caller's cgroup instead of that of pid 1.

    proc_root and root let a test show another /proc and another /sys/fs/cgroup. Raises LxcError when there is none.
    """
    owner = "self" if relative or os.geteuid() != 0 else "1"
    try:
        mounts = proc.mountinfo(f"{proc_root}/self/mountinfo")
        places = proc.cgroup(f"{proc_root}/{owner}/cgroup")
    except OSError as error:
        raise LxcError(f"cannot find this host's cgroups: {describe(error)}") from error
    used = _used()
    mounted_v1: dict[str, tuple[str, str]] = {}
    mounted_v2: tuple[str, str] | None = None
    for entry in mounts:
        if not (entry.point == root or entry.point.startswith(root + "/")):
            continue
        if entry.fstype == "cgroup":
            for option in entry.super_options:
                mounted_v1.setdefault(option, (entry.point, entry.root))
        elif entry.fstype == "cgroup2":
            mounted_v2 = (entry.point, entry.root)
    hierarchies = []
    for _number, controllers, place in places:
        found = mounted_v1.get(controllers[0]) if controllers else mounted_v2
        if found is None:
            continue
        mountpoint, mount_root = found
        base = place[: -len(_INIT_SCOPE)] if place.endswith(_INIT_SCOPE) else place
        base = _below(base, mount_root)
        if controllers:
            if used is not None and not set(controllers) & used:
                continue
            hierarchies.append(Hierarchy(1, controllers, mountpoint, base))
        else:
            enabled = _controllers(f"{mountpoint}/{base.strip('/')}")
            hierarchies.append(Hierarchy(2, enabled, mountpoint, base))
    writable = [h for h in hierarchies if os.access(h.folder, os.W_OK)]
    if used is not None and "@all" not in used:
        missing = used - {name for h in writable for name in h.controllers}
        if missing:
            raise LxcError(f"lxc.cgroup.use asks for {', '.join(sorted(missing))}, which cannot be used on this host")
    if not writable:
        raise LxcError(
            "no cgroup hierarchy can be written to", remedy=f"is {root} mounted, and writable by this user?"
        )
    if not any(h.version == 1 for h in hierarchies):
        layout = UNIFIED
    else:
        layout = HYBRID if any(h.version == 2 for h in hierarchies) else LEGACY
    return Host(layout, writable)


def _below(place: str, mount_root: str) -> str:
    """A path of /proc/PID/cgroup relative to what is mounted (a container sees only a part of the hierarchy)."""
    if mount_root != "/" and (place == mount_root or place.startswith(mount_root + "/")):
        return place[len(mount_root) :]
    return place


def _used() -> set[str] | None:
    value = system_value("lxc.cgroup.use")
    if not value or value.strip() == "@all":
        return None
    return {word.strip() for word in value.split(",") if word.strip()}


def _controllers(folder: str) -> list[str]:
    try:
        return proc.read(f"{folder}/cgroup.controllers").decode().split()
    except OSError:
        return []
