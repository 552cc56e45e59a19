# SPDX-License-Identifier: LGPL-2.1-or-later
"""Nodes made inside, with the container played by this process."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from lxctools.runtime import device
from tests.forked import forked


@pytest.mark.parametrize("mode", [0o666, 0o620])
def test_a_node_has_the_hosts_mode_whatever_the_callers_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    def in_its_root(_name: str, _lxcpath: str, function: Callable[[], str], _what: str) -> None:
        assert forked(function) == ""

    monkeypatch.setattr(device, "_in_its_root", in_its_root)
    before = os.umask(0o077)
    try:
        device.make_node("c1", "/nonexistent", f"{tmp_path}/a/b/node", stat.S_IFIFO | mode, 0)
        assert os.umask(0o077) == 0o077, "ours stays"
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a/b/node").lstat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o755
