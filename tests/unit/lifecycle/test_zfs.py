# SPDX-License-Identifier: LGPL-2.1-or-later
"""Snapshots and restores of containers on zfs, against a stand-in that keeps zfs's rules about clones: the kernel here has no zfs."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from lxctools import log, process
from lxctools.lifecycle import snapshot, steps
from lxctools.lifecycle.destroy import destroy
from lxctools.lifecycle.recover import settle
from lxctools.linux import detached
from lxctools.linux import mount as kernel
from lxctools.storage import zfs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
FAKE = Path(__file__).parents[1] / "storage" / "fake_zfs.py"


class Pool:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "pool"
        self.path.write_text(json.dumps({"tank": {"origin": "-", "snapshots": []}}))

    def all(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.path.read_text())
        del found["tank"]
        return found

    def add(self, name: str) -> None:
        self.path.write_text(json.dumps({"tank": {"origin": "-", "snapshots": []}} | self.all() | {name: {"origin": "-", "snapshots": []}}))


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pool:
    made = Pool(tmp_path)
    program = tmp_path / "zfs"
    program.write_text(f'#!/bin/sh\nSTATE={made.path} exec /usr/bin/python3 {FAKE} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(process, "find", lambda name: str(program) if name == "zfs" else None)
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    monkeypatch.setattr(zfs, "open_mount", lambda path, options="", *, read_only=False: detached.bind(kernel.AT_FDCWD, str(root)))
    return made


@pytest.fixture
def lxcpath(tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the containers c1 and c2."""
    monkeypatch.setattr("lxctools.paths.runtime_dir", lambda: str(tmp_path / "run"))
    (tmp_path / "mnt").mkdir()
    for name in ("c1", "c2"):
        (tmp_path / "lxc" / name / "rootfs").mkdir(parents=True)
        (tmp_path / "lxc" / name / "config").write_text(f"lxc.rootfs.path = zfs:tank/{name}\nlxc.rootfs.mount = {tmp_path}/mnt\n")
        pool.add(f"tank/{name}")
    return str(tmp_path / "lxc")


def dataset(folder: str) -> str:
    lines = Path(f"{folder}/config").read_text().splitlines()
    return next(line.partition("zfs:")[2] for line in lines if line.startswith("lxc.rootfs.path"))


def test_every_container_has_its_snap0(lxcpath: str, pool: Pool) -> None:
    for name in ("c1", "c2"):
        assert snapshot.create(name, lxcpath, quiet=True) == "snap0"
    assert dataset(f"{lxcpath}/c1/snaps/snap0") == "tank/snap0"  # as C LXC calls it
    assert dataset(f"{lxcpath}/c2/snaps/snap0") == "tank/snap0.1"
    assert pool.all()["tank/snap0.1"]["origin"] == "tank/c2@snap0.1"
    for name in ("c1", "c2"):
        snapshot.remove(name, lxcpath, "snap0")
        destroy(name, lxcpath)
    assert pool.all() == {}


def test_restored_in_place(lxcpath: str, pool: Pool) -> None:
    snapshot.create("c1", lxcpath, quiet=True)
    snapshot.create("c1", lxcpath, quiet=True)
    for name, now in (("snap0", "tank/c1.1"), ("snap1", "tank/c1"), ("snap0", "tank/c1.1")):
        snapshot.restore("c1", lxcpath, name, quiet=True)
        assert dataset(f"{lxcpath}/c1") == now
        assert sorted(pool.all()) == sorted(["tank/c2", "tank/snap0", "tank/snap1", now])
        assert sorted(os.listdir(f"{lxcpath}/c1")) == ["config", "rootfs", "snaps"]
    snapshot.remove("c1", lxcpath, "snap0")
    snapshot.remove("c1", lxcpath, "snap1")
    assert sorted(pool.all()) == ["tank/c1.1", "tank/c2"]
    destroy("c1", lxcpath)
    assert pool.all() == {"tank/c2": {"origin": "-", "snapshots": []}}


@pytest.mark.parametrize("step", ["write the configuration", "put into place", "remove the old state"])
def test_a_killed_restore(lxcpath: str, pool: Pool, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    snapshot.create("c1", lxcpath, quiet=True)
    pid = os.fork()
    if pid == 0:
        steps.hook = lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == step else None
        try:
            snapshot.restore("c1", lxcpath, "snap0", quiet=True)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert len(pool.all()) == 4
    monkeypatch.setattr(log, "tell", lambda text: None)
    settle("c1", lxcpath)
    now = "tank/c1" if step == "write the configuration" else "tank/c1.1"
    assert dataset(f"{lxcpath}/c1") == now
    assert sorted(pool.all()) == sorted([now, "tank/c2", "tank/snap0"])
