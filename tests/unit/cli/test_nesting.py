# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-ls --nesting in the tree of a stopped container, hostile ones included."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .fake_monitor import FakeMonitor
from .test_commands import define, lxc, lxcpath, until

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


def test_a_running_container_is_entered(lxcpath: Path) -> None:
    define(lxcpath, "c1")
    newns, newnet = 0x20000, 0x40000000
    # Its own mounts, without /proc, and its own network, in which another monitor answers.
    code = (
        "import sys, os; sys.path.insert(0, sys.argv[1]); from tests.unit.cli.fake_monitor import FakeMonitor\n"
        "with FakeMonitor(sys.argv[2], 'n1', state=6, config={'lxc.group': 'inner'}): print(flush=True); sys.stdin.read()"
    )
    repository = str(Path(__file__).parents[3])
    script = 'mount -t tmpfs none "$2" && mkdir "$2/n2" && : >"$2/n2/config" && exec /usr/bin/python3 -c "$0" "$1" "$2"'
    inside = subprocess.Popen(
        ["/usr/bin/unshare", "--mount", "--net", "/bin/sh", "-c", script, code, repository, str(lxcpath)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert inside.stdout is not None and inside.stdout.readline() == b"\n"
        with FakeMonitor(str(lxcpath), "c1", pid=inside.pid, clone_flags=newns | newnet):
            assert lxc("ls", "-P", lxcpath, "-f", "-F", "NAME,STATE,GROUPS,INTERFACE", "--nesting=2").stdout == (
                "NAME STATE   GROUPS INTERFACE \n"
                "c1   RUNNING -      lo        \n"
                "\\n1  FROZEN  inner  lo        \n"
                "\\n2  STOPPED -      -         \n"
            )
            assert lxc("ls", "-P", lxcpath, "-1", "--nesting", "--active").stdout == "c1\nc1/n1\n"
    finally:
        inside.communicate(b"")
    until(lambda: inside.poll() is not None)
