# SPDX-License-Identifier: LGPL-2.1-or-later
"""Words of namespaces, maps of the caller, and what usernsexec's reader refuses."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lxctools.cli import unshare, usernsexec
from lxctools.cli._options import BadValue, Ended
from lxctools.idmap import ranges
from lxctools.idmap.ranges import IdMap

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("text", "flags"), [("MOUNT|PID", 0x20020000), ("uts|Net|", 0x44000000), ("CGROUP", 0x02000000), ("", 0)]
)
def test_names_of_namespaces(text: str, flags: int) -> None:
    assert unshare._flags(text) == flags


@pytest.mark.parametrize("text", ["mount", "UTS,NET", " NET", "utsname"])
def test_wrong_names_of_namespaces(text: str) -> None:
    with pytest.raises(BadValue):
        unshare._flags(text)


def test_users_must_exist() -> None:
    assert unshare._user("root") == unshare._user("0") == 0
    for text in ("nosuch", "4000000000", "99999999999999999999", "-1", ""):
        with pytest.raises(BadValue):
            unshare._user(text)


def test_the_callers_ids_follow_the_maps() -> None:
    maps = [IdMap("u", 0, 100000, 10), IdMap("u", 10, 5, 2), IdMap("g", 1, 100000, 10)]
    given = ranges.with_caller(maps, os.getuid(), os.getgid())
    assert given == [*maps, IdMap("u", 12, os.getuid(), 1), IdMap("g", 0, os.getgid(), 1)]


def run(tool: str, *words: str) -> subprocess.CompletedProcess[str]:
    argv = ["/usr/bin/python3", "-I", str(REPOSITORY / f"bin/lxc-{tool}"), *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.root
@pytest.mark.parametrize(("maps", "shown"), [(("b:5:200000:5", "b:0:100000:5"), "10 0 1"), (("b:0:0:1",), "0 0 1")])
def test_the_callers_ids_are_mapped_once_and_nowhere_else(maps: tuple[str, ...], shown: str) -> None:
    words = [word for text in maps for word in ("-m", text)]
    done = run("usernsexec", "-s", *words, "--", "cat", "/proc/self/uid_map", "/proc/self/gid_map")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert len(rows) == 2 * (len(maps) + (shown != "0 0 1")) and rows.count(shown) == 2


@pytest.mark.parametrize("words", [("unshare", "-s", "UTSNAME", "--", ""), ("usernsexec", "-m", "b:0:0:1", "--", "")])
def test_a_program_without_a_name(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.returncode == 1
    assert "is empty" in done.stderr and "name a program" in done.stderr and "argv" not in done.stderr


@pytest.mark.parametrize(
    ("line", "code"), [("-m x", 1), ("-m b:0:1", 1), ("-m", 1), ("-q", 1), ("-u junk", 255), ("-g -1", 255), ("-h", 0), ("--name x", 1)]
)
def test_usernsexec_refuses(line: str, code: int) -> None:
    with pytest.raises(Ended) as caught:
        usernsexec.parse(line.split(), "lxc-usernsexec")
    assert caught.value.code == code
    assert bool(caught.value.stdout) == (code == 0)


def test_usernsexec_reads() -> None:
    values = usernsexec.parse(["-s", "-m", "b:0:100000:5", "-u1", "--", "sh", "-c", "x"], "lxc-usernsexec")
    assert (values.self, values.uid, values.gid, values.words) == (True, 1, 0, ["sh", "-c", "x"])
