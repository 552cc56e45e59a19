# SPDX-License-Identifier: LGPL-2.1-or-later
"""Jobs in forks: what comes back, how many at once, and what a signal leaves."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lxctools.errors import LxcError
from lxctools.runtime import crowd
from lxctools.runtime.daemon import Report


def nothing(_report: Report) -> None:
    """A job that ends well at once."""


def fail(_report: Report) -> None:
    raise LxcError("no luck", remedy="try again")


def interrupted(folder: Path, *jobs: Callable[[Report], object], stay: bool = False) -> None:
    """Run them, and get SIGTERM as soon as each has left a file there."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    def look(_number: int, _frame: object) -> None:
        if len(list(folder.iterdir())) == len(jobs):
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, interrupt), signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(crowd.run(jobs, 5, stay=stay))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in zip((signal.SIGTERM, signal.SIGALRM), before, strict=True):
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    """Jobs are reaped."""
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_every_job_is_reported_with_its_reason() -> None:
    outcomes = dict(crowd.run([nothing, fail, lambda _: os._exit(3), lambda _: os.kill(os.getpid(), 9)], 2))
    assert outcomes == {0: None, 1: "no luck (try again)", 2: "it ended with status 3", 3: "it was killed by signal 9"}


def test_jobs_run_at_the_same_time_but_not_too_many(tmp_path: Path) -> None:
    def job(_report: Report) -> None:
        mark = tmp_path / str(os.getpid())
        mark.touch()
        time.sleep(0.1)
        (tmp_path / f"seen-{os.getpid()}").write_text(str(sum(name.name.isdigit() for name in tmp_path.iterdir())))
        mark.unlink()

    assert all(reason is None for _number, reason in crowd.run([job] * 7, 3))
    most = max(int(path.read_text()) for path in tmp_path.glob("seen-*"))
    assert 2 <= most <= 3


def test_a_job_that_becomes_a_program_does_not_hold_up_the_others() -> None:
    """As a start with start hooks does; its end of the pipe is closed long before its end."""
    order = [number for number, _reason in crowd.run([lambda _: os.execv("/bin/sleep", ["sleep", "1"]), *[nothing] * 4], 2)]
    assert order == [1, 2, 3, 4, 0]
    assert dict(crowd.run([lambda _: os.execv("/bin/false", ["false"])], 2)) == {0: "it ended with status 1"}


def test_a_job_that_cannot_say_how_it_ended_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def do(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(crowd, "_do", do)
    assert dict(crowd.run([nothing], 1)) == {0: "it ended with status 1"}


def staying(folder: Path, word: Callable[[Report], None]) -> Callable[[Report], None]:
    """A job that tells, and goes on for a minute."""

    def job(report: Report) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (folder / str(os.getpid())).touch()
        word(report)
        time.sleep(60)

    return job


def end(folder: Path) -> int:
    """Kill what is noted there; how many it was."""
    pids = [int(path.name) for path in folder.iterdir()]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return len(pids)


def test_a_job_that_stays_is_done_when_it_has_told(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    begun = time.monotonic()
    try:
        assert dict(crowd.run([staying(tmp_path, Report.running)] * 3, 1, stay=True)) == {0: None, 1: None, 2: None}
        assert time.monotonic() - begun < 30
        assert os.listdir("/proc/self/fd") == before
    finally:
        assert end(tmp_path) == 3


def test_a_job_that_stays_is_not_waited_for_after_a_signal(tmp_path: Path) -> None:
    def job(report: Report) -> None:
        time.sleep(1)  # the signal comes first
        report.running()
        time.sleep(60)

    def tells_later(report: Report) -> None:
        staying(tmp_path, job)(report)

    try:
        interrupted(tmp_path, tells_later, stay=True)
    finally:
        assert end(tmp_path) == 1


def test_a_long_word_comes_through_and_nothing_stays_open() -> None:
    def job(_report: Report) -> None:
        raise LxcError("x" * 300_000)

    before = os.listdir("/proc/self/fd")
    assert [reason for _number, reason in crowd.run([job] * 2, 2)] == ["x" * 300_000] * 2
    assert os.listdir("/proc/self/fd") == before


def test_a_signal_while_an_end_is_awaited_leaves_no_job(tmp_path: Path) -> None:
    """The job has closed its pipe already."""

    def job(_report: Report) -> None:
        (tmp_path / str(os.getpid())).touch()
        os.execv("/bin/sleep", ["sleep", "60"])

    interrupted(tmp_path, job)
    (started,) = tmp_path.iterdir()
    assert not Path(f"/proc/{started.name}").exists()


def test_a_signal_during_the_fork_leaves_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    fork = os.fork

    def fork_and_signal() -> int:
        pid = fork()
        if pid:
            os.kill(os.getpid(), signal.SIGTERM)
        return pid

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(crowd.os, "fork", fork_and_signal)
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(crowd.run([lambda _: time.sleep(60)], 1))
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_ends_the_jobs(tmp_path: Path) -> None:
    def job(_report: Report) -> None:
        (tmp_path / str(os.getpid())).touch()
        time.sleep(60)

    interrupted(tmp_path, job, job)
    started = [int(path.name) for path in tmp_path.iterdir()]
    assert len(started) == 2
    for pid in started:
        assert not Path(f"/proc/{pid}").exists()
