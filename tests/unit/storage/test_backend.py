# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table of backends, detection, and the contract, which every backend has to keep."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import pytest

from lxctools.config.conf import Config
from lxctools.errors import LxcError
from lxctools.storage import backend


def conf(path: str) -> Config:
    made = Config()
    made.set("lxc.rootfs.path", path)
    return made


def test_every_type_of_lxc_is_known() -> None:
    assert set(backend.names()) == {"dir", "zfs", "lvm", "rbd", "btrfs", "overlay", "overlayfs", "loop", "nbd"}


@pytest.mark.parametrize("name", backend.names())
def test_the_contract(name: str) -> None:
    module = backend.load(name)
    assert module.INFO.name == backend.plain(name) and isinstance(module.INFO.is_folder, bool)
    wanted = {"create": ["spec"], "destroy": ["path", "beat", "maps"], "mount": ["path", "target"], "exists": ["path"]}
    assert {function: list(inspect.signature(getattr(module, function)).parameters) for function in wanted} == wanted


def test_an_unknown_type() -> None:
    with pytest.raises(LxcError, match='there is no storage backend "floppy"') as caught:
        backend.load("floppy")
    assert "nbd" in caught.value.remedy


def test_detection(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert backend.detect(str(tmp_path)) == "dir"
    assert backend.detect(str(tmp_path / "file")) == "loop"
    with pytest.raises(LxcError, match="cannot use the root file system .*/none: No such file"):
        backend.detect(str(tmp_path / "none"))
    with pytest.raises(LxcError, match="no folder, no file and no logical volume"):
        backend.detect("/dev/null")
    with pytest.raises(LxcError) as caught:
        backend.detect("tank/c1")
    assert "zfs:" in caught.value.remedy
    with pytest.raises(LxcError):
        backend.detect("/a:/b")  # overlay is found by its name only


def test_a_named_type_wins_over_detection(tmp_path: Path) -> None:
    assert backend.type_of(conf(str(tmp_path))) == "dir"
    assert backend.type_of(conf(f"btrfs:{tmp_path}")) == "btrfs"
    assert backend.for_config(conf(f"dir:{tmp_path}")).INFO.name == "dir"
    assert backend.for_config(conf("nbd:/a:1")).INFO.name == "nbd"
    assert backend.for_config(conf("overlayfs:/a:/b")).INFO.name == "overlay"
    assert os.path.isdir(tmp_path)
