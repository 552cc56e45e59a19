# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-autostart with real containers: order, delays, failures, descriptors, and the way back."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import host

LXCPATH = Path("/var/tmp/lxct-autostart")
AUTOSTART = host.OURS / "lxc-autostart"


@pytest.fixture(autouse=True)
def _folder() -> Iterator[None]:
    before = host.Host()
    host.forget(LXCPATH)
    LXCPATH.mkdir()
    yield
    host.forget(LXCPATH)
    assert not host.leftovers(before)


def make(name: str, *lines: str) -> Path:
    return host.make_container(LXCPATH, name, "\n".join(["lxc.start.auto = 1", *lines, ""]))


def autostart(*words: str, timeout: float = 60) -> subprocess.CompletedProcess[bytes]:
    return host.run(AUTOSTART, "-P", LXCPATH, *words, timeout=timeout)


def test_order_delay_and_the_way_back() -> None:
    note = LXCPATH / ".order"
    hook = LXCPATH / ".hook"
    hook.write_text(f"#!/bin/sh\necho $1 $3 $(date +%s.%N) >> {note}\n")
    hook.chmod(0o755)
    for name, order, delay in (("late", 2, 0), ("slow", 1, 3), ("twin", 1, 0), ("first", 0, 0)):
        hooks = (f"lxc.hook.pre-start = {hook}", f"lxc.hook.post-stop = {hook}")
        make(name, f"lxc.start.order = {order}", f"lxc.start.delay = {delay}", *hooks)
    assert autostart().returncode == 0
    rows = [line.split() for line in note.read_text().splitlines()]
    at = {row[0]: float(row[2]) for row in rows}
    assert min(at, key=lambda name: at[name]) == "first"
    assert at["late"] - at["slow"] >= 3 and at["late"] > at["twin"]
    assert abs(at["slow"] - at["twin"]) < 2.8
    note.unlink()
    assert autostart("-s", "-t", "20").returncode == 0
    stopped = [line.split()[0] for line in note.read_text().splitlines()]
    assert stopped[0] == "late" and stopped[-1] == "first"


def test_a_broken_one_does_not_keep_the_others() -> None:
    for index in range(4):
        make(f"good{index}")
    make("bad", f"lxc.mount.entry = {LXCPATH}/nosuch mnt none bind 0 0")
    make("worse", "lxc.nosuch = 1")
    done = autostart()
    assert done.returncode == 2
    text = done.stderr.decode()
    assert "Error starting container: bad: " in text and "Error starting container: worse: " in text
    assert "2 of 6 containers failed:" in text.splitlines()[-1]
    assert all(host.running(LXCPATH, f"good{index}") for index in range(4))
    assert autostart("-k").returncode == 0
    assert not any(host.running(LXCPATH, f"good{index}") for index in range(4))


def test_all_failed_is_one() -> None:
    make("bad", "lxc.nosuch = 1")
    assert autostart().returncode == 1


def test_it_ends_for_who_waits_for_its_output() -> None:
    """Nothing of a started container holds the descriptors that the command was given."""
    make("a")
    extra, theirs = os.pipe()
    started = time.monotonic()
    done = subprocess.run(
        [AUTOSTART, "-P", LXCPATH], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, pass_fds=(theirs,), check=False
    )
    os.close(theirs)
    assert done.returncode == 0
    assert os.read(extra, 1) == b""  # end of file: nobody has the other end
    os.close(extra)
    assert time.monotonic() - started < 25


def test_a_start_hook_runs_from_a_read_only_view() -> None:
    folder = make("hooked", "lxc.hook.start = /bin/true")
    done = autostart()
    assert (done.returncode, done.stderr) == (0, b"")
    assert host.running(LXCPATH, "hooked")
    (folder / "config").write_text((folder / "config").read_text() + "lxc.hook.start = /bin/false\n")
    assert autostart("-k").returncode == 0
    assert autostart().returncode == 1


def test_reboot_and_timeout() -> None:
    folder = make("deaf")
    (folder / "rootfs/sbin/init").write_text("#!/bin/sh\ntrap '' PWR TERM INT\nwhile :; do sleep 1; done\n")
    assert autostart().returncode == 0
    assert autostart("-r").returncode == 0
    started = time.monotonic()
    assert autostart("-s", "-t", "1").returncode == 0
    assert 0.9 < time.monotonic() - started < 15
    assert not host.running(LXCPATH, "deaf")
