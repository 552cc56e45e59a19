# SPDX-License-Identifier: LGPL-2.1-or-later
"""Killed in the middle: whatever dies without a word, the next command tells the truth and cleans up."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lxctools import locks
from tests import host

MOMENTS = 20
VETH = "lxc.net.1.type = veth\nlxc.net.1.flags = up\n"


def spawn(*argv: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def state(lxcpath: Path, name: str) -> str:
    return host.run(host.OURS / "lxc-info", "-P", lxcpath, "-n", name, "-sH").stdout.decode().strip()


def assert_no_traceback(errors: bytes) -> None:
    """But for the interpreter's own words when it is interrupted before it runs our first line."""
    assert b"Traceback" not in errors or b"Fatal Python error: init" in errors, errors.decode()


def test_monitor_killed(unchanged_host: None, lxcpath: Path) -> None:
    host.make_container(lxcpath, "c1", VETH)
    chosen = random.Random(1)
    for _ in range(MOMENTS):
        host.run(host.OURS / "lxc-start", "-P", lxcpath, "-n", "c1", check=True)
        init = int(host.run(host.OURS / "lxc-info", "-P", lxcpath, "-n", "c1", "-pH").stdout)
        time.sleep(chosen.random() * 0.05)
        os.kill(host.monitor_of(lxcpath, "c1"), signal.SIGKILL)
        assert host.wait_until(lambda: not os.path.exists(f"/proc/{init}"), 5), "init has outlived its monitor"
        assert state(lxcpath, "c1") == "STOPPED"
    host.run(host.OURS / "lxc-start", "-P", lxcpath, "-n", "c1", check=True)
    cgroup = host.run(host.OURS / "lxc-attach", "-P", lxcpath, "-n", "c1", "-s", "PID", "--", "/bin/cat", "/proc/self/cgroup")
    assert b"-1" not in cgroup.stdout, "the groups of the killed monitor were not cleaned up"
    host.run(host.OURS / "lxc-stop", "-P", lxcpath, "-n", "c1", "-k", check=True)


def test_init_killed(unchanged_host: None, lxcpath: Path) -> None:
    host.make_container(lxcpath, "c1")
    host.run(host.OURS / "lxc-start", "-P", lxcpath, "-n", "c1", check=True)
    init = int(host.run(host.OURS / "lxc-info", "-P", lxcpath, "-n", "c1", "-pH").stdout)
    os.kill(init, signal.SIGKILL)
    assert host.wait_until(lambda: state(lxcpath, "c1") == "STOPPED", 5)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_start_killed(unchanged_host: None, lxcpath: Path, number: signal.Signals) -> None:
    host.make_container(lxcpath, "c1", VETH)
    chosen = random.Random(2)
    for _ in range(MOMENTS):
        process = spawn(host.OURS / "lxc-start", "-P", lxcpath, "-n", "c1")
        time.sleep(chosen.random() * 0.08)
        process.send_signal(number)
        _out, errors = process.communicate(timeout=20)
        assert_no_traceback(errors)
        # The monitor may be on its way still; then it arrives, or gives up and cleans.
        assert host.wait_until(lambda: state(lxcpath, "c1") in ("RUNNING", "STOPPED"), 10)
        time.sleep(0.1)
        if state(lxcpath, "c1") == "RUNNING":
            host.run(host.OURS / "lxc-stop", "-P", lxcpath, "-n", "c1", "-k", check=True)
    host.run(host.OURS / "lxc-start", "-P", lxcpath, "-n", "c1", check=True)
    host.run(host.OURS / "lxc-stop", "-P", lxcpath, "-n", "c1", "-k", check=True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_create_killed(unchanged_host: None, lxcpath: Path, number: signal.Signals) -> None:
    config = lxcpath / "default.conf"
    config.write_text("lxc.net.0.type = empty\n")
    create = (host.OURS / "lxc-create", "-P", lxcpath, "-n", "new", "-t", "busybox", "-f", config)
    chosen = random.Random(3)
    for _ in range(MOMENTS):
        process = spawn(*create)
        time.sleep(chosen.random() * 0.12)
        process.send_signal(number)
        _out, errors = process.communicate(timeout=20)
        assert_no_traceback(errors)
        folder = lxcpath / "new"
        if number != signal.SIGKILL and process.returncode != 0:
            # Or it was whole already when the signal came.
            whole = (folder / "config").exists() and not (folder / "partial").exists()
            assert whole or not folder.exists(), f"an interrupted creation left {folder}"
        if (folder / "config").exists() and not (folder / "partial").exists():
            host.run(host.OURS / "lxc-destroy", "-P", lxcpath, "-n", "new", check=True)
            continue
        if (folder / "partial").exists():
            # Its children die with it, but not at the same moment, and the lock is theirs too until they have.
            assert host.wait_until(lambda: locks.partial_state(str(lxcpath), "new") != locks.ONGOING, 5)
            started = host.run(host.OURS / "lxc-start", "-P", lxcpath, "-n", "new")
            assert started.returncode == 1
            assert b"interrupted" in started.stderr, started
        again = host.run(*create)
        assert again.returncode == 0, again
        host.run(host.OURS / "lxc-destroy", "-P", lxcpath, "-n", "new", check=True)
        assert not folder.exists()


def test_two_starts_at_once(unchanged_host: None, lxcpath: Path) -> None:
    host.make_container(lxcpath, "c1")
    both = [spawn(host.OURS / "lxc-start", "-P", lxcpath, "-n", "c1") for _ in range(2)]
    results = [(process.communicate(timeout=20)[1], process.returncode) for process in both]
    assert state(lxcpath, "c1") == "RUNNING"
    assert any(code == 0 for _errors, code in results)
    for errors, code in results:
        assert code == 0 or b"already running" in errors, results
    host.run(host.OURS / "lxc-stop", "-P", lxcpath, "-n", "c1", "-k", check=True)


def test_list_with_a_stopped_monitor(unchanged_host: None, lxcpath: Path) -> None:
    for name in ("c1", "c2"):
        host.make_container(lxcpath, name)
        host.run(host.OURS / "lxc-start", "-P", lxcpath, "-n", name, check=True)
    pid = host.monitor_of(lxcpath, "c1")
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        listed = host.run(host.OURS / "lxc-ls", "-P", lxcpath, "-f")
        assert time.monotonic() - began < 3
    finally:
        os.kill(pid, signal.SIGCONT)
    rows = {line.split()[0]: line.split()[1] for line in listed.stdout.decode().splitlines()[1:]}
    assert rows == {"c1": "UNRESPONSIVE", "c2": "RUNNING"}


def test_full_disk(unchanged_host: None, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    host.run("mount", "-t", "tmpfs", "-o", "size=1m", "lxct", disk, check=True)
    try:
        config = tmp_path / "default.conf"
        config.write_text("lxc.net.0.type = empty\n")
        made = host.run(host.OURS / "lxc-create", "-P", disk / "l", "-n", "new", "-t", "busybox", "-f", config)
        assert made.returncode == 1
        assert b"No space left" in made.stderr
        assert b"Traceback" not in made.stderr
        assert not (disk / "l" / "new").exists()
    finally:
        host.run("umount", disk, check=True)


def test_failing_template(lxcpath: Path, tmp_path: Path) -> None:
    template = tmp_path / "lxc-broken"
    template.write_text("#!/bin/sh\necho half done; echo no such mirror >&2; exit 9\n")
    template.chmod(0o755)
    made = host.run(host.OURS / "lxc-create", "-P", lxcpath, "-n", "new", "-t", template)
    assert made.returncode == 1
    assert b"status 9" in made.stderr
    assert not (lxcpath / "new").exists()
