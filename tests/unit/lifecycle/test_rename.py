# SPDX-License-Identifier: LGPL-2.1-or-later
"""A renaming that was cut off: who needs whom is right again when the next command has looked at the name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lxctools import log
from lxctools.errors import NotDefined
from lxctools.lifecycle import dependants, steps
from lxctools.lifecycle.copy import Source, Wishes, copy
from lxctools.lifecycle.recover import settle
from lxctools.lifecycle.rename import JOURNAL, rename

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class Killed(BaseException):
    pass


@pytest.fixture
def lxcpath(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """With a container c1, and c2, an overlay over it."""
    monkeypatch.setattr("lxctools.paths.runtime_dir", lambda: str(tmp_path / "run"))
    folder = tmp_path / "lxc"
    (folder / "c1/rootfs").mkdir(parents=True)
    (folder / "c1/config").write_text(f"lxc.rootfs.path = dir:{folder}/c1/rootfs\n")
    copy(Source("c1", str(folder)), "c2", str(folder), Wishes(snapshot=True, quiet=True))
    return str(folder)


def killed_at(monkeypatch: pytest.MonkeyPatch, lxcpath: str, name: str) -> None:
    """Rename c2 to c3 and end at the step of this name without another word."""

    def hook(step: str) -> None:
        if step == name:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(steps, "hook", hook)
        patch.setattr("lxctools.lifecycle.rename._undo", lambda *words: None)
        with pytest.raises(Killed):
            rename("c2", lxcpath, "c3")


@pytest.mark.parametrize("looks", ["c2", "c3"])
@pytest.mark.parametrize(("step", "left"), [("commit", "c2"), ("forget the old name", "c3")])
def test_what_it_needs_knows_one_name(lxcpath: str, monkeypatch: pytest.MonkeyPatch, step: str, left: str, looks: str) -> None:
    killed_at(monkeypatch, lxcpath, step)
    assert len(dependants.needed_by(f"{lxcpath}/c1")) == 2
    said: list[str] = []
    monkeypatch.setattr(log, "tell", said.append)
    settle(looks, lxcpath)
    assert sorted(os.listdir(lxcpath)) == ["c1", left]
    assert dependants.needed_by(f"{lxcpath}/c1") == [(lxcpath, left)]
    assert not os.path.exists(f"{lxcpath}/{left}/{JOURNAL}")
    assert len(said) == 1 and "interrupted renaming of c2 to c3" in said[0]
    settle(looks, lxcpath)
    assert len(said) == 1


def test_a_record_that_cannot_be_written_is_left_to_the_next_command(lxcpath: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(step: str) -> None:
        if step == "forget the old name":
            raise OSError(28, os.strerror(28))

    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(steps, "hook", full)
        patch.setattr(log, "error", said.append)
        rename("c2", lxcpath, "c3")
    assert len(said) == 1 and "No space left" in said[0]
    settle("c3", lxcpath)
    assert dependants.needed_by(f"{lxcpath}/c1") == [(lxcpath, "c3")]


def test_a_signal_after_it_counts(lxcpath: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.rename

    def rename_and_interrupt(source: str, target: str) -> None:
        real(source, target)
        if target.endswith("/done"):
            raise Killed

    monkeypatch.setattr(os, "rename", rename_and_interrupt)
    with pytest.raises(Killed):
        rename("c2", lxcpath, "c3")
    assert sorted(os.listdir(lxcpath)) == ["c1", "c3"]
    assert dependants.needed_by(f"{lxcpath}/c1") == [(lxcpath, "c3")]


def test_what_is_not_defined(lxcpath: str) -> None:
    with pytest.raises(NotDefined):
        rename("nosuch", lxcpath, "c3")
    assert sorted(os.listdir(lxcpath)) == ["c1", "c2"]


@pytest.mark.parametrize(("step", "name"), [("commit", "c2"), ("write the host name", "c3"), ("forget the old name", "c3")])
def test_the_host_name_in_an_overlay(lxcpath: str, monkeypatch: pytest.MonkeyPatch, step: str, name: str) -> None:
    """It is the old one until the renaming counts, and the new one from then on."""
    Path(f"{lxcpath}/c1/rootfs/etc").mkdir()
    Path(f"{lxcpath}/c1/rootfs/etc/hostname").write_text("c2")
    os.mkdir(f"{lxcpath}/mnt")
    with open(f"{lxcpath}/c2/config", "a") as file:
        file.write(f"lxc.rootfs.mount = {lxcpath}/mnt\n")
    killed_at(monkeypatch, lxcpath, step)
    monkeypatch.setattr(log, "tell", lambda text: None)
    settle("c3", lxcpath)
    written = Path(f"{lxcpath}/{name}/overlay/delta/etc/hostname")
    assert (written.read_text() if written.exists() else "c2") == name
