# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.cli.execute import split_words
from lxctools.errors import LxcError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  a  b ", ["a", "b"]),
        ("sh -c 'a b'", ["sh", "-c", "a b"]),
        ('x "a\\"b" \'c\\d\'', ["x", 'a"b', "c\\d"]),
        ("''", [""]),
        ("a''b", ["ab"]),
        ("a\\ b", ["a b"]),
    ],
)
def test_split(text: str, words: list[str]) -> None:
    assert split_words(text) == words


def test_an_open_quote_is_an_error() -> None:
    with pytest.raises(LxcError, match="not closed"):
        split_words("sh -c 'a")


@given(st.lists(st.text(alphabet="ab '\"\\$\t")))
def test_what_a_shell_quotes_comes_back(words: list[str]) -> None:
    assert split_words(" ".join(map(shlex.quote, words))) == words
