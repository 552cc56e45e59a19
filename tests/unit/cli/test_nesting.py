# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-ls --nesting in the tree of a stopped container, hostile ones included."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .test_commands import define, lxc, lxcpath

__all__ = ("lxcpath",)
pytestmark = pytest.mark.root


@pytest.fixture
def parent(lxcpath: Path) -> Iterator[Path]:
    """e3 is defined and stopped; yields the folder that is the lxcpath in its tree."""
    tree = lxcpath / "e3" / "rootfs"
    define(lxcpath, "e3", f"lxc.rootfs.path = dir:{tree}\n")
    define(lxcpath, "e5")
    inside = Path(f"{tree}{lxcpath}")
    inside.mkdir(parents=True)
    yield inside


def test_children_follow_their_parent(lxcpath: Path, parent: Path) -> None:
    define(parent, "n3", "lxc.group = a\n")
    define(parent, "n4", "lxc.rootfs.path = /tree\n")
    grandchildren = parent.parents[len(lxcpath.parts) - 2] / f"tree{lxcpath}"
    grandchildren.mkdir(parents=True)
    define(grandchildren, "deep")
    assert lxc("ls", "-P", lxcpath, "-1").stdout == "e3\ne5\n"
    assert lxc("ls", "-P", lxcpath, "-1", "--nesting").stdout == "e3\ne3/n3\ne3/n4\ne3/n4/deep\ne5\n"
    assert lxc("ls", "-P", lxcpath, "-1", "--nesting=1").stdout == "e3\ne3/n3\ne3/n4\ne5\n"
    assert lxc("ls", "-P", lxcpath, "-1", "--nesting=0").stdout == "e3\ne5\n"
    assert lxc("ls", "-P", lxcpath, "-f", "-F", "NAME,STATE,GROUPS", "--nesting").stdout == (
        "NAME   STATE   GROUPS \n"
        "e3     STOPPED -      \n"
        "\\n3    STOPPED a      \n"
        "\\n4    STOPPED -      \n"
        " \\deep STOPPED -      \n"
        "e5     STOPPED -      \n"
    )
    # A filtered-out parent hides its children, and the filter holds at every level.
    assert lxc("ls", "-P", lxcpath, "-1", "--nesting", "n3").stdout == ""
    assert lxc("ls", "-P", lxcpath, "-1", "--nesting", "3").stdout == "e3\ne3/n3\n"


def test_a_tree_without_containers(lxcpath: Path, parent: Path) -> None:
    assert lxc("ls", "-P", lxcpath, "-1", "--nesting").stdout == "e3\ne5\n"


def test_links_do_not_lead_out_of_the_tree(lxcpath: Path, parent: Path) -> None:
    parent.rmdir()
    os.symlink(lxcpath, parent)  # would list the host's containers again
    assert lxc("ls", "-P", lxcpath, "-1", "--nesting").stdout == "e3\ne5\n"


def test_a_fifo_does_not_hang_the_list(lxcpath: Path, parent: Path) -> None:
    (parent / "n1").mkdir()
    os.mkfifo(parent / "n1" / "config")
    begun = time.monotonic()
    done = lxc("ls", "-P", lxcpath, "-f", "-F", "NAME,GROUPS", "--nesting")
    assert time.monotonic() - begun < 4
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["NAME", "e3", "e5"]
