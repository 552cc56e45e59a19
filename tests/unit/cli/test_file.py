# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-file as a process, on containers that are stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from .test_commands import define, lxc, lxcpath

assert lxcpath  # the fixture


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["c1"], "push, pull or edit is missing"),
        (["c1", "put", "a", "b"], '"put" is neither push, pull nor edit'),
        (["c1", "push", "a"], "push takes what to copy, and where to"),
        (["c1", "pull", "a"], "pull takes what to copy, and where to"),
        (["c1", "edit"], "edit takes one path"),
        (["c1", "edit", "a", "b"], "edit takes one path"),
        (["c1", "edit", ""], "edit was given an empty path"),
        (["c1", "push", "/etc/passwd", ""], "push was given an empty path"),
        (["c1", "pull", "", "/tmp"], "pull was given an empty path"),
        (["c1", "edit", "a", "-m", "600"], "-r and -m are for push and pull"),
        (["c1", "pull", "a", "b", "-u", "0"], "-u, -g and -p are for push"),
        (["c1", "push", "a", "b", "-m", "0888"], "no mode in octal"),
        (["c1", "push", "a", "b", "-m", "10000"], "no mode in octal"),
        (["c1", "push", "a", "b", "-m", ""], "no mode in octal"),
        (["c1", "push", "a", "b", "-u", "root"], "is not a number"),
        (["nope", "push", "/etc/passwd", "/x"], "nope doesn't exist"),
        (["c1", "push", "/etc/passwd", "/x"], "no root file system of its own"),
        (["c1", "pull", "/etc/passwd", "/tmp"], "no root file system of its own"),
    ],
)
def test_refused(lxcpath: Path, words: list[str], message: str) -> None:
    define(lxcpath, "c1")
    done = lxc("file", "-P", lxcpath, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr and "Traceback" not in done.stderr


def test_a_root_that_is_the_hosts(lxcpath: Path, tmp_path: Path) -> None:
    define(lxcpath, "c1", "lxc.rootfs.path = dir:/\n")
    (tmp_path / "x").write_text("x")
    done = lxc("file", "-P", lxcpath, "c1", "push", tmp_path / "x", "/tmp/lxc-file-test")
    assert done.returncode == 1 and not Path("/tmp/lxc-file-test").exists()
    assert "the host's own root" in done.stderr
