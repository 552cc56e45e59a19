# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whole writes, and removals that stay where they belong."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lxctools import files
from lxctools.errors import LxcError
from lxctools.linux import mount, sched
from tests.forked import forked

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def open_fds() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


# -- writing


def test_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    files.write_atomic(str(path), b"text", 0o600)
    assert path.read_bytes() == b"text" and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["f"]


@as_root
def test_an_existing_file_keeps_owner_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("before")
    os.chown(path, 4711, 4712)
    path.chmod(0o640)
    files.write_atomic(str(path), b"after", 0o600)
    status = path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (4711, 4712, 0o640)
    assert path.read_text() == "after"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("before")
    (tmp_path / "link").symlink_to("real")
    files.write_atomic(str(tmp_path / "link"), b"after")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "after"


def test_a_failing_write_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("before")

    def child() -> list[Any]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # as a full disk; Python ignores SIGXFSZ
        try:
            files.write_atomic(str(path), b"x" * 5000)
        except OSError as error:
            return [error.errno, path.read_text(), os.listdir(tmp_path)]
        return []

    assert forked(child) == [27, "before", ["f"]]


def test_what_a_killed_writer_left_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "f"
    (tmp_path / f"f.{os.getpid()}.new").write_text("half")
    files.write_atomic(str(path), b"whole")
    assert path.read_text() == "whole" and os.listdir(tmp_path) == ["f"]


def test_reading_any_bytes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"a\xff\n")
    assert files.read_text(str(tmp_path / "f")).encode("utf-8", "surrogateescape") == b"a\xff\n"


def test_unlink_quietly(tmp_path: Path) -> None:
    files.unlink_quietly(str(tmp_path / "none"))
    with pytest.raises(OSError):
        files.unlink_quietly(str(tmp_path))


def test_is_below(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("/etc")
    assert files.is_below(str(tmp_path / "a" / "b"), str(tmp_path / "a"))
    assert files.is_below(str(tmp_path / "a" / "new"), str(tmp_path))
    assert files.is_below("/etc", "/")
    assert not files.is_below(str(tmp_path / "a"), str(tmp_path / "a"))
    assert not files.is_below(str(tmp_path / "ab"), str(tmp_path / "a"))
    assert not files.is_below(str(tmp_path / "link" / "passwd"), str(tmp_path)), "through a link it is elsewhere"
    assert not files.is_below(str(tmp_path / "a" / ".." / ".."), str(tmp_path))


# -- removing


def test_remove_tree(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "file").write_text("x")
    (top / "a" / "b" / "up").symlink_to(outside)
    (top / "link").symlink_to("/etc/passwd")
    (top / "dangling").symlink_to("nowhere")
    os.mkfifo(top / "pipe")
    (top / "a" / "closed").mkdir(mode=0o000)
    os.mkdir(os.fsencode(top) + b"/\xff")
    before, beats = open_fds(), []
    files.remove_tree(str(top), lambda: beats.append(1))
    assert not top.exists() and (outside / "file").read_text() == "mine"
    assert len(beats) == 5
    assert open_fds() == before
    files.remove_tree(str(top))  # gone is gone
    files.remove_tree(str(tmp_path / "no" / "parent"))


@pytest.mark.parametrize("path", ["/", "//", "/..", "/tmp/..", ".", ""])
def test_names_that_are_no_folder_of_ours(path: str) -> None:
    with pytest.raises(LxcError, match="refusing to remove"):
        files.remove_tree(path)


def test_a_file_and_a_link_are_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(LxcError, match="it is not a folder"):
            files.remove_tree(str(tmp_path / name))
    assert len(list(tmp_path.iterdir())) == 3
    files.remove_tree(str(tmp_path / "target") + "/")
    assert not (tmp_path / "target").exists()


def test_deeper_than_descriptors_and_recursion_go(tmp_path: Path) -> None:
    depth, top = 3000, tmp_path / "top"

    def child() -> list[Any]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        top.mkdir()
        os.chdir(top)
        for level in range(depth):
            os.mkdir("d")
            open(f"file{level}", "w").close()
            os.chdir("d")
        os.chdir("/")
        files.remove_tree(str(top))
        return [top.exists()]

    try:
        assert forked(child, timeout=60) == [False]
    finally:
        subprocess.run(["rm", "-rf", top], check=True)  # pytest itself cannot


@as_root
def test_immutable_files_and_folders(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "file").touch()
    (top / "only-appended").touch()
    try:
        subprocess.run(["chattr", "+i", top / "a" / "file", top / "a"], check=True, capture_output=True)
        subprocess.run(["chattr", "+a", top / "only-appended"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this file system has no such attributes")
    try:
        files.remove_tree(str(top))
        assert not top.exists()
    finally:
        if top.exists():
            subprocess.run(["chattr", "-R", "-ia", top], check=True, capture_output=True)


@as_root
def test_mounts_are_never_crossed(tmp_path: Path) -> None:
    top, outside = tmp_path / "top", tmp_path / "outside"
    (top / "a" / "here").mkdir(parents=True)
    (top / "first").mkdir()
    (top / "file").touch()
    outside.mkdir()
    (outside / "file").write_text("mine")

    def child() -> list[str]:
        said = []
        for source, target, kind, flags in (
            (str(outside), top / "a" / "here", None, mount.MS_BIND),  # of the same file system: no device tells
            ("tmpfs", top / "a" / "here", "tmpfs", 0),
            (str(outside), top, None, mount.MS_BIND),
            ("/dev/null", top / "file", None, mount.MS_BIND),
        ):
            mount.mount(source, str(target), kind, flags, None)
            try:
                files.remove_tree(str(top))
                said.append("")
            except LxcError as error:
                said.append(f"{error.message} | {error.remedy}")
            mount.umount2(str(target), 0)
        return said

    said = forked(child, unshare=sched.CLONE_NEWNS)
    here = top / "a" / "here"
    assert said == [f"refusing to remove {top}: something is mounted on {place} | umount {place} first" for place in (here, here, top, top / "file")]
    assert (outside / "file").read_text() == "mine" and (top / "first").is_dir(), "nothing was begun"


@pytest.fixture
def helped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper from the beginning, and lists of three entries."""
    monkeypatch.setattr(files, "_ALONE", 0.0)
    monkeypatch.setattr(files, "_AT_ONCE", 3)
    monkeypatch.setattr(files.os, "sched_getaffinity", lambda pid: {0, 1})


@pytest.mark.parametrize("deep", [3, 250])
def test_two_remove_one_tree(tmp_path: Path, helped: None, deep: int) -> None:
    top = tmp_path / "top"
    for number in range(60):
        (top / f"{number % 7}" / f"{number}").mkdir(parents=True)
        for name in range(20):
            (top / f"{number % 7}" / f"{number}" / f"{name}").touch()
    for first in ("a", "z"):
        fd = os.open(top, os.O_RDONLY)
        for _ in range(deep):
            os.mkdir(first, dir_fd=fd)
            below = os.open(first, os.O_RDONLY, dir_fd=fd)
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
            os.close(fd)
            fd = below
        os.close(fd)
    before = open_fds()
    files.remove_tree(str(top))
    assert not top.exists() and open_fds() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@as_root
def test_two_remove_what_is_protected(tmp_path: Path, helped: None) -> None:
    top = tmp_path / "top"
    for number in range(30):
        folder = top / f"{number}" / "fixed"
        folder.mkdir(parents=True)
        (folder / "log").touch()
        for path, flag in ((folder / "log", files.APPEND), (folder, files.IMMUTABLE)):
            fd = os.open(path, os.O_RDONLY)
            try:
                files.set_inode_flags(fd, files.inode_flags(fd) | flag)
            except OSError:
                pytest.skip("this file system protects nothing")
            finally:
                os.close(fd)
    files.remove_tree(str(top))
    assert not top.exists()


@as_root
def test_what_is_protected_and_goes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other of two that remove one tree was faster between two steps."""
    top = tmp_path / "top"
    top.mkdir()
    log = top / "log"
    log.touch()
    fd = os.open(log, os.O_RDONLY)
    try:
        files.set_inode_flags(fd, files.inode_flags(fd) | files.APPEND)
    except OSError:
        pytest.skip("this file system protects nothing")
    finally:
        os.close(fd)
    unprotect = files.unprotect

    def and_remove(fd: int) -> None:
        unprotect(fd)
        if log.exists():
            unprotect(os.open(log, os.O_RDONLY))
            log.unlink()

    monkeypatch.setattr(files, "unprotect", and_remove)
    files.remove_tree(str(top))
    assert not top.exists()


def test_an_interruption_ends_the_helper_too(tmp_path: Path, helped: None) -> None:
    top = tmp_path / "top"
    for number in range(300):
        (top / f"{number % 10}" / f"{number}").mkdir(parents=True)
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1
        if beats == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.remove_tree(str(top), beat)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    files.remove_tree(str(top))
    assert not top.exists()


def test_what_is_filled_again_is_emptied_again(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    left = 5

    def beat() -> None:
        nonlocal left
        if left and (top / "a").exists() and not (top / "a" / f"new{left}").exists():
            (top / "a" / f"new{left}").touch()
            left -= 1

    files.remove_tree(str(top), beat)
    assert not top.exists() and left < 5


@as_root
def test_a_mount_that_appears_later_is_not_crossed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a" / "here").mkdir(parents=True)

    def child() -> list[str]:
        mounted: list[int] = []

        def beat() -> None:
            if not mounted:
                mounted.append(1)
                mount.mount("tmpfs", str(top / "a" / "here"), "tmpfs", 0, None)
                (top / "a" / "here" / "file").write_text("mine")

        try:
            files.remove_tree(str(top), beat)
        except LxcError as error:
            return [error.message, (top / "a" / "here" / "file").read_text()]
        return []

    message, text = forked(child, unshare=sched.CLONE_NEWNS)
    assert "another file system is mounted on here in it" in message and text == "mine"


def test_mounts_in_decodes_what_mountinfo_escapes(tmp_path: Path) -> None:
    listing = tmp_path / "mountinfo"
    listing.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda rw\n"
        "2 1 0:5 / /a\\040b/c rw shared:1 - tmpfs t rw\n"
        "3 1 0:6 / /a\\040bc rw - tmpfs t rw\n"
        "4 1 0:7 / /a\\040b rw - tmpfs t rw\n"
    )
    assert files.mounts_in("/a b", str(listing)) == ["/a b/c", "/a b"]
    assert files.mounts_in("/none", str(listing)) == []


@as_root
def test_what_may_not_be_removed_is_named(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a").mkdir(parents=True)
    (top / "a" / "file").touch()
    for parent in [tmp_path, *list(tmp_path.parents)[:2]]:
        parent.chmod(0o755)

    def as_nobody(function: Callable[[], None]) -> str:
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        try:
            function()
        except LxcError as error:
            return error.message
        return ""

    message = forked(lambda: as_nobody(lambda: files.remove_tree(str(top))))
    assert message.startswith(f"cannot remove {top}: Permission denied")
    assert (top / "a" / "file").exists()
