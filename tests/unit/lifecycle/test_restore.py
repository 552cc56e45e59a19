# SPDX-License-Identifier: LGPL-2.1-or-later
"""Restoring in place: nothing of the old state is left anywhere, and the hooks see the new one."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxctools import log
from lxctools.errors import LxcError
from lxctools.lifecycle import snapshot, steps, swap
from lxctools.lifecycle.recover import settle
from lxctools.storage import loop
from tests import host
from tests.trees import Disk

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Path]:
    monkeypatch.setattr("lxctools.paths.runtime_dir", lambda: str(tmp_path / "run"))
    made = Disk(getattr(request, "param", "tmpfs"), tmp_path)
    try:
        yield made.at
    finally:
        host.unmount_below(made.at)


def container(lxcpath: Path, root: str, *more: str) -> None:
    (lxcpath / "c1").mkdir()
    (lxcpath / "c1/config").write_text("\n".join([f"lxc.rootfs.path = {root}", "lxc.uts.name = c1", *more, ""]))


def fill(root: Path) -> None:
    (root / "etc").mkdir(parents=True)
    (root / "etc/state").write_text("saved")
    (root / "etc/hostname").write_text("c1")


def snapshots_then_restores(lxcpath: Path, changed: Path) -> None:
    snapshot.create("c1", str(lxcpath), quiet=True)
    changed.write_text("changed")
    snapshot.restore("c1", str(lxcpath), "snap0", quiet=True)


def in_folder(lxcpath: Path) -> list[str]:
    return sorted(os.listdir(lxcpath / "c1"))


def test_an_old_root_file_system_elsewhere_goes(disk: Path) -> None:
    outside = disk / "outside"
    fill(outside)
    container(disk, f"dir:{outside}")
    snapshots_then_restores(disk, outside / "etc/state")
    assert (disk / "c1/rootfs/etc/state").read_text() == "saved"
    assert not outside.exists() and in_folder(disk) == ["config", "rootfs", "snaps"]


@pytest.mark.parametrize("why", ["shared", "was there before", "not managed"])
def test_one_that_is_not_its_own_stays(disk: Path, why: str) -> None:
    outside = disk / "outside"
    fill(outside)
    container(disk, f"dir:{outside}", *(["lxc.rootfs.managed = 0"] if why == "not managed" else []))
    if why == "shared":
        (disk / "c2").mkdir()
        (disk / "c2/config").write_text(f"lxc.rootfs.path = dir:{outside}\n")
    elif why == "was there before":
        (disk / "c1/rootfs.kept").write_text(f"{outside}\n")
    snapshots_then_restores(disk, outside / "etc/state")
    assert (disk / "c1/rootfs/etc/state").read_text() == "saved"
    assert (outside / "etc/state").read_text() == "changed"
    assert swap.STAGE not in in_folder(disk)


@pytest.mark.parametrize(("fstype", "size"), [("ext3", 20 << 20), ("ext4", 1100 << 20)])
def test_an_old_image_elsewhere_goes(disk: Path, fstype: str, size: int) -> None:
    """The new one is like it: C LXC makes one of 1 GiB with ext4."""
    image = disk / "image"
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run([f"mkfs.{fstype}", "-q", image], check=True)
    container(disk, f"loop:{image}")
    snapshot.create("c1", str(disk), quiet=True)
    snapshot.restore("c1", str(disk), "snap0", quiet=True)
    assert not image.exists() and f"loop:{disk}/c1/rootdev\n" in (disk / "c1/config").read_text()
    assert in_folder(disk) == ["config", "rootdev", "rootfs", "snaps"]
    assert loop.size_and_type(f"{disk}/c1/rootdev") == (size, fstype)


def subvolumes(folder: Path) -> list[str]:
    listed = subprocess.run(["btrfs", "subvolume", "list", folder], check=True, capture_output=True, text=True).stdout
    return [line.split(" path ")[1] for line in listed.splitlines()]


@pytest.mark.parametrize("disk", ["btrfs"], indirect=True)
def test_a_read_only_subvolume(disk: Path) -> None:
    """One in the old state cannot be emptied file by file; the old state itself would have to change places."""
    container(disk, f"btrfs:{disk}/c1/rootfs")
    for folder in ("rootfs", "rootfs/inner"):
        subprocess.run(["btrfs", "subvolume", "create", disk / "c1" / folder], check=True, capture_output=True)
    fill(disk / "c1/rootfs")
    (disk / "c1/rootfs/inner/file").touch()
    snapshot.create("c1", str(disk), quiet=True)
    for folder in ("rootfs/inner", "rootfs"):
        subprocess.run(["btrfs", "property", "set", disk / "c1" / folder, "ro", "true"], check=True)
    with pytest.raises(LxcError, match="Read-only") as caught:
        snapshot.restore("c1", str(disk), "snap0", quiet=True)
    assert in_folder(disk) == ["config", "rootfs", "snaps"]
    subprocess.run(str(caught.value.remedy).split(), check=True)
    snapshot.restore("c1", str(disk), "snap0", quiet=True)
    assert in_folder(disk) == ["config", "rootfs", "snaps"]
    assert sorted(subvolumes(disk)) == [
        "c1/rootfs", "c1/rootfs/inner", "c1/snaps/snap0/rootfs", "c1/snaps/snap0/rootfs/inner",
    ]  # fmt: skip


def killed_at(lxcpath: Path, name: str) -> None:
    """Restore in a child that is killed at the first step of this name."""
    pid = os.fork()
    if pid == 0:
        steps.hook = lambda step: os.kill(os.getpid(), signal.SIGKILL) if step == name else None
        try:
            snapshot.restore("c1", str(lxcpath), "snap0", quiet=True)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("step", ["write the journal", "put into place", "remove the old state"])
def test_killed_with_a_root_file_system_elsewhere(disk: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    outside = disk / "outside"
    fill(outside)
    container(disk, f"dir:{outside}")
    snapshot.create("c1", str(disk), quiet=True)
    (outside / "etc/state").write_text("changed")
    killed_at(disk, step)
    assert outside.exists()
    said: list[str] = []
    monkeypatch.setattr(log, "tell", said.append)
    settle("c1", str(disk))
    assert len(said) == 1 and swap.STAGE not in in_folder(disk)
    if step == "write the journal":
        assert (outside / "etc/state").read_text() == "changed" and not (disk / "c1/rootfs").exists()
    else:
        assert not outside.exists() and (disk / "c1/rootfs/etc/state").read_text() == "saved"


@pytest.mark.parametrize("disk", ["btrfs"], indirect=True)
@pytest.mark.parametrize("step", ["write the journal", "put into place", "remove the old state"])
def test_killed_with_subvolumes(disk: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """All subvolumes have the same inode: the configuration alone changed places, and the new state was removed."""
    container(disk, f"btrfs:{disk}/c1/rootfs")
    subprocess.run(["btrfs", "subvolume", "create", disk / "c1/rootfs"], check=True, capture_output=True)
    fill(disk / "c1/rootfs")
    snapshot.create("c1", str(disk), quiet=True)
    (disk / "c1/rootfs/etc/state").write_text("changed")
    killed_at(disk, step)
    monkeypatch.setattr(log, "tell", lambda text: None)
    settle("c1", str(disk))
    assert (disk / "c1/rootfs/etc/state").read_text() == ("changed" if step == "write the journal" else "saved")
    assert sorted(subvolumes(disk)) == ["c1/rootfs", "c1/snaps/snap0/rootfs"]


HOOK = """#!/bin/sh
{ cat "$LXC_ROOTFS_MOUNT/etc/state"; echo; echo "$LXC_ROOTFS_PATH"; grep rootfs.path "$LXC_CONFIG_FILE"; } >>"$0.told"
echo hook >"$LXC_ROOTFS_MOUNT/etc/hooked"
"""


def test_the_hook_of_an_overlay_sees_its_lower_folder(disk: Path) -> None:
    hook = disk / "hook"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    fill(disk / "c1.lower")
    upper = disk / "c1/overlay/delta"
    container(disk, f"overlay:{disk}/c1/rootfs:{upper}", f"lxc.hook.clone = {hook}", f"lxc.rootfs.mount = {disk}/mnt")
    (disk / "mnt").mkdir()
    os.rename(disk / "c1.lower", disk / "c1/rootfs")
    upper.mkdir(parents=True)
    snapshot.create("c1", str(disk), quiet=True)
    (disk / "hook.told").unlink()
    (upper / "etc").mkdir()
    (upper / "etc/state").write_text("changed")
    snapshot.restore("c1", str(disk), "snap0", quiet=True)
    value = f"overlay:{disk}/c1/rootfs:{upper}"
    assert (disk / "hook.told").read_text() == f"saved\n{value}\nlxc.rootfs.path = {value}\n"
    assert (upper / "etc/hooked").read_text() == "hook\n" and (upper / "etc/hostname").read_text() == "c1"
    assert not (upper / "etc/state").exists() and (disk / "c1/rootfs/etc/state").read_text() == "saved"
    assert in_folder(disk) == ["config", "overlay", "rootfs", "snaps"]
