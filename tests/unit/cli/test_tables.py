# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tables of all commands: complete, and the same for both readers."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from lxctools.cli import _options
from lxctools.cli._options import NONE, OPTIONAL, REQUIRED, Command

MODULES = sorted(path.stem for path in Path(_options.__file__).parent.glob("[a-z]*.py"))
COMMANDS = {name: importlib.import_module(f"lxctools.cli.{name}").COMMAND for name in MODULES}


@pytest.mark.parametrize("name", MODULES)
def test_the_table_is_complete(name: str) -> None:
    command: Command = COMMANDS[name]
    assert command.name == name.replace("_", "-")
    assert command.summary.endswith(".")
    for row in command.table():
        assert row.arg in (NONE, REQUIRED, OPTIONAL)
        assert row.long or row.short
        assert len(row.short) <= 1
        assert row.help and not row.help.endswith(".")
        assert (row.kind in ("flag", "count", "const")) == (row.arg == NONE)
        assert (row.kind == "call") <= (row.convert is not None)
    shorts = [row.short for row in command.table() if row.short]
    assert len(shorts) == len(set(shorts))


@pytest.mark.parametrize("name", MODULES)
def test_every_option_is_in_the_help(name: str) -> None:
    command: Command = COMMANDS[name]
    text = _options.help_text(command)
    for row in command.options:
        assert f"--{row.long}" in text or f"-{row.short}" in text
    assert all(len(line) <= 120 for line in text.splitlines())


@pytest.mark.parametrize("name", MODULES)
def test_the_launcher_runs_this_command(name: str) -> None:
    launcher = Path(__file__).parents[3] / "bin" / COMMANDS[name].prog
    lines = launcher.read_text().splitlines()
    # Without site-packages, which cost 4 ms: only lxc-net imports what is not ours.
    assert lines[0] == "#!/usr/bin/python3 -IS"
    assert lines[-1] == f'main("{COMMANDS[name].name}")'
    assert launcher.stat().st_mode & 0o111 == 0o111


LINES = {
    "info": ["c1", "-n c1 -sp", "c1 -H -c lxc.uts.name -clxc.arch --ips", "--name=c1 --stats -s -s", "-P /a/b c1 -q"],
    "ls": ["", "-1", "-f -F NAME,PID", "--nesting=3 x", "-g a,b --filter=^x --active", "--run --stopp"],
    "stop": ["c1 -k", "-n c1 -r -t 5", "c1 --nokill -W", "c1 --time=7 --nol -k"],
    "wait": ["c1 -s RUNNING", "-n c1 -sSTOPPED|FROZEN -t3"],
    "start": ["c1 -F -d", "c1 -d -F", "c1 -s lxc.a=1 -s lxc.b=2 x y", "c1 -p /x --share-net 1 -L /y -C -- a -b"],
    "attach": ["c1 -- ls -l", "-n c1 --clear-env --keep-var A --keep-var B -v X=1", "c1 -u 1 -g 2 -R -- id"],
    "create": ["c1 -t busybox -- -a b", "-n c1 -t none -f /x -B dir", "c1 -t x --dir /d -3 ext4"],
}


@pytest.mark.parametrize(("name", "line"), [(name, line) for name, lines in LINES.items() for line in lines])
def test_argparse_reads_the_same(name: str, line: str) -> None:
    command: Command = COMMANDS[name]
    before, dashes, after = line.partition("--  " if line.endswith("-- ") else "-- ")
    mine = _options.read(command, line.split(), environ={})
    parser = _options.parser_for(command)
    theirs = parser.parse_intermixed_args(before.split())
    words = theirs.words + (after.split() if dashes else [])
    name_given = theirs.name if theirs.name is not None else (words.pop(0) if command.named else "")
    assert (mine.name, mine.words) == (name_given, words)
    for row in command.table():
        if row.kind != "call" and row.dest not in ("name", "lxcpaths", "help", "help_error", "usage", "version"):
            other = getattr(theirs, row.dest)
            if row.convert is not None:  # argparse leaves it as text
                given = other if isinstance(other, list) else [other]
                given = [row.convert(text) if isinstance(text, str) else text for text in given]
                other = given if isinstance(other, list) else given[0]
            assert getattr(mine, row.dest) == (other if other is not None else row.initial()), row.dest
    assert mine.lxcpaths == (theirs.lxcpaths or [])


@pytest.mark.parametrize("name", MODULES)
def test_argparse_knows_every_option(name: str) -> None:
    text = _options.parser_for(COMMANDS[name]).format_help()
    for row in COMMANDS[name].table():
        assert f"--{row.long}" in text
