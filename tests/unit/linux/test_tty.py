# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pseudo terminals."""

from __future__ import annotations

import errno
import os
import struct
import termios
from collections.abc import Iterator

import pytest

from lxctools.linux import mount, sched, tty

from .forked import in_child


@pytest.fixture
def pair() -> Iterator[tuple[int, int]]:
    master, slave = tty.openpty()
    yield master, slave
    os.close(master)
    os.close(slave)


def test_openpty(pair: tuple[int, int]) -> None:
    master, slave = pair
    assert not os.get_inheritable(master)
    assert not os.get_inheritable(slave)
    assert os.isatty(slave)
    assert os.ttyname(slave) == f"/dev/pts/{tty.pty_number(master)}"
    os.write(slave, b"x\n")
    assert os.read(master, 10) == b"x\r\n"


@pytest.mark.root
def test_openpty_of_another_devpts(tmp_path) -> None:
    def body() -> list[object]:
        sched.unshare(sched.CLONE_NEWNS)
        mount.mount(None, "/", None, mount.MS_REC | mount.MS_PRIVATE)
        mount.mount("devpts", str(tmp_path), "devpts", 0, "newinstance,ptmxmode=0666")
        fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
        pairs = [tty.openpty(fd) for _ in range(2)]
        return [
            [tty.pty_number(master) for master, _slave in pairs],
            os.fstat(pairs[1][1]).st_dev == os.stat(tmp_path / "1").st_dev,
            os.fstat(pairs[1][1]).st_rdev == os.stat(tmp_path / "1").st_rdev,
            sorted(os.listdir(tmp_path)),
        ]

    assert in_child(body) == [[0, 1], True, True, ["0", "1", "ptmx"]]


@pytest.mark.root
def test_openpty_where_no_devpts_is(tmp_path) -> None:
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(FileNotFoundError):
            tty.openpty(fd)
        (tmp_path / "ptmx").symlink_to("/dev/ptmx")
        with pytest.raises(OSError, match=r".") as caught:
            tty.openpty(fd)
        assert caught.value.errno == errno.ELOOP
        (tmp_path / "ptmx").unlink()
        (tmp_path / "ptmx").write_text("")
        opened = set(os.listdir("/proc/self/fd"))
        with pytest.raises(OSError, match=r".") as caught:
            tty.openpty(fd)
        assert (caught.value.errno, caught.value.__notes__) == (errno.ENOTTY, ["ioctl(TIOCSPTLCK)"])
        assert set(os.listdir("/proc/self/fd")) == opened
    finally:
        os.close(fd)


def test_window_size(pair: tuple[int, int]) -> None:
    master, slave = pair
    tty.set_window_size(master, struct.pack("4H", 17, 99, 0, 0))
    assert tty.window_size(slave) == struct.pack("4H", 17, 99, 0, 0)


def test_raw_and_back(pair: tuple[int, int]) -> None:
    master, slave = pair
    before = termios.tcgetattr(slave)
    os.write(master, b"typed early\r")
    echo = b""
    while not echo.endswith(b"\n"):
        echo += os.read(master, 1000)  # the kernel hands a pty's input on a little later
    assert echo == b"typed early\r\n"
    settings = tty.make_raw(slave)
    assert settings == before
    every = bytes(range(256))
    os.write(master, every)
    os.write(slave, every)
    seen = b""
    while len(seen) < len(every):
        seen += os.read(master, 1000)
    assert seen == every  # no echo any more
    got = b""
    while len(got) < len(b"typed early\n") + len(every):
        got += os.read(slave, 1000)
    assert got == b"typed early\n" + every  # what was typed before raw mode is not lost
    tty.restore(slave, settings)
    assert termios.tcgetattr(slave) == before


def test_what_is_no_terminal() -> None:
    reader, writer = os.pipe()
    try:
        for function in (tty.make_raw, tty.window_size, tty.set_controlling):
            with pytest.raises(OSError, match=r".") as caught:
                function(reader)
            assert caught.value.errno == errno.ENOTTY
        with pytest.raises(OSError, match=r".") as caught:
            tty.restore(reader, [0, 0, 0, 0, 0, 0, [b"\0"] * 32])
        assert caught.value.errno == errno.ENOTTY
    finally:
        os.close(reader)
        os.close(writer)


def test_controlling_terminal() -> None:
    def body() -> list[object]:
        master, slave = tty.openpty()
        with pytest.raises(PermissionError):
            tty.set_controlling(slave)  # not a session leader
        child = os.fork()
        if child == 0:
            os.setsid()
            tty.set_controlling(slave)
            fd = os.open("/dev/tty", os.O_RDWR)
            os.write(fd, b"mine")
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        return [status, os.read(master, 10)]

    assert in_child(body) == [0, b"mine"]
