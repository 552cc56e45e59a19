# SPDX-License-Identifier: LGPL-2.1-or-later
"""The machines there are: the usual one, and those with storage that Debian's kernel or its main section has not."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Variant:
    """What is different in a machine's image. name: a word. packages: beyond the usual ones. components: of Debian's archive.

    finish: a shell script that runs in the root when all is installed; memory: of the machine, in MiB; systemd: whether it has
    the root file system of a container with systemd. marks: which tests are for it, as `pytest -m` takes it.
    """

    name: str
    packages: tuple[str, ...] = ()
    components: tuple[str, ...] = ("main",)
    finish: str = ""
    systemd: bool = False
    memory: int = field(default=2560, repr=False)
    marks: str = field(default="", repr=False)


USUAL = Variant("usual", systemd=True, marks="not storage or (needs_dm and not needs_zfs and not needs_ceph)")

# The module is built by its package, against the machine's kernel: ten minutes of a processor.
ZFS = Variant(
    "zfs",
    packages=("linux-headers-amd64", "zfs-dkms", "zfsutils-linux"),
    components=("main", "contrib"),
    finish="""set -e
kernel=$(basename /lib/modules/*-amd64)
dkms status zfs -k "$kernel" | grep -q installed || dkms autoinstall -k "$kernel"
modinfo -k "$kernel" zfs
rm -rf /var/lib/dkms/zfs/*/build
systemctl mask zfs-import-scan.service zfs-import-cache.service zfs-mount.service zfs-share.service zfs-zed.service
""",
    marks="needs_zfs",
)

# One monitor and one object store, set up by the test's fixture; Debian's own kernel has the client.
CEPH = Variant("ceph", packages=("ceph-common", "ceph-mon", "ceph-osd"), memory=4096, marks="needs_ceph")

VARIANTS = {variant.name: variant for variant in (USUAL, ZFS, CEPH)}
