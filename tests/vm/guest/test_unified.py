# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers on a host with cgroup version 2 only, run by systemd: what a container is given there, and what is left alone."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxctools.cgroup import hierarchy
from tests import host

CGROUP = Path("/sys/fs/cgroup")
SIDES = {"ours": host.OURS, "theirs": host.THEIRS}
both_sides = pytest.mark.parametrize("tools", SIDES.values(), ids=SIDES)
# The only controllers that a container's limits need, and that systemd need not have switched on.
LIMITS = "lxc.cgroup2.memory.max = 96M\nlxc.cgroup2.pids.max = 40\nlxc.cgroup2.cpu.weight = 50\n"


def tool(tools: Path, name: str, lxcpath: Path, *words: object, check: bool = True, timeout: float = 60) -> str:
    """What a command on the container c1 prints, without its last newline; its failure fails the test."""
    done = host.run(tools / f"lxc-{name}", "-P", lxcpath, "-n", "c1", *words, timeout=timeout)
    assert done.returncode == 0 or not check, (name, done.returncode, done.stdout, done.stderr)
    return done.stdout.decode().rstrip("\n")


def inside(lxcpath: Path, script: str, check: bool = True) -> str:
    return tool(host.OURS, "attach", lxcpath, "--", "sh", "-c", script, check=check)


def place(process: str | int) -> str:
    """The cgroup of a process, as /proc shows it."""
    lines = Path(f"/proc/{process}/cgroup").read_text().splitlines()
    assert len(lines) == 1 and lines[0].startswith("0::"), lines
    return lines[0][3:]


def init_of(lxcpath: Path, tools: Path = host.OURS) -> int:
    return int(tool(tools, "info", lxcpath, "-pH"))


def groups() -> dict[str, str]:
    """Every cgroup of the machine with the controllers that it gives to its children."""
    found = {}
    for folder, _folders, _files in os.walk(CGROUP):
        try:
            found[str(Path(folder).relative_to(CGROUP))] = Path(folder, "cgroup.subtree_control").read_text()
        except OSError:
            pass  # it has gone meanwhile
    return found


@pytest.fixture
def started(unchanged_host: None, lxcpath: Path) -> Iterator[Path]:
    host.make_container(lxcpath, "c1", LIMITS)
    tool(host.OURS, "start", lxcpath)
    yield lxcpath
    host.forget(lxcpath)


def test_this_machine_is_what_it_should_be() -> None:
    found = hierarchy.detect(use="@all")
    assert found.layout == hierarchy.UNIFIED and [h.version for h in found.hierarchies] == [2]
    assert Path("/proc/1/comm").read_text() == "systemd\n"


def test_a_whole_life(unchanged_host: None, lxcpath: Path, tmp_path: Path) -> None:
    before = groups()
    config = tmp_path / "default.conf"
    config.write_text("lxc.net.0.type = empty\n")
    tool(host.OURS, "create", lxcpath, "-t", "busybox", "-f", config)
    tool(host.OURS, "start", lxcpath)
    tool(host.OURS, "wait", lxcpath, "-s", "RUNNING", "-t", "20")
    init = init_of(lxcpath)
    monitor = Path(f"/proc/{init}/status").read_text().partition("PPid:\t")[2].split()[0]
    assert (place(init), place(monitor)) == ("/lxc.payload.c1", "/lxc.monitor.c1")
    assert inside(lxcpath, "cat /proc/1/cgroup") == "0::/"
    listed = host.run(host.OURS / "lxc-ls", "-P", lxcpath, "-f", "-F", "NAME,STATE,PID,RAM").stdout.decode().split()
    assert listed[:-1] == ["NAME", "STATE", "PID", "RAM", "c1", "RUNNING", str(init)] and re.fullmatch(r"[0-9.]+MB", listed[-1])

    inside(lxcpath, "reboot", check=False)
    assert host.wait_until(lambda: tool(host.OURS, "info", lxcpath, "-pH", check=False) not in ("", str(init)), 30)
    tool(host.OURS, "wait", lxcpath, "-s", "RUNNING", "-t", "20")
    assert place(init_of(lxcpath)) == "/lxc.payload.c1"
    tool(host.OURS, "stop", lxcpath, "-t", "20")
    tool(host.OURS, "destroy", lxcpath)
    assert list(lxcpath.iterdir()) == []
    assert {name: text for name, text in groups().items() if name not in before} == {}


def test_figures(started: Path) -> None:
    """What lxc-info shows is what the kernel counts."""
    group = CGROUP / "lxc.payload.c1"

    def shown() -> dict[str, int]:
        rows = (line.split(":") for line in tool(host.OURS, "info", started, "-SH").splitlines())
        return {name: int(value) for name, value in rows}

    first = shown()
    assert set(first) >= {"CPU use", "Memory use", "KMem use"}
    inside(started, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; dd if=/dev/zero of=/tmp/blob bs=1M count=20 2>/dev/null")
    second = shown()
    now = int((group / "memory.current").read_text())
    assert second["Memory use"] > first["Memory use"] + (15 << 20)
    assert abs(second["Memory use"] - now) < 4 << 20
    usage = int(re.search(r"usage_usec (\d+)", (group / "cpu.stat").read_text())[1])  # type: ignore[index]
    assert first["CPU use"] < second["CPU use"] <= usage * 1000
    assert re.search(r"Memory use: +[0-9.]+ MiB", tool(host.OURS, "info", started))


@pytest.mark.parametrize("by", SIDES.values(), ids=SIDES)
def test_freezing(started: Path, by: Path) -> None:
    events = CGROUP / "lxc.payload.c1" / "cgroup.events"
    tool(by, "freeze", started)
    assert "frozen 1" in events.read_text()
    assert {tool(tools, "info", started, "-sH") for tools in SIDES.values()} == {"FROZEN"}
    tool(by, "unfreeze", started)
    assert "frozen 0" in events.read_text()
    assert {tool(tools, "info", started, "-sH") for tools in SIDES.values()} == {"RUNNING"}


def test_limits_hold(started: Path) -> None:
    """The numbers are the kernel's, and what asks for more dies inside, alone."""
    group = CGROUP / "lxc.payload.c1"
    assert [(group / name).read_text().strip() for name in ("memory.max", "pids.max", "cpu.weight")] == [str(96 << 20), "40", "50"]
    init = init_of(started)
    inside(started, "dd if=/dev/zero of=/dev/null bs=200M count=1", check=False)
    assert int(re.search(r"^oom_kill (\d+)", (group / "memory.events").read_text(), re.M)[1]) >= 1  # type: ignore[index]
    assert init_of(started) == init
    forked = inside(started, "i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done 2>&1; :", check=False)
    assert int(re.search(r"max (\d+)", (group / "pids.events").read_text())[1]) >= 1, forked  # type: ignore[index]


@both_sides
def test_lxc_cgroup(started: Path, tools: Path) -> None:
    assert tool(tools, "cgroup", started, "memory.max") == str(96 << 20)
    tool(tools, "cgroup", started, "pids.max", "33")
    assert (CGROUP / "lxc.payload.c1" / "pids.max").read_text() == "33\n"


@both_sides
def test_device_rules(unchanged_host: None, lxcpath: Path, tools: Path) -> None:
    """common.conf's rules, as a BPF program: ordinary devices work, the kernel's log and a disk do not, whoever starts it."""
    allowed = "".join(f"lxc.cgroup2.devices.allow = {rule}\n" for rule in ("c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 r"))
    host.make_container(lxcpath, "c1", f"lxc.cgroup2.devices.deny = a\n{allowed}")
    tool(tools, "start", lxcpath)
    script = (
        "cd /tmp; mknod log c 1 11; mknod disk b 254 0; mknod zero c 1 5;"
        "for f in /dev/null ./zero ./log ./disk; do head -c 1 $f >/dev/null 2>err && echo yes || cut -d: -f3 err; done;"
        "echo x 2>/dev/null >./zero && echo written || echo refused"
    )
    answers = [line.strip() for line in inside(lxcpath, f"{{ {script}; }} 2>&1").splitlines()]
    assert answers == ["yes", "yes", "Operation not permitted", "Operation not permitted", "refused"]
    tool(tools, "stop", lxcpath, "-k")


def _tree(lxcpath: Path, tools: Path) -> tuple[dict[str, str], str, str]:
    """(what starting adds to or changes in the machine's cgroups, init's place, the monitor's)."""
    before = groups()
    tool(tools, "start", lxcpath)
    added = {name: text for name, text in groups().items() if before.get(name) != text}
    init = init_of(lxcpath)
    monitor = Path(f"/proc/{init}/status").read_text().partition("PPid:\t")[2].split()[0]
    found = added, place(init), place(monitor)
    tool(tools, "stop", lxcpath, "-k")
    host.wait_until(lambda: not host.running(lxcpath, "c1"))
    host.remove_empty_cgroups("c1")
    return found


def test_the_same_groups_as_c(unchanged_host: None, lxcpath: Path) -> None:
    host.make_container(lxcpath, "c1", LIMITS)
    _tree(lxcpath, host.THEIRS)  # whoever is the first on a host switches controllers on for all
    theirs, ours = _tree(lxcpath, host.THEIRS), _tree(lxcpath, host.OURS)
    assert ours == theirs
    assert ours[1:] == ("/lxc.payload.c1", "/lxc.monitor.c1")


@both_sides
def test_in_a_delegated_scope(unchanged_host: None, lxcpath: Path, tools: Path) -> None:
    """With lxc.cgroup.relative nothing outside of the scope that systemd gave is written to (C LXC keeps to it, too)."""
    host.make_container(lxcpath, "c1", "lxc.cgroup.relative = 1\nlxc.cgroup2.pids.max = 40\n")
    scope = "system.slice/lxct-scope.scope"
    before = groups()
    starting = ["systemd-run", "--quiet", "--scope", "--unit=lxct-scope", "-p", "Delegate=yes"]
    done = host.run(*starting, tools / "lxc-start", "-P", lxcpath, "-n", "c1")
    assert done.returncode == 0, done.stderr
    after = groups()
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    # systemd itself switches controllers on above a delegated scope.
    assert all(name.startswith(scope) for name in changed - {"system.slice", "."}), changed
    init = init_of(lxcpath)
    assert place(init) == f"/{scope}/lxc.payload.c1"
    assert (CGROUP / scope / "lxc.payload.c1" / "pids.max").read_text() == "40\n"
    assert inside(lxcpath, "cat /proc/self/cgroup").startswith("0::/")
    tool(host.OURS, "stop", lxcpath, "-k")
    assert host.wait_until(lambda: not (CGROUP / scope).exists(), 15), "the scope ends with what ran in it"


def test_a_unit_without_delegation(unchanged_host: None, lxcpath: Path) -> None:
    """From a plain service: the container leaves the unit's cgroup, so that systemd stopping the unit does not end it."""
    host.make_container(lxcpath, "c1")
    unit = ["systemd-run", "--quiet", "--wait", "--collect", "--service-type=oneshot", "-p", "KillMode=control-group"]
    done = host.run(*unit, host.OURS / "lxc-start", "-P", lxcpath, "-n", "c1")
    assert done.returncode == 0, done.stderr
    assert tool(host.OURS, "info", lxcpath, "-sH") == "RUNNING"
    assert place(init_of(lxcpath)) == "/lxc.payload.c1"
    tool(host.OURS, "stop", lxcpath, "-k")


@both_sides
def test_a_daemon_reload_leaves_them_alone(unchanged_host: None, lxcpath: Path, tools: Path) -> None:
    host.make_container(lxcpath, "c1", LIMITS)
    tool(tools, "start", lxcpath)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    assert place(init_of(lxcpath)) == "/lxc.payload.c1"
    assert (CGROUP / "lxc.payload.c1" / "pids.max").read_text() == "40\n"
    tool(host.OURS, "stop", lxcpath, "-k")
