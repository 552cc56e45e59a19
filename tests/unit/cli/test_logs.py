# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-logs and lxc-checkpoint as processes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .fake_monitor import FakeMonitor
from .test_commands import BIN, define, lxc, lxcpath, until

assert lxcpath  # the fixture


def test_the_console_log(lxcpath: Path) -> None:
    file = lxcpath / "console.log"
    file.write_bytes(b"one\ntwo\n\xff\x1b]0;x\x07\n")
    define(lxcpath, "c1", f"lxc.console.logfile = {file}\n")
    done = subprocess.run([BIN / "lxc-logs", "-P", lxcpath, "c1"], capture_output=True, check=True)
    assert done.stdout == file.read_bytes()  # no terminal: as it is
    assert subprocess.run([BIN / "lxc-logs", "-P", lxcpath, "c1", "-t", "0"], capture_output=True, check=True).stdout == b""


def test_following_until_interrupted(lxcpath: Path) -> None:
    file = lxcpath / "console.log"
    file.write_text("one\n")
    define(lxcpath, "c1", f"lxc.console.logfile = {file}\n")
    with subprocess.Popen([BIN / "lxc-logs", "-P", lxcpath, "c1", "-f"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"
        with open(file, "a") as log:
            log.write("two\n")
        assert process.stdout.readline() == b"two\n"
        process.terminate()
        assert process.wait(10) == -15


def test_the_log_of_lxc(lxcpath: Path) -> None:
    define(lxcpath, "c1")
    done = lxc("logs", "-P", lxcpath, "c1", "-r")
    assert done.returncode == 1 and f"there is no {lxcpath}/c1/c1.log" in done.stderr
    (lxcpath / "c1" / "c1.log").write_text("line\n")
    assert lxc("logs", "-P", lxcpath, "c1", "-r").stdout == "line\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nope"], "nope doesn't exist"),
        (["c1"], "is not running, and its console has no log file"),
        (["c1", "-b"], "the buffer of its console ended with its monitor"),
        (["c1", "-b", "-r"], "could not parse command line"),
        (["c1", "-t", "many"], "could not parse command line"),
        ([], "No container name specified"),
    ],
)
def test_logs_refused(lxcpath: Path, words: list[str], message: str) -> None:
    define(lxcpath, "c1")
    done = lxc("logs", "-P", lxcpath, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr and "Traceback" not in done.stderr


def test_a_monitor_without_a_buffer(lxcpath: Path) -> None:
    define(lxcpath, "c1")
    with FakeMonitor(str(lxcpath), "c1") as monitor:
        done = lxc("logs", "-P", lxcpath, "c1")
        assert done.returncode == 1 and "neither a log file nor a buffer" in done.stderr
        until(lambda: monitor.asked)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-r", "-s", "-D", "/x"], "-s not compatible with -r"),
        (["-d", "-D", "/x"], "only valid with -r"),
        (["-F", "-D", "/x"], "only valid with -r"),
        (["-s"], "-D is required"),
        (["-r", "-p", "-D", "/x"], "-p not compatible with -r"),
        (["-D", "/x"], "c1 not running, not checkpointing"),
        (["-D", "/x", "-r"], "restore c1: checkpoint and restore are not supported yet"),
    ],
)
def test_checkpoint(lxcpath: Path, words: list[str], message: str) -> None:
    define(lxcpath, "c1")
    done = lxc("checkpoint", "-P", lxcpath, "-n", "c1", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr


def test_checkpoint_of_a_running_one(lxcpath: Path) -> None:
    define(lxcpath, "c1")
    with FakeMonitor(str(lxcpath), "c1"):
        assert "cannot checkpoint c1: checkpoint and restore are not supported yet" in lxc(
            "checkpoint", "-P", lxcpath, "-n", "c1", "-D", lxcpath / "images").stderr
        assert "c1 is running, not restoring" in lxc("checkpoint", "-P", lxcpath, "-n", "c1", "-D", "/x", "-r").stderr
    assert "nope is not defined" in lxc("checkpoint", "-P", lxcpath, "-n", "nope", "-D", "/x").stderr
