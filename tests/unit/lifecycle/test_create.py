# SPDX-License-Identifier: LGPL-2.1-or-later
"""The parts of a creation that need no namespaces; whole creations are in tests/containers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lxctools.config.conf import Config
from lxctools.errors import LxcError
from lxctools.lifecycle import create as module
from lxctools.lifecycle.reserve import make_parents
from lxctools.storage.backend import container_root
from lxctools.undo import Undo


def creation(tmp_path: Path) -> module._Creation:
    return module._Creation("c1", str(tmp_path), Undo())


@pytest.fixture(autouse=True)
def no_system_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "system_value", lambda key: None)


def test_create_hooks_leave_the_configuration(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_text(
        "lxc.tty.max = 1\n  lxc.hook.create = /bin/first word\nlxc.hook.create=/bin/second\n"
        "# lxc.hook.create = /bin/no\nlxc.uts.name = x\n"
    )
    this = creation(tmp_path)
    module._read(this, str(given))
    assert this.hooks == ["/bin/first word", "/bin/second"]
    assert this.conf["lxc.tty.max"] == 1
    text = this.conf.write_text()
    lines = [line for line in text.splitlines() if "lxc.hook.create" in line]
    assert len(lines) == 3 and all(line.startswith("#") for line in lines)
    conf = Config()
    conf.load_text(text, "again")  # as any LXC reads it


def test_an_empty_value_forgets_those_before_it(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_text("lxc.hook.create = /bin/first\nlxc.hook.create =\nlxc.hook.create = /bin/second\n")
    this = creation(tmp_path)
    module._read(this, str(given))
    assert this.hooks == ["/bin/second"]


def test_that_of_the_system_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = tmp_path / "given"
    given.write_text("lxc.hook.create = /bin/own\n")
    monkeypatch.setattr(module, "system_value", lambda key: "/bin/always" if key == "lxc.hook.create" else None)
    this = creation(tmp_path)
    module._read(this, str(given))
    assert this.hooks == ["/bin/always", "/bin/own"]


def test_an_error_in_the_given_file_names_its_line(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_text("lxc.hook.create = /bin/x\nlxc.nonsense = 1\n")
    with pytest.raises(LxcError, match=f"{given}:2: .*lxc.nonsense"):
        module._read(creation(tmp_path), str(given))


def test_a_missing_file_that_was_named_is_an_error_and_a_missing_default_is_none(tmp_path: Path) -> None:
    this = creation(tmp_path)
    with pytest.raises(LxcError, match="missing"):
        module._read(this, str(tmp_path / "missing"))
    module._read(this, None)
    assert this.conf.write_text() == ""


def test_a_configuration_that_comes_through_a_pipe(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"lxc.tty.max = 2\n")
    os.close(writer)
    this = creation(tmp_path)
    try:
        module._read(this, f"/dev/fd/{reader}")
    finally:
        os.close(reader)
    assert this.conf["lxc.tty.max"] == 2


def test_folders_made_on_the_way_are_removed_and_those_of_others_stay(tmp_path: Path) -> None:
    with Undo() as undo:
        make_parents(str(tmp_path / "a/b/c/name"), undo)
        assert (tmp_path / "a/b/c").is_dir()
        (tmp_path / "a/mine").touch()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["a", "a/mine"]
    with Undo() as undo:
        make_parents(str(tmp_path / "a/b/name"), undo)
        undo.commit()
    assert (tmp_path / "a/b").is_dir()


def test_a_map_without_a_root_is_refused() -> None:
    conf = Config()
    conf.load_text("lxc.idmap = u 1 1000 10\nlxc.idmap = g 0 1000 10\n", "x")
    with pytest.raises(LxcError, match="id 0"):
        container_root(conf["lxc.idmap"])
    assert container_root([]) == (-1, -1)
