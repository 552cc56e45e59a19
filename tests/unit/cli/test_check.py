# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-config check, and lxc-start's answer to a configuration with several mistakes."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from lxctools.config import check, grammar
from lxctools.container import check_config
from lxctools.errors import LxcError
from lxctools.network import address, veth
from lxctools.runtime import check as host

REPOSITORY = Path(__file__).parents[3]


def run(tool: str, *words: object) -> subprocess.CompletedProcess[str]:
    argv = ["/usr/bin/python3", "-I", REPOSITORY / f"bin/lxc-{tool}", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


def problems_of(tmp_path: Path, text: str) -> list[dict[str, Any]]:
    file = tmp_path / "some.conf"
    file.write_text(text)
    done = run("config", "check", "--json", file)
    (row,) = json.loads(done.stdout)
    assert done.returncode == (1 if row["problems"] else 0) and done.stderr == ""
    found: list[dict[str, Any]] = row["problems"]
    return found


@pytest.mark.parametrize(
    ("line", "severity", "place", "says"),
    [
        ("lxc.utss.name = a", "error", (1, 13), ("Unsupported config key", "did you mean lxc.uts.name?")),
        ("lxc.net.0.hwadr = x", "error", (11, 5), ("did you mean lxc.net.0.hwaddr?",)),
        ("lxc.tty.max = many", "error", (15, 4), ("is not a number", "a number of 0 to 4294967295")),
        ("lxc.arch = amd46", "error", (12, 5), ("did you mean amd64?", "x86_64")),
        ("lxc.uts.name", "error", (1, 12), ("Invalid configuration line",)),
        ("lxc.utsname = a", "warning", (1, 11), ("lxc.uts.name", "lxc-update-config")),
        ("lxc.kmsg = 1", "warning", (1, 8), ("no meaning",)),
        ("utsname = a", "warning", (1, 11), ("passed over",)),
        ("lxc.include = /nonexistent/file", "error", (15, 17), ("No such file",)),
        ("lxc.prlimit.nofil = 5", "error", (13, 5), ("Unknown resource nofil", "nofile")),
        ("lxc.mount.entry = /nonexistent/x mnt none bind", "error", (19, 14), ("does not exist", "optional")),
        ("lxc.hook.start-host = /nonexistent/hook a", "error", (23, 17), ("cannot run /nonexistent/hook",)),
        ("lxc.hook.post-stop = /etc/passwd", "warning", (22, 11), ("not executable",)),
        ("lxc.seccomp.profile = /nonexistent", "error", (23, 12), ("No such file",)),
        ("lxc.selinux.context = u:r:t", "warning", (23, 5), ("no SELinux",)),
        ("lxc.idmap = u 0 100000 10\nlxc.idmap = u 5 200000 10", "error", (13, 13), ("",)),
        ("lxc.cgroup.nosuch.limit = 1\nlxc.cgroup2.nosuch.limit = 1", "error", (27, 1), ("nosuch",)),
        ("lxc.net.0.type = veth\nlxc.net.0.link = lxcnosuch0", "error", (18, 10), ('bridge "lxcnosuch0" does not exist',)),
        ("lxc.net.0.type = veth\nlxc.net.0.link = lo", "error", (18, 2), ("is not a bridge", "router")),
        ("lxc.net.0.type = veth\nlxc.net.0.mtu = 5", "error", (17, 1), ("68 to 65535",)),
        ("lxc.net.0.type = veth\nlxc.net.0.hwaddr = 01:00:00:00:00:01", "error", (20, 17), ("group",)),
        ("lxc.net.0.type = veth\nlxc.net.0.name = averyveryverylongname", "warning", (18, 21), ("15 bytes",)),
        ("lxc.console.logfile = /nonexistent/log", "error", (23, 16), ("the folder /nonexistent does not exist",)),
        ("lxc.cgroup.dir.container = x", "error", (28, 1), ("must both be set",)),
        ("lxc.namespace.share.net = 4194305", "error", (27, 7), ("no process",)),
        ("lxc.namespace.share.net = /nonexistent/a", "error", (27, 14), ("there is no /nonexistent/a",)),
        ("lxc.cgrop2.memory.max = 1", "error", (1, 21), ("did you mean lxc.cgroup2.memory.max?",)),
        ("lxc.lxcpath = /x", "error", (1, 11), ("it is a setting of LXC itself",)),
        ("lxc.net.x.type = veth", "error", (9, 1), ("has no network number",)),
        ("lxc.net.-1.type = veth", "error", (9, 2), ("has no network number",)),
        ("lxc.cap.drop = sys_admin sys_adm", "error", (26, 7), ("did you mean sys_admin?",)),
        ("lxc.uts.name foo", "error", (1, 16), ("write KEY = VALUE",)),
    ],
)
def test_one_problem(tmp_path: Path, line: str, severity: str, place: tuple[int, int], says: tuple[str, ...]) -> None:
    if "selinux" in line and Path("/sys/fs/selinux/enforce").exists():
        pytest.skip("this kernel has SELinux")
    found = problems_of(tmp_path, f"# first\n{line}\n")
    (one,) = [row for row in found if row["severity"] == severity][:1] or [{}]
    assert one, found
    assert one["path"] == str(tmp_path / "some.conf") and one["line"] >= 2
    assert one["text"] == line.splitlines()[one["line"] - 2]
    assert (one["column"], one["width"]) == place
    text = f"{one['message']} {one['legal']} {one['remedy']}"
    assert all(word in text for word in says), text


def test_all_at_once_with_their_places(tmp_path: Path) -> None:
    inner = tmp_path / "inner.conf"
    inner.write_text("\nlxc.signal.halt = SIGFOO\n")
    file = tmp_path / "outer.conf"
    file.write_text(f"lxc.tty.max = many\nlxc.include = {inner}\nlxc.arch = x\n")
    done = run("config", "check", file)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    places = [line.split(": ")[0] for line in lines if not line.startswith(" ")]
    assert places == [f"{file}:1:15", f"{file}:3:12", f"{inner}:2:19"]
    assert lines[1:3] == ["    lxc.tty.max = many", "                  ^^^^"]
    assert f"    included at {file}:2" in lines


def test_clean_files_and_exit_codes(tmp_path: Path) -> None:
    good = tmp_path / "good.conf"
    good.write_text("# nothing wrong\nlxc.uts.name = a\n")
    assert (run("config", "check", good).stdout, run("config", "check", good).returncode) == ("", 0)
    for bad in (tmp_path, tmp_path / "none.conf", "nosuchcontainer"):
        done = run("config", "check", "-P", tmp_path, bad, good)
        assert done.returncode == 2 and done.stdout == "" and done.stderr.startswith("lxc-config: "), bad
    assert run("config", "check", "-P", tmp_path).returncode == 0, "no container at all"
    assert run("config", "check", "--nosuch").returncode == 1


def test_pipes_are_read_once(tmp_path: Path) -> None:
    script = f"/usr/bin/python3 -I {REPOSITORY}/bin/lxc-config check"
    began = time.monotonic()
    for command in (f"{script} <(echo lxc.tty.max = many)", f"echo lxc.tty.max = many | {script} /dev/stdin"):
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (1, "") and ":1:15: error: " in done.stdout
    (tmp_path / "c1").mkdir()
    start = f"/usr/bin/python3 -I {REPOSITORY}/bin/lxc-start -P {tmp_path} c1 -f"
    done = subprocess.run(["bash", "-c", f"{start} <(echo lxc.tty.max = many)"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "many" in done.stderr
    assert time.monotonic() - began < 5, "nothing waits for what was read already"


def test_shipped_configurations_have_no_errors() -> None:
    files = sorted(REPOSITORY.glob("config/*.conf"))
    assert files
    rows = json.loads(run("config", "check", "--json", *files).stdout)
    assert [one for row in rows for one in row["problems"] if one["severity"] == "error"] == []


def container(tmp_path: Path, text: str) -> Path:
    folder = tmp_path / "c1"
    (folder / "rootfs/sbin").mkdir(parents=True)
    (folder / "rootfs/sbin/init").write_text("#!/bin/sh\n")
    (folder / "config").write_text(f"lxc.rootfs.path = dir:{folder}/rootfs\n{text}")
    return folder / "config"


def test_containers_by_name(tmp_path: Path) -> None:
    config = container(tmp_path, "lxc.uts.name = c1\n")
    assert run("config", "check", "-P", tmp_path).returncode == 0
    (tmp_path / "c1/rootfs/sbin/init").unlink()
    done = run("config", "check", "-P", tmp_path, "c1")
    assert done.returncode == 1 and "there is no /sbin/init" in done.stdout
    config.write_text("lxc.uts.name = c1\n")
    assert "host's own files" in run("config", "check", "-P", tmp_path, config).stdout
    config.write_text(f"lxc.rootfs.path = dir:{tmp_path}/none\n")
    done = run("config", "check", "-P", tmp_path, "c1")
    assert f"{config}:1:19: error: the root file system {tmp_path}/none does not exist" in done.stdout


def test_a_start_says_all_of_it_and_refuses(tmp_path: Path) -> None:
    config = container(tmp_path, "lxc.tty.max = many\nlxc.arch = amd46\n")
    done = run("start", "-P", tmp_path, "c1")
    assert done.returncode == 1
    assert f"{config}:2:15: error" in done.stderr and f"{config}:3:12: error" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("lxc-start: c1: ")
    config.write_text(f"lxc.rootfs.path = dir:{tmp_path}/none\nlxc.net.0.type = veth\nlxc.net.0.link = lxcnosuch0\n")
    done = run("start", "-P", tmp_path, "c1")
    assert done.returncode == 1 and f"{config}:1:19: error" in done.stderr and f"{config}:3:18: error" in done.stderr
    assert "The container failed to start" in done.stderr.splitlines()[-1]


def test_problems_are_bounded(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("foreign\nlxc.x\n" * 5000)
    assert len(check.read(str(file)).problems) < 2100


def test_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("\ufefflxc.uts.name = a\n")
    (one,) = check.read(str(file)).problems
    assert (one.severity, one.line) == ("warning", 1) and "byte order mark" in one.remedy


def test_host_problems_are_bounded_and_quick(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("".join(f"lxc.mount.entry = /nonexistent/{n} m{n} none bind 0 0\n" for n in range(10000)))
    began = time.monotonic()
    found = run("config", "check", "--json", file)
    assert time.monotonic() - began < 10, "each problem must not look at every line"
    (row,) = json.loads(found.stdout)
    assert len(row["problems"]) == grammar.MOST_PROBLEMS
    assert [one["line"] for one in row["problems"][:2]] == [1, 2]


def test_too_many_files_are_told_once(tmp_path: Path) -> None:
    for n in range(16):
        (tmp_path / f"f{n}").write_text(f"lxc.include = {tmp_path}/f{n + 1}\n" * 2)
    (tmp_path / "f16").write_text("")
    (one,) = check.read(f"{tmp_path}/f0").problems
    assert "more than 10000 files" in one.message
    assert one.included.count("included at") < 7 and one.included.endswith((f"{tmp_path}/f0:1", f"{tmp_path}/f0:2"))


def test_an_open_vswitch_bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config"
    file.write_text("lxc.net.0.type = veth\nlxc.net.0.link = lo\n")
    monkeypatch.setattr(host, "_kind", lambda link: "openvswitch" if link == "lo" else "")
    (one,) = [found for found in check_config(str(file)).problems if found.severity == "error"]
    assert "an Open vSwitch bridge" in one.message and (one.line, one.column) == (2, 18)


@pytest.mark.parametrize(
    ("kind", "line", "wrong"),
    [
        ("veth", "hwaddr = 02:00:00:00:00", True),
        ("veth", "hwaddr = 02:00:00:00:00:+1", True),
        ("veth", "hwaddr = 03:00:00:00:00:01", True),
        ("veth", "hwaddr = 2:0:0:0:0:1", False),
        ("empty", "hwaddr = 02:00:00:00:00", False),
        ("none", "hwaddr = 03:00:00:00:00:01", False),
        ("veth", "mtu = 67", True),
        ("veth", "mtu = 1500", False),
        ("empty", "mtu = 67", False),
    ],
)
def test_a_network_is_wrong_where_the_start_refuses_it(tmp_path: Path, kind: str, line: str, wrong: bool) -> None:
    """What the type has no use for is passed over by both."""
    file = tmp_path / "config"
    file.write_text(f"lxc.net.0.type = {kind}\nlxc.net.0.{line}\n")
    reading = check_config(str(file))
    assert [one.line for one in reading.problems] == ([2] if wrong else [])
    (net,) = reading.nets
    try:
        asked = address.wanted_address(net) if "hwaddr" in line else veth.wanted_mtu(net) if kind == "veth" else 0
    except LxcError as error:
        assert wrong and line in error.message
    else:
        assert not wrong and bool(asked) == (kind == "veth")


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    """In the name of the file, of what it includes, in keys and in values; the caret stays below what is wrong."""
    file = tmp_path / "so\x1bme.conf"
    file.write_text("lxc.uts.name\x1b[2Jx = a\nlxc.arch = \x07amd46\tx\x9b\nlxc.include = /nonexistent/\x1b]0;a\nlxc.utsname = x\n")
    done = run("config", "check", file)
    assert done.returncode == 1
    text = done.stdout + done.stderr
    assert [letter for letter in text if not letter.isprintable() and letter != "\n"] == []
    lines = done.stdout.splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.startswith(r"    lxc.arch = \x07amd46"))
    assert lines[at + 1].index("^") == lines[at].index(r"\x07") and lines[at + 1].strip("^ ") == ""
    (tmp_path / "c1").mkdir()
    (tmp_path / "c1/config").write_bytes(file.read_bytes())
    done = run("start", "-P", tmp_path, "c1")
    assert done.returncode == 1 and r"\x1b" in done.stderr and "\x1b" not in done.stderr and "\x07" not in done.stderr


def test_a_shared_container(tmp_path: Path) -> None:
    config = container(tmp_path, "lxc.namespace.share.net = other\n")
    done = run("config", "check", "-P", tmp_path, "c1")
    assert f"{config}:2:27: error: there is no container other" in done.stdout
    (tmp_path / "other").mkdir()
    done = run("config", "check", "-P", tmp_path, "c1")
    assert f"{config}:2:27: warning: the container other is not running" in done.stdout


def test_settings_of_lxc_itself(tmp_path: Path) -> None:
    file = tmp_path / "lxc.conf"
    file.write_text("# mine\n\nlxc.lxcpath = /srv/c\nlxc.hook.create = a\nlxc.hook.create = b\n")
    assert check_config(str(file)).problems == []
    file.write_text('lxc.lxcpaht = /x\nlxc.lxcpath = "/x"\nlxc.uts.name = x\nlxc.lxcpath = /y\nfoo\nlxc.bdev.lvm.vg = x \n')
    found = check_config(str(file)).problems
    assert [(one.severity, one.line, one.column) for one in found] == [
        ("warning", 1, 1), ("warning", 2, 15), ("warning", 3, 1), ("warning", 4, 1), ("warning", 5, 1), ("warning", 6, 19),
    ]  # fmt: skip
    words = ("did you mean lxc.lxcpath?", "quotes", "a key of containers", "line 2 set lxc.lxcpath already", "no equals sign", "blanks")
    for one, word in zip(found, words, strict=True):
        assert word in f"{one.message} {one.remedy}"


def test_wrong_arguments_have_a_reason(tmp_path: Path) -> None:
    for words in ([""], ["-P", tmp_path / "none"], ["-P", "/etc/passwd"]):
        done = run("config", "check", *words)
        assert done.returncode == 2 and done.stderr.startswith("lxc-config: "), words
    assert run("config", "check", "-q", "-P", tmp_path, "none").stderr == ""
