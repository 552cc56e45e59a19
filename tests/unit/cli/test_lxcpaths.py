# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options that name a folder of containers: what is relative, empty or "/" means the same folder to every part."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lxctools.cli import _options, clone, copy

from . import fake_monitor
from .fake_monitor import FakeMonitor
from .test_commands import define, lxc, lxcpath

assert lxcpath  # the fixture


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("/a", "/a"), ("/a//", "/a"), ("/", "/"), ("//", "/"), ("", ""), ("/a//b/../c/", "/a//b/../c"), ("rel/", "HERE/rel"), (".", "HERE")],
)
def test_every_form(text: str, wanted: str) -> None:
    wanted = wanted.replace("HERE", os.getcwd())
    assert _options.lxcpath(text) == wanted
    if text:
        assert _options.read(copy.COMMAND, ["c1", "-p", text]).newpath == wanted
        values = clone.parse(["-p", text, "-P", text, "c1", "c2"], "lxc-clone")
        assert (values.source_path, values.newpath) == (wanted, wanted)


@pytest.mark.parametrize(("command", "words"), [("copy", ["c1", "-N", "c2", "-p"]), ("clone", ["c1", "c2", "-p"]), ("clone", ["c1", "c2", "-P"])])
def test_an_empty_one_is_not_the_own_one(lxcpath: Path, command: str, words: list[str]) -> None:
    define(lxcpath, "c1")
    done = lxc(command, *(["-P", lxcpath] if command == "copy" else []), *words, "")
    assert done.returncode == 1
    assert "the path is empty" in done.stderr
    assert os.listdir(lxcpath) == ["c1"]


def test_a_running_container_of_a_relative_lxcpath_is_seen_to_run(lxcpath: Path) -> None:
    define(lxcpath, "c1", "lxc.uts.name = c1\n")
    with FakeMonitor(str(lxcpath), "c1") as monitor:
        done = lxc("clone", "-p", lxcpath.name, "-P", lxcpath.name, "c1", "c2", cwd=lxcpath.parent)
        assert fake_monitor.GET_STATE in monitor.asked
    assert done.returncode == 1
    assert "is running" in done.stderr, done
    assert os.listdir(lxcpath) == ["c1"]
    assert not os.path.exists(f"/run/lxc/lock/{lxcpath.name}")
