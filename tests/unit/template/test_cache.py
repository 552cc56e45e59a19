# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from lxctools.errors import LxcError
from lxctools.template.cache import Cache, base_folder


def build(text: str):  # type: ignore[no-untyped-def]
    def write(folder: str, path: str) -> None:
        assert os.path.isdir(folder)
        Path(path).write_text(text)

    return write


def read(cache: Cache, key: str) -> str:
    fd = cache.open(key)
    with open(fd) as file:
        return file.read()


def test_an_archive_is_made_once_and_found_again(tmp_path: Path) -> None:
    said: list[str] = []
    with Cache(f"{tmp_path}/deep/cache", said.append) as cache:
        assert cache.open("a") == -1
        cache.make("a", build("one"))
        assert read(cache, "a") == "one"
        cache.make("a", build("two"))
    with Cache(f"{tmp_path}/deep/cache", said.append) as cache:
        assert read(cache, "a") == "two"
        cache.remove("a")
        cache.remove("a")
        assert cache.open("a") == -1
        cache.make("a", build("x"))
        cache.make("b", build("x"))
        cache.clear()
    assert os.listdir(f"{tmp_path}/deep/cache") == ["lock"]
    assert said == []


def test_a_failed_making_leaves_what_was_there(tmp_path: Path) -> None:
    def fail(folder: str, path: str) -> None:
        Path(path).write_text("half")
        Path(folder, "more").mkdir()
        raise LxcError("no network")

    with Cache(str(tmp_path), print) as cache:
        cache.make("a", build("whole"))
        with pytest.raises(LxcError, match="no network"):
            cache.make("a", fail)
        with pytest.raises(LxcError):
            cache.make("b", fail)
        assert read(cache, "a") == "whole"
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "lock"]


def test_what_a_killed_making_left_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "new.deadbeef" / "deep").mkdir(parents=True)
    with Cache(str(tmp_path), print):
        assert os.listdir(tmp_path) == ["lock"]


def test_who_comes_second_waits_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    entered = threading.Event()

    def second() -> None:
        with Cache(str(tmp_path), said.append):
            entered.set()

    with Cache(str(tmp_path), print):
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.3)
        assert said and "waiting" in said[0]
    thread.join(5)
    assert entered.is_set()


def test_an_old_archive_is_used_and_its_age_told(tmp_path: Path) -> None:
    said: list[str] = []
    with Cache(str(tmp_path), said.append) as cache:
        cache.make("a", build("x"))
        os.utime(tmp_path / "a.tar", (0, 0))
        assert read(cache, "a") == "x"
    assert "days ago" in said[0] and "--flush-cache" in said[0]


@pytest.mark.parametrize("spoil", ["mode", "link", "owner"])
def test_an_archive_that_others_may_have_written_is_refused(tmp_path: Path, spoil: str) -> None:
    if spoil == "owner" and os.geteuid() != 0:
        pytest.skip("needs root, to give the file away")
    with Cache(str(tmp_path), print) as cache:
        cache.make("a", build("x"))
        path = tmp_path / "a.tar"
        if spoil == "mode":
            path.chmod(0o666)
        elif spoil == "owner":
            os.chown(path, 12345, 12345)
        else:
            path.rename(tmp_path / "b")
            path.symlink_to("b")
        with pytest.raises(LxcError, match="kept archive"):
            cache.open("a")


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LxcError, match=r"cannot keep archives in .*/file/cache"), Cache(f"{tmp_path}/file/cache", print):
        pass


def test_where_archives_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LXC_CACHE_PATH", "/elsewhere")
    assert base_folder() == "/elsewhere"
    monkeypatch.delenv("LXC_CACHE_PATH")
    monkeypatch.setenv("HOME", "/home/u")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert base_folder() == "/home/u/.cache/lxc"
