# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of the container's mounts share: folders to play with, and children with namespaces of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lxctools.config.conf import Config
from lxctools.errors import LxcError
from lxctools.linux import proc, sched
from lxctools.mounts import ops, plan
from lxctools.mounts.resolve import Root
from tests.forked import forked

NS = sched.CLONE_NEWNS
HOST_ID, COUNT = 100000, 65536


class Box:
    """Folders of a test: the root file system, where it is mounted, sources, and what must stay untouched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rootfs = folder / "c1" / "rootfs"
        self.mnt = folder / "mnt"
        self.source = folder / "source"
        self.outside = folder / "outside"
        for path in (self.rootfs, self.mnt, self.source, self.outside):
            path.mkdir(parents=True)
        (self.source / "file").write_text("source")
        (self.outside / "file").write_text("outside")

    def conf(self, *lines: str) -> Config:
        conf = Config()
        conf.load_line(f"lxc.rootfs.path = dir:{self.rootfs}")
        conf.load_line(f"lxc.rootfs.mount = {self.mnt}")
        for line in lines:
            conf.load_line(line)
        return conf

    def entries(self, root: Root, conf: Config, ask: ops.Ask | None = None) -> None:
        lines = plan.entries(conf, str(self.folder), "c1")
        ops.mount_entries(root, lines, str(self.rootfs), str(self.folder / "c1"), ask)

    def untouched(self) -> bool:
        """Nothing was made or mounted outside; for the test's own namespace."""
        return sorted(os.listdir(self.outside)) == ["file"] and (self.outside / "file").read_text() == "outside"


def inside(function: Callable[[], Any]) -> Any:
    return forked(function, unshare=NS)


def refused(function: Callable[[], Any]) -> str:
    """The message with which a function fails in a mount namespace of its own; "" when it does not."""

    def child() -> str:
        try:
            function()
        except LxcError as error:
            return str(error)
        return ""

    return str(inside(child))


def rows(prefix: str) -> dict[str, tuple[str, str, str]]:
    """Mount point below prefix -> (options without the access time, type, options of the super block)."""
    found = {}
    for row in proc.mountinfo():
        if row.point.startswith(prefix):
            options = ",".join(word for word in row.options if word != "relatime")
            found[row.point[len(prefix) :]] = (options, row.fstype, ",".join(row.super_options))
    return found


def ids_written(pid: int, count: int = COUNT) -> None:
    for kind in ("uid", "gid"):
        Path(f"/proc/{pid}/{kind}_map").write_text(f"0 {HOST_ID} {count}\n")


def in_userns(function: Callable[[], Any], count: int = COUNT) -> Any:
    """function() as root of a user namespace with maps, with a mount namespace that belongs to it."""

    def child() -> Any:
        ready, go = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        writer = os.fork()
        if writer == 0:  # who stays outside and may write the maps
            os.read(ready[0], 1)
            ids_written(os.getppid(), count)
            os.write(go[1], b"x")
            os._exit(0)
        sched.unshare(sched.CLONE_NEWUSER | NS)
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os.waitpid(writer, 0)
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        return function()

    return forked(child)


def hierarchies() -> list[tuple[str, list[str], int, str]]:
    found = []
    for row in proc.mountinfo():
        if row.fstype == "cgroup" and row.point.startswith("/sys/fs/cgroup/"):
            names = [word for word in row.super_options if word.startswith("name=") or word == row.point.rpartition("/")[2]]
            found.append((row.point, names, 1, ""))
        elif row.fstype == "cgroup2":
            found.append((row.point, [], 2, ""))
    return found
