# SPDX-License-Identifier: LGPL-2.1-or-later
"""Single files of both versions, in folders that play the cgroup."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.cgroup import folders, v1, v2


@pytest.fixture
def base(tmp_path: Path) -> Iterator[int]:
    fd = folders.open_folder(str(tmp_path))
    yield fd
    os.close(fd)


@given(st.sets(st.integers(0, 300)))
def test_lists_of_processors(numbers: set[int]) -> None:
    assert v1.parse_list(v1.format_list(numbers)) == numbers


def test_list_format() -> None:
    assert v1.format_list([3, 0, 1, 2, 8]) == "0-3,8"
    assert v1.parse_list("0-3,8\n") == {0, 1, 2, 3, 8}
    assert v1.parse_list("\n") == set()


def cpuset(folder: Path, cpus: str = "", mems: str = "") -> None:
    folder.mkdir(exist_ok=True)
    (folder / "cpuset.cpus").write_text(cpus)
    (folder / "cpuset.mems").write_text(mems)
    (folder / "cgroup.clone_children").write_text("0")


def test_a_new_cpuset_gets_what_its_parent_has(base: int, tmp_path: Path) -> None:
    cpuset(tmp_path, "0-7\n", "0\n")
    cpuset(tmp_path / "a")
    cpuset(tmp_path / "a" / "b")
    cpus = tmp_path / "sys"
    cpus.mkdir()
    (cpus / "isolated").write_text("2-3\n")
    (cpus / "offline").write_text("7\n")
    v1.prepare_cpuset(base, ["a", "a/b"], str(cpus))
    for folder in ("a", "a/b"):
        assert (tmp_path / folder / "cpuset.cpus").read_text() == "0-1,4-6"
        assert (tmp_path / folder / "cpuset.mems").read_text() == "0"
    assert (tmp_path / "a" / "cgroup.clone_children").read_text() == "1"
    assert (tmp_path / "a" / "b" / "cgroup.clone_children").read_text() == "0"


def test_a_cpuset_that_has_something_keeps_it(base: int, tmp_path: Path) -> None:
    cpuset(tmp_path, "0-3\n", "0-1\n")
    cpuset(tmp_path / "a", "1\n", "1\n")
    v1.prepare_cpuset(base, ["a"], str(tmp_path / "nothing"))
    assert (tmp_path / "a" / "cpuset.cpus").read_text() == "1\n"


def test_all_isolated_is_better_than_none(base: int, tmp_path: Path) -> None:
    cpuset(tmp_path, "0-1\n", "0\n")
    cpuset(tmp_path / "a")
    (tmp_path / "isolated").write_text("0-1\n")
    v1.prepare_cpuset(base, ["a"], str(tmp_path))
    assert (tmp_path / "a" / "cpuset.cpus").read_text() == "0-1"


def test_freezing_v1_looks_until_it_is_frozen(base: int, tmp_path: Path) -> None:
    state = tmp_path / "freezer.state"
    state.write_text("THAWED")
    assert v1.freeze(base, True, 5)
    assert state.read_text() == "FROZEN"


def delegating(folder: Path, controllers: str, enabled: str = "") -> None:
    folder.mkdir(exist_ok=True)
    (folder / "cgroup.controllers").write_text(controllers + "\n")
    (folder / "cgroup.subtree_control").write_text(enabled)


def test_delegation_goes_down_to_the_folder_and_writes_what_is_missing(base: int, tmp_path: Path) -> None:
    delegating(tmp_path, "cpu io memory", "cpu\n")
    delegating(tmp_path / "a", "cpu io memory")
    delegating(tmp_path / "a" / "b", "cpu")
    v2.delegate(base, "a")
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+io +memory"
    assert (tmp_path / "a" / "cgroup.subtree_control").read_text() == "+cpu +io +memory"
    assert (tmp_path / "a" / "b" / "cgroup.subtree_control").read_text() == ""


def test_delegation_that_is_complete_writes_nothing(base: int, tmp_path: Path) -> None:
    delegating(tmp_path, "cpu io", "io cpu\n")
    (tmp_path / "cgroup.subtree_control").chmod(0o400)
    before = (tmp_path / "cgroup.subtree_control").stat().st_mtime_ns
    v2.delegate(base, "")
    assert (tmp_path / "cgroup.subtree_control").stat().st_mtime_ns == before


def test_a_failing_delegation_names_its_folder(base: int, tmp_path: Path) -> None:
    delegating(tmp_path, "cpu", "cpu")
    (tmp_path / "a").mkdir()
    with pytest.raises(FileNotFoundError) as caught:
        v2.delegate(base, "a")
    assert caught.value.filename == "a"


def test_freezing_v2_waits_for_the_event(base: int, tmp_path: Path) -> None:
    (tmp_path / "cgroup.freeze").write_text("0")
    events = tmp_path / "cgroup.events"
    events.write_text("populated 1\nfrozen 0\n")
    assert not v2.freeze(base, True, 0)
    assert (tmp_path / "cgroup.freeze").read_text() == "1"
    assert not v2.freeze(base, True, 0.05)
    timer = threading.Timer(0.05, events.write_text, ["populated 1\nfrozen 1\n"])
    timer.start()
    try:
        assert v2.freeze(base, True, 10)
    finally:
        timer.join()
