# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-apparmor-load, with a kernel and a parser that a test plays."""

from __future__ import annotations

from pathlib import Path

import pytest

from lxctools.confine import profiles
from lxctools.errors import LxcError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host whose kernel mediates mounts, with the two profiles; its parser notes its arguments, and refuses what says so."""
    (tmp_path / "sys/kernel/security/apparmor/features/mount").mkdir(parents=True)
    (tmp_path / "sys/kernel/security/apparmor/features/mount/mask").touch()
    (tmp_path / "etc/apparmor.d/disable").mkdir(parents=True)
    for name in profiles.PROFILES:
        (tmp_path / "etc/apparmor.d" / name).touch()
    parser = tmp_path / "parser"
    parser.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\nfor file; do :; done\n! grep "syntax error" "$file"\n')
    parser.chmod(0o755)
    monkeypatch.setattr(profiles, "_PARSER", str(parser))
    return tmp_path


def loaded(root: Path) -> list[str]:
    calls = root / "calls"
    return [line.rpartition("/")[2] for line in calls.read_text().splitlines()] if calls.exists() else []


def test_both_in_order(root: Path) -> None:
    profiles.load(str(root))
    assert loaded(root) == ["usr.bin.lxc-start", "lxc-containers"]


def test_nothing_where_nothing_is_confined(root: Path) -> None:
    (root / "sys/kernel/security/apparmor/features/mount/mask").unlink()
    profiles.load(str(root))
    assert loaded(root) == []


def test_what_is_switched_off_or_missing(root: Path) -> None:
    (root / "etc/apparmor.d/disable/usr.bin.lxc-start").symlink_to("/etc/apparmor.d/usr.bin.lxc-start")
    profiles.load(str(root))
    assert loaded(root) == ["lxc-containers"]
    (root / "etc/apparmor.d/lxc-containers").unlink()
    profiles.load(str(root))
    assert loaded(root) == ["lxc-containers"]


def test_a_bad_one_does_not_keep_the_other(root: Path) -> None:
    (root / "etc/apparmor.d/usr.bin.lxc-start").write_text("syntax error, line 1\n")
    with pytest.raises(LxcError, match=r"usr.bin.lxc-start: .* exited with status 1: syntax error, line 1") as caught:
        profiles.load(str(root))
    assert "lxc-containers" not in str(caught.value)
    assert loaded(root) == ["usr.bin.lxc-start", "lxc-containers"]


def test_no_parser(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "_PARSER", "/nonexistent/apparmor_parser")
    with pytest.raises(LxcError, match="install the package apparmor"):
        profiles.load(str(root))


def test_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert profiles.main(["lxc-apparmor-load", "x"]) == 2
    assert capsys.readouterr().err.startswith("usage: ")
