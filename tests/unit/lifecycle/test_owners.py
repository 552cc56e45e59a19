# SPDX-License-Identifier: LGPL-2.1-or-later
"""The folders of a container with id maps belong to its root, whichever way the container was made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxctools.errors import LxcError
from lxctools.lifecycle import export as exporting
from lxctools.lifecycle.copy import Source, Wishes, copy
from lxctools.lifecycle.create import create
from lxctools.lifecycle.export import export
from lxctools.lifecycle.import_ import import_container
from tests import host
from tests.trees import Disk

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("zstd"), reason="needs root and zstd")
ROOT = 100000
OVERLAY = ["", "overlay", "overlay/delta", "rootfs"]
FOLDERS = {"dir": ["", "rootfs"], "loop": ["", "rootfs"], "overlay": OVERLAY}


@pytest.fixture
def lxcpath(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """With a container c1, which has id maps."""
    monkeypatch.setattr("lxctools.paths.runtime_dir", lambda: str(tmp_path / "run"))
    at = Disk("tmpfs", tmp_path).at
    template = tmp_path / "template"
    template.write_text('#!/bin/sh\nfor word; do case $word in --rootfs=*) mkdir "${word#--rootfs=}/etc";; esac; done\n')
    template.chmod(0o755)
    (at / "conf").write_text(f"lxc.idmap = u 0 {ROOT} 65536\nlxc.idmap = g 0 {ROOT} 65536\n")
    create("c1", str(at), config_file=str(at / "conf"), template=str(template), progress=False)
    try:
        yield at
    finally:
        host.unmount_below(at)


def owned(folder: Path) -> list[str]:
    """The folders that belong to the container's root."""
    found = [folder, *(path for path in folder.rglob("*") if path.is_dir() and path.name not in ("etc", "work"))]
    return sorted(str(path.relative_to(folder)).removeprefix(".") for path in found if (path.stat().st_uid, path.stat().st_gid) == (ROOT, ROOT))


@pytest.mark.parametrize("kind", FOLDERS)
def test_create(lxcpath: Path, kind: str) -> None:
    options = {"fssize": str(16 << 20)}
    template = str(lxcpath.parent / "template")
    create("new", str(lxcpath), config_file=str(lxcpath / "conf"), template=template, backend=kind, backend_opts=options, progress=False)
    assert owned(lxcpath / "new") == FOLDERS[kind]


@pytest.mark.parametrize("kind", FOLDERS)
def test_copy(lxcpath: Path, kind: str) -> None:
    copy(Source("c1", str(lxcpath)), "new", str(lxcpath), Wishes(backend=kind, options={"fssize": str(16 << 20)}, quiet=True))
    assert owned(lxcpath / "new") == FOLDERS[kind]


def test_snapshot_copy(lxcpath: Path) -> None:
    copy(Source("c1", str(lxcpath)), "new", str(lxcpath), Wishes(snapshot=True, quiet=True))
    assert owned(lxcpath / "new") == OVERLAY


@pytest.mark.parametrize("kind", ["dir", "overlay"])
def test_import(lxcpath: Path, kind: str) -> None:
    export(Source("c1", str(lxcpath)), str(lxcpath / "c1.lxc"), exporting.Wishes(quiet=True))
    import_container(str(lxcpath / "c1.lxc"), "new", str(lxcpath), backend=kind, quiet=True)
    assert owned(lxcpath / "new") == FOLDERS[kind]


def test_the_size_of_an_imported_image(lxcpath: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds what the archive holds, also where that is more than the size that LXC gives."""
    (lxcpath / "c1/rootfs/big").write_bytes(os.urandom(40 << 20))
    export(Source("c1", str(lxcpath)), str(lxcpath / "c1.lxc"), exporting.Wishes(quiet=True))
    monkeypatch.setattr("lxctools.storage.backend.DEFAULT_SIZE", 16 << 20)

    def size(name: str, **options: str) -> int:
        import_container(str(lxcpath / "c1.lxc"), name, str(lxcpath), backend="loop", backend_opts=options, quiet=True)
        return (lxcpath / name / "rootdev").stat().st_size - 1

    assert 50 << 20 <= size("c2") < 51 << 20
    assert size("c3", fssize=str(90 << 20)) == 90 << 20
    with pytest.raises(LxcError, match="No space left"):
        size("c4", fssize=str(20 << 20))
    assert not (lxcpath / "c4").exists()
    monkeypatch.undo()
