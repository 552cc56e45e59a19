# SPDX-License-Identifier: LGPL-2.1-or-later
"""Copying and destroying a Debian container, against C LXC, on ext4, btrfs and xfs in memory and on this disk."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

_PACKAGES = "systemd-sysv,dbus,iproute2,ifupdown,iputils-ping,netbase,openssh-server,locales,less,vim-tiny"
_SIZE = "1600M"


class _Bench(Protocol):
    runs: int
    folder: Path

    def row(self, what: str, mine: float, reference: str, base: float, bound: float) -> None: ...


def _quiet(*argv: object) -> None:
    subprocess.run([str(word) for word in argv], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _archive(folder: Path) -> Path:
    """A Debian of some 12000 files and 230 MB."""
    path = folder / "debian.tar"
    if not path.exists():
        argv = ["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", f"--include={_PACKAGES}", "bookworm", str(path)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return path


def _pairs(bench: _Bench, lxcpath: Path, where: str, bound: float, tools: tuple[Path, Path], once: Callable[[list[str]], float]) -> None:
    """Alternate both sides' copy and destroy of c1, everything on disk before each."""
    lxcpath.mkdir(parents=True, exist_ok=True)
    rootfs = lxcpath / "c1" / "rootfs"
    rootfs.mkdir(parents=True)
    _quiet("tar", "-C", rootfs, "-xpf", _archive(bench.folder), "--numeric-owner", "--xattrs", "--xattrs-include=*")
    (lxcpath / "c1" / "config").write_text(f"lxc.rootfs.path = dir:{rootfs}\nlxc.uts.name = c1\n")
    copies: tuple[list[float], list[float]] = ([], [])
    ends: tuple[list[float], list[float]] = ([], [])
    for number in range(max(5, bench.runs // 5)):
        for side, tool in enumerate(tools):
            name = f"n{number}{side}"
            os.sync()
            copies[side].append(once([str(tool / "lxc-copy"), "-P", str(lxcpath), "-n", "c1", "-N", name]))
            os.sync()
            ends[side].append(once([str(tool / "lxc-destroy"), "-P", str(lxcpath), "-n", name]))
    bench.row(f"copy, {where}", statistics.median(copies[0]), "C (rsync)", statistics.median(copies[1]), bound)
    bench.row(f"destroy, {where}", statistics.median(ends[0]), "C", statistics.median(ends[1]), 0.8)


def in_memory(bench: _Bench, kind: str, bound: float, tools: tuple[Path, Path], once: Callable[[list[str]], float]) -> None:
    """On a file system of this kind in an image on a tmpfs."""
    memory = bench.folder / f"memory-{kind}"
    memory.mkdir()
    _quiet("mount", "-t", "tmpfs", "-o", "size=2g", "bench", memory)
    try:
        image, point = memory / "image", memory / "mounted"
        point.mkdir()
        _quiet("truncate", "-s", _SIZE, image)
        _quiet(f"mkfs.{kind}", "-q", image)
        _quiet("mount", "-o", "loop", image, point)
        try:
            _pairs(bench, point / "lxc", f"{kind} in memory", bound, tools, once)
        finally:
            _quiet("umount", point)
    finally:
        _unmount(memory)


def on_disk(bench: _Bench, bound: float, tools: tuple[Path, Path], once: Callable[[list[str]], float]) -> None:
    """Where /var/tmp is."""
    try:
        _pairs(bench, bench.folder / "copies", "this disk", bound, tools, once)
    finally:
        shutil.rmtree(bench.folder / "copies", ignore_errors=True)


def _unmount(folder: Path) -> None:
    """The loop device of a file in it is let go of a moment after its last mount."""
    deadline = time.monotonic() + 10
    while subprocess.run(["umount", folder], stderr=subprocess.DEVNULL, check=False).returncode and time.monotonic() < deadline:
        time.sleep(0.1)


def snapshots(bench: _Bench, tools: tuple[Path, Path], once: Callable[[list[str]], float]) -> None:
    """lxc-copy -s of a folder and of a subvolume, lxc-snapshot of an overlay: of a small container, in memory."""
    for kind, what, limit in (("ext4", "overlay", 45.0), ("btrfs", "btrfs", 50.0)):
        memory = bench.folder / f"snapshots-{kind}"
        memory.mkdir()
        _quiet("mount", "-t", "tmpfs", "-o", "size=1g", "bench", memory)
        try:
            image, point = memory / "image", memory / "mounted"
            point.mkdir()
            _quiet("truncate", "-s", "800M", image)
            _quiet(f"mkfs.{kind}", "-q", image)
            _quiet("mount", "-o", "loop", image, point)
            try:
                _snapshots_on(bench, point, what, limit, tools, once)
            finally:
                _quiet("umount", point)
        finally:
            _unmount(memory)


def _snapshots_on(
    bench: _Bench, lxcpath: Path, what: str, limit: float, tools: tuple[Path, Path], once: Callable[[list[str]], float]
) -> None:
    backend = ["-B", "btrfs"] if what == "btrfs" else []
    _quiet(tools[0] / "lxc-create", "-q", "-P", lxcpath, "-n", "c1", *backend, "-f", bench.folder / "default.conf", "-t", "busybox")
    _quiet(tools[0] / "lxc-copy", "-P", lxcpath, "-n", "c1", "-N", "c2", "-s")
    taken: dict[str, tuple[list[float], list[float]]] = {"copy": ([], []), "snapshot": ([], [])}
    for number in range(max(5, bench.runs)):
        for side, tool in enumerate(tools):
            name = f"n{number}{side}"
            taken["copy"][side].append(once([str(tool / "lxc-copy"), "-P", str(lxcpath), "-n", "c1", "-N", name, "-s"]))
            _quiet(tools[0] / "lxc-destroy", "-P", lxcpath, "-n", name)
            if what == "overlay":
                taken["snapshot"][side].append(once([str(tool / "lxc-snapshot"), "-P", str(lxcpath), "-n", "c2"]))
                _quiet(tools[0] / "lxc-snapshot", "-P", lxcpath, "-n", "c2", "-d", "ALL")
    ours, theirs = taken["copy"]
    bench.row(f"copy -s, {what}", statistics.median(ours), "limit in ms", limit, 1.0)
    print(f"    least {min(ours):.1f}; C: median {statistics.median(theirs):.1f}, least {min(theirs):.1f}")
    if what == "overlay":
        ours, theirs = taken["snapshot"]
        bench.row("snapshot of an overlay", statistics.median(ours), "C", statistics.median(theirs), 1.0)
        print(f"    least {min(ours):.1f}; C: least {min(theirs):.1f}")
