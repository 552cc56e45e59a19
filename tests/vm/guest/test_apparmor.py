# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc.apparmor.profile on a kernel with AppArmor switched on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import host

from .test_unified import SIDES, init_of, inside, tool

PROFILE = "lxc-lxct-confined"  # Debian lets its lxc-start change to lxc-* only
_TEXT = f"""profile {PROFILE} flags=(attach_disconnected,mediate_deleted) {{
  file,
  capability,
  network,
  mount,
  umount,
  pivot_root,
  signal,
  ptrace,
  unix,
  change_profile -> **,
  deny /forbidden w,
}}
"""
both_sides = pytest.mark.parametrize("tools", SIDES.values(), ids=SIDES)


@pytest.fixture(scope="module", autouse=True)
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    assert Path("/sys/module/apparmor/parameters/enabled").read_text() == "Y\n"
    file = tmp_path_factory.mktemp("apparmor") / "profile"
    file.write_text(_TEXT)
    host.run("apparmor_parser", "-r", "-K", file, check=True)
    yield
    host.run("apparmor_parser", "-R", file, check=True)


def label(process: int) -> str:
    return Path(f"/proc/{process}/attr/current").read_text().strip("\0\n")


@both_sides
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (f"lxc.apparmor.profile = {PROFILE}", f"{PROFILE} (enforce)"),
        ("lxc.apparmor.profile = unconfined", "unconfined"),
        ("lxc.apparmor.profile = unchanged", "unconfined"),
        ("", "lxc-container-default-cgns (enforce)"),
    ],
    ids=["named", "unconfined", "unchanged", "default"],
)
def test_the_label_of_init_and_of_what_is_attached(unchanged_host: None, lxcpath: Path, tools: Path, line: str, wanted: str) -> None:
    host.make_container(lxcpath, "c1", f"{line}\n")
    tool(tools, "start", lxcpath)
    if "unchanged" in line and tools is host.THEIRS:
        wanted = "/usr/bin/lxc-start (enforce)"  # Debian's profile of the program by its path
    assert label(init_of(lxcpath)) == wanted
    for other in SIDES.values():
        shown = tool(other, "attach", lxcpath, "--", "sh", "-c", "cat /proc/self/attr/current; echo x >/forbidden && echo written || :", check=False)
        assert shown.replace("\0", "").split("\n") == [wanted] + ["written"] * (PROFILE not in wanted), other
    tool(tools, "stop", lxcpath, "-k")


def test_unchanged_keeps_the_label_of_who_starts(unchanged_host: None, lxcpath: Path) -> None:
    host.make_container(lxcpath, "c1", "lxc.apparmor.profile = unchanged\n")
    start = f"echo changeprofile {PROFILE} >/proc/self/attr/current; exec {host.OURS}/lxc-start -P {lxcpath} -n c1"
    done = host.run("/bin/bash", "-c", start)
    assert done.returncode == 0, done.stderr
    assert label(init_of(lxcpath)) == f"{PROFILE} (enforce)"
    assert inside(lxcpath, "cat /proc/self/attr/current").strip("\0\n") == f"{PROFILE} (enforce)"
    tool(host.OURS, "stop", lxcpath, "-k")


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("generated", [b"not supported yet", b"lxc.apparmor.profile = generated", b"unconfined"]),
        ("lxct-not-loaded", [b"lxct-not-loaded", b"apparmor_parser"]),
    ],
)
def test_what_cannot_be_applied_is_refused(unchanged_host: None, lxcpath: Path, profile: str, words: list[bytes]) -> None:
    host.make_container(lxcpath, "c1", f"lxc.apparmor.profile = {profile}\n")
    done = host.run(host.OURS / "lxc-start", "-P", lxcpath, "-n", "c1")
    assert done.returncode == 1
    assert all(word in done.stderr for word in words) and b"Traceback" not in done.stderr, done.stderr
    assert not host.running(lxcpath, "c1")
