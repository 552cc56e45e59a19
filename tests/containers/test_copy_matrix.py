# SPDX-License-Identifier: LGPL-2.1-or-later
"""From which storage to which a container can be copied, as a snapshot and whole; what comes out is what went in.

Every cell for what this host can make; lvm is in tests/containers/test_storage_contract.py, in a machine that has it. The trees have
one of everything, and every inode's type, mode, owner, times, attributes, lists, links and content are compared.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lxctools import files
from lxctools.config.conf import Config
from lxctools.errors import LxcError
from lxctools.lifecycle import export as exporting
from lxctools.lifecycle import snapshot
from lxctools.lifecycle.copy import Source, Wishes, copy
from lxctools.lifecycle.destroy import destroy
from lxctools.lifecycle.export import export
from lxctools.lifecycle.import_ import import_container
from lxctools.lifecycle.rename import rename
from lxctools.storage import backend as storage
from lxctools.storage import place
from tests import host
from tests.treecmp import describe_tree, differences
from tests.trees import Disk, fill

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mkfs.btrfs"), reason="needs root and btrfs-progs")

KINDS = ("dir", "overlay", "btrfs", "loop")
SIZE = {"fssize": str(64 << 20)}
SNAPSHOTS = {("dir", "overlay"), ("overlay", "overlay"), ("btrfs", "btrfs")}
DEFAULT = {"dir": "overlay", "overlay": "overlay", "btrfs": "btrfs"}  # of a snapshot copy
NOT_HERE = {"zfs": "zfsutils-linux", "lvm": "lvm2|no volume|not found|cannot make", "rbd": "ceph-common", "nbd": "cannot be made", "aufs": "overlay", "nosuch": "no storage backend"}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = Disk("btrfs", tmp_path_factory.mktemp("matrix"))
    try:
        yield made.at
    finally:
        host.unmount_below(made.at)


@pytest.fixture
def lxcpath(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """On btrfs, where every kind can be."""
    monkeypatch.setattr("lxctools.paths.runtime_dir", lambda: str(tmp_path / "run"))
    monkeypatch.setattr("lxctools.storage.backend.DEFAULT_SIZE", 64 << 20)
    folder = disk / tmp_path.name
    folder.mkdir()
    yield folder
    files.remove_tree(str(folder))


def container(lxcpath: Path, kind: str) -> Path:
    """A container c1 of this kind with one of everything in it; returns its folder."""
    folder = lxcpath / "c1"
    folder.mkdir()
    module = storage.load(kind)
    value, made = module.create(storage.Spec(str(folder), "c1", SIZE))
    assert made
    with place.opened_to_fill(module, value.partition(":")[2]) as root:
        like = Disk.__new__(Disk)
        like.kind, like.at = kind, Path(root.path)
        fill(like.at / "tree", like)
    (folder / "config").write_text(f"lxc.rootfs.path = {value}\nlxc.uts.name = c1\n")
    return folder


def kind_of(folder: Path) -> str:
    return storage.type_of(Config.read(str(folder / "config")))


def tree(folder: Path) -> dict[str, dict[str, Any]]:
    """What is in the root file system of a container. Attributes as of chattr(1) are not seen through an overlay."""
    conf = Config.read(str(folder / "config"))
    module = storage.for_config(conf)
    with place.opened(module, str.__str__(conf["lxc.rootfs.path"])) as root:
        found = describe_tree(f"{root.path}/.", holes=False, flags=False)
    found.pop("lost+found", None)  # that of a new file system
    return found


def same(before: dict[str, dict[str, Any]], folder: Path) -> list[str]:
    """In what a container differs. An overlay's top is its upper folder, with times of its own, and it does not show its own marks."""
    lines = differences(before, tree(folder))
    if kind_of(folder) == "overlay":
        return [line for line in lines if not line.startswith((".: atime", ".: mtime")) and "trusted.overlay.opaque" not in line]
    return lines


def names(lxcpath: Path) -> list[str]:
    return sorted(os.listdir(lxcpath))


@pytest.mark.parametrize("target", ["", *KINDS])
@pytest.mark.parametrize("source", KINDS)
def test_copy(lxcpath: Path, source: str, target: str) -> None:
    before = tree(container(lxcpath, source))
    copy(Source("c1", str(lxcpath)), "c2", str(lxcpath), Wishes(backend=target, options=SIZE, quiet=True))
    assert kind_of(lxcpath / "c2") == (target or source)
    assert same(before, lxcpath / "c2") == []
    if (source, target) not in (("overlay", "overlay"), ("overlay", "")):  # which share the lower folder
        destroy("c1", str(lxcpath))
        assert same(before, lxcpath / "c2") == []
    destroy("c2", str(lxcpath))


@pytest.mark.parametrize("source", KINDS)
def test_copy_to_another_lxcpath(lxcpath: Path, source: str) -> None:
    """A folder, but for btrfs, which shares what is equal."""
    before = tree(container(lxcpath, source))
    (lxcpath / "other").mkdir()
    copy(Source("c1", str(lxcpath)), "c2", str(lxcpath / "other"), Wishes(quiet=True))
    assert kind_of(lxcpath / "other/c2") == ("btrfs" if source == "btrfs" else "dir")
    assert same(before, lxcpath / "other/c2") == []


@pytest.mark.parametrize("target", ["", *KINDS])
@pytest.mark.parametrize("source", KINDS)
def test_snapshot_copy(lxcpath: Path, source: str, target: str) -> None:
    folder = container(lxcpath, source)
    before = tree(folder)
    wanted = Wishes(backend=target, snapshot=True, options=SIZE, quiet=True)
    if (source, target or DEFAULT.get(source)) in SNAPSHOTS:
        copy(Source("c1", str(lxcpath)), "c2", str(lxcpath), wanted)
        assert kind_of(lxcpath / "c2") == (target or DEFAULT[source])
        assert same(before, lxcpath / "c2") == []
        destroy("c2", str(lxcpath))
    else:
        with pytest.raises(LxcError, match="snapshot") as caught:
            copy(Source("c1", str(lxcpath)), "c2", str(lxcpath), wanted)
        assert caught.value.remedy == "copy it without -s"
    assert names(lxcpath) == ["c1"]
    assert same(before, folder) == []


@pytest.mark.parametrize("snapshots", [False, True])
@pytest.mark.parametrize("target", NOT_HERE)
@pytest.mark.parametrize("source", KINDS)
def test_what_cannot_be_made_here(lxcpath: Path, source: str, target: str, *, snapshots: bool) -> None:
    """The error names the reason, and nothing is left."""
    folder = container(lxcpath, source)
    with pytest.raises(LxcError) as caught:
        copy(Source("c1", str(lxcpath)), "c2", str(lxcpath), Wishes(backend=target, snapshot=snapshots, quiet=True))
    assert re.search(f"snapshot|{NOT_HERE[target]}", str(caught.value)) and caught.value.remedy, caught.value
    assert names(lxcpath) == ["c1"] and kind_of(folder) == source


@pytest.mark.parametrize("source", KINDS)
def test_snapshot_and_restore(lxcpath: Path, source: str) -> None:
    folder = container(lxcpath, source)
    before = tree(folder)
    snapshot.create("c1", str(lxcpath), quiet=True)
    assert kind_of(folder / "snaps/snap0") == ("dir" if source == "loop" else source)
    assert same(before, folder / "snaps/snap0") == []
    change(folder)
    assert same(before, folder) != []
    snapshot.restore("c1", str(lxcpath), "snap0", "c2", quiet=True)
    assert same(before, lxcpath / "c2") == []
    destroy("c2", str(lxcpath))
    snapshot.restore("c1", str(lxcpath), "snap0", quiet=True)
    assert kind_of(folder) == source and same(before, folder) == []
    snapshot.remove_all("c1", str(lxcpath))
    assert same(before, folder) == []
    destroy("c1", str(lxcpath))
    assert names(lxcpath) == []


def change(folder: Path) -> None:
    conf = Config.read(str(folder / "config"))
    with place.opened(storage.for_config(conf), str.__str__(conf["lxc.rootfs.path"])) as root:
        os.unlink(f"{root.path}/tree/etc/passwd")
        Path(f"{root.path}/tree/etc/shadow").write_text("changed")
        os.mkdir(f"{root.path}/new")


@pytest.mark.parametrize("source", KINDS)
def test_rename(lxcpath: Path, source: str) -> None:
    before = tree(container(lxcpath, source))
    rename("c1", str(lxcpath), "c2")
    assert names(lxcpath) == ["c2"] and kind_of(lxcpath / "c2") == source
    assert same(before, lxcpath / "c2") == []


@pytest.mark.skipif(not shutil.which("zstd"), reason="needs zstd")
@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_export_and_import(lxcpath: Path, source: str, target: str) -> None:
    before = tree(container(lxcpath, source))
    export(Source("c1", str(lxcpath)), str(lxcpath / "archive"), exporting.Wishes(quiet=True))
    import_container(str(lxcpath / "archive"), "c2", str(lxcpath), backend=target, quiet=True)
    assert kind_of(lxcpath / "c2") == target
    assert same(before, lxcpath / "c2") == []
