# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every option with a missing, an empty and a garbage argument: the exit status is C LXC's, and no traceback ever."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lxctools.cli._options import NONE, OPTIONAL, Option
from tests import host
from tests.unit.cli.test_every_command import COMMANDS, GARBAGE, give, no_accident, with_argument

COMPARED = sorted(launcher for launcher in COMMANDS if (host.THEIRS / launcher).exists() and launcher not in ("lxc-config", "lxc-checkconfig"))
# (command, option, what is given) -> our exit status, where it is not C's, and the words of docs/differences.md that say why.
DIFFERENT = {
    ("lxc-attach", "namespaces", "empty"): (1, "`-s ''` is accepted"),
    **{("lxc-usernsexec", letter, what): (255, "") for letter in "ug" for what in ("empty", "garbage")},  # options of LXC 6.0
}
NOT_IN_5 = {"json", "rbduser"}


def line(launcher: str, words: list[str], row: Option | None) -> list[str]:
    command = COMMANDS[launcher]
    long = row.long if row is not None else ""
    if command.common and long != "lxcpath":
        words = ["-P", "/proc/nonexistent", *words]
    if command.named and long != "name":
        words = ["-n", "nope", *words]
    if launcher == "lxc-wait" and long != "state":
        words = [*words, "-s", "RUNNING", *(["-t", "0"] if long != "timeout" else [])]
    if launcher == "lxc-monitor":
        words = [*words, "-Q"]
    if launcher in ("lxc-unshare", "lxc-usernsexec"):
        words = [*words, "--", "true"]
    return words


def run(tools: Path, launcher: str, words: list[str]) -> subprocess.CompletedProcess[bytes] | None:
    try:
        return subprocess.run(
            [tools / launcher, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=False, cwd="/proc",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None


@pytest.mark.parametrize("launcher", COMPARED)
def test_exit_status(launcher: str) -> None:
    wrong = []
    for row in with_argument(COMMANDS[launcher]):
        if row.long in NOT_IN_5 or row.arg == NONE:
            continue
        option = row.long or row.short
        for what in ("missing", "empty", "garbage"):
            if what == "missing" and row.arg == OPTIONAL:
                continue
            words = give(row, "" if what == "empty" else GARBAGE) if what != "missing" else [f"--{row.long}" if row.long else f"-{row.short}"]
            words = words if what == "missing" else line(launcher, words, row)
            ours, theirs = run(host.OURS, launcher, words), run(host.THEIRS, launcher, words)
            assert ours is not None, f"{launcher} {words} does not end"
            no_accident(ours)
            expected = DIFFERENT.get((launcher, option, what))
            if expected is not None:
                assert ours.returncode == expected[0]
            elif theirs is None:
                assert ours.returncode == 1, f"{launcher} {words}: C LXC does not end"
            elif ours.returncode != theirs.returncode:
                wrong.append(f"{launcher} {option} {what}: {ours.returncode}, C LXC {theirs.returncode}: {ours.stderr!r}")
    assert not wrong, "\n".join(wrong)


def test_the_differences_are_listed() -> None:
    text = (host.CHECKOUT / "docs" / "differences.md").read_text()
    assert all(words in text for _status, words in DIFFERENT.values())
