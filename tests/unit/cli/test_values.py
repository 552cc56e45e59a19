# SPDX-License-Identifier: LGPL-2.1-or-later
"""Numbers, sizes, layouts: the pure parts of the commands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.cli import _table, _values
from lxctools.cli._options import BadValue


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("10", 10), ("010", 8), ("0x10", 16), ("0XfF", 255), (" \t7", 7), ("+7", 7), ("4294967295", 4294967295)],
)
def test_unsigned(text: str, number: int) -> None:
    assert _values.unsigned(text) == number


@pytest.mark.parametrize("text", ["", "-1", "1x", "x", "08", "0x", "4294967296", "1_0", "1 ", "٣", "+-1", "1\udcff"])
def test_unsigned_refuses(text: str) -> None:
    with pytest.raises(BadValue):
        _values.unsigned(text)


def test_signed() -> None:
    assert [_values.signed(text) for text in ("-1", " -0x10", "+5", "0")] == [-1, -16, 5, 0]
    for text in ("", "-", "--1", "1.5", str(1 << 63)):
        with pytest.raises(BadValue):
            _values.signed(text)


def test_lenient() -> None:
    assert [_values.lenient(text) for text in ("5", " -5x", "abc", "", "010", "+3")] == [5, -5, 0, 0, 10, 3]


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1 << 20), ("1b", 1), ("2K", 2048), ("3 m", 3 << 20), ("1GB", 1 << 30), ("1t", 1 << 40), ("0x1k", 1 << 10)],
)
def test_size(text: str, number: int) -> None:
    assert _values.size(text) == number


@pytest.mark.parametrize("text", ["", "x", "-1", "1q", "k", "1.5g"])
def test_size_refuses(text: str) -> None:
    with pytest.raises(BadValue):
        _values.size(text)


@given(st.text())
def test_any_text_is_a_number_or_refused(text: str) -> None:
    for read in (_values.unsigned, _values.signed, _values.size):
        try:
            assert isinstance(read(text), int)
        except BadValue:
            pass
    assert isinstance(_values.lenient(text), int)


def test_columns_as_lxc_lays_them_out() -> None:
    assert _table.in_columns(["e1", "e2", "e3"], 80, 2) == "e1   e2   e3   \n"
    assert _table.in_columns(["e1", "e2", "e3"], 0, 2) == "e1  \ne2  \ne3  \n"
    assert _table.in_columns([], 80, 0) == ""
    # A line is full when one more name would reach the terminal's width.
    assert _table.in_columns(["aaaa", "bbbb", "cccc"], 10, 4) == "aaaa bbbb\ncccc \n"
    assert _table.in_columns(["a", "longest"], 0, 7) == "a      \nlongest\n"


def test_widths_count_bytes() -> None:
    assert _table.in_columns(["é", "abcde"], 0, 5) == "é   \nabcde\n"
    assert _table.pad("\udcff", 3) == "\udcff  "


def test_table_has_a_blank_after_every_column() -> None:
    assert _table.table(["NAME", "PID"], [["e1", "-"], ["longer", "123"]], [0, 5]) == (
        "NAME   PID   \ne1     -     \nlonger 123   \n"
    )
    assert _table.table([], [[], []], []) == "\n\n\n"
