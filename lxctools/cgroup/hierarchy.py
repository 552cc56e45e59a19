# SPDX-License-Identifier: LGPL-2.1-or-later
"""What cgroups this host has (cgroups(7)): the layout, the hierarchies, and the folder in each below which ours are made.

    layout    /sys/fs/cgroup is          hierarchies
    legacy    a folder or tmpfs          version 1 only
    hybrid    a folder or tmpfs          version 1, and version 2 beside them (usually at .../unified)
    unified   a cgroup2 file system      version 2 only, whatever else is mounted

The base folder is, as in LXC, the cgroup of pid 1 for root (without systemd's init.scope), and the caller's own for others
and with lxc.cgroup.relative. Hierarchies that are not mounted or may not be written are passed over.
"""

from __future__ import annotations

import os

from .. import log
from ..config.system import system_value
from ..errors import LxcError, describe
from ..linux import proc

LEGACY, HYBRID, UNIFIED = 0, 1, 2
V1_MAGIC, V2_MAGIC = 0x0027E0EB, 0x63677270
_ROOT = "/sys/fs/cgroup"
INIT_SCOPE = "/init.scope"
_ALL = "@all"
# For kernels before 4.15, which do not list them.
_DELEGATED = ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"]


class Hierarchy:
    """One hierarchy. Paths are str; base and own are as in /proc/PID/cgroup, without slashes at their ends.

    version: 1 or 2. controllers: names; `name=X` for a named one. mountpoint: where it is on the host.
    base: the folder below which ours are made. own: the caller's cgroup. hidden: the part of those that lies above the
    mount, as in a container that is given only its own part.
    """

    __slots__ = ("base", "controllers", "hidden", "mountpoint", "own", "version")

    def __init__(self, version: int, controllers: list[str], mountpoint: str, base: str, own: str = "", hidden: str = "") -> None:
        self.version = version
        self.controllers = controllers
        self.mountpoint = mountpoint
        self.base = base.strip("/")
        self.own = own.strip("/")
        self.hidden = hidden.strip("/")

    @property
    def magic(self) -> int:
        """statfs(2) type of its file system."""
        return V1_MAGIC if self.version == 1 else V2_MAGIC

    @property
    def folder(self) -> str:
        """Absolute path of the base folder."""
        return self.where("")

    def where(self, name: str) -> str:
        """Absolute path of a folder that is named relative to the base."""
        return self.absolute(f"{self.base}/{name}")

    def absolute(self, place: str) -> str:
        """Absolute path of a place of /proc/PID/cgroup."""
        return f"{self.mountpoint}/{_below(place.strip('/'), self.hidden)}".rstrip("/")

    def __repr__(self) -> str:
        return f"{'v1' if self.version == 1 else 'v2'} {','.join(self.controllers)} at {self.folder}"


class Host:
    """layout: LEGACY, HYBRID or UNIFIED. hierarchies: in the order of /proc/PID/cgroup, the version 2 one last."""

    __slots__ = ("hierarchies", "layout")

    def __init__(self, layout: int, hierarchies: list[Hierarchy]) -> None:
        self.layout = layout
        self.hierarchies = hierarchies

    @property
    def unified(self) -> Hierarchy | None:
        """The version 2 hierarchy."""
        return next((h for h in self.hierarchies if h.version == 2), None)


def detect(*, relative: bool = False, proc_root: str = "/proc", root: str = _ROOT, use: str | None = None) -> Host:
    """Find the hierarchies that can be used.

    relative: start from the caller's cgroup instead of that of pid 1. proc_root, root: a test's /proc and /sys/fs/cgroup.
    use: instead of lxc.cgroup.use, the version 1 controllers wanted; a listed one that cannot be used is an error, the
    others are left alone. Raises LxcError, also when there is none.
    """
    from_init = not relative and os.geteuid() == 0
    try:
        mounts = _cgroup_mounts(f"{proc_root}/self/mountinfo", root)
        own = proc.cgroup(f"{proc_root}/self/cgroup")
        base = proc.cgroup(f"{proc_root}/1/cgroup") if from_init else own
    except OSError as error:
        raise LxcError(f"cannot find this host's cgroups: {describe(error)}", remedy="is /proc mounted?") from error
    own_places = {tuple(controllers): place for _number, controllers, place in own}
    wanted = _wanted(system_value("lxc.cgroup.use") if use is None else use)
    unified = bool(mounts) and mounts[-1].point == root and mounts[-1].fstype == "cgroup2"
    found = []
    for _number, controllers, place in base:
        mount = _mount_of(controllers, mounts)
        if mount is None or (unified and controllers):
            continue
        if controllers and wanted is not None and not wanted.intersection(controllers):
            continue
        mine = own_places.get(tuple(controllers), place)
        if place.startswith("/..") or from_init is False:
            place = mine  # pid 1 lives outside of our cgroup namespace
        if place.endswith(INIT_SCOPE):
            place = place[: -len(INIT_SCOPE)]
        hierarchy = Hierarchy(1 if controllers else 2, controllers, mount.point, place, mine, mount.root)
        if not controllers:
            hierarchy.controllers = _enabled(hierarchy.folder)
        if _writable(hierarchy):
            found.append(hierarchy)
        else:
            log.info(f"the cgroup hierarchy {hierarchy!r} is passed over: it cannot be written to")
    _check(found, wanted, unified, root)
    kinds = {h.version for h in found}
    layout = UNIFIED if unified else LEGACY if kinds == {1} else HYBRID
    return Host(layout, sorted(found, key=lambda h: h.version))


def _check(found: list[Hierarchy], wanted: set[str] | None, unified: bool, root: str) -> None:
    if not found:
        raise LxcError(
            "no cgroup hierarchy can be written to",
            remedy=f"mount cgroups on {root}" if os.geteuid() == 0 else "use a delegated cgroup: systemd-run --user --scope -p Delegate=yes ...",
        )
    if wanted is not None and not unified:
        missing = wanted - {name for h in found for name in h.controllers}
        if missing:
            raise LxcError(
                f"lxc.cgroup.use asks for {', '.join(sorted(missing))}, which cannot be used on this host",
                remedy="is it mounted, and is the name right?",
            )


def _cgroup_mounts(path: str, root: str) -> list[proc.Mount]:
    """The mounts of cgroup file systems at or below root that no later mount on root hides; one on root comes last."""
    lines = []
    for line in proc.read(path).splitlines():
        mine = b" - cgroup" in line
        if mine or f" {root} ".encode() in line:
            lines.append((mine, proc.Mount(line)))
    at_root = max((index for index, (_mine, mount) in enumerate(lines) if mount.point == root), default=-1)
    below = [mount for index, (mine, mount) in enumerate(lines) if mine and index > at_root]
    if at_root >= 0 and lines[at_root][0]:
        below.append(lines[at_root][1])
    return [mount for mount in below if mount.point == root or mount.point.startswith(root + "/")]


def _mount_of(controllers: list[str], mounts: list[proc.Mount]) -> proc.Mount | None:
    """Where a line of /proc/PID/cgroup is mounted; version 2 has no controllers in it."""
    for mount in reversed(mounts):
        if controllers and mount.fstype == "cgroup" and set(controllers) <= set(mount.super_options):
            return mount
        if not controllers and mount.fstype == "cgroup2":
            return mount
    return None


def _below(place: str, hidden: str) -> str:
    if hidden and (place == hidden or place.startswith(hidden + "/")):
        return place[len(hidden) :].strip("/")
    return place


def _wanted(text: str | None) -> set[str] | None:
    """lxc.cgroup.use: None for every controller."""
    words = {word.strip() for word in (text or _ALL).split(",") if word.strip()}
    return None if _ALL in words or not words else words


def _enabled(folder: str) -> list[str]:
    try:
        return proc.read(f"{folder}/cgroup.controllers").decode().split()
    except OSError:
        return []


def _writable(hierarchy: Hierarchy) -> bool:
    folder = hierarchy.folder
    if not os.access(folder, os.W_OK, effective_ids=True):
        return False
    if hierarchy.version == 1 or os.geteuid() == 0:
        return True
    files = [f"{folder}/{name}" for name in delegated_files()]
    return all(os.access(file, os.W_OK, effective_ids=True) for file in files if os.path.exists(file))


def delegated_files(path: str = "/sys/kernel/cgroup/delegate") -> list[str]:
    """What of a version 2 folder belongs to whom it is given (cgroup-v2.rst, Delegation), as this kernel lists it."""
    try:
        return proc.read(path).decode().split()
    except OSError:
        return _DELEGATED
