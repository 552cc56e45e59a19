# SPDX-License-Identifier: LGPL-2.1-or-later
"""The stream of lxc-file: what comes out is what went in, and a sender that breaks off leaves nothing."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest

from lxctools.errors import LxcError
from lxctools.lifecycle import transfer
from lxctools.lifecycle.transfer import Owner


def folder(path: Path) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY)


def sent(path: Path, *, recursive: bool = True) -> tuple[bytes, list[str]]:
    out, words = io.BytesIO(), []
    parent = folder(path.parent)
    transfer.send_path(parent, path.name, out, recursive=recursive, told=words.append)
    os.close(parent)
    return out.getvalue(), words


def received(data: bytes, path: Path, owner: Owner | None = None) -> None:
    parent = folder(path.parent)
    try:
        transfer.receive(io.BytesIO(data), parent, path.name, owner or Owner())
    finally:
        os.close(parent)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    for name in ("a/b/c", "d", "e/f"):
        (top / name).mkdir(parents=True)
    for name in ("a/one", "a/b/c/two", "e/f/three", "last"):
        (top / name).write_text(name)
    (top / "d").chmod(0o500)
    (top / "link").symlink_to("last")
    (top / "last").chmod(0o2640)
    return top


def test_a_tree(tree: Path, tmp_path: Path) -> None:
    data, words = sent(tree)
    assert words == []
    received(data, tmp_path / "copy")

    def listing(top: Path) -> list[tuple[str, str, int, int]]:
        return [
            (str(path.relative_to(top)), path.read_text() if path.is_file() else "", path.lstat().st_mode & ~0o6000, path.lstat().st_mtime_ns)
            for path in sorted(top.rglob("*"))
            if not path.is_symlink()
        ]

    assert listing(tmp_path / "copy") == listing(tree)
    assert os.readlink(tmp_path / "copy" / "link") == "last"
    # Once more, onto what is there; a folder that was there keeps its mode.
    (tmp_path / "copy" / "d").chmod(0o750)
    received(data, tmp_path / "copy")
    assert stat.S_IMODE((tmp_path / "copy" / "d").stat().st_mode) == 0o750


def test_broken_off_anywhere(tree: Path, tmp_path: Path) -> None:
    data, _words = sent(tree / "last")
    target = tmp_path / "target"
    target.write_text("before")
    end = io.BytesIO()
    transfer.send_nothing(end)
    for cut in range(len(data)):
        with pytest.raises(LxcError, match="other side ended"):
            received(data[:cut], target)
        if cut < len(data) - len(end.getvalue()):
            assert target.read_text() == "before"
        assert sorted(os.listdir(tmp_path)) == ["target", "tree"]
        target.write_text("before")
    received(data, target)
    assert target.read_text() == "last"


def test_what_does_not_fit(tree: Path, tmp_path: Path) -> None:
    data, _words = sent(tree / "last")
    with pytest.raises(LxcError, match="is a folder"):
        received(data, tmp_path / "tree")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(LxcError, match="no regular file"):
        received(data, tmp_path / "fifo")
    with pytest.raises(LxcError, match="-r copies it"):
        sent(tree, recursive=False)
    with pytest.raises(LxcError, match="neither file"):
        sent(tmp_path / "fifo")
    (tmp_path / "other").symlink_to(tree)
    with pytest.raises(OSError):
        received(sent(tree)[0], tmp_path / "other")  # a folder is not made behind a link


def test_paths(tree: Path) -> None:
    root = folder(tree)
    (tree / "abs").symlink_to("/a/b")
    (tree / "a" / "up").symlink_to("../../../e/f/three")
    for path, wanted in {"/abs/c/two": "two", "/a/up": "three", "last": "last", "/./a//one": "one", "/link": "last", "/../last": "last"}.items():
        parent, name = transfer.resolve(root, path)
        assert (name, os.stat(name, dir_fd=parent).st_size > 0) == (wanted, True)
        os.close(parent)
    for path in ("/", "/a/..", "/."):
        parent, name = transfer.resolve(root, path)
        assert name == "" and os.path.samestat(os.fstat(parent), os.stat(tree))
        os.close(parent)
    (tree / "x").symlink_to("y")
    (tree / "y").symlink_to("x")
    with pytest.raises(OSError, match="symbolic links"):
        transfer.resolve(root, "/x")
    for path, wanted in {"/a": "new", "/a/": "new", "/new": "new", "/last": "last", "/abs": "new"}.items():
        parent, name = transfer.place(root, path, "new", folder=False, parents=False)
        assert name == wanted
        os.close(parent)
    with pytest.raises(NotADirectoryError):
        transfer.place(root, "/last/", "new", folder=False, parents=False)
    with pytest.raises(FileNotFoundError):
        transfer.place(root, "/p/q/", "new", folder=False, parents=False)
    parent, name = transfer.place(root, "/p/q/", "new", folder=False, parents=True)
    assert name == "new" and (tree / "p" / "q").is_dir()
    os.close(parent)
    os.close(root)
