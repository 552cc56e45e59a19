# SPDX-License-Identifier: LGPL-2.1-or-later
"""--json has the fields and types of docs/json.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lxctools import LXC_VERSION, __version__
from lxctools.cli import monitor
from lxctools.runtime.events import Event

from .fake_monitor import FakeMonitor
from .test_every_command import COMMANDS

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "json.md").read_text()


SECTIONS = {part.partition("\n")[0]: part for part in DOCUMENT.split("\n## ")[1:]}
_KINDS = {"string": str, "number": (int, float), "boolean": bool, "null": type(None), "array": list, "object": dict}


def documented(heading: str) -> dict[str, str]:
    """The fields of a section's table, and the type that is written beside each."""
    found = {}
    for line in SECTIONS[heading].splitlines():
        if line.startswith("| `"):
            names, kind = (cell.strip() for cell in line.split("|")[1:3])
            found |= dict.fromkeys(re.findall(r"`(\w+)`", names), kind)
    return found


def check(heading: str, row: dict[str, object]) -> set[str]:
    """Every field of a row is in the section, with its type; the names of the fields."""
    table = documented(heading)
    assert table.keys() >= row.keys(), heading
    for name, value in row.items():
        kinds = tuple(kind for word, kind in _KINDS.items() if re.search(rf"\b{word}", table[name].partition(" of ")[0]))
        flat = tuple(one for kind in kinds for one in (kind if isinstance(kind, tuple) else (kind,)))
        assert isinstance(value, flat) and (bool in flat or not isinstance(value, bool)), (heading, name, value)
    return set(row)


def run(command: str, *words: str, code: int = 0) -> object:
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        [ROOT / "bin" / command, *words], capture_output=True, text=True, check=False, timeout=20, env=environment
    )
    assert done.returncode == code, done
    return json.loads(done.stdout) if code == 0 else done.stderr


@pytest.fixture
def place(tmp_path: Path) -> str:
    for name, text in (
        ("a\udcff", "lxc.start.auto = 1\nlxc.start.delay = 3\nlxc.start.order = 2\n"),
        ("b", "lxc.start.auto = 1\nlxc.group = web db\nlxc.idmap = u 0 1 1\n"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config").write_text(text)
    return str(tmp_path)


def test_ls(place: str) -> None:
    first, second = run("lxc-ls", "-P", place, "--json")  # type: ignore[misc]
    assert first["name"] == "a\udcff" and first["autostart"] is True and first["groups"] == [] and first["pid"] is None
    assert second == {
        "name": "b", "state": "STOPPED", "pid": None, "ram_mib": second["ram_mib"], "swap_mib": second["swap_mib"],
        "autostart": True, "groups": ["web", "db"], "interfaces": [], "ipv4": [], "ipv6": [], "unprivileged": True,
    }  # fmt: skip
    assert check("lxc-ls --json", second) | {"path"} == documented("lxc-ls --json").keys()
    assert run("lxc-ls", "-P", place, "--json", "-F", "GROUPS", "^b") == [{"name": "b", "groups": ["web", "db"]}]
    assert run("lxc-ls", "-P", place, "--json", "^nosuch") == []


def test_info(place: str) -> None:
    assert run("lxc-info", "-P", place, "b", "--json") == {"name": "b", "state": "STOPPED", "pid": None, "ips": []}
    asked = run("lxc-info", "-P", place, "b", "--json", "-c", "lxc.group", "-c", "lxc.nosuch")
    check("lxc-info --json", asked)  # type: ignore[arg-type]
    assert asked == {"name": "b", "config": {"lxc.group": "web\ndb\n", "lxc.nosuch": None}}
    assert "doesn't exist" in str(run("lxc-info", "-P", place, "nosuch", "--json", code=1))


def test_info_running(place: str, tmp_path: Path) -> None:
    group = tmp_path / "group"
    group.mkdir()
    (group / "memory.usage_in_bytes").write_text("4096\n")
    fake = FakeMonitor(place, "run", pid=1, cgroups={"memory": str(group)})
    try:
        data = run("lxc-info", "-P", place, "run", "--json", "-s", "-p", "-S")
    finally:
        fake.close()
    assert isinstance(data, dict)
    assert (data["state"], data["pid"], data["memory_bytes"], data["cpu_ns"], data["links"]) == ("RUNNING", 1, 4096, None, [])
    assert check("lxc-info --json", data) | {"name", "ips", "config"} == documented("lxc-info --json").keys()


def test_autostart(place: str) -> None:
    rows = run("lxc-autostart", "-P", place, "-L", "-a", "--json")
    assert rows == [
        {"name": "b", "wave": 0, "order": 0, "delay": 0, "groups": ["web", "db"]},
        {"name": "a\udcff", "wave": 1, "order": 2, "delay": 3, "groups": []},
    ]
    assert "--json needs -L" in str(run("lxc-autostart", "-P", place, "--json", code=1))


def test_snapshots(place: str) -> None:
    assert run("lxc-snapshot", "-P", place, "b", "-L", "--json") == []
    for number, comment in ((10, "before\n"), (9, "")):
        folder = Path(place, "b", "snaps", f"snap{number}")
        folder.mkdir(parents=True)
        (folder / "config").touch()
        (folder / "ts").write_text("2024:05:06 07:08:09")
        if comment:
            (folder / "comment").write_text(comment)
    rows: Any = run("lxc-snapshot", "-P", place, "b", "-L", "--json")
    where = f"{place}/b/snaps"
    assert rows == [
        {"name": "snap9", "path": f"{where}/snap9", "time": "2024:05:06 07:08:09", "comment": None},
        {"name": "snap10", "path": f"{where}/snap10", "time": "2024:05:06 07:08:09", "comment": "before\n"},
    ]
    for row in rows:
        assert check("lxc-snapshot -L --json", row) == documented("lxc-snapshot -L --json").keys()
    assert "--json needs -L" in str(run("lxc-snapshot", "-P", place, "b", "--json", code=1))


def test_config() -> None:
    names = subprocess.run([ROOT / "bin/lxc-config", "-l"], capture_output=True, text=True, check=True).stdout.split()
    rows: Any = run("lxc-config", "-l", "--json")
    assert [row["name"] for row in rows] == names
    assert run("lxc-config", "--json", "lxc.lxcpath") == {"name": "lxc.lxcpath", "value": "/var/lib/lxc"}
    assert {"name": "lxc.cgroup.use", "value": None} in rows
    for words in (["lxc.nosuch", "--json"], ["--json"], ["lxc.lxcpath", "lxc.cgroup.use"]):
        done = subprocess.run([ROOT / "bin/lxc-config", *words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "") and done.stderr.startswith("lxc-config: "), words


def test_config_check(place: str) -> None:
    Path(place, "b", "config").write_text("lxc.tty.max = many\nlxc.utsname = b\n")
    done = subprocess.run([ROOT / "bin/lxc-config", "check", "--json", "-P", place, "b", "nosuch"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (2, b"")
    rows = json.loads(done.stdout)
    heading = "lxc-config check --json"
    seen = {name for row in rows for name in check(heading, row)} | {name for one in rows[0]["problems"] for name in check(heading, one)}
    assert seen == documented(heading).keys() and len(rows[0]["problems"]) >= 2
    assert rows[0]["error"] is None and "No such file" in rows[1]["error"]


def test_checkconfig(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("# Linux/x86 6.1.0 Kernel Configuration\nCONFIG_VETH=m\n")
    done = subprocess.run(
        [ROOT / "bin/lxc-checkconfig", "--json"], capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"], "CONFIG": str(tmp_path / "config")},
    )  # fmt: skip
    data = json.loads(done.stdout)
    assert (data["lxc_version"], data["lxctools_version"], data["config"]) == (LXC_VERSION, __version__, str(tmp_path / "config"))
    words = {row["status"] for rows in data["sections"].values() for row in rows}
    assert words == {"enabled", "missing", "required", ""}
    section = SECTIONS["lxc-checkconfig --json"]
    assert all(f"`{name}`" in section for name in (*data, *words - {""}))


def test_fields_in_prose(place: str) -> None:
    """The sections without a table name every field, too."""
    (row, _second) = run("lxc-autostart", "-P", place, "-L", "-a", "--json")  # type: ignore[misc]
    for heading, fields in (
        ("lxc-autostart -L --json", row),
        ("lxc-monitor --json", {"name", "lxcpath", "state", "exit_status", "signal"}),
        ("lxc-top -b --json", {"net_rx_bytes", "net_tx_bytes", "container", "time_ms"}),
        ("lxc-config -l --json, lxc-config ITEM --json", {"name", "value"}),
    ):
        assert all(f"`{field}`" in SECTIONS[heading] for field in fields), heading


def test_every_command_with_the_option_has_a_section() -> None:
    having = {launcher for launcher, command in COMMANDS.items() if any(row.long == "json" for row in command.options)}
    assert having == {word for heading in SECTIONS for word in heading.split() if word.startswith("lxc-")}
    assert having >= {f"lxc-{name}" for name in "ls info snapshot config checkconfig autostart top monitor".split()}


def test_monitor() -> None:
    assert monitor._as_data(Event("/p", "c", 2, is_exit=False)) == {"name": "c", "lxcpath": "/p", "state": "RUNNING"}
    ended = {"name": "c", "lxcpath": "/p"}
    assert monitor._as_data(Event("/p", "c", 3 << 8, is_exit=True)) == ended | {"exit_status": 3, "signal": None}
    assert monitor._as_data(Event("/p", "c", 9, is_exit=True)) == ended | {"exit_status": 0, "signal": 9}
