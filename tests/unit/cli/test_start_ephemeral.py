# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-start-ephemeral: what is wrong with a command line ends with 2; what a container tells of its users is not trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from lxctools.cli import start_ephemeral
from lxctools.errors import LxcError

from .test_commands import lxc

WRONG = {
    "no source": ([], "-o names the container"),
    "an unknown source": (["-o", "nosuch"], "Source container 'nosuch' doesn't exist"),
    "a bad source": (["-o", "a/b"], "invalid container name"),
    "a bad name": (["-o", "c1", "-n", "a/b"], "invalid container name"),
    "a taken name": (["-o", "c1", "-n", "c1"], "there is a"),
    "daemon and command": (["-o", "c1", "-d", "--", "true"], "-d does not go with a COMMAND"),
    "kept in memory": (["-o", "c1", "-k", "-s", "tmpfs"], "cannot be kept"),
    "storage": (["-o", "c1", "-s", "disk"], '"disk" is none of tmpfs, dir'),
    "union": (["-o", "c1", "-U", "unionfs"], '"unionfs" is none of overlayfs, aufs'),
    "aufs": (["-o", "c1", "-U", "aufs"], "aufs is in no kernel of today"),
    "bind": (["-o", "c1", "-b", ""], "the folder is missing"),
    "layer": (["-o", "c1", "-c", "/usr/.."], 'write the path without ".."'),
    "an unknown option": (["-o", "c1", "--bogus"], "unrecognized option"),
    "no argument": (["-o"], "requires an argument"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_command_lines(what: str, tmp_path: Path) -> None:
    (tmp_path / "c1").mkdir()
    (tmp_path / "c1/config").write_text("")
    words, part = WRONG[what]
    done = lxc("start-ephemeral", "-P", tmp_path, *words)
    assert done.returncode == 2 and part in done.stderr and "Traceback" not in done.stderr, done
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["c1"]


def test_help_and_version() -> None:
    done = lxc("start-ephemeral", "--help")
    assert done.returncode == 0 and "--keep-data" in done.stdout
    assert lxc("start-ephemeral", "--version").returncode == 0


def test_users() -> None:
    read = start_ephemeral._read_user
    assert read("user:x:1000:1001::/home/user:/bin/sh\n1001 27\n", "user") == (1000, 1001, [1001, 27], "/home/user")
    assert read("user:x:1000:1001::home:/bin/sh\n", "user") == (1000, 1001, [1001], "/")


@pytest.mark.parametrize("told", ["", "\n", "0\n", "u:x:-1:0::/:/\n0", "u:x:0:4294967295::/:/\n0", "u:x:0:0::/:/\n0 x", "u:x:²:0::/:/\n"])
def test_what_is_no_user(told: str) -> None:
    with pytest.raises(LxcError, match="there is no user"):
        start_ephemeral._read_user(told, "user")
