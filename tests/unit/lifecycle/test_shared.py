# SPDX-License-Identifier: LGPL-2.1-or-later
"""What others use is not removed, whether or not there is a record of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lxctools.errors import LxcError, NotDefined
from lxctools.lifecycle import removal
from lxctools.lifecycle.destroy import destroy
from lxctools.lifecycle.shared import refuse_shared

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def lxcpath(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("lxctools.paths.runtime_dir", lambda: str(tmp_path / "run"))
    folder = tmp_path / "lxc"
    container(folder, "c1", f"dir:{folder}/c1/rootfs")
    (folder / "c1/rootfs").mkdir()
    return folder


def container(lxcpath: Path, name: str, root: str) -> None:
    (lxcpath / name).mkdir(parents=True)
    (lxcpath / name / "config").write_text(f"lxc.rootfs.path = {root}\n")


@pytest.mark.parametrize("place", ["c2", "c2/snaps/snap0", "c1.x"])
@pytest.mark.parametrize("lower", ["{0}/c1/rootfs", "/opt:{0}/c1/rootfs", "{0}/c1/rootfs/usr", "{0}/alias"])
def test_a_lower_folder_without_a_record(lxcpath: Path, place: str, lower: str) -> None:
    (lxcpath / "alias").symlink_to(lxcpath / "c1/rootfs")
    container(lxcpath, place, f"overlay:{lower.format(lxcpath)}:{lxcpath}/{place}/overlay/delta")
    with pytest.raises(LxcError, match=f"{os.path.basename(place)} uses .* of it"):
        destroy("c1", str(lxcpath))
    assert sorted(os.listdir(lxcpath / "c1")) == ["config", "rootfs"]


def test_a_snapshot_that_is_a_lower_folder(lxcpath: Path) -> None:
    container(lxcpath, "c1/snaps/snap0", f"dir:{lxcpath}/c1/snaps/snap0/rootfs")
    (lxcpath / "c1/snaps/snap0/rootfs").mkdir()
    container(lxcpath, "c2", f"overlay:{lxcpath}/c1/snaps/snap0/rootfs:{lxcpath}/c2/overlay/delta")
    with pytest.raises(LxcError, match="c2 uses"):
        destroy("snap0", f"{lxcpath}/c1/snaps")
    assert (lxcpath / "c1/snaps/snap0/rootfs").is_dir()


@pytest.mark.parametrize("root", ["dir:{0}/c10/rootfs", "dir:/", "overlay:{0}/c10/rootfs:{0}/c2/overlay/delta", "zfs:tank/c1", "lvm:/dev/vg/c1"])
def test_what_is_not_shared(lxcpath: Path, root: str) -> None:
    container(lxcpath, "c2", root.format(lxcpath))
    destroy("c1", str(lxcpath))
    assert os.listdir(lxcpath) == ["c2"]


@pytest.mark.parametrize(
    ("thing", "root", "shared"),
    [
        ("/srv/x", "dir:/srv/x/", True),
        ("/srv/x", "dir:/srv/x/inner", True),
        ("/srv/x/inner", "dir:/srv/x", True),
        ("/srv/x", "dir:/srv/x2", False),
        ("/srv/x", "dir:/", False),
        ("/srv/x", "overlay:/srv/x:/srv/y/delta", True),
        ("/dev/vg/c1", "lvm:/dev/vg/c1", True),
        ("/dev/vg/c1", "lvm:/dev/vg/c10", False),
        ("tank/c1", "zfs:tank/c1", True),
        ("tank/c1", "zfs:tank/c1/inner", True),
        ("tank/c1/inner", "zfs:tank/c1", True),
        ("tank/c1", "zfs:tank/c10", False),
    ],
)
def test_outside(lxcpath: Path, monkeypatch: pytest.MonkeyPatch, *, thing: str, root: str, shared: bool) -> None:
    monkeypatch.chdir(lxcpath)
    (lxcpath / "tank/c1").mkdir(parents=True)  # a dataset's name is no path, though it looks like one
    container(lxcpath, "c2", root)
    if shared:
        with pytest.raises(LxcError, match=f"refusing to remove {thing}: c2 uses it too"):
            refuse_shared(f"{lxcpath}/c1", [thing])
    else:
        refuse_shared(f"{lxcpath}/c1", [thing])


def test_a_root_file_system_in_an_included_file(lxcpath: Path) -> None:
    container(lxcpath, "c2", "")
    (lxcpath / "inc").write_text(f"lxc.rootfs.path = dir:{lxcpath}/c1/rootfs\n")
    (lxcpath / "c2/config").write_text(f"lxc.include = {lxcpath}/inc\n")
    with pytest.raises(LxcError, match="c2 uses"):
        destroy("c1", str(lxcpath))


@pytest.mark.parametrize("snapshots", [False, True])
def test_a_plan_for_a_container_that_is_not_defined(tmp_path: Path, snapshots: bool) -> None:
    with pytest.raises(NotDefined, match=f"Container is not defined .lxc-ls -P {tmp_path} lists"):
        removal.plan("c1", str(tmp_path), snapshots=snapshots)


def test_what_is_no_snapshot_is_seen_before_the_snapshots_go(lxcpath: Path) -> None:
    saved = lxcpath / "c1/snaps"
    container(saved, "snap0", f"dir:{saved}/snap0/rootfs")
    (saved / "snap0/rootfs").mkdir()
    (saved / "note\n").touch()
    for removing in (lambda: removal.plan("c1", str(lxcpath), snapshots=True), lambda: removal.destroy_all("c1", str(lxcpath))):
        with pytest.raises(LxcError, match=r"no snapshot of c1: note\\n "):
            removing()
        assert (saved / "snap0/rootfs").is_dir()
    (saved / "note\n").unlink()
    removal.destroy_all("c1", str(lxcpath))
    assert not (lxcpath / "c1").exists()
