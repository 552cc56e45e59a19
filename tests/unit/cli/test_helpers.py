# SPDX-License-Identifier: LGPL-2.1-or-later
"""The helpers that LXC and the host's init call: lxc-init, lxc-containers, lxc-user-nic."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lxctools.cgroup import hierarchy
from lxctools.cli import containers
from lxctools.errors import LxcError
from lxctools.network import settings

from .test_commands import BIN, lxc

# -- lxc-init ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "status"),
    [(["true"], 0), (["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 137), (["/no/such/program"], 255), (["sh", "-c", "(sleep 0.3; :) & exit 4"], 4)],
)
def test_init_status(words: list[str], status: int) -> None:
    begun = time.monotonic()
    assert lxc("init", "-n", "x", "-P", "/nowhere", "-o", "/no/such/log", "-l", "TRACE", "-q", "--", *words).returncode == status
    if "sleep" in words[-1]:
        assert time.monotonic() - begun >= 0.3  # what was left behind is waited for


def test_init_without_what_it_needs() -> None:
    done = lxc("init", "--", "true")
    assert (done.returncode, done.stderr) == (1, "lxc-init: missing container name, use --name option\n")
    done = lxc("init", "-n", "x")
    assert done.returncode == 1 and "Please specify a command to execute" in done.stderr
    assert lxc("init", "-q").stderr == ""


def test_init_passes_signals_on() -> None:
    script = "trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen([BIN / "lxc-init", "-n", "x", "--", "sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.wait(10) == 9


# -- lxc-containers ----------------------------------------------------------------------------------------------------


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where an lxc-autostart of the test's notes its arguments; the settings are tmp_path/lxc."""
    program = tmp_path / "lxc-autostart"
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\nexit 2\n')
    program.chmod(0o755)
    monkeypatch.setattr(containers.paths, "LIBEXEC", str(tmp_path))
    monkeypatch.setattr(containers, "LOCK", str(tmp_path / "lock"))
    read = settings.read
    monkeypatch.setattr(
        settings, "read", lambda **more: read(str(tmp_path / "lxc"), str(tmp_path / "lxc-net"), **more)
    )
    return tmp_path / "calls"


def act(action: str) -> int:
    return containers.run(containers.parse([action], "lxc-containers"))


def test_as_without_settings(calls: Path) -> None:
    assert act("start") == 0  # though some failed: else lxc.service would not stop them
    assert act("stop") == 2
    assert act("restart") == 2
    assert calls.read_text() == "-g onboot,\n-a -A -s -t 5\n-a -A -s -t 5\n-g onboot,\n"


def test_a_killed_stop_is_told_as_shells_do(calls: Path) -> None:
    (calls.parent / "lxc-autostart").write_text("#!/bin/sh\nkill -TERM $$\n")
    assert act("stop") == 128 + signal.SIGTERM


def test_settings(calls: Path) -> None:
    (calls.parent / "lxc").write_text("LXC_AUTO=true\nBOOTGROUPS=\nSHUTDOWNDELAY=\nOPTIONS=\"-P '/my containers'\"\nSTOPOPTS='-a -k'\n")
    act("start")
    act("stop")
    assert calls.read_text() == "-P /my containers\n-a -k\n"
    (calls.parent / "lxc").write_text("LXC_AUTO=false\n")
    assert act("start") == 0
    assert calls.read_text().count("\n") == 2


def test_the_lock_is_in_a_folder_of_the_callers(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "LOCK", "run/new/lock")
    monkeypatch.setattr(containers.paths, "runtime_dir", lambda: str(calls.parent))
    assert act("start") == 0
    assert (calls.parent / "run/new/lock").stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(containers, "LOCK", "calls/lock")
    with pytest.raises(LxcError, match="cannot lock .*/calls/lock, which keeps two starts apart: "):
        act("start")


def test_a_users_service_leaves_its_cgroup_to_the_containers(calls: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    group = tmp_path / "group"
    found = hierarchy.Hierarchy(2, [], str(tmp_path), "/group", "/group")
    monkeypatch.setattr(hierarchy, "detect", lambda: hierarchy.Host(hierarchy.UNIFIED, [found]))
    act("start")
    assert not group.exists(), "root's containers have places of their own"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    act("start")
    assert (group / "init.scope/cgroup.procs").read_text() == str(os.getpid())


def test_one_start_at_a_time(calls: Path) -> None:
    lock = os.open(containers.LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert act("start") == 0
    assert not calls.exists()
    os.close(lock)  # of a start that died: nothing is left of it
    assert act("start") == 0
    assert calls.exists()


def test_the_bridge_is_waited_for(calls: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (calls.parent / "lxc-net").write_text("USE_LXC_BRIDGE=true\n")
    (tmp_path / "default.conf").write_text("lxc.net.0.type = veth\nlxc.net.0.link = lxcnosuch0\nlxc.net.0.link = lo\n")
    monkeypatch.setattr(containers.paths, "GLOBAL_DEFAULT", str(tmp_path / "default.conf"))
    monkeypatch.setattr(containers, "_BRIDGE_PATIENCE", 0.3)
    begun = time.monotonic()
    assert act("start") == 0
    assert time.monotonic() - begun >= 0.3
    assert calls.exists()


@pytest.mark.parametrize("words", [[], ["sing"], ["--no-such-option"], [""]])
def test_wrong_words(words: list[str]) -> None:
    done = lxc("containers", *words)
    assert done.returncode == 2 and done.stdout.startswith("Usage: ")


# -- lxc-user-nic ------------------------------------------------------------------------------------------------------


def test_user_nic() -> None:
    done = lxc("user-nic", "create", "/x", "c1", "1", "veth", "lxcbr0", "eth0")
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot create a veth interface on lxcbr0 for c1: not supported yet" in done.stderr
    for words in ([], ["create", "/x"], ["remove", "/x", "c1", "1", "veth", "lxcbr0"], ["create"] * 8):
        done = lxc("user-nic", *words)
        assert (done.returncode, done.stdout) == (1, "") and done.stderr.startswith("Usage: ")
