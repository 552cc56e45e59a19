# SPDX-License-Identifier: LGPL-2.1-or-later
"""Volume groups of LVM for tests, on a loop device: where there is a device mapper, which a container's host need not have."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import host

THIN_POOL = "lxc"  # the default of lxc.bdev.lvm.thin_pool


def why_no_device_mapper() -> str:
    """Why LVM cannot be used here, or "" where it can."""
    if os.geteuid() != 0:
        return "needs root"
    if not shutil.which("lvcreate"):
        return "needs lvm2"
    if b"device-mapper" not in Path("/proc/misc").read_bytes():
        host.run("modprobe", "dm_mod")
    if b"device-mapper" not in Path("/proc/misc").read_bytes():
        return "this kernel has no device mapper: make test-vm brings one that has"
    return ""


@contextmanager
def volume_group(megabytes: int = 1024, pool: int = 512) -> Iterator[str]:
    """The name of a volume group of this size (MiB) with a thin pool THIN_POOL of the size pool; all of it is removed."""
    folder = Path(tempfile.mkdtemp(prefix="lxct-vg.", dir="/var/tmp"))
    disk = folder / "disk"
    with disk.open("wb") as file:
        file.truncate(megabytes << 20)
    name = f"lxct{folder.name[-8:]}".replace("_", "a")
    loop = host.run("losetup", "--find", "--show", disk, check=True).stdout.decode().strip()
    try:
        host.run("vgcreate", "-q", name, loop, check=True)  # makes the physical volume, too
        host.run("lvcreate", "-q", "-y", "--type", "thin-pool", "-L", f"{pool}M", "-n", THIN_POOL, name, check=True)
        yield name
    finally:
        host.run("vgremove", "-q", "-f", "-y", name)
        host.run("pvremove", "-q", "-f", "-y", loop)
        host.run("losetup", "-d", loop, check=True)
        shutil.rmtree(folder)
