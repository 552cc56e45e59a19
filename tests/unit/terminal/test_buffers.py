# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ring buffer, the console's log and the outbox."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxctools import log
from lxctools.errors import LxcError
from lxctools.terminal.logfile import ConsoleLog
from lxctools.terminal.outbox import ROOM, Outbox
from lxctools.terminal.ring import Ring

chunks = st.lists(st.binary(max_size=40), max_size=30)


@given(st.integers(1, 64), st.lists(st.one_of(st.binary(max_size=100), st.integers(0, 80), st.none())))
def test_ring_keeps_the_newest(size: int, steps: list[bytes | int | None]) -> None:
    ring = Ring(size)
    model = b""
    for step in steps:
        if isinstance(step, bytes):
            ring.add(step)
            model = (model + step)[-size:]
        elif step is None:
            ring.clear()
            model = b""
        else:
            expected = model[:step] if step else model
            assert ring.read(step) == expected
            model = model[len(expected) :]
        assert len(ring) == len(model)
    assert ring.read() == model


# -- the log


@settings(max_examples=60, deadline=None)
@given(chunks, st.integers(1, 50))
def test_a_rotated_log_runs_on_without_a_gap(parts: list[bytes], size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log")
        written = ConsoleLog(str(path), size, rotate=True)
        for part in parts:
            written.write(part)
            assert path.stat().st_size <= size
        written.close()
        old = Path(folder, "log.1").read_bytes() if Path(folder, "log.1").exists() else b""
        kept = old + path.read_bytes()
        assert b"".join(parts).endswith(kept)
        assert len(old) in (0, size)
        assert len(kept) >= min(len(b"".join(parts)), size)


@settings(max_examples=60, deadline=None)
@given(chunks, st.integers(1, 50))
def test_a_log_without_rotation_is_emptied(parts: list[bytes], size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log")
        written = ConsoleLog(str(path), size, rotate=False)
        for part in parts:
            written.write(part)
        written.close()
        everything = b"".join(parts)
        assert path.read_bytes() == everything[max(0, len(everything) - 1) // size * size :]
        assert os.listdir(folder) == ["log"]


def test_a_log_is_appended_to_and_private(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before ")
    for text in (b"one ", b"two"):
        written = ConsoleLog(str(path), 0, rotate=True)
        written.write(text)
        written.close()
        written.close()
    assert path.read_bytes() == b"before one two"
    made = ConsoleLog(str(tmp_path / "new"), 0, rotate=False)
    made.close()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600


def test_a_log_that_somebody_else_empties(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written = ConsoleLog(str(path), 10, rotate=True)
    written.write(b"12345678")
    os.truncate(path, 0)
    written.write(b"abcdefgh")
    written.close()
    assert path.read_bytes() == b"abcdefgh"
    assert not (tmp_path / "log.1").exists()


def test_a_fifo_is_a_log_without_limit(tmp_path: Path) -> None:
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    written = ConsoleLog(path, 4, rotate=True)  # nobody reads yet: neither this nor writing waits
    for _ in range(100):
        written.write(b"x" * 4096)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert os.read(reader, 10) == b"x" * 10
    os.close(reader)
    written.write(b"y")
    written.close()
    assert os.listdir(tmp_path) == ["fifo"]


def test_a_full_disk_is_told_once(tmp_path: Path) -> None:
    log.setup("test", level=log.ERROR, to_stderr=False)
    log.open_file(str(tmp_path / "records"))
    try:
        full = ConsoleLog("/dev/full", 0, rotate=False)
        for _ in range(5):
            full.write(b"x")
        full.close()
    finally:
        log.close_file()
        log.setup("lxc")
    (line,) = (tmp_path / "records").read_text().splitlines()
    assert "lxc.console.logfile: writing /dev/full failed: No space left on device" in line


def test_a_log_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(LxcError, match=r"lxc\.console\.logfile: cannot open .*No such file or directory"):
        ConsoleLog(str(tmp_path / "no" / "log"), 0, rotate=False)


# -- the outbox


@given(st.lists(st.binary(max_size=30000), max_size=20), st.integers(0, 4096))
@settings(max_examples=30, deadline=None)
def test_outbox_is_complete_and_in_order(parts: list[bytes], atom: int) -> None:
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        box = Outbox(writer, atom=atom)
        seen = b""
        for part in parts:
            box.add(part)
            before = len(box)
            written = box.flush()
            assert len(box) == before - written
            assert not atom or written <= atom
            seen += os.read(reader, 20000) if written else b""
        while box or written_left(reader):
            box.flush()
            seen += os.read(reader, 20000)
        assert seen == b"".join(parts)
    finally:
        os.close(reader)
        os.close(writer)


def written_left(reader: int) -> bool:
    import select

    return bool(select.select([reader], [], [], 0)[0])


def test_outbox_is_full() -> None:
    box = Outbox(-1)
    box.add(b"x" * (ROOM - 1))
    assert not box.full
    box.add(b"x")
    assert box.full
    with pytest.raises(OSError, match="Bad file"):
        box.flush()
    box.clear()
    assert not box
