# SPDX-License-Identifier: LGPL-2.1-or-later
"""Paths in a hostile root: no link is followed, nothing is made outside."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxctools.linux import open as linux_open
from lxctools.mounts.resolve import Root, components, mount_id, same_object


@pytest.fixture(params=["openat2", "walk"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Root]:
    """A root with a folder, a file, and links to the outside; also on a kernel without openat2."""
    if request.param == "walk":

        def missing(*_arguments: object) -> int:
            raise OSError(errno.ENOSYS, "no openat2")

        monkeypatch.setattr(linux_open, "openat2", missing)
    inside = tmp_path / "root"
    (inside / "folder" / "below").mkdir(parents=True)
    (inside / "folder" / "file").write_text("inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("outside")
    (inside / "absolute").symlink_to(tmp_path / "outside")
    (inside / "relative").symlink_to("../outside")
    (inside / "inner").symlink_to("folder")
    (inside / "folder" / "link").symlink_to(tmp_path / "outside" / "file")
    (inside / "dangling").symlink_to(tmp_path / "outside" / "new")
    (inside / "fd").symlink_to("/proc/self/fd")
    made = Root(os.open(inside, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), str(inside))
    yield made
    made.close()


def name(fd: int) -> str:
    """The path of a descriptor's file; closes it."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def outside(root: Root) -> list[str]:
    return sorted(os.listdir(f"{root.path}/../outside"))


@pytest.mark.parametrize("path", ["folder/below", "/folder/below", "folder//below/", "./folder/./below"])
def test_open(root: Root, path: str) -> None:
    fd = root.open(path)
    assert not os.get_inheritable(fd)
    assert name(fd) == f"{root.path}/folder/below"


def test_open_the_root_itself(root: Root) -> None:
    assert name(root.open("/")) == root.path
    assert name(root.open("")) == root.path


def test_open_for_reading(root: Root) -> None:
    with open(root.open("folder/file", os.O_RDONLY), encoding="ascii") as file:
        assert file.read() == "inside"


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("absolute", "/absolute"),
        ("absolute/file", "/absolute"),
        ("relative/file", "/relative"),
        ("inner/below", "/inner"),
        ("folder/link", "/folder/link"),
        ("dangling", "/dangling"),
        ("fd/0", "/fd"),
    ],
)
def test_links_are_refused_by_name(root: Root, path: str, link: str) -> None:
    for attempt in (root.open, root.mkdirs, root.touch):
        with pytest.raises(OSError) as caught:
            attempt(path)
        assert caught.value.errno == errno.ELOOP
        assert caught.value.filename == link
        assert "symbolic link (to " in str(caught.value.strerror)
    assert outside(root) == ["file"]


@pytest.mark.parametrize("path", ["..", "../outside/file", "folder/../../outside", "absolute/../x"])
def test_dot_dot_is_refused(root: Root, path: str) -> None:
    for attempt in (root.open, root.mkdirs, root.touch):
        with pytest.raises(OSError) as caught:
            attempt(path)
        assert caught.value.errno == errno.EINVAL
    assert outside(root) == ["file"]


def test_what_is_missing_is_named(root: Root) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        root.open("folder/none/at/all")
    assert caught.value.filename.startswith("/folder/none")


def test_a_file_where_a_folder_is_needed(root: Root) -> None:
    with pytest.raises(NotADirectoryError):
        root.open("folder/file/x")
    with pytest.raises(OSError):
        root.mkdirs("folder/file/x")


def test_mkdirs(root: Root) -> None:
    assert name(root.mkdirs("a/b/c", 0o700)) == f"{root.path}/a/b/c"
    assert stat.S_IMODE(os.stat(f"{root.path}/a/b").st_mode) == 0o700
    assert name(root.mkdirs("a/b/c")) == f"{root.path}/a/b/c"


def test_touch(root: Root) -> None:
    fd = root.touch("a/b")
    status = os.fstat(fd)
    os.close(fd)
    assert stat.S_ISREG(status.st_mode)
    assert (stat.S_IMODE(status.st_mode), status.st_size) == (0, 0)


def test_touch_leaves_what_is_there(root: Root) -> None:
    os.close(root.touch("folder/file"))
    assert Path(root.path, "folder", "file").read_text() == "inside"


def test_exists(root: Root) -> None:
    assert root.exists("folder/file")
    assert not root.exists("folder/nothing")


def test_nothing_stays_open(root: Root) -> None:
    before = os.listdir("/proc/self/fd")
    for path in ("folder/below", "x/y/z", "absolute/x", "folder/link", "..", "folder/file/x"):
        for attempt in (root.open, root.mkdirs, root.touch):
            try:
                os.close(attempt(path))
            except OSError:
                pass
    assert os.listdir("/proc/self/fd") == before


def test_the_hosts_own_tree_follows_links(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    root = Root(os.open("/", os.O_PATH | os.O_DIRECTORY), "", confined=False)
    try:
        assert name(root.open(f"{tmp_path}/link")) == f"{tmp_path}/folder"
        assert name(root.mkdirs(f"{tmp_path}/link/new")) == f"{tmp_path}/folder/new"
    finally:
        root.close()


def test_components() -> None:
    assert components("/a//b/./c/") == ["a", "b", "c"]
    assert components("/") == []


def test_same_object(tmp_path: Path) -> None:
    a, b, c = (os.open(path, os.O_PATH) for path in (tmp_path, tmp_path, "/"))
    try:
        assert same_object(a, b)
        assert not same_object(a, c)
        assert mount_id(a) == mount_id(b)
    finally:
        for fd in (a, b, c):
            os.close(fd)
