# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names for containers that are to be made: whatever cannot be one, or is empty, makes nothing and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lxctools.container import Container, import_container
from lxctools.errors import LxcError
from tests.treecmp import describe_tree

from .test_commands import define, lxc

BAD = ["", "../moved", "a/b", "/tmp/x", ".", "..", ".hidden", "two\nlines", "x" * 300]


def _state(folder: Path) -> dict[str, dict[str, Any]]:
    return {path: entry | {"atime": 0} for path, entry in describe_tree(folder, holes=False).items()}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder around a lxcpath with a container and what looks like its snapshot: nothing in it may change."""
    folder = tmp_path / "around"
    lxcpath = folder / "lxc"
    lxcpath.mkdir(parents=True)
    for where in (lxcpath, lxcpath / "c1/snaps"):
        where.mkdir(exist_ok=True)
        name = "c1" if where == lxcpath else "snap0"
        root = where / name / "rootfs"
        define(where, name, f"lxc.rootfs.path = dir:{root}\nlxc.uts.name = c1\n")
        root.mkdir()
        (root / "which").write_text(name)
    before = _state(folder)
    yield lxcpath
    assert _state(folder) == before


@pytest.mark.parametrize("new", BAD)
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("copy", ["c1", "-N"]),
        ("copy", ["c1", "-s", "-N"]),
        ("copy", ["c1", "-R", "-N"]),
        ("snapshot", ["c1", "-r", "snap0", "-N"]),
        ("snapshot", ["-n", "c1", "-r", "snap0"]),
        ("import", ["/dev/null"]),
        ("import", ["/dev/null", "-n"]),
    ],
)
def test_a_new_name_that_cannot_be_one(place: Path, command: str, words: list[str], new: str) -> None:
    done = lxc(command, "-P", place, *words, new)
    assert (done.returncode, done.stdout) == (1, "")
    wanted = "You must provide a NEWNAME" if command == "copy" and not new else "invalid container name"
    assert wanted in done.stderr, done


@pytest.mark.parametrize("new", BAD)
@pytest.mark.parametrize("words", [["-p"], ["-R", "-p"]])
def test_names_of_lxc_clone(place: Path, words: list[str], new: str) -> None:
    for names in (["c1", new], ["-o", "c1", "-n", new], [new, "c2"], ["-o", new, "-n", "c2"]):
        done = lxc("clone", *words, place, *names)
        assert done.returncode == 1
        assert "you must provide orig and new names" in done.stdout or "container name" in done.stderr or "is not defined" in done.stderr, done


@pytest.mark.parametrize("new", BAD)
@pytest.mark.parametrize(
    "act",
    [
        lambda c1, new: c1.clone(new),
        lambda c1, new: c1.rename(new),
        lambda c1, new: c1.snapshot_restore("snap0", new),
        lambda c1, new: import_container("/dev/null", new, c1.lxcpath),
    ],
    ids=["clone", "rename", "restore", "import"],
)
def test_by_the_api(place: Path, act: Callable[[Container, str], object], new: str) -> None:
    with pytest.raises(LxcError):
        act(Container("c1", str(place)), new)


def test_a_hidden_container_that_exists_can_be_worked_on(tmp_path: Path) -> None:
    define(tmp_path, ".c1")
    assert "STOPPED" in lxc("info", "-P", tmp_path, ".c1").stdout
