# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc.conf: its grammar, its defaults, where it is looked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxctools import paths
from lxctools.config import system
from lxctools.errors import ConfigError


@pytest.fixture(autouse=True)
def read_anew() -> Iterator[None]:
    system.forget()
    yield
    system.forget()


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("lxc.lxcpath = /srv/ctr///\n", "lxc.lxcpath", "/srv/ctr"),
        ("lxc.lxcpath = /\n", "lxc.lxcpath", "/"),
        (" lxc.default_config=/x/y.conf  \n", "lxc.default_config", "/x/y.conf  "),
        ('lxc.bdev.lvm.vg = "vgq" # t\nlxc.bdev.lvm.vg = second\n', "lxc.bdev.lvm.vg", '"vgq" # t'),
        ("lxc.bdev.zfs.root =\n", "lxc.bdev.zfs.root", ""),
        ("lxc.bdev.zfs.root =", "lxc.bdev.zfs.root", "lxc"),
        ("lxc.bdev.lvm.thin_pool_x = foo\n", "lxc.bdev.lvm.thin_pool", "lxc"),
        ("# lxc.cgroup.use = a\n #lxc.cgroup.use = b\n", "lxc.cgroup.use", None),
        ("lxc.cgroup.use = a,b", "lxc.cgroup.use", "a,b"),
        ("lxc.cgroup.pattern = c/%n\r\n", "lxc.cgroup.pattern", "c/%n\r"),
        ("lxc.bdev.lvm.vg = a=b\n", "lxc.bdev.lvm.vg", "a=b"),
        ("garbage\nlxc.bogus = 1\nlxc.cgroup.use = x\n", "lxc.cgroup.use", "x"),
        ("foo lxc.cgroup.use = x\n", "lxc.cgroup.use", None),
        ("", "lxc.bdev.rbd.rbdpool", "lxc"),
        ("", "lxc.bdev.rbd.rbduser", None),
        ("lxc.bogus = 1\n", "lxc.bogus", None),
    ],
)
def test_a_value(tmp_path: Path, text: str, key: str, expected: str | None) -> None:
    (tmp_path / "lxc.conf").write_text(text, newline="")
    assert system.system_value(key, str(tmp_path / "lxc.conf")) == expected


def test_every_value_of_our_own_key(tmp_path: Path) -> None:
    (tmp_path / "lxc.conf").write_text("lxc.hook.create = /a b\nlxc.hook.create = /c\n")
    assert system.system_values("lxc.hook.create", str(tmp_path / "lxc.conf")) == ["/a b", "/c"]
    assert system.system_values("lxc.hook.create", str(tmp_path / "none")) == []


def test_defaults_and_search_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "is_root", lambda: False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert system.system_value("lxc.lxcpath") == f"{tmp_path}/.local/share/lxc"
    assert system.system_value("lxc.default_config") == f"{tmp_path}/.config/lxc/default.conf"
    (tmp_path / ".config" / "lxc").mkdir(parents=True)
    (tmp_path / ".config" / "lxc" / "lxc.conf").write_text("lxc.lxcpath = /x\n")
    assert system.system_value("lxc.lxcpath") == f"{tmp_path}/.local/share/lxc"  # read once
    system.forget()
    assert system.system_value("lxc.lxcpath") == "/x"


def test_a_folder_instead_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the system configuration"):
        system.system_value("lxc.lxcpath", str(tmp_path))
    assert system.system_value("lxc.cgroup.use", "/dev/null/lxc.conf") is None


def test_the_table() -> None:
    assert len(set(system.KEYS)) == len(system.KEYS)
    assert system.KEYS[:2] == ("lxc.default_config", "lxc.lxcpath")
    assert all(row.summary.endswith(".") for row in system.ROWS)


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "lxc.conf"
    os.mkfifo(path)
    assert system.system_value("lxc.bdev.lvm.vg", str(path)) == "lxc"
