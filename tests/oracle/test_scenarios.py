# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every scenario by C LXC and by us: same output, same exit status, an error where the other has one."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from lxctools.linux import signals
from tests import host

from .scenarios import ABSENT, FROZEN, RUNNING, SCENARIOS, STOPPED, Scenario

DIFFERENCES = (host.CHECKOUT / "docs" / "differences.md").read_text()
NAME = "c1"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}


@pytest.fixture(scope="module", autouse=True)
def _reserved_signals() -> None:
    """C LXC hands an ignored signal 32 or 33 on to the program it attaches; some runners of tests have it ignored."""
    signals.default_reserved()


def play(scenario: Scenario, tools: Path, lxcpath: Path) -> list[subprocess.CompletedProcess[bytes]]:
    """Bring the container into the state with these tools, then run the commands with them."""
    if scenario.state != ABSENT:
        host.make_container(lxcpath, NAME, scenario.config)
        for name, config in scenario.more.items():
            host.make_container(lxcpath, name, config)
    if scenario.state in (RUNNING, FROZEN):
        host.run(tools / "lxc-start", "-P", lxcpath, "-n", NAME, check=True)
    if scenario.state == FROZEN:
        host.run(tools / "lxc-freeze", "-P", lxcpath, "-n", NAME, check=True)
    for name, text in scenario.files.items():
        (lxcpath / name).write_text(text)
    results = []
    init = "/usr/sbin/init.lxc" if tools == host.THEIRS else tools / "lxc-init"
    for command in scenario.theirs if scenario.theirs and tools == host.THEIRS else scenario.commands:
        words = shlex.split(command.format(P=lxcpath, N=NAME, T=tools, I=init))
        program = tools / words[0] if words[0].startswith("lxc-") else words[0]
        results.append(host.run(program, *words[1:], input=scenario.stdin, env=ENVIRONMENT, cwd="/", timeout=scenario.timeout))
    return results


def comparable(data: bytes, scenario: Scenario, lxcpath: Path, tools: Path) -> bytes:
    text = data.replace(str(lxcpath).encode(), b"LXCPATH").replace(f"{tools}/".encode(), b"")
    if scenario.numbers:
        # Columns are as wide as their widest entry.
        text = re.sub(rb"[0-9]+(\.[0-9]+)?", b"N", text)
        text = re.sub(rb" +", b" ", text)
    if scenario.also and tools == host.OURS:
        assert scenario.also.encode() in text
        text = b"".join(line for line in text.splitlines(keepends=True) if not line.startswith(scenario.also.encode()))
    if scenario.unordered:
        text = b"\n".join(sorted(text.splitlines()))
    return text


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_scenario(scenario: Scenario) -> None:
    outcome = {}
    for side, tools in (("theirs", host.THEIRS), ("ours", host.OURS)):
        lxcpath = Path("/var/tmp") / f"lxct-{side}"
        host.forget(lxcpath)
        lxcpath.mkdir()
        before = host.Host()
        try:
            results = play(scenario, tools, lxcpath)
        finally:
            host.forget(lxcpath)
        if side == "ours":
            left = host.leftovers(before)
            assert not left, f"left on the host: {left}"
        else:
            host.remove_empty_cgroups(NAME)  # C LXC leaves them after some failed starts
        outcome[side] = (results, [comparable(result.stdout, scenario, lxcpath, tools) for result in results])
    theirs, ours = outcome["theirs"][0], outcome["ours"][0]
    last = ours[-1]
    assert b"Traceback" not in last.stderr
    if scenario.differs:
        assert scenario.differs in DIFFERENCES, f"{scenario.differs!r} is not in docs/differences.md"
    if scenario.ours is not None:
        status, part = scenario.ours
        assert last.returncode == status, last
        assert part.encode() in last.stderr, last
        return
    assert [result.returncode for result in ours] == [result.returncode for result in theirs], (ours, theirs)
    assert outcome["ours"][1][-1] == outcome["theirs"][1][-1], (ours, theirs)
    if scenario.stderr:
        assert bool(last.stderr) == bool(theirs[-1].stderr), (last, theirs[-1])
    for word in scenario.words:
        assert word.encode() in last.stderr + last.stdout, last
        if scenario.stderr:
            assert word.encode() in theirs[-1].stderr + theirs[-1].stdout, theirs[-1]


def test_there_are_enough() -> None:
    """The issue asks for 60 at least; names are unique, so that a failure names one row."""
    names = [scenario.name for scenario in SCENARIOS]
    assert len(names) == len(set(names))
    assert len(names) >= 60
    assert STOPPED in {scenario.state for scenario in SCENARIOS}
