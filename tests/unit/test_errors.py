# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a message says, and that it says it once."""

from __future__ import annotations

import errno

import pytest

from lxctools.errors import LxcError, describe


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("cannot open /a/b: No such file or directory: /a/b", "cannot open /a/b: No such file or directory"),
        ("cannot open /a/b: No such file or directory: /a/b/c", "cannot open /a/b: No such file or directory: /a/b/c"),
        ("cannot make the root: Permission denied: /a", "cannot make the root: Permission denied: /a"),
        ("failed: /", "failed: /"),
        ("plain", "plain"),
    ],
)
def test_a_path_is_named_once(message: str, says: str) -> None:
    assert str(LxcError(message, remedy="do this")) == f"{says} (do this)"


def test_describe_names_the_path_of_the_call() -> None:
    failure = OSError(errno.ENOENT, "No such file or directory", "/a")
    failure.add_note("open(2)")
    assert describe(failure) == "No such file or directory: /a [open(2)]"
