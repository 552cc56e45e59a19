# SPDX-License-Identifier: LGPL-2.1-or-later
"""The early move of a process to where it is."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from lxctools.cgroup import settle


def played(folder: Path, *lines: str) -> str:
    (folder / "self").mkdir(exist_ok=True)
    (folder / "self" / "cgroup").write_text("".join(line + "\n" for line in lines))
    return settle._own_group(str(folder), str(folder / "cgroup"))


def group(folder: Path, place: str) -> str:
    path = folder / "cgroup" / place / "cgroup.procs"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return str(path)


def test_systemds_hierarchy_comes_first(tmp_path: Path) -> None:
    wanted = group(tmp_path, "systemd/user.slice")
    assert played(tmp_path, "9:name=systemd:/user.slice", "4:memory:/", "0::/user.slice") == wanted


def test_version_2_where_there_is_nothing_else(tmp_path: Path) -> None:
    wanted = group(tmp_path, "user.slice/a b")
    assert played(tmp_path, "0::/user.slice/a b") == wanted
    assert played(tmp_path, "0::/elsewhere") == ""
    assert played(tmp_path, "4:memory:/") == ""


def test_no_proc(tmp_path: Path) -> None:
    assert settle._own_group(str(tmp_path), str(tmp_path)) == ""


def test_it_writes_and_leaves_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = group(tmp_path, "x")
    monkeypatch.setattr(settle, "_own_group", lambda: path)
    before = os.listdir("/proc/self/task")
    settling = settle.Settling()
    settling.begin()
    settling.wait()
    settling.wait()
    assert Path(path).read_text() == "0"
    deadline = threading.Event()
    for _ in range(200):
        if len(os.listdir("/proc/self/task")) == len(before):
            break
        deadline.wait(0.01)
    assert len(os.listdir("/proc/self/task")) == len(before)


def test_without_a_group_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "_own_group", lambda: "")
    settling = settle.Settling()
    settling.begin()
    settling.wait()
