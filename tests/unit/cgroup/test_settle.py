# SPDX-License-Identifier: LGPL-2.1-or-later
"""The early move of a process to where it is."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from lxctools.cgroup import settle
from tests.host import wait_until


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


def test_it_moves_again_and_again_and_leaves_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(group(tmp_path, "x"))
    monkeypatch.setattr(settle, "_own_group", lambda: str(path))
    monkeypatch.setattr(settle.Settling, "begun", False)
    before = len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))
    settling = settle.Settling()
    settling.begin()
    assert wait_until(lambda: path.stat().st_size >= 3, 10)
    settling.wait()
    settling.wait()
    moves = path.stat().st_size
    assert wait_until(lambda: len(os.listdir("/proc/self/task")) == before[0], 2)
    assert settling.touch()
    assert not settling.keep(), "in version 2 the monitor may have moved us"
    assert path.read_text() == "0" * (moves + 1)
    settling.close()
    settling.close()
    assert not settling.touch()
    assert (len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))) == before


def test_without_a_group_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "_own_group", lambda: "")
    settling = settle.Settling()
    settling.begin()
    settling.wait()


def test_a_signal_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler's exception is the only one, and the end can be waited for again."""

    class Interrupted(BaseException):
        pass

    def interrupt(_number: int, _frame: object) -> None:
        raise Interrupted

    reader, writer = os.pipe()  # a full one: a move that takes long
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 65536)
    except BlockingIOError:
        pass
    monkeypatch.setattr(settle, "_own_group", lambda: f"/proc/self/fd/{writer}")
    monkeypatch.setattr(settle.Settling, "begun", False)
    settling = settle.Settling()
    settling.begin()
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(Interrupted):
            settling.wait()
    finally:
        signal.signal(signal.SIGALRM, before)
    os.read(reader, 1 << 20)
    settling.close()
    os.close(writer)
    os.close(reader)


def test_no_thread_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the wait comes later."""

    def refuse(*_words: object) -> int:
        raise RuntimeError("can't start new thread")

    path = group(tmp_path, "x")
    monkeypatch.setattr(settle, "_own_group", lambda: path)
    monkeypatch.setattr(settle.Settling, "begun", False)
    monkeypatch.setattr(settle._thread, "start_new_thread", refuse)
    before = os.listdir("/proc/self/fd")
    settling = settle.Settling()
    settling.begin()
    settling.close()
    assert os.listdir("/proc/self/fd") == before
