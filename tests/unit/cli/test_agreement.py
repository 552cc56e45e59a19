# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table of a command, its --help, its manual page and its completion speak of the same options."""

from __future__ import annotations

import re
import sys

import pytest

from lxctools.cli._options import COMMON, Command

from .test_every_command import COMMANDS, REPOSITORY, run

pytest.importorskip("argparse_manpage")
sys.path.insert(0, str(REPOSITORY / "tools"))
try:
    import completions
    import man1
finally:
    sys.path.pop(0)

# What passes everything on completes as the other one.
OWN_COMPLETION = [launcher for launcher in COMMANDS if COMMANDS[launcher].name not in completions.WRAPPED]


def table(command: Command) -> set[str]:
    """The options as typed, without those that the command has no use for."""
    rows = [row for row in command.table() if not (row in COMMON and row.dest == "name" and not command.named)]
    rows = [row for row in rows if not (row in COMMON and row.dest == "rcfile" and not command.rcfile)]
    return {f"--{row.long}" for row in rows if row.long} | {f"-{row.short}" for row in rows if row.short}


def in_help(launcher: str) -> set[str]:
    done = run(launcher, "--help")
    found: set[str] = set()
    for text in (done.stdout + done.stderr).decode().splitlines():
        head = re.match(r"  (?:(-.)\b|(-\?))?,? *(--[a-z0-9-]+)?", text)
        if head and text.strip().startswith("-"):
            found |= set(filter(None, head.groups()))
    return found


@pytest.mark.parametrize("launcher", COMMANDS)
def test_help(launcher: str) -> None:
    assert in_help(launcher) == table(COMMANDS[launcher])


@pytest.mark.parametrize("launcher", COMMANDS)
def test_manual_page(launcher: str) -> None:
    page = man1.page(launcher, COMMANDS[launcher]).replace("\\-", "-")
    start = re.search(r"^\.SH (COMMON )?OPTIONS", page, re.MULTILINE)
    assert start is not None
    options = page[start.start() :]
    heads = [text for before, text in zip(options.splitlines(), options.splitlines()[1:], strict=False) if before == ".TP"]
    found = {word for text in heads if text.startswith("\\fB-") for word in re.findall(r"\\fB(--?[^ ,\\]+)", text)}
    assert found == table(COMMANDS[launcher])


@pytest.mark.parametrize("launcher", OWN_COMPLETION)
def test_completion(launcher: str) -> None:
    text = dict(completions.files(COMMANDS[launcher]))[launcher]
    (words,) = re.findall(r'if \[\[ \$cur == -\* \]\]; then\n *mapfile -t COMPREPLY < <\(compgen -W "([^"]*)"', text)
    assert set(words.split()) - {"-?"} >= table(COMMANDS[launcher]) - {"-?"}
