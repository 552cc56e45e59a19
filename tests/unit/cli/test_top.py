# SPDX-License-Identifier: LGPL-2.1-or-later
"""Figures, their order and their layout; the screen itself on a pseudo-terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

from lxctools.cli import _usage, top

from .fake_monitor import FakeMonitor

TOP = Path(__file__).parents[3] / "bin" / "lxc-top"


def usage(name: str, total: int | None, memory: int | None) -> _usage.Usage:
    row = _usage.Usage(name)
    row.total, row.memory = total, memory
    return row


def test_order() -> None:
    rows = [usage("b", 5, 1), usage("a", 1, 9), usage("c", 3, 3)]

    def names(key: str, *, reverse: bool = False) -> str:
        return "".join(row.name for row in _usage.arrange(rows, key, reverse=reverse))

    assert (names("n"), names("c"), names("m"), names("x")) == ("abc", "bca", "acb", "abc")
    rows.append(usage("d", None, None))
    assert (names("c"), names("t")) == ("bcad", "abcd"), "what is not known comes last"
    rows.pop()
    assert (names("n", reverse=True), names("c", reverse=True)) == ("cba", "acb")


@pytest.mark.parametrize(("value", "text"), [(0, "  0.00   "), (512, "512.00   "), (409600, "400.00 KiB"), (2474639, "  2.36 MiB"), (None, "     -    ")])
def test_sizes(value: int | None, text: str) -> None:
    assert top.size(value) == text


def test_the_screen_leaves_out_what_nobody_uses() -> None:
    lines = top.screen([usage("a" * 30, 10_000_000, 0), usage("b", 0, 0)], 4, 200)
    assert len(lines) == 4
    assert lines[2].startswith("a" * 18 + "         0.01 ")
    assert lines[3].startswith("TOTAL 1 of 2               0.01 ")
    assert "MemSw" not in lines[0] and "KMem" not in lines[0] and "Net" not in lines[0]
    assert len({len(line) for line in lines}) == 1


def test_a_dash_for_what_the_kernel_does_not_tell() -> None:
    lines = top.screen([usage("a", None, None), usage("b", None, 4096)], 9, 200)
    assert lines[2].split() == ["a", "-", "-", "-", "-", "(", "-", "/", "-", ")", "-"]
    assert lines[4].split()[-2:] == ["4.00", "KiB"], "the sum is of what is known"
    assert _usage.batch_line(usage("a", None, None), 5, as_json=False) == "5,a" + ",0" * 8


@pytest.mark.parametrize("width", [1, 2, 10, 18, 30, 52, 60, 79, 80, 97, 110, 140, 200])
def test_what_a_narrow_terminal_shows(width: int) -> None:
    row = usage("web", 1_000_000_000, 4096)
    row.memory_swap = row.kernel = row.received = row.sent = 1
    lines = top.screen([row], 24, width)
    wide = len(lines[0])
    assert wide <= max(width, 31), "the name and the processor time are always there"
    assert len({len(line) for line in lines}) == 1
    if width >= 79:
        assert "Net" in lines[0] and "Mem" in lines[0] and "BlkIO" in lines[0]
    if width == 200:
        assert lines[1].split() == "Name Used Sys User Total(Read/Write) Used Used Used Rx Tx".split()


@pytest.fixture
def lxcpath(tmp_path: Path) -> str:
    group = tmp_path / "group"
    group.mkdir()
    for name, text in (
        ("cpuacct.usage", "14554297\n"),
        ("cpuacct.stat", "user 3\nsystem 1\n"),
        ("memory.usage_in_bytes", "2195456\n"),
        ("memory.memsw.usage_in_bytes", "2195457\n"),
        ("memory.kmem.usage_in_bytes", "286720\n"),
        ("blkio.throttle.io_service_bytes", "8:0 Read 4096\n8:0 Write 1\n8:0 Total 4097\nTotal 4097\n"),
        ("blkio.throttle.io_serviced", "8:0 Read 2\n8:0 Write 1\n8:0 Total 3\nTotal 3\n"),
    ):
        (group / name).write_text(text)
    return str(group)


def batch(folder: str, tmp_path: Path, *words: str) -> list[str]:
    place = str(tmp_path / "lxc")
    controllers = dict.fromkeys(("cpuacct", "memory", "blkio", "cpu", "io"), folder)
    monitor = FakeMonitor(place, "c1", cgroups=controllers)
    try:
        child = subprocess.Popen(
            [TOP, "-P", place, "-b", "-d", "60", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(1 if "--json" in words else 2)]
        child.terminate()
        assert child.wait(10) == -signal.SIGTERM
        child.stdout.close()
        return lines
    finally:
        monitor.close()


def test_batch_needs_no_terminal(lxcpath: str, tmp_path: Path) -> None:
    header, line = batch(lxcpath, tmp_path)
    assert header == ",".join(_usage.HEADER) + "\n"
    assert line.partition(",")[2] == "c1,14554297,1,3,4097,3,2195456,2195457,286720\n"


def test_batch_as_json(lxcpath: str, tmp_path: Path) -> None:
    (line,) = batch(lxcpath, tmp_path, "--json")
    row = json.loads(line)
    assert list(row) == list(_usage.JSON_HEADER)
    assert row["net_rx_bytes"] is None and row["net_tx_bytes"] is None, "it shares our network namespace"
    assert (row["container"], row["blkio_iops"], row["kernel_mem_used_bytes"]) == ("c1", 3, 286720)


class Screen:
    """lxc-top on a pseudo-terminal; seen: what it has written."""

    def __init__(self, lxcpath: Path, *words: str, size: tuple[int, int] = (24, 80), term: str = "xterm") -> None:
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, size)
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        self.child = subprocess.Popen(
            [TOP, "-P", lxcpath, *words], stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), env={"PATH": os.environ["PATH"]} | ({"TERM": term} if term else {}),
        )  # fmt: skip

    def until(self, text: bytes, seconds: float = 10) -> bool:
        deadline = time.monotonic() + seconds
        while text not in self.seen and time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.05)[0]:
                self.seen += os.read(self.master, 65536)
        return text in self.seen

    def end(self) -> int:
        code = self.child.wait(10)
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 65536)
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is not as it was"
        os.close(self.slave)
        os.close(self.master)
        assert b"Traceback" not in self.seen
        return code


@pytest.mark.parametrize("how", ["q", "^C", "^\\", "SIGINT", "SIGTERM"])
def test_the_screen_gives_the_terminal_back(how: str, tmp_path: Path) -> None:
    screen = Screen(tmp_path)
    assert screen.until(b"TOTAL 0 of 0")
    if how.startswith("SIG"):
        screen.child.send_signal(getattr(signal, how))
    else:
        os.write(screen.master, {"q": b"cr q", "^C": b"\x03", "^\\": b"\x1c"}[how])
    assert screen.end() == (-signal.SIGTERM if how == "SIGTERM" else 0)


def test_the_screen_follows_the_window(lxcpath: str, tmp_path: Path) -> None:
    place = tmp_path / "lxc"
    with FakeMonitor(str(place), "c1", cgroups=dict.fromkeys(("cpuacct", "memory", "blkio", "cpu", "io"), lxcpath)):
        screen = Screen(place, "-d", "60", size=(24, 40))
        assert screen.until(b"TOTAL 1 of 1")
        assert b"Total(Read/Write)" not in screen.seen
        termios.tcsetwinsize(screen.slave, (24, 140))
        assert screen.until(b"Total(Read/Write)", 5), "only after the delay, or never"
        os.write(screen.master, b"q")
        assert screen.end() == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 80), (2, 2), (3, 10), (24, 1), (200, 500)])
def test_windows_of_odd_sizes(size: tuple[int, int], lxcpath: str, tmp_path: Path) -> None:
    place = tmp_path / "lxc"
    with FakeMonitor(str(place), "c1", cgroups=dict.fromkeys(("cpuacct", "memory", "blkio", "cpu", "io"), lxcpath)):
        screen = Screen(place, "-d", "1", size=size)
        assert screen.until(b"\x1b[")
        time.sleep(0.5)
        termios.tcsetwinsize(screen.slave, (size[1], size[0]))
        time.sleep(0.3)
        assert screen.child.poll() is None, screen.seen
        os.write(screen.master, b"q")
        assert screen.end() == 0


@pytest.mark.parametrize("term", ["", "nosuch"])
def test_a_terminal_of_no_known_type(term: str, tmp_path: Path) -> None:
    screen = Screen(tmp_path, term=term)
    assert screen.until(b"TERM names its type")
    assert screen.end() == 1


def test_a_terminal_that_goes_away(tmp_path: Path) -> None:
    screen = Screen(tmp_path)
    assert screen.until(b"TOTAL 0 of 0")
    os.close(screen.slave)
    os.close(screen.master)
    assert screen.child.wait(10) in (0, -signal.SIGHUP)


def test_no_terminal() -> None:
    done = subprocess.run([TOP], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == 1 and "stdin is not a tty" in done.stderr
