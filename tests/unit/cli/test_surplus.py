# SPDX-License-Identifier: LGPL-2.1-or-later
"""Words and options that a command has no use for are refused before anything is done, and not dropped."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .fake_monitor import FakeMonitor
from .test_commands import BIN, define, lxc, lxcpath

assert lxcpath  # the fixture


@pytest.mark.parametrize(
    ("command", "words", "surplus"),
    [
        ("autostart", ["-k", "c1"], "c1"),
        ("autostart", ["--", "c1"], "c1"),
        ("cgroup", ["c1", "cpu.max", "50000", "100000"], "100000"),
        ("device", ["c1", "add", "/dev/null", "x", "y"], "y"),
        ("checkpoint", ["c1", "-D", "/nonexistent", "x"], "x"),
        ("console", ["c1", "3"], "3"),
        ("logs", ["c1", "c2"], "c2"),
        ("top", ["-b", "c1"], "c1"),
        ("monitor", ["-Q", "c1"], "c1"),
        ("stop", ["c1", "c2"], "c2"),
        ("destroy", ["c1", "c2"], "c2"),
        ("freeze", ["-n", "c1", "c2"], "c2"),
        ("unfreeze", ["-n", "c1", "c2"], "c2"),
        ("wait", ["c1", "-s", "STOPPED", "x"], "x"),
        ("info", ["c1", "two\nlines"], "two\\nlines"),
    ],
)
def test_words(lxcpath: Path, command: str, words: list[str], surplus: str) -> None:
    define(lxcpath, "c1", "lxc.start.auto = 1\n")
    done = lxc(command, "-P", lxcpath, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert f'unexpected argument "{surplus}"' in done.stderr
    assert os.listdir(lxcpath) == ["c1"]


def test_one_word_a_value_is_needed_for_cgroup_values_with_blanks(lxcpath: Path) -> None:
    assert "(quote a VALUE with blanks in it)" in lxc("cgroup", "-P", lxcpath, "c1", "cpu.max", "1", "2").stderr


@pytest.mark.parametrize("words", [["--jsn"], ["a", "b"], ["--json", "x"], ["-x"]])
def test_checkconfig(words: list[str]) -> None:
    done = lxc("checkconfig", *words)
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("copy", ["-N", "c2", "-F"], "-F needs -e"),
        ("copy", ["-N", "c2", "-s", "-D"], "-D needs -e"),
        ("copy", ["-N", "c2", "-t"], "-t needs -e"),
        ("copy", ["-N", "c2", "-m", "bind=/x"], "-m needs -e"),
        ("copy", ["-N", "c2", "-R", "-p", "/tmp"], "does not go with -p"),
        ("copy", ["-N", "c2", "-R", "-B", "dir"], "does not go with -B"),
        ("copy", ["-N", "c2", "-R", "-L", "1G"], "does not go with -L"),
        ("copy", ["-N", "c2", "-R", "-K"], "does not go with -K"),
        ("copy", ["-N", "c2", "-R", "--", "x"], "does not go with arguments"),
        ("snapshot", ["-C"], "-C needs -L"),
        ("snapshot", ["-N", "c2"], "-N needs -r"),
        ("snapshot", ["-r", "snap0", "-c", "/dev/null"], "-c is for making a snapshot"),
    ],
)
def test_options(lxcpath: Path, command: str, words: list[str], message: str) -> None:
    define(lxcpath, "c1", f"lxc.rootfs.path = dir:{lxcpath}/c1/rootfs\n")
    (lxcpath / "c1/rootfs").mkdir()
    done = lxc(command, "-P", lxcpath, "-n", "c1", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert os.listdir(lxcpath) == ["c1"] and sorted(os.listdir(lxcpath / "c1")) == ["config", "rootfs"]


def test_clone_renames_in_place(lxcpath: Path) -> None:
    define(lxcpath, "c1")
    done = lxc("clone", "-p", lxcpath, "-P", "/tmp", "-R", "c1", "c2")
    assert done.returncode == 1 and "-R does not go with -P" in done.stdout
    assert os.listdir(lxcpath) == ["c1"]


def test_top_shows_the_containers_of_every_lxcpath(lxcpath: Path) -> None:
    (lxcpath / "a").mkdir()
    (lxcpath / "b").mkdir()
    with FakeMonitor(f"{lxcpath}/a", "c1"), FakeMonitor(f"{lxcpath}/b", "c2"):
        words = [BIN / "lxc-top", "-b", "-P", lxcpath / "a", "-P", lxcpath / "b", "-P", lxcpath / "b"]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        rows = [process.stdout.readline() for _ in range(3)][1:]
        process.terminate()
        rest = process.communicate(timeout=20)[0]
    assert [row.split(",")[1] for row in rows] == ["c1", "c2"] and rest == ""
