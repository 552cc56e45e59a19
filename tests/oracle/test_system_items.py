# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc.conf reads as C lxc-config reads it; a key of our own there does not disturb C."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxctools import paths
from lxctools.config import system

NOBODY = 65534
LISTED = system.KEYS[:7]
TEXTS = [
    "",
    "lxc.lxcpath = /srv/ctr///\n",
    " lxc.default_config=/x/y.conf  \n",
    'lxc.bdev.lvm.vg = "vgq" # t\nlxc.bdev.lvm.vg = second\n',
    "lxc.bdev.zfs.root =\n",
    "lxc.bdev.zfs.root =",
    "lxc.bdev.lvm.thin_pool_x = foo\n",
    "#lxc.lxcpath = /a\n # lxc.lxcpath = /b\n",
    "lxc.lxcpath = /a\r\n",
    "lxc.lxcpath /a = /b\n",
    "lxc.lxcpath = \n",
    "lxc.hook.create = /bin/x\nlxc.lxcpath = /a\n",
    "garbage\nlxc.bogus = 1\nlxc.lxcpath=/a",
    "lxc.cgroup.use = a,b\nlxc.cgroup.pattern = foo/%n\n",
    "\tlxc.lxcpath\t=\t/a\t\n",
    "xlxc.lxcpath = /q\n",
    "lxc.bdev.lvm.vg = a=b\n",
    "lxc.bdev.lvm.vg\n= x\n",
    "lxc.bdev.lvm.vg=\nlxc.bdev.lvm.vg=z\n",
    "a" * 5000 + "\nlxc.lxcpath = /z\n",
    "lxc.bdev.lvm.vg = " + "b" * 3000 + "\nlxc.lxcpath = /z\n",
]


@pytest.fixture
def home() -> Iterator[Path]:
    """A home folder that another user can read: only a user's lxc.conf can be given to C."""
    with tempfile.TemporaryDirectory(prefix="lxct.", dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        (Path(folder) / ".config" / "lxc").mkdir(parents=True)
        yield Path(folder)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_every_listed_key(home: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home / ".config" / "lxc" / "lxc.conf"
    path.write_bytes(text.encode())
    monkeypatch.setattr(paths, "is_root", lambda: False)
    monkeypatch.setenv("HOME", str(home))
    system.forget()
    for key in LISTED:
        value = system.system_value(key)
        done = subprocess.run(
            ["/usr/bin/lxc-config", key],
            capture_output=True,
            env={"HOME": str(home), "PATH": "/usr/bin"},
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
        )
        assert done.returncode == 0
        assert done.stdout.decode() == (f"{key} is not set.\n" if value is None else f"{value}\n"), key
    system.forget()
