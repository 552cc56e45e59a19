# SPDX-License-Identifier: LGPL-2.1-or-later
"""Copies, snapshots and removals that meet: what the other command has done is seen once the lock is there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lxctools import locks
from lxctools.errors import LxcError, NotDefined
from lxctools.lifecycle import snapshot
from lxctools.lifecycle.copy import Source, Wishes, copy
from lxctools.lifecycle.destroy import destroy

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def lxcpath(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """With a container c1."""
    monkeypatch.setattr("lxctools.paths.runtime_dir", lambda: str(tmp_path / "run"))
    folder = tmp_path / "lxc"
    (folder / "c1/rootfs/etc").mkdir(parents=True)
    (folder / "c1/rootfs/etc/precious").write_text("kept")
    (folder / "c1/config").write_text(f"lxc.rootfs.path = dir:{folder}/c1/rootfs\nlxc.uts.name = c1\n")
    return str(folder)


def before_the_lock(monkeypatch: pytest.MonkeyPatch, name: str, other: Callable[[], object]) -> None:
    """The next command that takes the lock of name gets it when other has come to its end."""
    real = locks.ContainerLock.__enter__
    waiting = [other]

    def enter(self: locks.ContainerLock) -> locks.ContainerLock:
        if waiting and self._path.endswith(f"/.{name}"):
            waiting.pop()()
        return real(self)

    monkeypatch.setattr(locks.ContainerLock, "__enter__", enter)


def clone(lxcpath: str) -> None:
    copy(Source("c1", lxcpath), "c2", lxcpath, Wishes(snapshot=True, quiet=True))


def test_destroy_after_a_clone(lxcpath: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before_the_lock(monkeypatch, "c1", lambda: clone(lxcpath))
    with pytest.raises(LxcError, match="c1 has clones: c2"):
        destroy("c1", lxcpath)
    assert os.path.exists(f"{lxcpath}/c1/rootfs/etc/precious")


def test_destroy_after_a_snapshot(lxcpath: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before_the_lock(monkeypatch, "c1", lambda: snapshot.create("c1", lxcpath, quiet=True))
    with pytest.raises(LxcError, match="c1 has snapshots: snap0"):
        destroy("c1", lxcpath)
    assert os.path.exists(f"{lxcpath}/c1/snaps/snap0/rootfs/etc/precious")


def test_destroy_after_a_destroy(lxcpath: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before_the_lock(monkeypatch, "c1", lambda: destroy("c1", lxcpath))
    destroy("c1", lxcpath)
    assert not os.path.exists(f"{lxcpath}/c1")


def test_destroy_removes_what_the_configuration_names_by_then(lxcpath: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def move() -> None:
        os.rename(f"{lxcpath}/c1/rootfs", f"{lxcpath}.outside")
        os.mkdir(f"{lxcpath}/c1/rootfs")
        Path(f"{lxcpath}/c1/config").write_text(f"lxc.rootfs.path = dir:{lxcpath}.outside\n")

    before_the_lock(monkeypatch, "c1", move)
    destroy("c1", lxcpath)
    assert not os.path.exists(f"{lxcpath}.outside")


def test_restore_after_a_clone(lxcpath: str, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot.create("c1", lxcpath, quiet=True)
    before_the_lock(monkeypatch, "c1", lambda: clone(lxcpath))
    inode = os.stat(f"{lxcpath}/c1/rootfs").st_ino
    with pytest.raises(LxcError, match="dependent snapshots: c2"):
        snapshot.restore("c1", lxcpath, "snap0", quiet=True)
    assert os.stat(f"{lxcpath}/c1/rootfs").st_ino == inode


def test_copy_takes_what_the_configuration_names_by_then(lxcpath: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def move() -> None:
        os.rename(f"{lxcpath}/c1/rootfs", f"{lxcpath}/c1/moved")
        os.mkdir(f"{lxcpath}/c1/rootfs")
        Path(f"{lxcpath}/c1/config").write_text(f"lxc.rootfs.path = dir:{lxcpath}/c1/moved\n")

    source = Source("c1", lxcpath)
    before_the_lock(monkeypatch, "c1", move)
    copy(source, "c2", lxcpath, Wishes(quiet=True))
    assert os.path.exists(f"{lxcpath}/c2/rootfs/etc/precious")


def test_copy_after_a_destroy(lxcpath: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source("c1", lxcpath)
    before_the_lock(monkeypatch, "c1", lambda: destroy("c1", lxcpath))
    with pytest.raises(NotDefined):
        copy(source, "c2", lxcpath, Wishes(quiet=True))
    assert os.listdir(lxcpath) == []
