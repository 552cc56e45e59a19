# SPDX-License-Identifier: LGPL-2.1-or-later
"""Figures, their order and their layout; the screen itself on a pseudo-terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lxctools.cli import top

from .fake_monitor import FakeMonitor

TOP = Path(__file__).parents[3] / "bin" / "lxc-top"


def usage(name: str, total: int, memory: int) -> top.Usage:
    row = top.Usage(name)
    row.total, row.memory = total, memory
    return row


def test_order() -> None:
    rows = [usage("b", 5, 1), usage("a", 1, 9), usage("c", 3, 3)]

    def names(key: str, *, reverse: bool = False) -> str:
        return "".join(row.name for row in top.arrange(rows, key, reverse=reverse))

    assert (names("n"), names("c"), names("m"), names("x")) == ("abc", "bca", "acb", "abc")
    assert (names("n", reverse=True), names("c", reverse=True)) == ("cba", "acb")


@pytest.mark.parametrize(("value", "text"), [(0, "  0.00   "), (512, "512.00   "), (409600, "400.00 KiB"), (2474639, "  2.36 MiB")])
def test_sizes(value: int, text: str) -> None:
    assert top.size(value) == text


def test_the_screen_leaves_out_what_nobody_uses() -> None:
    lines = top.screen([usage("a" * 30, 10_000_000, 0), usage("b", 0, 0)], 4)
    assert len(lines) == 4
    assert lines[2].startswith("a" * 18 + "         0.01 ")
    assert lines[3].startswith("TOTAL 1 of 2               0.01 ")
    assert "MemSw" not in lines[0] and "KMem" not in lines[0]
    assert len({len(line) for line in lines}) == 1


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
    assert header == ",".join(top.HEADER) + "\n"
    assert line.partition(",")[2] == "c1,14554297,1,3,4097,3,2195456,2195457,286720\n"


def test_batch_as_json(lxcpath: str, tmp_path: Path) -> None:
    (line,) = batch(lxcpath, tmp_path, "--json")
    row = json.loads(line)
    assert list(row) == list(top.HEADER)
    assert (row["container"], row["blkio_iops"], row["kernel_mem_used_bytes"]) == ("c1", 3, 286720)


@pytest.mark.parametrize("how", ["q", "SIGINT", "SIGTERM"])
def test_the_screen_gives_the_terminal_back(how: str, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    before = os.popen(f"stty -g < {os.ttyname(slave)}").read()
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm"}
    child = subprocess.Popen([TOP, "-P", tmp_path], stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True)
    seen = b""
    deadline = time.monotonic() + 10
    while b"TOTAL 0 of 0" not in seen and time.monotonic() < deadline:
        if select.select([master], [], [], 0.2)[0]:
            seen += os.read(master, 65536)
    assert b"TOTAL 0 of 0" in seen
    if how == "q":
        os.write(master, b"cr q")
    else:
        child.send_signal(getattr(signal, how))
    assert child.wait(10) == (-signal.SIGTERM if how == "SIGTERM" else 0)
    assert os.popen(f"stty -g < {os.ttyname(slave)}").read() == before
    os.close(slave)
    os.close(master)


def test_no_terminal() -> None:
    done = subprocess.run([TOP], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == 1 and "stdin is not a tty" in done.stderr
