# SPDX-License-Identifier: LGPL-2.1-or-later
"""The globs of AppArmor for everything but some paths, and that the shipped profiles hold what the tool makes."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

REPOSITORY = Path(__file__).parents[3]
PROFILES = REPOSITORY / "config/apparmor"


def _tool() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("apparmor_rules", str(REPOSITORY / "tools/apparmor-rules"))
    spec = importlib.util.spec_from_loader("apparmor_rules", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


TOOL = _tool()


def matches(glob: str, path: str) -> bool:
    """As AppArmor reads a glob: * within a name, ** across names, alternatives in braces."""
    pattern = ""
    at = 0
    while at < len(glob):
        if glob.startswith("**", at):
            pattern, at = pattern + ".*", at + 2
        elif glob[at] == "[":
            end = glob.index("]", at)
            pattern, at = pattern + glob[at : end + 1], end + 1
        else:
            pattern += {"*": "[^/]*", "{": "(?:", "}": ")", ",": "|"}.get(glob[at], re.escape(glob[at]))
            at += 1
    return re.fullmatch(pattern, path) is not None


def is_below(path: str, kept: str) -> bool:
    if kept.endswith("*"):
        return path.startswith(kept[:-1])
    return path == kept or path.startswith(kept + "/")


NAME = st.text("abk", min_size=1, max_size=3)
PATH = st.lists(NAME, min_size=1, max_size=3).map("/".join)
KEPT = st.lists(st.tuples(PATH, st.sampled_from(("", "*"))).map("".join), min_size=1, max_size=4)


@given(KEPT, PATH)
def test_everything_else(kept: list[str], path: str) -> None:
    """A path is kept, leads to one that is, or is matched; what is kept is never matched."""
    globs = TOOL.outside(kept)
    matched = any(matches(glob, path) for glob in globs)
    if "/" not in "".join(kept):
        assert matched == any(matches(glob, path) for glob in TOOL.outside(kept, "abk"))
    if any(is_below(path, one) for one in kept):
        assert not matched
    elif any(is_below(one.removesuffix("*"), path) for one in kept):
        assert not matched, "a folder on the way"
    else:
        assert matched


def test_the_settings_of_the_kernel() -> None:
    rules = TOOL.rules("deny wklx /proc/sys except kernel/hostname kernel/shm* net".split())
    globs = [rule.split()[1] for rule in rules]
    assert all(rule.startswith("  deny /proc/sys/") and rule.endswith(" wklx,") for rule in rules)

    def denied(path: str) -> bool:
        return any(matches(glob, path) for glob in globs)

    assert all(map(denied, ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sys/kernel/hostnames", "/proc/sys/kernel/modprobe")))
    assert not any(map(denied, ("/proc/sys/kernel/hostname", "/proc/sys/kernel/shmmax", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel")))


def test_types_of_file_systems() -> None:
    globs = [rule.split('"')[1] for rule in TOOL.rules("types proc fuse fuse.* ext*".split())]

    def denied(name: str) -> bool:
        return any(matches(glob, name) for glob in globs)

    assert all(map(denied, ("xfs", "devpts", "pro", "proc2", "fusectl", "ex", "9p")))
    assert not any(map(denied, ("proc", "fuse", "fuse.sshfs", "ext4")))
    assert not any("[^" in glob for glob in globs), "which would match the NUL after an empty type, that of a bind mount"


@pytest.mark.parametrize("path", sorted(path for path in PROFILES.rglob("*") if path.is_file()), ids=lambda path: path.name)
def test_the_files_hold_what_the_tool_makes(path: Path) -> None:
    text = path.read_text()
    assert TOOL.renewed(text) == text, f"run tools/apparmor-rules {path}"


@pytest.mark.skipif(shutil.which("apparmor_parser", path="/usr/sbin:/sbin") is None, reason="needs apparmor_parser")
@pytest.mark.parametrize("name", ["usr.bin.lxc-start", "lxc-containers"])
def test_the_parser_accepts_them(name: str) -> None:
    words = ["apparmor_parser", "-Q", "-K", "-I", str(PROFILES), "-I", "/etc/apparmor.d", str(PROFILES / name)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
