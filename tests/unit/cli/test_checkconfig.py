# SPDX-License-Identifier: LGPL-2.1-or-later
"""The report on a configuration: words, searching, and what cannot be read."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "bin" / "lxc-checkconfig"
TEXT = """# Linux/x86 4.19.1 Kernel Configuration
CONFIG_NAMESPACES=y
CONFIG_X_UTS_NS=y
# CONFIG_PID_NS is not set
CONFIG_NF_NAT_IPV4=m
CONFIG_VETH=n
"""


def check(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "CONFIG": str(config)}
    return subprocess.run([SCRIPT, *words], capture_output=True, text=True, env=environment, check=False, timeout=20)


@pytest.mark.parametrize("packed", [False, True])
def test_words(tmp_path: Path, packed: bool) -> None:
    config = tmp_path / "config"
    config.write_bytes(gzip.compress(TEXT.encode()) if packed else TEXT.encode())
    done = check(config)
    assert done.returncode == 0 and not done.stderr
    lines = done.stdout.splitlines()
    for line in ("Namespaces: enabled", "Utsname namespace: missing", "Pid namespace: required", "Veth pair device: missing"):
        assert line in lines
    assert any(line.startswith("CONFIG_NF_NAT_IPV4: enabled") for line in lines)
    assert "WARNING" not in done.stdout and "Cgroup cpuset" not in done.stdout


def test_no_version(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("CONFIG_SMP=y\n")
    text = check(config).stdout
    assert "WARNING: Unable to detect version from configuration, assuming latest\n" in text
    assert "Cgroup cpuset: missing" in text and "CONFIG_NF_NAT_IPV4" not in text


def test_json(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(TEXT)
    report = json.loads(check(config, "--json").stdout)
    assert report["config"] == str(config)
    assert {"name": "Pid namespace", "status": "required"} in report["sections"]["Namespaces"]


def test_no_configuration_at_all(tmp_path: Path) -> None:
    release = os.uname().release
    if any(os.path.isfile(path) for path in (f"/boot/config-{release}", f"/lib/modules/{release}/build/.config")):
        pytest.skip("this host has the configuration of its kernel")
    done = check(tmp_path / "nope")
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 3)
    as_data = check(tmp_path / "nope", "--json")
    assert (as_data.returncode, as_data.stdout, as_data.stderr) == (1, "", done.stderr)


def test_broken_compression(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_bytes(b"\x1f\x8bgarbage")
    done = check(config)
    assert done.returncode == 1 and "unable to retrieve kernel configuration" in done.stderr
    assert "Traceback" not in done.stderr
