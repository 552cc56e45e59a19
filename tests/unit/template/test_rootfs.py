# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writing into a root file system whose content is hostile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxctools.errors import LxcError
from lxctools.template.rootfs import Rootfs


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "passwd").write_text("of the host\n")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Rootfs]:
    with Rootfs(str(tmp_path / "rootfs")) as made:
        yield made


def test_files_folders_and_links_are_made_with_their_modes_whatever_the_umask(root: Rootfs) -> None:
    before = os.umask(0o077)
    try:
        root.write("etc/deep/er/file", "text \udcff\n", 0o640)
        root.folder("tmp", 0o1777)
        root.link("/bin/sh", "busybox")
        root.links("bin", ["sh", "ls"], "/bin/busybox")
    finally:
        os.umask(before)
    path = Path(root.path)
    assert (path / "etc/deep/er/file").read_bytes() == b"text \xff\n"
    assert root.read("etc/deep/er/file") == "text \udcff\n"
    assert (path / "etc/deep/er/file").stat().st_mode & 0o7777 == 0o640
    assert (path / "etc/deep").stat().st_mode & 0o7777 == 0o755
    assert (path / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert os.readlink(path / "bin/sh") == "busybox"  # the name was taken
    assert os.readlink(path / "bin/ls") == "/bin/busybox"
    root.link("bin/ls", "other")
    assert os.readlink(path / "bin/ls") == "other"


def test_a_link_to_the_host_is_replaced_and_not_written_through(root: Rootfs, outside: Path) -> None:
    Path(root.path, "etc").mkdir()
    Path(root.path, "etc/passwd").symlink_to(outside / "passwd")
    root.write("etc/passwd", "of the container\n")
    assert (outside / "passwd").read_text() == "of the host\n"
    assert Path(root.path, "etc/passwd").read_text() == "of the container\n"


@pytest.mark.parametrize("target", ["{outside}", "../outside", "../../../../..{outside}"])
def test_a_folder_that_is_a_link_to_the_host_leads_nowhere_outside(root: Rootfs, outside: Path, target: str) -> None:
    Path(root.path, "etc").symlink_to(target.format(outside=outside))
    with pytest.raises(OSError):
        root.write("etc/passwd", "x")
    with pytest.raises(OSError):
        root.link("etc/passwd", "x")
    with pytest.raises(OSError):
        root.copy_in("/proc/self/status", "etc/passwd", 0o644)
    assert root.read("etc/passwd") is None
    assert not root.exists("etc/passwd")
    root.remove("etc/passwd")
    assert (outside / "passwd").read_text() == "of the host\n"
    assert [entry.name for entry in outside.iterdir()] == ["passwd"]


def test_an_absolute_link_is_meant_inside(root: Rootfs) -> None:
    root.folder("run")
    root.link("var/run", "/run")
    root.write("var/run/pid", "1\n")
    assert Path(root.path, "run/pid").read_text() == "1\n"


def test_only_regular_files_are_read_and_rewritten(root: Rootfs, outside: Path) -> None:
    os.mkfifo(os.path.join(root.path, "fifo"))
    root.folder("folder")
    root.write("file", "old and long\n", 0o600)
    Path(root.path, "link").symlink_to(outside / "passwd")
    assert root.read("fifo") is None
    assert root.read("folder") is None
    assert root.read("link") is None
    assert root.read("file/below") is None
    root.rewrite("file", "new\n")
    assert root.read("file") == "new\n"
    assert Path(root.path, "file").stat().st_mode & 0o777 == 0o600
    with pytest.raises(OSError):
        root.rewrite("link", "x")
    with pytest.raises(OSError):
        root.rewrite("fifo", "x")
    assert (outside / "passwd").read_text() == "of the host\n"


def test_what_is_removed_may_be_gone(root: Rootfs, outside: Path) -> None:
    root.link("link", str(outside / "passwd"))
    root.remove("link")
    root.remove("link")
    root.remove("no/such/file")
    assert not os.path.lexists(f"{root.path}/link")
    assert (outside / "passwd").exists()


@pytest.mark.parametrize("path", ["", "/", "..", "a/..", "a/."])
def test_a_path_must_name_something(root: Rootfs, path: str) -> None:
    with pytest.raises(ValueError):
        root.write(path, "x")


def test_a_copy_keeps_what_is_in_it(root: Rootfs, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(300_000))
    root.copy_in(str(source), "bin/copy", 0o755)
    copy = Path(root.path, "bin/copy")
    assert copy.read_bytes() == source.read_bytes()
    assert copy.stat().st_mode & 0o7777 == 0o755


def test_a_file_of_another_file_system_is_copied_too(root: Rootfs) -> None:
    root.copy_in("/proc/version", "version", 0o644)
    assert root.read("version") == Path("/proc/version").read_text()


def test_an_error_names_the_whole_path(root: Rootfs) -> None:
    root.write("file", "")
    with pytest.raises(OSError) as caught:
        root.write("file/below", "x")
    assert caught.value.filename == f"{root.path}/file/below"


@pytest.mark.parametrize("path", ["/", "/usr/.."])
def test_the_host_s_own_root_is_refused(path: str) -> None:
    with pytest.raises(LxcError, match="root of this system"):
        Rootfs(path)


def test_a_file_is_no_root_file_system(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LxcError, match="cannot use"):
        Rootfs(str(tmp_path / "file"))
