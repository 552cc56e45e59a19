# SPDX-License-Identifier: LGPL-2.1-or-later
"""A tree with one of everything, and the file systems to make it on."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from lxctools import files
from lxctools.linux import mount as kernel
from lxctools.storage import tree_meta

CAP_2 = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)  # cap_net_raw=ep


def cap_3(root: int) -> bytes:
    return struct.pack("<IIIIII", 0x03000001, 1 << 13, 0, 0, 0, root)


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def lists(user: int, group: int) -> bytes:
    nobody = 0xFFFFFFFF
    return acl((1, 6, nobody), (2, 4, user), (4, 4, nobody), (8, 6, group), (16, 6, nobody), (32, 0, nobody))


class Disk:
    """A file system made in an image on a tmpfs, mounted for one test module."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.at = folder / kind
        self.at.mkdir()
        if kind == "tmpfs":
            kernel.mount("tmpfs", str(self.at), "tmpfs", 0, "size=600m")
        elif kind == "overlay":
            base = folder / "layers"
            base.mkdir()
            kernel.mount("tmpfs", str(base), "tmpfs", 0, "size=600m")
            for name in ("lower", "upper", "work"):
                (base / name).mkdir()
            kernel.mount("overlay", str(self.at), "overlay", 0, f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work")
        else:
            if not shutil.which(f"mkfs.{kind}"):
                pytest.skip(f"needs mkfs.{kind}")
            image = folder / f"{kind}.img"
            with image.open("wb") as file:
                file.truncate(600 << 20)
            subprocess.run([f"mkfs.{kind}", "-q", image], check=True, stdout=subprocess.DEVNULL)
            done = subprocess.run(["mount", "-o", "loop", image, self.at], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"needs {kind}: {done.stderr.strip()}")

    def has(self, name: str) -> bool:
        """Whether it keeps an extended attribute of this name."""
        try:
            os.setxattr(self.at, name, b"x")
            os.removexattr(self.at, name)
        except OSError:
            return False
        return True


def make(path: Path, data: bytes, mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> Path:
    path.write_bytes(data)
    os.chown(path, *owner)
    path.chmod(mode)
    return path


def fill(top: Path, disk: Disk) -> None:
    """A tree with one of everything that the file system can hold."""
    top.mkdir(mode=0o751)
    (top / "empty").mkdir()
    (top / "etc").mkdir()
    make(top / "etc" / "passwd", b"root\n")
    make(top / "etc" / "shadow", b"secret\n", 0o640, (0, 42))
    make(top / "etc" / "su", b"#!\n", 0o4755)
    make(top / "etc" / "other su", b"#!\n", 0o6755, (1000, 1001))
    make(top / "etc" / "nothing", b"", 0o000)
    make(top / "etc" / os.fsdecode(b"\xff\xfe name\n"), b"bytes")
    (top / "deep").mkdir()
    _deep(top / "deep", 30, "d" * 200)
    shared = top / "shared"
    shared.mkdir()
    os.chown(shared, 0, 1234)
    shared.chmod(0o3775)
    make(shared / "inherited", b"x")
    # Holes: in the middle, at the end, at the start, and nothing but.
    for name, places, size in (
        ("middle", (0, 4 << 20), (4 << 20) + 10),
        ("end", (0,), 3 << 20),
        ("start", (5 << 20,), (5 << 20) + 4096),
        ("hole", (), 7 << 20),
        ("small", (64 << 10,), 100 << 10),
        ("full", tuple(range(0, 3 << 20, 1 << 12)), 3 << 20),
    ):
        with (top / name).open("wb") as file:
            for place in places:
                os.pwrite(file.fileno(), os.urandom(10) + b"d" * 4086, place)
            file.truncate(size)
    (top / "links").mkdir()
    make(top / "links" / "one", b"linked" * 10000, 0o600)
    os.link(top / "links" / "one", top / "links" / "two")
    os.link(top / "links" / "one", top / "etc" / "three")
    os.symlink("one", top / "links" / "symlink")
    os.link(top / "links" / "symlink", top / "links" / "symlink2", follow_symlinks=False)
    os.symlink("/etc/passwd", top / "absolute")
    os.chown(top / "absolute", 1000, 1000, follow_symlinks=False)
    os.symlink("../../../..", top / "upwards")
    os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(top / "disk", stat.S_IFBLK | 0o660, os.makedev(7, 300))
    os.link(top / "disk", top / "disk2")
    os.mkfifo(top / "fifo", 0o622)
    os.chown(top / "fifo", 1000, 1000)
    os.chmod(top / "fifo", 0o4622)
    with socket.socket(socket.AF_UNIX) as unix:
        here = os.getcwd()
        os.chdir(top)
        unix.bind("socket")
        os.chdir(here)
    (top / "lists").mkdir()
    make(top / "lists" / "file", b"", 0o640)
    if disk.has("user.x"):
        os.setxattr(top / "etc" / "passwd", "user.comment", b"\0binary\xff")
        os.setxattr(top / "etc", "user.folder", b"")
        os.setxattr(top / "links" / "one", "user.linked", b"1")
    os.setxattr(top / "etc" / "su", "security.capability", CAP_2)
    os.setxattr(top / "etc" / "other su", "security.capability", cap_3(100000))
    if disk.kind != "overlay":
        os.setxattr(top / "empty", "trusted.overlay.opaque", b"y")
        os.setxattr(top / "absolute", "trusted.of_a_link", b"y", follow_symlinks=False)
        os.setxattr(top / "fifo", "trusted.of_a_fifo", b"y")
    os.setxattr(top / "lists" / "file", tree_meta.ACCESS, lists(1000, 1001))
    os.setxattr(top / "lists", tree_meta.ACCESS, lists(1002, 1003))
    os.setxattr(top / "lists", tree_meta.DEFAULT, lists(1004, 1005))
    make(top / "immutable", b"for ever", 0o444)
    os.link(top / "immutable", top / "links" / "immutable")
    make(top / "log", b"line\n")
    (top / "fixed").mkdir()
    make(top / "fixed" / "file", b"")
    _times(top)
    for name, flags in (("immutable", files.IMMUTABLE | 0x40), ("log", files.APPEND), ("fixed", files.IMMUTABLE), ("etc", 0x80)):
        fd = os.open(top / name, os.O_RDONLY)
        try:
            files.set_inode_flags(fd, files.inode_flags(fd) | flags)
        except OSError:
            assert disk.kind in ("tmpfs", "overlay")
        finally:
            os.close(fd)


def _deep(top: Path, levels: int, name: str) -> None:
    """Folders whose path is longer than PATH_MAX."""
    fd = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        try:
            os.mkdir(name, dir_fd=fd)
        except FileExistsError:
            pass
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("bottom", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
    os.close(fd)


def _times(top: Path) -> None:
    """Times of all kinds: before 1970, far away, each nanosecond counts."""
    stamps = (-86400_000000001, 1_000000001, 1700000000_123456789, 4000000000_987654321)
    number = 0
    for folder, folders, names in os.walk(top, topdown=False):
        if len(folder) > 3000:
            continue  # too long for a call by path
        for name in (*names, *folders):
            number += 1
            os.utime(f"{folder}/{name}", ns=(stamps[number % 4], stamps[(number + 1) % 4]), follow_symlinks=False)
    os.utime(top, ns=(stamps[2], stamps[3]))
