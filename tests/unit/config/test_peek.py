# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from lxctools.config.conf import Config
from lxctools.config.peek import Peek
from lxctools.errors import ConfigError

KEYS = frozenset(("lxc.group", "lxc.start.auto", "lxc.idmap"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lxc.group = a\nlxc.group=b\n lxc.group = 'c d' \n# lxc.group = no\nlxc.groups2 = no",
        "lxc.group = a\nlxc.group =\nlxc.group = b\n",
        "lxc.start.auto = 0\nlxc.start.auto = 1\nother = 1\n",
        "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n",
        "lxc.group = a\r\nlxc.group = b\0\0",
        "lxc.group = \udcff\n",
    ],
)
def test_the_same_as_config(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_bytes(text.replace("lxc.groups2 = no", "").encode("utf-8", "surrogateescape"))
    found, conf = Peek(KEYS).read(str(path)), Config.read(str(path))
    assert [item for value in found.get("lxc.group", []) for item in value.split()] == conf["lxc.group"]
    assert bool(found.get("lxc.idmap")) == bool(conf["lxc.idmap"])
    assert int(found.get("lxc.start.auto", ["0"])[-1]) == conf["lxc.start.auto"]


def test_a_shared_include_is_read_once(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.write_text("lxc.group = s\n")
    peek = Peek(KEYS)
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"lxc.include = {shared}\nlxc.group = {name}\n")
    assert peek.read(str(tmp_path / "a")) == {"lxc.group": ["s", "a"]}
    shared.unlink()
    assert peek.read(str(tmp_path / "b")) == {"lxc.group": ["s", "b"]}


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        Peek(KEYS).read(str(tmp_path / "nope"))
    loop = tmp_path / "loop"
    loop.write_text(f"lxc.group = a\nlxc.include = {loop}\nlxc.include = {tmp_path}/nope\n")
    assert Peek(KEYS).read(str(loop))["lxc.group"][0] == "a"
