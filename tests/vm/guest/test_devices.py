# SPDX-License-Identifier: LGPL-2.1-or-later
"""What this machine has and a host without modules has not: LVM, thin and thick, and network block devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import host, volumes


def ext4_on(device: str, folder: Path) -> str:
    """Make a file system, write and read a file, and give back what was read."""
    host.run("mkfs.ext4", "-q", device, check=True)
    host.run("mount", device, folder, check=True)
    try:
        (folder / "file").write_text("kept")
        return (folder / "file").read_text()
    finally:
        host.run("umount", folder, check=True)


@pytest.mark.needs_dm
def test_thick_and_thin_volumes(unchanged_host: None, vg: str, tmp_path: Path) -> None:
    host.run("lvcreate", "-q", "-y", "-L", "64M", "-n", "thick", vg, check=True)
    host.run("lvcreate", "-q", "-y", "-V", "64M", "--thinpool", volumes.THIN_POOL, "-n", "thin", vg, check=True)
    for volume in ("thick", "thin"):
        assert ext4_on(f"/dev/{vg}/{volume}", tmp_path) == "kept"
    host.run("lvcreate", "-q", "-y", "-s", "-n", "copy", f"{vg}/thin", check=True)
    host.run("lvchange", "-q", "-ay", "-K", f"{vg}/copy", check=True)
    host.run("mount", "-o", "ro", f"/dev/{vg}/copy", tmp_path, check=True)
    try:
        assert (tmp_path / "file").read_text() == "kept"
    finally:
        host.run("umount", tmp_path, check=True)


def test_network_block_device(unchanged_host: None, tmp_path: Path) -> None:
    host.run("modprobe", "nbd", check=True)
    disk = tmp_path / "disk.qcow2"
    host.run("qemu-img", "create", "-q", "-f", "qcow2", disk, "64M", check=True)
    host.run("qemu-nbd", "-c", "/dev/nbd0", disk, check=True)
    try:
        assert host.wait_until(lambda: Path("/sys/block/nbd0/size").read_text().strip() == str((64 << 20) // 512), 10)
        folder = tmp_path / "mnt"
        folder.mkdir()
        assert ext4_on("/dev/nbd0", folder) == "kept"
    finally:
        host.run("qemu-nbd", "-d", "/dev/nbd0", check=True)
