# SPDX-License-Identifier: LGPL-2.1-or-later
"""Work in a child: what comes back, and what a signal leaves."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from types import FrameType

import pytest

from lxctools.errors import LxcError
from lxctools.lifecycle import child


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def fail() -> None:
    raise LxcError("no luck", remedy="try again")


def test_what_it_raises_comes_back() -> None:
    child.run(lambda: None, "does nothing")
    with pytest.raises(LxcError, match=r"no luck \(try again\)"):
        child.run(fail, "fails")
    with pytest.raises(LxcError, match="the process that leaves ended with status 3"):
        child.run(lambda: os._exit(3), "leaves")


def test_a_signal_during_the_fork_leaves_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    fork = os.fork

    def fork_and_signal() -> int:
        pid = fork()
        if pid:
            os.kill(os.getpid(), signal.SIGTERM)
        return pid

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(child.os, "fork", fork_and_signal)
    before = signal.signal(signal.SIGTERM, interrupt)
    begun = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            child.run(lambda: time.sleep(60), "sleeps")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert time.monotonic() - begun < 30


def test_the_work_can_be_interrupted() -> None:
    """Signals are held for the fork alone."""
    with pytest.raises(LxcError):
        child.run(lambda: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(60), "ends itself")
