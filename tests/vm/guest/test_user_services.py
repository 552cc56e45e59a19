# SPDX-License-Identifier: LGPL-2.1-or-later
"""The services of a user's own containers, under a systemd of the user's."""

from __future__ import annotations

import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import host

from .installation import installed
from .test_unified import place

__all__ = ["installed"]
pytestmark = pytest.mark.usefixtures("installed")
NAME = "lxct-user"


class User:
    """A user with a systemd of their own, and id ranges."""

    def __init__(self) -> None:
        host.run("useradd", "-m", "-s", "/bin/sh", NAME, check=True)
        self.entry = pwd.getpwnam(NAME)
        self.first = next(line.split(":")[1] for line in Path("/etc/subuid").read_text().splitlines() if line.startswith(f"{NAME}:"))
        self.lxcpath = Path(self.entry.pw_dir) / ".local/share/lxc"

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        runtime = f"/run/user/{self.entry.pw_uid}"
        env = {"PATH": "/usr/bin:/bin", "HOME": self.entry.pw_dir, "XDG_RUNTIME_DIR": runtime}
        # In the mount namespace of systemd, where the folder is.
        words = ["nsenter", "--mount=/proc/1/ns/mnt", "setpriv", f"--reuid={self.entry.pw_uid}", f"--regid={self.entry.pw_gid}", "--init-groups", *argv]
        return host.run(*words, env=env, cwd=self.entry.pw_dir, check=check, timeout=120)

    def shows(self, unit: str, name: str) -> str:
        return self.run("systemctl", "--user", "show", unit, f"-p{name}", "--value").stdout.decode().strip()

    def make(self, name: str, more: str) -> None:
        maps = f"lxc.idmap = u 0 {self.first} 65536\nlxc.idmap = g 0 {self.first} 65536\n"
        folder = host.make_container(self.lxcpath, name, maps + "lxc.apparmor.profile = unconfined\n" + more)
        host.run("chown", "-R", "-h", f"{self.first}:{self.first}", folder / "rootfs", check=True)
        for path in (folder / "config", folder, self.lxcpath, *self.lxcpath.parents[:2]):
            shutil.chown(path, NAME, NAME)
        for path in (folder, self.lxcpath, *self.lxcpath.parents[:3]):
            path.chmod(0o755)  # for the container's users

    def init_of(self, name: str) -> int:
        return int(self.run("lxc-info", "-n", name, "-pH").stdout or b"0")


@pytest.fixture(scope="module")
def user(installed: None) -> Iterator[User]:
    """Without PAM nobody tells a user's systemd where its folder is."""
    dropin = Path("/run/systemd/system/user@.service.d/lxct.conf")
    dropin.parent.mkdir(parents=True)
    dropin.write_text("[Service]\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i\n")
    host.run("systemctl", "daemon-reload", check=True)
    user = User()
    host.run("systemctl", "start", f"user@{user.entry.pw_uid}.service", check=True, timeout=120)
    user.make("v1", "lxc.start.auto = 1\nlxc.group = onboot\n")
    user.make("v2", "lxc.start.auto = 1\nlxc.cgroup2.pids.max = 30\n")
    yield user
    host.run("systemctl", "stop", f"user@{user.entry.pw_uid}.service", timeout=120)
    host.run("userdel", "-r", NAME)
    shutil.rmtree(dropin.parent)
    host.run("systemctl", "daemon-reload", check=True)


def log_of(user: User) -> str:
    return host.run("journalctl", "--no-pager", "-o", "cat", f"_UID={user.entry.pw_uid}").stdout.decode()[-3000:]


def test_those_that_follow_the_session(user: User) -> None:
    assert user.run("systemctl", "--user", "start", "lxc", check=False).returncode == 0, log_of(user)
    states = user.run("lxc-ls", "--running", "-1").stdout.decode().split()
    assert states == ["v1", "v2"], log_of(user)
    group = place(user.init_of("v2"))
    assert group.endswith("/lxc.service/lxc.payload.v2"), "in what systemd delegated to the service"
    assert (Path("/sys/fs/cgroup") / group.strip("/") / "pids.max").read_text() == "30\n"
    before = user.init_of("v1")
    assert user.run("systemctl", "--user", "stop", "lxc").returncode == 0
    assert user.run("lxc-ls", "--running", "-1").stdout == b""
    assert before and not Path(f"/proc/{before}").exists()


def test_one_of_them(user: User) -> None:
    user.run("systemctl", "--user", "start", "lxc@v1")
    assert host.wait_until(lambda: user.init_of("v1") != 0, 30, 0.5), log_of(user)
    assert user.shows("lxc@v1", "ActiveState") == "active"
    main = user.shows("lxc@v1", "MainPID")
    assert Path(f"/proc/{user.init_of('v1')}/status").read_text().partition("PPid:\t")[2].split()[0] == main
    assert "/lxc@v1.service/" in place(user.init_of("v1"))
    user.run("systemctl", "--user", "stop", "lxc@v1")
    assert user.shows("lxc@v1", "ActiveState") == "inactive" and user.shows("lxc@v1", "Result") == "success", log_of(user)
    assert user.init_of("v1") == 0
