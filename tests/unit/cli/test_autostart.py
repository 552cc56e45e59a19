# SPDX-License-Identifier: LGPL-2.1-or-later
"""What lxc-autostart counts and tells, with containers that a test plays."""

from __future__ import annotations

from pathlib import Path

import pytest

from lxctools.cli import _options, autostart

from .fake_monitor import FakeMonitor
from .test_commands import define, lxc, lxcpath

assert lxcpath  # the fixture


def test_one_that_does_not_answer_is_counted(lxcpath: Path) -> None:
    name = "c1\x1b]0;x\x07\udcff"  # which must not write to the terminal
    define(lxcpath, name, "lxc.start.auto = 1\n")
    define(lxcpath, "c2", "lxc.start.auto = 1\n")
    with FakeMonitor(str(lxcpath), name, silent=True):
        done = lxc("autostart", "-P", lxcpath, "-k")
    assert done.returncode == 2
    assert "1 of 1 containers failed: c1\\x1b]0;x\\x07\\xff\n" in done.stderr


def test_what_starts_containers_is_loaded_once(lxcpath: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        define(lxcpath, f"c{number}", f"lxc.start.auto = 1\nlxc.start.order = {number}\n")
    loaded: list[str] = []
    monkeypatch.setattr(autostart.api, "preload_for_starting", lambda first: loaded.append(first.name))
    monkeypatch.setattr(autostart.crowd, "run", lambda jobs, _at_once, stay: [(number, None) for number in range(len(jobs))])
    values = _options.read(autostart.COMMAND, [])
    values.lxcpath = str(lxcpath)
    assert autostart.run(values) == 0
    assert len(loaded) == 1
