# SPDX-License-Identifier: LGPL-2.1-or-later
"""--json has the fields and types of docs/json.md."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from lxctools.cli import monitor
from lxctools.runtime.events import Event

from .fake_monitor import FakeMonitor

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "json.md").read_text()


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
    assert all(f"`{field}`" in DOCUMENT for field in second)
    assert run("lxc-ls", "-P", place, "--json", "-F", "GROUPS", "^b") == [{"name": "b", "groups": ["web", "db"]}]
    assert run("lxc-ls", "-P", place, "--json", "^nosuch") == []


def test_info(place: str) -> None:
    assert run("lxc-info", "-P", place, "b", "--json") == {"name": "b", "state": "STOPPED", "pid": None, "ips": []}
    asked = run("lxc-info", "-P", place, "b", "--json", "-c", "lxc.group", "-c", "lxc.nosuch")
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
    assert all(f"`{field}`" in DOCUMENT for field in data)


def test_autostart(place: str) -> None:
    rows = run("lxc-autostart", "-P", place, "-L", "-a", "--json")
    assert rows == [
        {"name": "b", "wave": 0, "order": 0, "delay": 0, "groups": ["web", "db"]},
        {"name": "a\udcff", "wave": 1, "order": 2, "delay": 3, "groups": []},
    ]
    assert "--json needs -L" in str(run("lxc-autostart", "-P", place, "--json", code=1))


def test_monitor() -> None:
    assert monitor._as_data(Event("/p", "c", 2, is_exit=False)) == {"name": "c", "lxcpath": "/p", "state": "RUNNING"}
    ended = {"name": "c", "lxcpath": "/p"}
    assert monitor._as_data(Event("/p", "c", 3 << 8, is_exit=True)) == ended | {"exit_status": 3, "signal": None}
    assert monitor._as_data(Event("/p", "c", 9, is_exit=True)) == ended | {"exit_status": 0, "signal": 9}
