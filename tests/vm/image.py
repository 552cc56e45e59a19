# SPDX-License-Identifier: LGPL-2.1-or-later
"""The guest's disk: a Debian with systemd, its kernel and what the tests need, made once and kept.

Everything comes from apt through mmdebstrap(1); nothing of it is installed on the host. The image is kept in a folder of the
user's choice (LXCTOOLS_VM_CACHE, else $XDG_CACHE_HOME/lxctools-tests, else /var/cache/lxctools-tests) under a name that
changes with this recipe, so that another list of packages makes another image. Machines only read it: what they write
goes to a file that ends with them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from .variants import USUAL, Variant

SUITE = "bookworm"
SIZE = "10G"  # sparse: an eighth of it is used
_PATIENCE = 7200.0  # seconds for one program that makes it
# What it starts and mounts goes with it, however it ends: nothing is mounted any more in a folder that is then removed.
_APART = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_KEPT_UNUSED = 7 * 86400  # seconds that an image of another recipe is kept
PACKAGES = (
    # a system
    "systemd-sysv udev dbus kmod initramfs-tools zstd linux-image-amd64 "
    # what lxctools needs, as in tools/setup
    "python3 python3-pyroute2 python3-prctl libseccomp2 busybox-static dnsmasq-base nftables iproute2 iputils-ping "
    # the other implementation, and the tools of the tests
    "lxc python3-lxc lxc-templates python3-pytest python3-hypothesis mmdebstrap debootstrap dnsutils util-linux procps "
    "uidmap libcap2-bin xz-utils tmux file git ca-certificates gpg rsync attr acl "
    # what a host without modules cannot show
    "lvm2 thin-provisioning-tools qemu-utils nbd-client btrfs-progs xfsprogs e2fsprogs apparmor squashfs-tools"
).split()
CONTAINER_PACKAGES = ("systemd-sysv", "dbus")
# Where the guest has the root file system of a container with systemd.
CONTAINER = "/var/lib/lxctools-tests/debian"

# The unit runs what the disk `checkout` holds, a tar archive whose ./.vm-run is the command.
_UNIT = """[Unit]
Description=Tests of lxctools
After=dbus.service systemd-logind.service network.target apparmor.service
ConditionPathExists=/dev/disk/by-id/virtio-checkout

[Service]
Type=simple
ExecStart=/usr/local/sbin/guest-tests
Delegate=yes
KillMode=process
TasksMax=infinity

[Install]
WantedBy=multi-user.target
"""
_RUN = """#!/bin/sh
# The end of this script, however it comes, is the end of the machine.
trap 'echo o >/proc/sysrq-trigger; sleep 60' EXIT
mkdir -p /srv/checkout
tar -x --no-same-owner -f /dev/disk/by-id/virtio-checkout -C /srv/checkout
cd /srv/checkout || exit
export HOME=/root LANG=C.UTF-8 TERM=dumb LXCTOOLS_GUEST=1
# udev may still be naming the ports.
for _ in $(seq 600); do
    [ -e /dev/virtio-ports/output ] && [ -e /dev/virtio-ports/status ] && [ -e /dev/virtio-ports/results ] && break
    sleep 0.1
done
exec </dev/null >/dev/virtio-ports/output 2>&1
sh ./.vm-run
echo $? >/dev/virtio-ports/status
"""
# Nothing here may start by itself: timers would disturb, and the bridge and the autostart are what is tested.
_MASKED = (
    "apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer dpkg-db-backup.timer "
    "logrotate.timer man-db.timer systemd-networkd-wait-online.service lxc-net.service lxc.service lxcfs.service "
    "lvm2-monitor.service systemd-timesyncd.service getty@tty1.service serial-getty@ttyS0.service"
).split()


def cache_folder() -> Path:
    """Where images are kept; made when missing."""
    chosen = os.environ.get("LXCTOOLS_VM_CACHE")
    home = os.environ.get("XDG_CACHE_HOME")
    folder = Path(chosen) if chosen else Path(home) / "lxctools-tests" if home else Path("/var/cache/lxctools-tests")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def recipe(variant: Variant) -> str:
    """What the image depends on, as some letters: this file and the variant."""
    return hashlib.sha256(Path(__file__).read_bytes() + repr(variant).encode()).hexdigest()[:16]


class Image:
    """A disk that can be booted. disk, kernel, initrd: files that nobody may write to. memory: for the machine, in MiB."""

    def __init__(self, folder: Path, variant: Variant) -> None:
        self.folder = folder
        self.disk = folder / "disk.ext4"
        self.kernel = folder / "vmlinuz"
        self.initrd = folder / "initrd"
        self.memory = variant.memory


def image(variant: Variant = USUAL) -> Image:
    """The image of this recipe, made first if need be (in two to three minutes); older ones that nobody uses are removed.

    Raises RuntimeError with what the failed program said.
    """
    cache = cache_folder()
    wanted = Image(cache / f"{variant.name}-{SUITE}-{recipe(variant)}", variant)
    with (cache / f"lock.{variant.name}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs make one image
        for cut_off in cache.glob(f"new.{variant.name}.*"):
            shutil.rmtree(cut_off)
        if not wanted.disk.exists():
            with tempfile.TemporaryDirectory(prefix=f"new.{variant.name}.", dir=cache) as work:
                _make(Path(work), variant)
                shutil.rmtree(wanted.folder, ignore_errors=True)
                (Path(work) / "image").rename(wanted.folder)
        os.utime(wanted.folder)
        for old in cache.glob(f"{variant.name}-{SUITE}-*"):
            if old != wanted.folder and old.stat().st_mtime < time.time() - _KEPT_UNUSED:
                shutil.rmtree(old)  # a machine that has it open keeps its files
    return wanted


def _run(*argv: object) -> None:
    try:
        done = subprocess.run([*_APART, *(str(word) for word in argv)], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_PATIENCE)
    except subprocess.TimeoutExpired as error:
        said = ((error.stdout or b"") + (error.stderr or b""))[-3000:].decode("utf-8", "replace")
        raise RuntimeError(f"making the guest's image: {argv[0]} was not done within {_PATIENCE:.0f} s:\n{said}") from error
    if done.returncode:
        said = (done.stdout + done.stderr)[-3000:]
        raise RuntimeError(f"making the guest's image: {argv[0]} failed with status {done.returncode}:\n{said}")


def _bootstrap(target: Path, packages: Sequence[str], variant: Variant) -> None:
    hooks = ('rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap', 'rm -rf "$1"/usr/share/doc/* "$1"/usr/share/man/?? "$1"/usr/share/locale/*')
    options = [f'--customize-hook=chroot "$1" sh -c {shlex.quote(variant.finish)}'] if variant.finish else []
    options += [f"--customize-hook={hook}" for hook in hooks]
    options += [f"--components={','.join(variant.components)}", '--aptopt=Acquire::Retries "5"', "--dpkgopt=force-unsafe-io"]
    _run("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(packages)}", *options, SUITE, target)


def _make(work: Path, variant: Variant) -> None:
    root = work / "root"
    new = work / "image"
    new.mkdir()
    _bootstrap(root, [*PACKAGES, *variant.packages], variant)
    if variant.systemd:
        container = root / CONTAINER.lstrip("/")
        container.parent.mkdir(parents=True)
        _bootstrap(container, CONTAINER_PACKAGES, USUAL)
    _configure(root)
    for kind, target in (("vmlinuz", "vmlinuz"), ("initrd.img", "initrd")):
        found = sorted((root / "boot").glob(f"{kind}-*"))
        shutil.move(found[-1], new / target)
    disk = new / "disk.ext4"
    # lazy_*: the kernel would write for minutes what nobody reads. No journal: the machine dies with its disk.
    _run("mkfs.ext4", "-q", "-O", "^has_journal", "-E", "lazy_itable_init=1", "-L", "guest", "-d", root, disk, SIZE)


def _configure(root: Path) -> None:
    """What makes a system of the packages: names, units, and the program that runs the tests."""
    (root / "etc/hostname").write_text("guest\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost guest\n")
    (root / "etc/fstab").write_text("LABEL=guest / ext4 defaults,noatime 0 0\n")
    (root / "etc/machine-id").write_text("4c1f0e5b6d7a48b39c2e1f0a5d6b7c88\n")
    units = root / "etc/systemd/system"
    for unit in _MASKED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    (units / "guest-tests.service").write_text(_UNIT)
    wants = units / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "guest-tests.service").symlink_to("../guest-tests.service")
    script = root / "usr/local/sbin/guest-tests"
    script.write_text(_RUN)
    script.chmod(0o755)
