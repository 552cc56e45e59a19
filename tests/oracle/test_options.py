# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every option with a missing, an empty and a garbage argument: the exit status is C LXC's, and no traceback ever."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxctools.cli._options import NONE, OPTIONAL
from tests import host
from tests.unit.cli.test_every_command import COMMANDS, GARBAGE, give, line, no_accident, with_argument

COMPARED = sorted(launcher for launcher in COMMANDS if (host.THEIRS / launcher).exists() and launcher not in ("lxc-config", "lxc-checkconfig"))
# (command, option, what is given) -> our exit status, where it is not C's, and the words of docs/differences.md that say why.
DIFFERENT = {
    ("lxc-attach", "namespaces", "empty"): (1, "`-s ''` is accepted"),
    **{(f"lxc-unpriv-{what}", word, ""): (0, "have a help of their own") for what in ("start", "attach") for word in ("--help", "--version")},
    **{(f"lxc-{name}", word, ""): (0, "are wrong options | answered, with exit code 0")
       for name, word in (("update-config", "--version"), ("usernsexec", "--help"), ("usernsexec", "--version"))},
    **{("lxc-usernsexec", letter, what): (255, "") for letter in "ug" for what in ("empty", "garbage")},  # options of LXC 6.0
}  # fmt: skip
NOT_IN_5 = {"json", "rbduser"}


def cases(launcher: str) -> Iterator[tuple[str, str, list[str]]]:
    """(option, what is given, the command line): every option of the table in both spellings, flags, and what is none."""
    command = COMMANDS[launcher]
    for row in with_argument(command):
        if row.long in NOT_IN_5:
            continue
        option = row.long or row.short
        spelled = [f"-{row.short}"] * bool(row.short) + [f"--{row.long}"] * bool(row.long)
        if row.arg != OPTIONAL:
            for word in spelled:
                yield option, "missing", [word]
        for what, text in (("empty", ""), ("garbage", GARBAGE)):
            yield option, what, line(launcher, give(row, text), row)
            if row.short and row.long and row.arg != OPTIONAL:
                yield option, what, line(launcher, [f"-{row.short}", text], row)
    for row in command.table():
        if row.arg == NONE and row.long and row.long not in NOT_IN_5:
            yield row.long, "flag with a value", [f"--{row.long}={GARBAGE}"]
    for word in ("--no-such-option", "--no-such=x", "-Z", "-\xff", "--", "-", "--=x", "-?"):
        if word not in ("-", "--") or command.named:
            yield word, "no option", [word]
    for word in ("--help", "--usage", "--version", "--he", "--usa", "--vers"):
        yield word, "", [word]


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
    for option, what, words in cases(launcher):
        ours, theirs = run(host.OURS, launcher, words), run(host.THEIRS, launcher, words)
        assert ours is not None, f"{launcher} {words} does not end"
        no_accident(ours)
        expected = DIFFERENT.get((launcher, option, what))
        if expected is not None:
            assert ours.returncode == expected[0], (launcher, words)
        elif theirs is None:
            assert ours.returncode == 1, f"{launcher} {words}: C LXC does not end"
        elif ours.returncode != theirs.returncode:
            wrong.append(f"{launcher} {option} {what}: {ours.returncode}, C LXC {theirs.returncode}: {words} {ours.stderr!r}")
    assert not wrong, "\n".join(wrong)


def test_the_number_of_cases() -> None:
    assert sum(len(list(cases(launcher))) for launcher in COMPARED) > 1000


def test_the_differences_are_listed() -> None:
    text = (host.CHECKOUT / "docs" / "differences.md").read_text()
    assert all(words in text for _status, words in DIFFERENT.values())
