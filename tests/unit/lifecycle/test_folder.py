# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a killed lxc-create left, and removing a container's folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lxctools import locks, log
from lxctools.errors import LxcError
from lxctools.lifecycle.folder import clear_abandoned, remove_folder
from lxctools.storage import lvm


def abandoned(lxcpath: Path, *made: Path) -> Path:
    """A container whose creator died after it had made these folders."""
    folder = lxcpath / "c1"
    folder.mkdir(exist_ok=True)
    mark = locks.PartialLock(str(folder))
    for path in made:
        path.mkdir(parents=True, exist_ok=True)
        (path / "file").touch()
        mark.note(str(path))
    os.close(mark._fd)  # as the kernel does it for a dead process
    (folder / "config").write_text("lxc.uts.name = c1\n")
    return folder


def test_what_the_creation_made_goes(tmp_path: Path) -> None:
    folder = abandoned(tmp_path, tmp_path / "c1", tmp_path / "c1/rootfs", tmp_path / "elsewhere")
    assert locks.partial_state(str(tmp_path), "c1") == locks.ABANDONED
    assert clear_abandoned("c1", str(tmp_path)) is True
    assert not folder.exists()
    assert os.listdir(tmp_path) == []
    assert clear_abandoned("c1", str(tmp_path)) is False


def test_the_file_system_has_another_number_after_a_reboot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As btrfs, zfs, NFS and the device mapper number theirs."""
    abandoned(tmp_path, tmp_path / "c1", tmp_path / "c1/rootfs")
    (tmp_path / "c1/rootfs/half").touch()

    def renumbered(real: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
        def call(*args: Any, **kwargs: Any) -> os.stat_result:
            fields = list(real(*args, **kwargs))
            fields[2] += 1
            return os.stat_result(fields)

        return call

    with monkeypatch.context() as patch:
        for name in ("stat", "lstat", "fstat"):
            patch.setattr(os, name, renumbered(getattr(os, name)))
        made = locks.noted(str(tmp_path), "c1")
    assert made == [str(tmp_path / "c1"), str(tmp_path / "c1/rootfs")]


def test_a_folder_that_was_there_before_stays_with_what_is_not_the_creation_s(tmp_path: Path) -> None:
    (tmp_path / "c1").mkdir()
    (tmp_path / "c1/notes").write_text("mine")
    (tmp_path / "users").mkdir()
    folder = abandoned(tmp_path, tmp_path / "c1/rootfs")
    clear_abandoned("c1", str(tmp_path))
    assert os.listdir(folder) == ["notes"]
    assert (tmp_path / "users").exists()


def test_a_folder_that_somebody_has_put_in_the_place_of_a_made_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    abandoned(tmp_path, tmp_path / "c1", elsewhere)
    elsewhere.rename(tmp_path / "moved")
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    said: list[str] = []
    monkeypatch.setattr(log, "tell", said.append)
    clear_abandoned("c1", str(tmp_path))
    assert said == [f"left {elsewhere} alone: it is not the folder that the interrupted command had there"]
    assert (elsewhere / "precious").exists()
    assert (tmp_path / "moved/file").exists()


def test_a_mark_of_the_c_implementation_says_nothing_and_means_the_folder(tmp_path: Path) -> None:
    folder = abandoned(tmp_path)
    (folder / "rootfs").mkdir()
    assert (folder / "partial").stat().st_size == 0
    clear_abandoned("c1", str(tmp_path))
    assert not folder.exists()


def test_a_volume_that_the_creation_made_goes(tmp_path: Path) -> None:
    (tmp_path / "rootdev").touch()
    (tmp_path / "other").touch()
    folder = tmp_path / "c1"
    folder.mkdir()
    mark = locks.PartialLock(str(folder))
    for value in (str(folder), f"loop:{tmp_path}/other", f"loop:{tmp_path}/rootdev"):
        mark.note(value)
    mark.gone(f"loop:{tmp_path}/other")
    mark.abandon()
    assert clear_abandoned("c1", str(tmp_path)) is True
    assert os.listdir(tmp_path) == ["other"]


@pytest.mark.parametrize("carried", ["lxctools-1", "another", ""])
def test_a_volume_that_a_program_may_have_made_goes_if_it_has_the_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, carried: str) -> None:
    removed: list[str] = []
    monkeypatch.setattr(lvm, "has_mark", lambda path, mark: (path, mark) == ("/dev/vg/c1", carried))
    monkeypatch.setattr(lvm, "destroy", lambda path, beat, maps: removed.append(path))
    folder = tmp_path / "c1"
    folder.mkdir()
    mark = locks.PartialLock(str(folder))
    mark.note(str(folder))
    mark.intend("lvm:/dev/vg/c1", "lxctools-1")
    mark.abandon()
    assert clear_abandoned("c1", str(tmp_path)) is True
    assert removed == (["/dev/vg/c1"] if carried == "lxctools-1" else [])
    assert os.listdir(tmp_path) == []


def test_what_was_made_is_no_intention_any_more(tmp_path: Path) -> None:
    folder = tmp_path / "c1"
    folder.mkdir()
    mark = locks.PartialLock(str(folder))
    mark.intend("lvm:/dev/vg/c1", "lxctools-1")
    assert locks.intended(str(tmp_path), "c1") == [("lvm:/dev/vg/c1", "lxctools-1")]
    assert locks.noted(str(tmp_path), "c1") == []
    mark.note("lvm:/dev/vg/c1")
    assert locks.intended(str(tmp_path), "c1") == []
    assert locks.noted(str(tmp_path), "c1") == ["lvm:/dev/vg/c1"]
    mark.release()


def test_an_empty_mark_beside_a_root_file_system_elsewhere(tmp_path: Path) -> None:
    """Of a removal killed at once, or of C LXC's creation: without the folder nobody would know of the volume."""
    folder = abandoned(tmp_path)
    (tmp_path / "rootdev").touch()
    (folder / "config").write_text(f"lxc.rootfs.path = loop:{tmp_path}/rootdev\n")
    with pytest.raises(LxcError, match=f"its root file system {tmp_path}/rootdev lies outside of it .remove {folder}/partial"):
        clear_abandoned("c1", str(tmp_path))
    assert (folder / "config").exists()
    (tmp_path / "rootdev").unlink()
    assert clear_abandoned("c1", str(tmp_path)) is True


def test_a_note_that_was_not_written_to_its_end_is_passed_over(tmp_path: Path) -> None:
    folder = abandoned(tmp_path, tmp_path / "c1", tmp_path / "elsewhere")
    os.chmod(folder / "partial", 0o600)
    data = (folder / "partial").read_bytes()
    (folder / "partial").write_bytes(data[:-1])
    assert locks.noted(str(tmp_path), "c1") == [str(folder)]


def test_names_of_any_bytes_are_noted(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"with blank\nand \xff")
    abandoned(tmp_path, odd)
    assert locks.noted(str(tmp_path), "c1") == [str(odd)]


def test_a_creation_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "c1").mkdir()
    mark = locks.PartialLock(str(tmp_path / "c1"))
    try:
        with pytest.raises(LxcError, match="is being created"):
            clear_abandoned("c1", str(tmp_path))
        assert (tmp_path / "c1/partial").exists()
    finally:
        mark.release()
    assert locks.partial_state(str(tmp_path), "c1") == locks.ABSENT


def test_the_configuration_goes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "c1"
    (folder / "rootfs").mkdir(parents=True)
    for name in ("config", "a", "z"):
        (folder / name).touch()
    seen: list[str] = []
    unlink = os.unlink

    def record(path: str, **options: int) -> None:
        seen.append(os.path.basename(path))
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", record)
    remove_folder(str(folder), "config")
    assert seen[-1] == "config" and set(seen) == {"a", "z", "config"}
    assert not folder.exists()
    remove_folder(str(folder), "config")  # gone already


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    folder, mine = tmp_path / "c1", tmp_path / "mine"
    folder.mkdir()
    mine.mkdir()
    (mine / "precious").touch()
    (folder / "rootfs").symlink_to(mine)
    remove_folder(str(folder), "config")
    assert (mine / "precious").exists()
