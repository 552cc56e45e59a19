# SPDX-License-Identifier: LGPL-2.1-or-later
"""Steps of the monitor's side of a start that need no container."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from lxctools import log
from lxctools.config.conf import Config
from lxctools.linux import prctl
from lxctools.runtime import start
from tests.forked import forked

_USER = 64321


def conf(*lines: str) -> Config:
    made = Config()
    for line in lines:
        made.load_line(line)
    return made


def console_of_a_user(*maps: str) -> Any:
    """(owner, group, warnings) of the console's pty in a start by a user other than root."""

    def work() -> Any:
        os.setgroups([])
        os.setresgid(_USER, _USER, _USER)
        os.setresuid(_USER, _USER, _USER)
        prctl.set_dumpable(True)
        warnings: list[str] = []
        log.warn = warnings.append
        run: Any = SimpleNamespace(conf=conf("lxc.pty.max = 1", *maps), console=None)
        start._host_console(run)
        status = os.fstat(run.console.slave)
        return status.st_uid, status.st_gid, warnings

    return forked(work)


@pytest.mark.root
def test_a_user_who_cannot_give_the_console_away_is_warned() -> None:
    owner, _group, warnings = console_of_a_user("lxc.idmap = u 0 100000 65536", "lxc.idmap = g 0 100000 65536")
    assert owner == _USER
    assert len(warnings) == 1 and "console" in warnings[0]


@pytest.mark.root
def test_a_users_console_is_the_containers_roots() -> None:
    found = console_of_a_user(f"lxc.idmap = u 0 {_USER} 1", f"lxc.idmap = g 0 {_USER} 1")
    assert found == (_USER, _USER, []), "the group tty of the host is nobody's inside"
