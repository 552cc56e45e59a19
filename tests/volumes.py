# SPDX-License-Identifier: LGPL-2.1-or-later
"""Storage that a host need not have, for tests: volume groups of LVM, pools of ZFS, a Ceph of one store; each on loop devices.

Every why_no_...() says why it cannot be used here, "" where it can. The machines of tests/vm have them.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import host

THIN_POOL = "lxc"  # the default of lxc.bdev.lvm.thin_pool


def why_no_device_mapper() -> str:
    """Why LVM cannot be used here."""
    if os.geteuid() != 0:
        return "needs root"
    if not shutil.which("lvcreate"):
        return "needs lvm2"
    if b"device-mapper" not in Path("/proc/misc").read_bytes():
        host.run("modprobe", "dm_mod")
    if b"device-mapper" not in Path("/proc/misc").read_bytes():
        return "this kernel has no device mapper: make test-vm brings one that has"
    return ""


def why_no_zfs() -> str:
    """Why ZFS cannot be used here."""
    if os.geteuid() != 0:
        return "needs root"
    if not shutil.which("zpool"):
        return "needs zfsutils-linux: make test-vm-zfs brings a machine that has it"
    if not _has_module("zfs"):
        return "this kernel has no zfs: make test-vm-zfs brings one that has"
    return ""


def why_no_ceph() -> str:
    """Why no Ceph can be set up here. Only a machine of its own gets one: it has one configuration, in /etc/ceph."""
    if os.geteuid() != 0:
        return "needs root"
    if not os.environ.get("LXCTOOLS_GUEST") or not shutil.which("ceph-osd"):
        return "needs a Ceph: make test-vm-ceph brings a machine that has one"
    if not _has_module("rbd"):
        return "this kernel has no rbd: make test-vm-ceph brings one that has"
    return ""


def _has_module(name: str) -> bool:
    return Path(f"/sys/module/{name}").exists() or host.run("modprobe", name).returncode == 0


@contextmanager
def _loop_device(megabytes: int, prefix: str) -> Iterator[tuple[str, str]]:
    """(device, a name that nothing else has) of a sparse file."""
    folder = Path(tempfile.mkdtemp(prefix=f"lxct-{prefix}.", dir="/var/tmp"))
    disk = folder / "disk"
    with disk.open("wb") as file:
        file.truncate(megabytes << 20)
    loop = host.run("losetup", "--find", "--show", disk, check=True).stdout.decode().strip()
    try:
        yield loop, f"lxct{folder.name[-8:]}".replace("_", "a")
    finally:
        host.run("losetup", "-d", loop, check=True)
        shutil.rmtree(folder)


@contextmanager
def volume_group(megabytes: int = 1024, pool: int = 512) -> Iterator[str]:
    """The name of a volume group of this size (MiB); with a thin pool THIN_POOL of the size pool, unless that is 0."""
    with _loop_device(megabytes, "vg") as (loop, name):
        try:
            host.run("vgcreate", "-q", name, loop, check=True)  # makes the physical volume, too
            if pool:
                host.run("lvcreate", "-q", "-y", "--type", "thin-pool", "-L", f"{pool}M", "-n", THIN_POOL, name, check=True)
            yield name
        finally:
            host.run("vgremove", "-q", "-f", "-y", name)
            host.run("pvremove", "-q", "-f", "-y", loop)


def logical_volumes(group: str) -> set[str]:
    """The names of a group's volumes, without the pool."""
    listed = host.run("lvs", "--noheadings", "-o", "lv_name", group, check=True).stdout.decode().split()
    return set(listed) - {THIN_POOL}


@contextmanager
def zfs_pool(megabytes: int = 1024) -> Iterator[str]:
    """A dataset in a pool of its own, below which containers may have theirs."""
    with _loop_device(megabytes, "zfs") as (loop, name):
        try:
            host.run("zpool", "create", "-f", "-m", "none", name, loop, check=True)
            host.run("zfs", "create", "-o", "mountpoint=none", f"{name}/lxc", check=True)
            yield f"{name}/lxc"
        finally:
            host.wait_until(lambda: host.run("zpool", "destroy", "-f", name).returncode == 0, 10, 0.5)


def datasets(root: str) -> set[str]:
    """The names of everything below a dataset, snapshots of it and of what is below it, too."""
    listed = host.run("zfs", "list", "-H", "-r", "-t", "all", "-o", "name", root, check=True).stdout.decode().split()
    return set(listed) - {root}


# Nobody else is on this machine, so nothing is authenticated; a pool has one copy; a store is a file.
_CEPH = """[global]
fsid = 7b0c4f0e-5c8e-4c1f-9a51-0d6c1b7d3f10
mon_initial_members = a
mon_host = [v2:127.0.0.1:3300,v1:127.0.0.1:6789]
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
mon_pg_warn_min_per_osd = 0
osd_crush_chooseleaf_type = 0
osd_memory_target = 939524096
bluestore_block_size = 4294967296
log_to_stderr = false
pid_file = /run/ceph/$name.pid
setuser = root
setgroup = root
"""
_CEPH_UP = """set -ex
mkdir -p /run/ceph /var/lib/ceph/mon/ceph-a /var/lib/ceph/osd/ceph-0 /var/log/ceph
monmaptool --create --clobber --addv a '[v2:127.0.0.1:3300,v1:127.0.0.1:6789]' --fsid 7b0c4f0e-5c8e-4c1f-9a51-0d6c1b7d3f10 /run/ceph/map
ceph-authtool --create-keyring /run/ceph/keyring --gen-key -n mon. --cap mon 'allow *'
ceph-mon --mkfs -i a --monmap /run/ceph/map --keyring /run/ceph/keyring
ceph-mon -i a
uuid=$(cat /proc/sys/kernel/random/uuid)
ceph --connect-timeout 60 osd new $uuid
ceph-osd -i 0 --mkfs --osd-uuid $uuid
ceph osd crush add osd.0 1 root=default host=guest
ceph-osd -i 0
ceph osd pool create lxct 8
ceph osd pool set lxct size 1 --yes-i-really-mean-it
rbd pool init lxct
"""


@contextmanager
def ceph() -> Iterator[str]:
    """A pool in a Ceph of one monitor and one store; images in it can be mapped by the kernel."""
    Path("/etc/ceph").mkdir(exist_ok=True)
    Path("/etc/ceph/ceph.conf").write_text(_CEPH)
    try:
        made = host.run("sh", "-c", _CEPH_UP, timeout=240)
        assert made.returncode == 0, made.stderr[-3000:].decode()
        yield "lxct"
    finally:
        for name in ("osd.0", "mon.a"):
            try:
                os.kill(int(Path(f"/run/ceph/{name}.pid").read_text()), signal.SIGKILL)
            except (OSError, ValueError):
                continue
        for folder in ("/var/lib/ceph/mon/ceph-a", "/var/lib/ceph/osd/ceph-0"):
            shutil.rmtree(folder, ignore_errors=True)


def images(pool: str) -> set[str]:
    """The names of a pool's images, and of its devices that are mapped."""
    listed = host.run("rbd", "ls", pool, check=True).stdout.decode().split()
    return {*listed, *(str(path) for path in Path("/dev/rbd").glob(f"{pool}/*"))}
