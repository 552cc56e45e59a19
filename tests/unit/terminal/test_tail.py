# SPDX-License-Identifier: LGPL-2.1-or-later
"""Log files that grow, are rotated and emptied; and what a terminal is spared."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.errors import LxcError
from lxctools.terminal.tail import Filter, Tail, last_lines


def everything(tail: Tail) -> bytes:
    data = b""
    while more := tail.read():
        data += more
    return data


def test_growing_rotated_emptied(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    tail = Tail(str(path))
    assert everything(tail) == b"one\n"
    with open(path, "ab") as file:
        file.write(b"two\n")
    assert everything(tail) == b"two\n"
    with open(path, "ab") as file:
        file.write(b"the rest\n")
    path.rename(tmp_path / "log.1")
    assert everything(tail) == b"the rest\n"
    path.write_bytes(b"new\n")
    assert everything(tail) == b"new\n"
    os.truncate(path, 0)
    with open(path, "ab") as file:
        file.write(b"3\n")
    assert everything(tail) == b"3\n"
    tail.close()


@pytest.mark.parametrize("text", [b"", b"a", b"a\n", b"a\nb", b"a\n\nb\n", b"50%\r100%\nb\x0bc\x85\r\n", b"x" * 200000 + b"\n" + b"y" * 70000])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_last_lines(tmp_path: Path, text: bytes, count: int) -> None:
    path = tmp_path / "log"
    path.write_bytes(text)
    tail = Tail(str(path))
    tail.seek_lines(count)
    assert everything(tail) == last_lines(text, count)
    tail.close()


@given(st.binary(max_size=200), st.integers(0, 9))
def test_last_lines_of_anything(data: bytes, count: int) -> None:
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    lines = [line for line in lines if line]
    path = Path("/tmp") / f"lxcu-tail.{os.getpid()}"
    path.write_bytes(data)
    try:
        tail = Tail(str(path))
        tail.seek_lines(count)
        assert everything(tail) == b"".join(lines[max(0, len(lines) - count) :]) == last_lines(data, count)
        tail.close()
    finally:
        path.unlink()


def test_what_is_no_log(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, words in (("fifo", "no regular file"), ("missing", "No such file")):
        with pytest.raises(LxcError, match=words):
            Tail(str(tmp_path / name))


HOSTILE = {
    b"plain \xc3\xa9\t\r\n": b"plain \xc3\xa9\t\r\n",
    b"\x1b[1;32mOK\x1b[0m": b"\x1b[1;32mOK\x1b[0m",
    b"\x1b]0;title\x07": b"^[]0;title^G",
    b"\x1b[2J": b"^[[2J",
    b"\x1b[6n": b"^[[6n",
    b"\x1bP$q\x1b\\": b"^[P$q^[\\",
    b"\xc2\x9b6n": b"^[6n",
    b"\x7f\x00": b"^?^@",
    b"\x1b": b"^[",
    b"\x1b[1": b"^[[1",
    b"\xc2": b"\xc2",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_terminal_gets(text: bytes) -> None:
    assert Filter().feed(text, final=True) == HOSTILE[text]
    for cut in range(len(text)):
        clean = Filter()
        assert clean.feed(text[:cut]) + clean.feed(text[cut:], final=True) == HOSTILE[text]


@given(st.binary(max_size=100))
def test_no_control_character_but_colours_comes_through(data: bytes) -> None:
    result = Filter().feed(data, final=True)
    import re

    left = re.sub(rb"\x1b\[[0-9;]*m", b"", result)
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]", left)
