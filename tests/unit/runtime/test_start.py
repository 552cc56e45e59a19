# SPDX-License-Identifier: LGPL-2.1-or-later
"""Steps of the monitor's side of a start that need no container."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from lxctools import log
from lxctools.config.conf import Config
from lxctools.errors import LxcError
from lxctools.linux import prctl
from lxctools.runtime import start, sync
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


def test_the_words_of_a_dead_child_come_before_our_own_failure() -> None:
    """A failure here that is no error of ours may follow from the child's death; a bare KeyError never reaches the user."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        run: Any = SimpleNamespace(channel=None, init_pid=pid, init_pidfd=os.pidfd_open(pid))
        os.waitid(os.P_PIDFD, run.init_pidfd, os.WEXITED | os.WNOWAIT)
        for word in ("no such profile", ""):
            run.channel, theirs = sync.pair()
            if word:
                theirs.send(sync.ERROR, (word, "mend it"))
            theirs.close()
            found = start._reason(run, KeyError("peer"))
            run.channel.close()
            assert isinstance(found, LxcError)
            assert found.message == (word or "internal error in the monitor: KeyError: 'peer'")
        os.close(run.init_pidfd)
    finally:
        os.waitpid(pid, 0)
