# SPDX-License-Identifier: LGPL-2.1-or-later
"""A folder that plays /sys/fs/cgroup, and another that plays /proc."""

from __future__ import annotations

from pathlib import Path

from lxctools.cgroup.hierarchy import Host, detect


class FakeHost:
    """mount() adds a hierarchy; each has the caller in `own` and pid 1 in `base`."""

    def __init__(self, folder: Path) -> None:
        self.proc = folder / "proc"
        self.root = folder / "cgroup"
        for path in (self.proc / "self", self.proc / "1", self.root):
            path.mkdir(parents=True)
        self.mounts = ["21 1 0:19 / /proc rw - proc proc rw", "22 1 254:1 / / rw - ext4 /dev/vda rw"]
        self.own: list[str] = []
        self.init: list[str] = []

    def tmpfs(self) -> None:
        self.mounts.append(f"30 22 0:26 / {self.root} rw - tmpfs tmpfs rw,mode=755")

    def v1(self, number: int, controllers: str, *, at: str = "", base: str = "/", own: str = "/", root: str = "/") -> Path:
        point = self.root / (at or controllers.removeprefix("name="))
        self.mounts.append(f"{30 + number} 30 0:{30 + number} {root} {point} rw,relatime - cgroup cgroup rw,xattr,{controllers}")
        return self._hierarchy(number, controllers, point, base, own, root)

    def v2(self, *, at: str = "unified", base: str = "/", own: str = "/", root: str = "/", controllers: str = "") -> Path:
        point = self.root / at if at else self.root
        self.mounts.append(f"60 30 0:60 {root} {point} rw,relatime - cgroup2 cgroup2 rw,nsdelegate")
        made = self._hierarchy(0, "", point, base, own, root)
        (made / "cgroup.controllers").write_text(controllers + "\n")
        (made / "cgroup.subtree_control").write_text("")
        return made

    def _hierarchy(self, number: int, controllers: str, point: Path, base: str, own: str, root: str) -> Path:
        self.init.append(f"{number}:{controllers}:{base}")
        self.own.append(f"{number}:{controllers}:{own}")
        place = base.removesuffix("/init.scope")
        folder = point / (place.removeprefix(root) if root != "/" else place).strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def detect(self, *, relative: bool = False, use: str = "@all") -> Host:
        (self.proc / "self" / "mountinfo").write_text("".join(line + "\n" for line in self.mounts))
        (self.proc / "self" / "cgroup").write_text("".join(line + "\n" for line in self.own))
        (self.proc / "1" / "cgroup").write_text("".join(line + "\n" for line in self.init))
        return detect(relative=relative, proc_root=str(self.proc), root=str(self.root), use=use)


def hybrid(folder: Path) -> FakeHost:
    """Four version 1 hierarchies, one of them with two controllers, and an empty version 2."""
    host = FakeHost(folder)
    host.tmpfs()
    host.v1(5, "name=systemd", at="systemd", base="/init.scope", own="/user.slice/session-1.scope")
    host.v1(4, "memory", own="/user.slice")
    host.v1(3, "cpu,cpuacct")
    host.v1(2, "devices")
    host.v2(base="/init.scope", own="/user.slice/session-1.scope")
    return host


def unified(folder: Path) -> FakeHost:
    host = FakeHost(folder)
    host.v2(at="", base="/init.scope", own="/user.slice/session-1.scope", controllers="cpuset cpu io memory pids")
    return host
