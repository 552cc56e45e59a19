# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.linux.regex import Regex


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("b", "abc", True),
        ("^b", "abc", False),
        ("^a[[:digit:]]+$", "a12", True),
        ("^a|b$", "xb", True),
        ("a{2}", "aa", True),
        ("", "x", True),
        ("\\.", "a", False),
        (".", "\udcff", False),  # no character in a UTF-8 locale
    ],
)
def test_search(pattern: str, text: str, found: bool) -> None:
    assert Regex(pattern).search(text) is found


@pytest.mark.parametrize("pattern", ["a(", "[", "a\0b", "*["])
def test_invalid(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Regex(pattern)


@given(st.text(alphabet="abcé-_. ", min_size=1), st.text(alphabet="abcé-_. "))
def test_literals(needle: str, hay: str) -> None:
    pattern = "".join(f"[{letter}]" for letter in needle)
    assert Regex(pattern).search(hay) is (needle in hay)
