# SPDX-License-Identifier: LGPL-2.1-or-later
"""Copies, snapshots and removals that meet: what the other command has done is seen once the lock is there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lxctools import locks
from lxctools.errors import LxcError, NotDefined
from lxctools.lifecycle import export as exporting
from lxctools.lifecycle import snapshot, steps
from lxctools.lifecycle.copy import Source, Wishes, copy
from lxctools.lifecycle.destroy import destroy
from lxctools.lifecycle.export import export
from lxctools.lifecycle.import_ import import_container

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


class Interrupted(BaseException):
    pass


@pytest.fixture
def interrupted_at_the_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """SIGTERM, which is an exception as in the commands, as soon as the mark of something made has gone."""
    real = locks.PartialLock.release

    def release(self: locks.PartialLock) -> None:
        real(self)
        os.kill(os.getpid(), signal.SIGTERM)

    def interrupt(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Interrupted

    monkeypatch.setattr(locks.PartialLock, "release", release)
    before = signal.signal(signal.SIGTERM, interrupt)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("interrupted_at_the_end")
def test_interrupted_at_the_end_of_a_copy(lxcpath: str) -> None:
    with pytest.raises(Interrupted):
        copy(Source("c1", lxcpath), "c2", lxcpath, Wishes(quiet=True))
    assert sorted(os.listdir(f"{lxcpath}/c2")) == ["config", "rootfs"]


@pytest.mark.usefixtures("interrupted_at_the_end")
def test_interrupted_at_the_end_of_a_snapshot(lxcpath: str) -> None:
    with pytest.raises(Interrupted):
        snapshot.create("c1", lxcpath, quiet=True)
    assert sorted(os.listdir(f"{lxcpath}/c1/snaps/snap0")) == ["config", "rootfs", "ts"]


@pytest.mark.skipif(not os.path.exists("/usr/bin/zstd"), reason="needs zstd")
def test_interrupted_at_the_end_of_an_import(lxcpath: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    export(Source("c1", lxcpath), str(tmp_path / "c1.lxc"), exporting.Wishes(quiet=True))
    request.getfixturevalue("interrupted_at_the_end")
    with pytest.raises(Interrupted):
        import_container(str(tmp_path / "c1.lxc"), "c2", lxcpath, quiet=True)
    assert sorted(os.listdir(f"{lxcpath}/c2")) == ["config", "rootfs"]


@pytest.mark.parametrize("there", [True, False])
def test_a_killed_copy_has_noted_what_it_makes(lxcpath: str, monkeypatch: pytest.MonkeyPatch, *, there: bool) -> None:
    """Before it is filled, also in a folder that was there and is not noted as a whole."""
    if there:
        os.mkdir(f"{lxcpath}/c2")
        Path(f"{lxcpath}/c2/notes").touch()
    noted: list[str] = []
    monkeypatch.setattr(steps, "hook", lambda name: noted.extend(locks.noted(lxcpath, "c2")) if name == "copying" else None)
    copy(Source("c1", lxcpath), "c2", lxcpath, Wishes(quiet=True))
    assert f"{lxcpath}/c2/rootfs" in noted


def test_a_removal_notes_a_root_file_system_that_is_no_folder(lxcpath: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = f"{lxcpath}.image"
    Path(image).touch()
    Path(f"{lxcpath}/c1/config").write_text(f"lxc.rootfs.path = loop:{image}\n")
    noted: dict[str, list[str]] = {}

    def look(name: str) -> None:
        if name in ("remove the root file system", "forget dependencies"):
            noted[name] = locks.noted(lxcpath, "c1")

    monkeypatch.setattr(steps, "hook", look)
    destroy("c1", lxcpath)
    assert noted == {
        "remove the root file system": [f"{lxcpath}/c1", f"loop:{image}"],
        "forget dependencies": [f"{lxcpath}/c1"],
    }
    assert not os.path.exists(image)


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


@pytest.mark.parametrize("root", ["lvm:/dev/vg/c1", "rbd:/dev/rbd/lxc/c1", "nbd:/image"])
def test_no_snapshot_of_what_the_backend_says_it_cannot_back_up(lxcpath: str, root: str) -> None:
    Path(f"{lxcpath}/c1/config").write_text(f"lxc.rootfs.path = {root}\n")
    with pytest.raises(LxcError, match="c1's backing store cannot be backed up: storage of the type"):
        snapshot.create("c1", lxcpath, quiet=True)


def test_what_may_be_backed_up_is_the_backends_word(lxcpath: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lxctools.storage.dir.INFO.can_backup", False)
    with pytest.raises(LxcError, match="c1's backing store cannot be backed up"):
        snapshot.create("c1", lxcpath, quiet=True)
