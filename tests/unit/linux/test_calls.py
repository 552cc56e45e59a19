# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each wrapper's failing call: the errno is the kernel's, the path is the one given, and a note names the call."""

from __future__ import annotations

import errno
import os
import select
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from lxctools.linux import bpf, mount, pidfd, prctl, sched, seccomp, signals, timerfd, tty
from lxctools.linux import open as linux_open

from .forked import in_child

BAD = 987654  # no descriptor has this number


@pytest.fixture
def a_file(tmp_path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    yield fd
    os.close(fd)


def failure(function: Callable[..., object], *arguments: object, **named: object) -> OSError:
    with pytest.raises(OSError) as caught:
        function(*arguments, **named)
    return caught.value


@pytest.mark.parametrize(
    ("function", "arguments", "number", "note"),
    [
        (sched.unshare, (1,), errno.EINVAL, "unshare(2)"),
        (sched.setns, (BAD, 0), errno.EBADF, "setns(2)"),
        (sched.clone3, (1 << 40,), errno.EINVAL, "clone3(2)"),
        (sched.core_sched_create, (-1, sched.PIDTYPE_PID), None, "prctl(PR_SCHED_CORE)"),
        (sched.core_sched_join, (2**31 - 1,), None, "prctl(PR_SCHED_CORE)"),
        (pidfd.pidfd_getfd, (BAD, 0), errno.EBADF, "pidfd_getfd(2)"),
        (prctl.set_pdeathsig, (999,), errno.EINVAL, "prctl(PR_SET_PDEATHSIG)"),
        (prctl.capbset_read, (9999,), errno.EINVAL, "prctl(PR_CAPBSET_READ)"),
        (prctl.capbset_drop, (9999,), None, "prctl(PR_CAPBSET_DROP)"),
        (mount.fsmount, (BAD,), errno.EBADF, "fsmount(2)"),
        (bpf.load_device_program, (b"",), errno.E2BIG if os.geteuid() == 0 else errno.EPERM, "bpf(BPF_PROG_LOAD)"),
        (bpf.attach_device_program, (BAD, BAD), None, "bpf(BPF_PROG_ATTACH)"),
        (bpf.detach_device_program, (BAD, BAD), None, "bpf(BPF_PROG_DETACH)"),
        (bpf.attached_device_programs, (BAD,), None, "bpf(BPF_PROG_QUERY)"),
        (bpf.device_program_by_id, (0,), None, "bpf(BPF_PROG_GET_FD_BY_ID)"),
        (tty.pty_number, (BAD,), errno.EBADF, "ioctl(TIOCGPTN)"),
        (tty.window_size, (BAD,), errno.EBADF, "ioctl(TIOCGWINSZ)"),
        (tty.set_window_size, (BAD, bytes(8)), errno.EBADF, "ioctl(TIOCSWINSZ)"),
        (tty.set_controlling, (BAD,), errno.EBADF, "ioctl(TIOCSCTTY)"),
        (tty.make_raw, (BAD,), errno.EBADF, "tcsetattr(3)"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_errno_and_name(
    function: Callable[..., object], arguments: tuple[object, ...], number: int | None, note: str
) -> None:
    error = failure(function, *arguments)
    assert error.__notes__ == [note]
    assert error.errno == number or (number is None and error.errno)
    assert error.strerror == os.strerror(error.errno)


def test_paths_are_named(tmp_path) -> None:
    missing = str(tmp_path / "missing")
    error = failure(mount.mount, "none", missing, "tmpfs")
    assert error.filename == missing and error.__notes__ == ["mount(2) of none"]
    for error, note in (
        (failure(mount.umount2, missing), "umount2(2)"),
        (failure(mount.pivot_root, missing, missing), "pivot_root(2)"),
        (failure(mount.open_tree, mount.AT_FDCWD, missing, 0), "open_tree(2)"),
        (failure(mount.mount_setattr, mount.AT_FDCWD, missing, 0, attr_set=1), "mount_setattr(2)"),
        (failure(mount.move_mount, mount.AT_FDCWD, missing, mount.AT_FDCWD, missing, 0), "move_mount(2)"),
        (failure(linux_open.openat2, mount.AT_FDCWD, missing, os.O_RDONLY), "openat2(2)"),
    ):
        assert error.errno == (errno.ENOENT if os.geteuid() == 0 or note == "openat2(2)" else error.errno)
        assert error.filename == missing and error.__notes__ == [note]


def test_a_subclass_can_be_caught(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        linux_open.openat2(mount.AT_FDCWD, str(tmp_path / "missing"), os.O_RDONLY)


@pytest.mark.root
def test_file_system_descriptors() -> None:
    assert failure(mount.fsopen, "no such file system").errno == errno.ENODEV
    fd = mount.fsopen("tmpfs")
    try:
        assert not os.get_inheritable(fd)
        error = failure(mount.fsconfig, fd, mount.FSCONFIG_SET_STRING, "nonsense", "1")
        assert (error.errno, error.filename, error.__notes__) == (errno.EINVAL, "nonsense", ["fsconfig(2)"])
        mount.fsconfig(fd, mount.FSCONFIG_SET_STRING, "size", "64k")
        mount.fsconfig(fd, mount.FSCONFIG_CMD_CREATE)
        tree = mount.fsmount(fd, mount.MOUNT_ATTR_NODEV)
    finally:
        os.close(fd)
    try:
        assert not os.get_inheritable(tree)
        assert os.statvfs(tree).f_frsize * os.statvfs(tree).f_blocks == 65536
        assert os.statvfs(tree).f_flag & os.ST_NODEV
    finally:
        os.close(tree)


@pytest.mark.root
def test_mounts_in_a_namespace_of_their_own(tmp_path) -> None:
    def body() -> list[object]:
        sched.unshare(sched.CLONE_NEWNS)
        mount.mount(None, "/", None, mount.MS_REC | mount.MS_PRIVATE)
        one, two = str(tmp_path / "one"), str(tmp_path / "two")
        os.mkdir(one)
        os.mkdir(two)
        mount.mount("none", one, "tmpfs", 0, "size=64k")
        open(one + "/file", "w").close()
        tree = mount.open_tree(mount.AT_FDCWD, one, mount.OPEN_TREE_CLONE)
        inherited = os.get_inheritable(tree)
        mount.mount_setattr(tree, "", mount.AT_EMPTY_PATH, attr_set=mount.MOUNT_ATTR_RDONLY)
        mount.move_mount(tree, "", mount.AT_FDCWD, two, mount.MOVE_MOUNT_F_EMPTY_PATH)
        seen = os.listdir(two)
        error = failure(os.mkdir, two + "/folder")
        mount.umount2(one, mount.MNT_DETACH)
        return [inherited, seen, error.errno, os.listdir(one)]

    assert in_child(body) == [False, ["file"], errno.EROFS, []]


def test_openat2_stays_below(tmp_path) -> None:
    (tmp_path / "inside").write_text("mine")
    (tmp_path / "out").symlink_to("/etc/passwd")
    root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        fd = linux_open.openat2(root, "../../inside", os.O_RDONLY, 0, linux_open.RESOLVE_IN_ROOT)
        assert not os.get_inheritable(fd)
        assert os.read(fd, 10) == b"mine"
        os.close(fd)
        escaping = failure(linux_open.openat2, root, "out", os.O_RDONLY, 0, linux_open.RESOLVE_IN_ROOT)
        assert escaping.errno == errno.ENOENT
        links = failure(linux_open.openat2, root, "out", os.O_RDONLY, 0, linux_open.RESOLVE_NO_SYMLINKS)
        assert links.errno == errno.ELOOP
        beneath = failure(linux_open.openat2, root, "..", os.O_RDONLY, 0, linux_open.RESOLVE_BENEATH)
        assert beneath.errno == errno.EXDEV
        with pytest.raises(ValueError, match="null"):
            linux_open.openat2(root, "a\0b", os.O_RDONLY)
    finally:
        os.close(root)


def test_seccomp_refuses_a_bad_program() -> None:
    def body() -> object:
        error = failure(seccomp.load_program, b"\xff" * 8, False, True)
        return error.errno, error.__notes__

    assert in_child(body) == (errno.EINVAL, ["seccomp(SECCOMP_SET_MODE_FILTER)"])


def test_signalfd_of_nothing() -> None:
    fd = signals.signalfd(())
    assert signals.read(fd) == []
    os.close(fd)


def test_pidfd_getfd(a_file: int) -> None:
    mine = os.pidfd_open(os.getpid())
    try:
        copy = pidfd.pidfd_getfd(mine, a_file)
        assert not os.get_inheritable(copy)
        assert os.fstat(copy).st_ino == os.fstat(a_file).st_ino
        os.close(copy)
    finally:
        os.close(mine)


def test_timerfd() -> None:
    fd = timerfd.timerfd_create()
    try:
        assert not os.get_inheritable(fd)
        with pytest.raises(BlockingIOError):
            os.read(fd, 8)
        timerfd.timerfd_settime(fd, 0.05)
        begun = time.monotonic()
        assert select.select([fd], [], [], 10)[0] == [fd]
        assert time.monotonic() - begun > 0.04
        assert int.from_bytes(os.read(fd, 8), sys.byteorder) == 1
        timerfd.timerfd_settime(fd, 1000.5)
        timerfd.timerfd_settime(fd, 0)
        assert select.select([fd], [], [], 0.1)[0] == []
    finally:
        os.close(fd)
    error = failure(timerfd.timerfd_settime, BAD, 1.0)
    assert (error.errno, error.__notes__) == (errno.EBADF, ["timerfd_settime(2)"])
