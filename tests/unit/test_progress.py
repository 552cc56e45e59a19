# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is shown of long work, where, and when."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator

import pytest

from lxctools import progress
from lxctools.progress import Progress, duration, size


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress.time, "monotonic", made)
    return made


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    yield master, slave
    os.close(master)
    os.close(slave)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(reader)
    os.close(writer)



def read(fd: int) -> str:
    try:
        return os.read(fd, 65536).decode()
    except BlockingIOError:
        return ""


def test_nothing_in_the_first_second_then_a_line_that_goes(terminal: tuple[int, int], clock: Clock) -> None:
    master, slave = terminal
    with Progress("removing c1", slave) as beat:
        for _ in range(9):
            beat()
            clock.now += 0.1
        assert read(master) == ""
        clock.now += 0.2
        beat(3)
        assert read(master) == "\r\x1b[Kremoving c1 (1 s, 12)"
        clock.now += 0.1
        beat()
        assert read(master) == "", "not at every beat"
    assert read(master) == "\r\x1b[K"
    assert beat.count == 13


def test_short_work_shows_nothing(terminal: tuple[int, int], clock: Clock) -> None:
    with Progress("x", terminal[1]) as beat:
        beat()
    assert read(terminal[0]) == ""


def test_nothing_without_a_terminal_or_when_quiet(pipe: tuple[int, int], terminal: tuple[int, int], clock: Clock) -> None:
    for master, fd, quiet in ((*pipe, False), (*terminal, True)):
        with Progress("x", fd, quiet=quiet) as beat:
            clock.now += 5
            beat()
        assert read(master) == ""


def test_a_narrow_terminal_is_not_overrun(terminal: tuple[int, int], clock: Clock) -> None:
    import fcntl
    import struct
    import termios

    fcntl.ioctl(terminal[1], termios.TIOCSWINSZ, struct.pack("HHHH", 24, 20, 0, 0))
    with Progress("something with a long description", terminal[1]) as beat:
        clock.now += 2
        beat()
        assert read(terminal[0]) == "\r\x1b[Ksomething with a lo"



def test_a_terminal_that_has_gone_stops_nothing(clock: Clock) -> None:
    master, slave = os.openpty()
    with Progress("x", slave) as beat:
        os.close(master)
        clock.now += 2
        beat()
        clock.now += 2
        beat()
    os.close(slave)
    assert beat.count == 2



def test_bytes_have_a_rate_and_a_time_left(terminal: tuple[int, int], clock: Clock) -> None:
    master, slave = terminal
    with Progress("copying c1", slave, in_bytes=True) as beat:
        clock.now += 2
        beat.reached(0)
        assert read(master) == "\r\x1b[Kcopying c1 (2 s, 0 B, 0 B/s)"
        beat.reached(90_000_000)
        clock.now += 2
        beat.reached(100_000_000)
        assert read(master) == "\r\x1b[Kcopying c1 (4 s, 100 MB, 25.0 MB/s)"
        beat.expect(2_600_000_000)
        clock.now += 1
        beat.reached(100_000_000)
        assert read(master) == "\r\x1b[Kcopying c1 (5 s, 100 MB, 20.0 MB/s, 2 min 5 s left)"
        clock.now += 1
        beat.reached(2_700_000_000)
        assert read(master) == "\r\x1b[Kcopying c1 (6 s, 2.7 GB, 450 MB/s)", "more than was expected"



def test_sizes_and_durations() -> None:
    given = (0, 999, 1000, 99_940, 99_960, 999_499, 999_600, 1.5e9, 2e12, 5e15)
    assert [size(count) for count in given] == [
        "0 B", "999 B", "1.0 kB", "99.9 kB", "100 kB", "999 kB", "1.0 MB", "1.5 GB", "2.0 TB", "5000 TB",
    ]  # fmt: skip
    assert [duration(seconds) for seconds in (0.4, 59.4, 59.6, 3599, 3600, 9000)] == [
        "0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "2 h 30 min",
    ]  # fmt: skip
