# SPDX-License-Identifier: LGPL-2.1-or-later
"""The AppArmor profiles that we ship, in a kernel that has AppArmor: what confines lxc-start and containers, and from what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import host

from .installation import installed
from .test_apparmor import label
from .test_unified import init_of, tool

__all__ = ["installed"]
pytestmark = pytest.mark.usefixtures("installed")
USR = Path("/usr/bin")  # ours, after the installation
START = "/usr/bin/lxc-start"
DEFAULT = "lxc-container-default-cgns"


@pytest.fixture(scope="module", autouse=True)
def _loaded(installed: None) -> None:
    """Before any container is started: the kernel has ours, not the other package's of the same names."""
    host.run("/usr/libexec/lxc/lxc-apparmor-load", check=True, timeout=120)


@pytest.fixture
def started(unchanged_host: None, lxcpath: Path) -> Iterator[Path]:
    host.make_container(lxcpath, "c1")
    yield lxcpath


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("PPid:\t")[2].split()[0])


def start(lxcpath: Path, more: str = "") -> int:
    config = lxcpath / "c1/config"
    config.write_text(config.read_text() + more)
    tool(USR, "start", lxcpath)
    return init_of(lxcpath, USR)


def answers(lxcpath: Path, *scripts: str) -> list[bool]:
    """Whether each script succeeds inside."""
    lines = "".join(f"( {script} ) >/dev/null 2>&1 && echo yes || echo no\n" for script in scripts)
    return [line == "yes" for line in tool(USR, "attach", lxcpath, "--", "sh", "-c", lines).splitlines()]


def test_the_script_is_confined_by_its_path(started: Path) -> None:
    """The kernel takes the profile of the script's path, not of its interpreter's; the monitor and what it runs keep it."""
    (started / "c1/config").write_text((started / "c1/config").read_text() + f"lxc.hook.start-host = {started}/hook\n")
    (started / "hook").write_text(f"#!/bin/sh\ncat /proc/self/attr/current >{started}/seen\n")
    (started / "hook").chmod(0o755)
    init = start(started)
    assert label(init) == f"{DEFAULT} (enforce)"
    assert label(parent_of(init)) == f"{START} (enforce)"
    assert (started / "seen").read_text().strip("\0\n") == f"{START} (enforce)"
    (started / "hook").unlink()
    (started / "seen").unlink()
    tool(USR, "stop", started, "-k")


def test_what_a_container_may_and_may_not(started: Path) -> None:
    start(started)
    tool(USR, "attach", started, "--", "mkdir", "-p", "/m", "/n")
    may = {
        "a tmpfs": "mount -t tmpfs x /m",
        "a bind mount": "mount -o bind /m /n",
        "a subtree": "mount -o rbind /root /n && umount /n && mount -o bind /m /n",
        "read-only": "mount -o remount,bind,ro /n",
        "and with less rights": "mount -o remount,bind,ro,nosuid,nodev,noexec /n",
        "a device": "touch /tmp/null && mount -o bind /dev/null /tmp/null",
        "its own name": "echo c1 >/proc/sys/kernel/hostname || hostname c1",
        "spread of mounts": "mount --make-rslave /",
        "its cgroups": "umount /sys/fs/cgroup 2>/dev/null; mount -t cgroup2 c /sys/fs/cgroup",
        "unmount": "umount /n && umount /m",
    }
    may_not = {
        "the kernel's settings": "mount -o remount,rw,bind /proc/sys; echo x >/proc/sys/kernel/core_pattern",
        "under another name": "mount -o bind /proc/sys /n",
        "all of it under another name": "mount -o rbind / /n",
        "a second proc": "mount -t proc p /n",
        "a second sysfs, read-only": "mount -t sysfs -o ro s /n",
        "a disk": "mknod /tmp/disk b 254 0; mount -t ext4 /tmp/disk /n",
        "a disk, read-only": "mount -t ext4 -o ro /tmp/disk /n",
        "memory": "head -c 1 /proc/kcore",
        "sysrq": "echo h >/proc/sysrq-trigger",
        "security": "ls /sys/kernel/security && mount -t securityfs s /sys/kernel/security && echo x >/sys/kernel/security/apparmor/.remove",
        "a devpts": "mount -t devpts d /n",
        "its root read-only": "mount -o remount,ro /",
        "another profile": "echo changeprofile unconfined >/proc/self/attr/current",
    }
    assert dict(zip(may, answers(started, *may.values()), strict=True)) == dict.fromkeys(may, True)
    assert dict(zip(may_not, answers(started, *may_not.values()), strict=True)) == dict.fromkeys(may_not, False)
    tool(USR, "stop", started, "-k")


def test_nesting(started: Path) -> None:
    init = start(started, "lxc.include = /usr/share/lxc/config/nesting.conf\n")
    assert label(init) == "lxc-container-default-with-nesting (enforce)"
    tool(USR, "attach", started, "--", "mkdir", "-p", "/n")
    mount, bind, change, hidden = answers(
        started,
        "mount -t proc p /n && umount /n",
        "mount -o bind /proc/sys /n && umount /n",
        f"echo changeprofile {DEFAULT} >/proc/self/attr/current",
        "cat /dev/.lxc/proc/version",
    )
    assert (mount, bind, change, hidden) == (True, True, True, False)
    tool(USR, "stop", started, "-k")


@pytest.mark.parametrize("profile", ["lxc-container-default", "lxc-container-default-with-mounting"])
def test_the_others(started: Path, profile: str) -> None:
    init = start(started, f"lxc.apparmor.profile = {profile}\n")
    assert label(init) == f"{profile} (enforce)"
    tool(USR, "stop", started, "-k")


def test_a_start_cannot_leave_for_a_profile_of_others(started: Path) -> None:
    """lxc-start's own profile allows those of containers only."""
    done = host.run(USR / "lxc-start", "-P", started, "-n", "c1", "-s", "lxc.apparmor.profile=nvidia_modprobe")
    assert done.returncode == 1 and b"nvidia_modprobe" in done.stderr, done
    assert not host.running(started, "c1")
