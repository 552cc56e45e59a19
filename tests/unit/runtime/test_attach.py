# SPDX-License-Identifier: LGPL-2.1-or-later
"""The plan of an attach, and what the entrant does first, with the monitor played."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from lxctools.config.conf import Config
from lxctools.linux import sched
from lxctools.runtime import attach, entrant, sync
from tests.forked import forked


@pytest.mark.parametrize(("value", "expected"), [("1", 4711), ("0", 0), ("", 0)])
def test_a_container_with_cores_of_its_own_shares_them_with_what_is_attached(value: str, expected: int) -> None:
    options = attach.AttachOptions()
    options.elevate_lsm = options.elevate_cap = True
    target: Any = SimpleNamespace(pid=4711)
    running = {**dict.fromkeys(attach._KEYS), "lxc.sched.core": value or None}
    plan = attach._plan(running, Config(), options, target, 0, [False] * 3)
    assert plan["core_of"] == expected


@pytest.mark.parametrize(("core_of", "expected"), [(4711, ["core 4711", "setns"]), (0, ["setns"])])
def test_the_cores_are_joined_before_the_namespaces(core_of: int, expected: list[str]) -> None:
    """In the container the process whose they are has another number."""

    def work() -> list[str]:
        done: list[str] = []
        ours, theirs = sync.pair()
        ours.send(entrant.PLAN, {"core_of": core_of, "flags": sched.CLONE_NEWNS}, [0])

        def note(text: str) -> Callable[..., None]:
            def called(*words: object) -> None:
                done.append(text if words[0] != core_of else f"{text} {words[0]}")
                if text == "setns":
                    raise OSError(0, os.strerror(0))

            return called

        sched.core_sched_join, sched.setns = note("core"), note("setns")
        try:
            entrant._enter(theirs)
        except OSError:
            pass
        return done

    assert forked(work) == expected
