# SPDX-License-Identifier: LGPL-2.1-or-later
"""File systems on block devices: made by mkfs, recognised by their marks, mounted detached."""

from __future__ import annotations

import os
import struct

from .. import process
from ..errors import LxcError, describe
from ..linux import detached
from ..linux import mount as kernel
from ..linux.mountopts import parse_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Where a file system has its mark (libblkid's tables are much longer; what is not here is found by trying).
_MARKS = (
    ("xfs", 0, b"XFSB"),
    ("btrfs", 0x10040, b"_BHRfS_M"),
    ("f2fs", 1024, b"\x10\x20\xf5\xf2"),
    ("squashfs", 0, b"hsqs"),
    ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
)
_EXT = 1024
_EXT_MARK = b"\x53\xef"
_PACKAGES = {
    "mkfs.xfs": "xfsprogs", "xfs_admin": "xfsprogs", "mkfs.btrfs": "btrfs-progs", "btrfstune": "btrfs-progs",
    "mkfs.f2fs": "f2fs-tools", "lvcreate": "lvm2", "lvremove": "lvm2", "lvs": "lvm2", "zfs": "zfsutils-linux",
    "rbd": "ceph-common", "qemu-nbd": "qemu-utils",
}  # fmt: skip


def tool(argv: Sequence[str], env: Mapping[str, str] | None = None) -> process.Result:
    """Run a program to its end; the caller looks at the status. Raises LxcError naming the package when it is missing."""
    try:
        return process.run(argv, env=None if env is None else {**os.environ, **env})
    except LxcError as error:
        error.remedy = f"install {_PACKAGES.get(argv[0], 'e2fsprogs' if argv[0].startswith('mkfs.ext') else argv[0])}"
        raise


def make_filesystem(fstype: str, device: str) -> None:
    """mkfs.TYPE DEVICE. Raises LxcError with what it said last."""
    if not fstype.replace("-", "").replace("_", "").replace(".", "").isalnum() or fstype.startswith("."):
        raise LxcError(f'"{fstype}" is no type of file system', remedy="--fstype ext4, xfs, btrfs ...")
    result = tool([f"mkfs.{fstype}", device])
    if result.status != 0:
        raise LxcError(f"mkfs.{fstype} {device} {result.why()}")


def size_option(options: Mapping[str, str], default: int) -> int:
    """--fssize in bytes; 0 is the default."""
    return int(options.get("fssize") or 0) or default


def fstype_of(device: int) -> str:
    """The type of the file system on an open device or file, "" for one that is not known. Raises OSError."""
    superblock = os.pread(device, 256, _EXT)
    if superblock[56:58] == _EXT_MARK:
        compatible, incompatible = struct.unpack_from("<II", superblock, 92)
        if incompatible & 0x2C0:  # extents, 64bit, flex_bg
            return "ext4"
        return "ext3" if compatible & 4 else "ext2"
    for name, offset, mark in _MARKS:
        if os.pread(device, len(mark), offset) == mark:
            return name
    return ""


def types() -> list[str]:
    """Every type on a device that this system lists, as LXC tries them: /etc/filesystems, then those the kernel has."""
    found: list[str] = []
    for path in ("/etc/filesystems", "/proc/filesystems"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        found += [line.strip() for line in lines if "nodev" not in line and line.strip() and line.strip() not in (*found, "*")]
    return found


def open_filesystem(device: str, fd: int, what: str, options: str, *, read_only: bool) -> int:
    """Mount the file system of a device detached. fd: open on it, for recognising. Raises LxcError naming what."""
    wanted = parse_options(options)
    attributes = wanted.attributes | (kernel.MOUNT_ATTR_RDONLY if read_only else 0)
    data = [*([("ro", None)] if attributes & kernel.MOUNT_ATTR_RDONLY else []), *wanted.data]
    try:
        known = fstype_of(fd)
        last: OSError | None = None
        for fstype in [known] if known else types():
            try:
                return detached.filesystem(fstype, data, attributes, device)
            except OSError as error:
                last = error
    except OSError as error:
        last = error
    why = describe(last) if last is not None and known else "no file system that this kernel knows is on it"
    raise LxcError(f"cannot mount the root file system {what}: {why}", remedy="look at the kernel's log, or run fsck") from last
