# SPDX-License-Identifier: LGPL-2.1-or-later
"""The exact modules that each hot command loads, beyond what the bare interpreter loads in the same run.

The list is import_budget.txt: `command line: module module ...`. After an intended change write it anew:
LXCTOOLS_WRITE_BUDGET=1 pytest tests/unit/test_import_budget.py, and look at the difference.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from .cli.fake_monitor import FROZEN, FakeMonitor

REPOSITORY = Path(__file__).parents[2]
LIST = Path(__file__).with_name("import_budget.txt")
# Against a monitor that the test plays: everything a successful run of the command imports.
LINES = (
    "info -s run",
    "info -p run",
    "info -S run",
    "ls -1",
    "ls --running",
    "ls -f -F NAME,STATE,GROUPS,RAM",
    "stop -k -W run",
    "stop -W run",
    "wait -s RUNNING run",
    "freeze frozen",
    "unfreeze run",
)
# Too expensive for a command that answers in a few milliseconds; _ctypes is for those that enter or make namespaces.
NEVER = {"ctypes", "_ctypes", "socket", "contextlib", "typing", "dataclasses", "enum", "re", "signal", "subprocess", "logging"}


def loaded(*argv: str) -> set[str]:
    """What an interpreter imports, by -X importtime; main() ends with os._exit, so sys.modules cannot be asked."""
    done = subprocess.run(
        ["/usr/bin/python3", "-X", "importtime", *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=20,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines} - {"imported package"}


def budget() -> dict[str, set[str]]:
    rows = (line.split(": ") for line in LIST.read_text().splitlines() if line and not line.startswith("#"))
    return {command: set(modules.split()) for command, modules in rows}


def measure(lxcpath: str, line: str) -> set[str]:
    command, *words = line.split()
    beyond = loaded("-IS", str(REPOSITORY / "bin" / f"lxc-{command}"), "-P", lxcpath, *words) - loaded("-I", "-c", "pass")
    return {name.removeprefix("lxctools.") if name != "lxctools" else "(lxctools)" for name in beyond}


@pytest.fixture(scope="module")
def measured() -> dict[str, set[str]]:
    with tempfile.TemporaryDirectory(prefix="lxcu.", dir="/tmp") as lxcpath:
        for name in ("run", "frozen", "stopped"):
            os.mkdir(f"{lxcpath}/{name}")
            Path(lxcpath, name, "config").write_text("lxc.signal.halt = SIGCONT\n")
        cgroups = {"memory": lxcpath}
        with FakeMonitor(lxcpath, "run", cgroups=cgroups), FakeMonitor(lxcpath, "frozen", state=FROZEN):
            found = {line: measure(lxcpath, line) for line in LINES}
    if os.environ.get("LXCTOOLS_WRITE_BUDGET"):
        head = "# Written by test_import_budget.py. Names of our own modules are without lxctools.\n"
        rows = (f"{line}: {' '.join(sorted(names))}\n" for line, names in found.items())
        LIST.write_text(head + "".join(rows))
    return found


@pytest.mark.parametrize("line", LINES)
def test_budget(measured: dict[str, set[str]], line: str) -> None:
    expected, found = budget()[line], measured[line]
    assert found - expected == set(), "loads more than the list allows"
    assert expected - found == set(), "loads less: write the list anew"
    assert not found & NEVER
