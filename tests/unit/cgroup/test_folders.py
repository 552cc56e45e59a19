# SPDX-License-Identifier: LGPL-2.1-or-later
"""Folders by descriptors, in a plain folder: there a file keeps rmdir(2) from succeeding as a process does in a cgroup."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxctools.cgroup import folders


@pytest.fixture
def base(tmp_path: Path) -> Iterator[int]:
    fd = folders.open_folder(str(tmp_path))
    yield fd
    os.close(fd)


def test_make_tells_what_it_made(base: int, tmp_path: Path) -> None:
    assert folders.make(base, "a/b/c") == ["a", "a/b", "a/b/c"]
    assert folders.make(base, "a/d") == ["a/d"]
    assert folders.make(base, "e") == ["e"]
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_make_wants_a_new_folder(base: int, tmp_path: Path) -> None:
    folders.make(base, "a/b")
    with pytest.raises(FileExistsError):
        folders.make(base, "a/b")


def test_a_failing_make_leaves_nothing(base: int, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File name too long"):
        folders.make(base, "a/b/" + "x" * 300)
    assert list(tmp_path.iterdir()) == []


def test_remove_empty_leaves_what_is_used(base: int, tmp_path: Path) -> None:
    made = folders.make(base, "a/b/c")
    (tmp_path / "a" / "other").mkdir()
    assert folders.remove_empty(base, made) == ["a"]
    assert sorted(os.listdir(tmp_path / "a")) == ["other"]


def test_remove_tree(base: int, tmp_path: Path) -> None:
    for path in ("t/a/b/c", "t/d", "t/a/e"):
        (tmp_path / path).mkdir(parents=True)
    assert folders.remove_tree(base, "t")
    assert not (tmp_path / "t").exists()
    assert folders.remove_tree(base, "t"), "gone is gone"


def test_remove_tree_gives_up_at_the_deadline(base: int, tmp_path: Path) -> None:
    (tmp_path / "t" / "a").mkdir(parents=True)
    (tmp_path / "t" / "a" / "process").touch()
    assert not folders.remove_tree(base, "t")
    started = time.monotonic()
    assert not folders.remove_tree(base, "t", started + 0.05)
    assert 0.05 <= time.monotonic() - started < 2


def test_remove_tree_waits_for_what_is_ending(base: int, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    busy = tmp_path / "t" / "process"
    busy.touch()
    timer = threading.Timer(0.05, busy.unlink)
    timer.start()
    try:
        assert folders.remove_tree(base, "t", time.monotonic() + 10)
    finally:
        timer.join()


def test_processes_are_counted_below_too(base: int, tmp_path: Path) -> None:
    (tmp_path / "t" / "a").mkdir(parents=True)
    (tmp_path / "t" / "cgroup.procs").write_text("")
    (tmp_path / "t" / "a" / "cgroup.procs").write_text("12\n7\n")
    fd = folders.open_folder("t", base)
    try:
        assert sorted(folders.processes(fd)) == [7, 12]
        assert folders.below(fd) == ["a"]
    finally:
        os.close(fd)


def test_rubbish_is_what_nobody_uses_or_has_claimed(base: int, tmp_path: Path) -> None:
    assert not folders.is_rubbish(base, "t", 0)
    (tmp_path / "t").mkdir()
    procs = tmp_path / "t" / "cgroup.procs"
    procs.write_text("12\n")
    assert not folders.is_rubbish(base, "t", 0)
    procs.write_text("")
    assert folders.is_rubbish(base, "t", 0)
    claim = folders.Claim(base, "t")
    assert not folders.is_rubbish(base, "t", 0)
    claim.release()
    claim.release()
    assert folders.is_rubbish(base, "t", 0)
    (tmp_path / "t" / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    assert not folders.is_rubbish(base, "t", 0)


def test_a_young_folder_is_waited_for(base: int, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    procs = tmp_path / "t" / "cgroup.procs"
    procs.write_text("")
    timer = threading.Timer(0.05, procs.write_text, ["12\n"])
    timer.start()
    try:
        assert not folders.is_rubbish(base, "t", 0.3), "somebody moved in while we waited"
    finally:
        timer.join()


def test_a_claim_dies_with_its_process(base: int, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "cgroup.procs").write_text("")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        folders.Claim(base, "t")
        os.write(writer, b"+")
        time.sleep(60)
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"+"
    os.close(reader)
    try:
        assert not folders.is_rubbish(base, "t", 0)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert folders.is_rubbish(base, "t", 0)


def test_suffixes() -> None:
    assert list(folders.suffixed("n", 3)) == ["n", "n-1", "n-2"]
    assert list(folders.suffixed("n", 1)) == ["n"]
