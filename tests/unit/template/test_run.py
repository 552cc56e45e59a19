# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from lxctools import paths
from lxctools.errors import LxcError
from lxctools.template.run import find_template


@pytest.fixture
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "TEMPLATES", str(tmp_path))
    for name, mode in (("lxc-good", 0o755), ("lxc-plain", 0o644)):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(mode)
    (tmp_path / "lxc-folder").mkdir()
    return tmp_path


def test_a_template_by_name_and_by_path(templates: Path) -> None:
    assert find_template("good") == f"{templates}/lxc-good"
    assert find_template(f"{templates}/lxc-good") == f"{templates}/lxc-good"


@pytest.mark.parametrize(
    ("name", "why"),
    [("missing", "no such file"), ("plain", "not executable"), ("folder", "no such file"), ("/no/where", "no such file"), ("", "")],
)
def test_a_template_that_cannot_be_run_is_told_with_those_that_can(templates: Path, name: str, why: str) -> None:
    with pytest.raises(LxcError) as caught:
        find_template(name)
    text = str(caught.value)
    assert f"bad template: {name}" in text and f'Template "{name}" not found' in text and why in text
    assert (name if name.startswith("/") else f"{templates}/lxc-{name}") in text
    assert "good" in caught.value.remedy


def test_without_any_the_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "TEMPLATES", f"{tmp_path}/none")
    with pytest.raises(LxcError) as caught:
        find_template("x")
    assert f"{tmp_path}/none" in caught.value.remedy
