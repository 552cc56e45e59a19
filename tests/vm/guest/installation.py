# SPDX-License-Identifier: LGPL-2.1-or-later
"""The guest with the checkout installed over C LXC's package, and back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import host

UNITS = ("lxc.service", "lxc-net.service", "lxc-monitord.service")
# What the image masks, so that nothing starts by itself in the other tests.
MASKED = UNITS[:2]
# Present when this boot is that of an installed system: tests/vm/test_boot.py.
BOOTED = Path("/var/lib/lxctools-tests/booted")
_PACKAGES = ("lxc", "liblxc-common", "lxc-templates")
_APPARMOR = [Path("/etc/apparmor.d") / name for name in ("lxc", "lxc-containers", "usr.bin.lxc-start", "abstractions/lxc")]
_BACKUP = Path("/var/lib/lxctools-tests/c-lxc.tar")
_STAGE = Path("/var/lib/lxctools-tests/stage")
LXCPATH = Path("/var/lib/lxc")


def systemctl(*words: str, check: bool = True, timeout: float = 200) -> str:
    """What systemctl prints, without its last newline."""
    done = host.run("systemctl", "--no-pager", *words, timeout=timeout)
    assert done.returncode == 0 or not check, (words, done.returncode, done.stdout, done.stderr)
    return done.stdout.decode().rstrip("\n")


def shows(unit: str, *properties: str) -> list[str]:
    """The values of a unit's properties, in the order asked for."""
    found = dict(line.split("=", 1) for line in systemctl("show", unit, *(f"-p{name}" for name in properties)).splitlines())
    return [found[name] for name in properties]


def set_up() -> None:
    """Install the checkout over the other package, with our profiles and settings in the place of its own.

    Once by tools/install, which compiles for a minute on an emulated processor, and from a copy of the outcome after that.
    """
    if not _STAGE.exists():
        host.run("env", f"DESTDIR={_STAGE}", host.CHECKOUT / "tools/install", check=True, timeout=900)
    files = [path for path in host.run("dpkg", "-L", *_PACKAGES, check=True).stdout.decode().split("\n") if path and Path(path).is_file()]
    host.run("tar", "-cf", _BACKUP, "-P", "--no-recursion", "-T", "-", input="\n".join(files).encode(), check=True)
    for path in _APPARMOR:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    copy = f"tar -C {_STAGE} -c . | tar -C / -x --keep-directory-symlink --no-overwrite-dir"
    host.run("sh", "-c", copy, check=True, timeout=300)
    systemctl("unmask", *MASKED)
    systemctl("daemon-reload")
    host.run("systemd-tmpfiles", "--create", "lxc.conf", check=True)
    systemctl("reload-or-restart", "lxc-monitord.service")
    systemctl("enable", *UNITS)


def take_down() -> None:
    """The other package as it was."""
    systemctl("stop", *UNITS)
    systemctl("mask", *MASKED)
    host.run(host.CHECKOUT / "tools/install", "--remove", check=True)
    host.run("tar", "-xPf", _BACKUP, check=True)
    systemctl("daemon-reload")
    for name in ("usr.bin.lxc-start", "lxc-containers"):
        host.run("apparmor_parser", "-r", f"/etc/apparmor.d/{name}", check=True)


@pytest.fixture(scope="module")
def installed() -> Iterator[None]:
    """Our commands, units, profiles and settings in /usr and /etc, nothing of them running but lxc-monitord."""
    if BOOTED.exists():
        yield
        return
    set_up()
    yield
    take_down()
