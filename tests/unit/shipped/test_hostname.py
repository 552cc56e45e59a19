# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.shipped import hostname

from .hook import Box, one_line

HOOK = "clonehostname"


@pytest.mark.parametrize("version", [0, 1])
def test_whole_words_only(box: Box, version: int) -> None:
    scripts = box.rootfs / "etc/sysconfig/network-scripts"
    scripts.mkdir(parents=True)
    hosts = box.rootfs / "etc/hosts"
    hosts.write_text("127.0.1.1 o.d o.d.lan ood o.d-2 my.o.d\n")
    hosts.chmod(0o640)
    (scripts / "ifcfg-eth0").write_text("DHCP_HOSTNAME=o.d")
    (scripts / "other").write_text("o.d")
    result = box.run(HOOK, "clone", version=version, LXC_SRC_NAME="o.d")
    assert (result.returncode, result.stderr) == (0, "")
    assert hosts.read_text() == "127.0.1.1 c1 c1.lan ood o.d-2 my.o.d\n" and hosts.stat().st_mode & 0o777 == 0o640
    assert (scripts / "ifcfg-eth0").read_text() == "DHCP_HOSTNAME=c1"
    assert (scripts / "other").read_text() == "o.d"


@given(st.text("ab.-_ \n"), st.text("ab.-", min_size=1, max_size=3))
def test_words_as_an_expression_has_them(text: str, old: str) -> None:
    word = rf"(?<![A-Za-z0-9_.-]){re.escape(old)}(?![A-Za-z0-9_-])"
    assert hostname._renamed(text, old, "new") == re.sub(word, "new", text)


def test_a_file_without_end_does_not_stop_the_copy(box: Box) -> None:
    (box.rootfs / "etc/sysconfig").mkdir(parents=True)
    with (box.rootfs / "etc/hosts").open("w") as hosts:
        hosts.truncate(1 << 40)
    network = box.rootfs / "etc/sysconfig/network"
    network.write_text("HOSTNAME=old\n")
    result = box.run(HOOK, "clone", LXC_SRC_NAME="old")
    assert result.returncode == 0 and one_line(result.stderr) and "/etc/hosts" in result.stderr
    assert network.read_text() == "HOSTNAME=c1\n" and (box.rootfs / "etc/hosts").stat().st_size == 1 << 40


def test_no_link_leads_out(box: Box, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "hosts").write_text("127.0.1.1 old\n")
    (box.rootfs / "etc").symlink_to(outside)
    assert box.run(HOOK, "clone", LXC_SRC_NAME="old").returncode == 0
    assert (outside / "hosts").read_text() == "127.0.1.1 old\n"


def test_what_is_missing_is_one_line(box: Box) -> None:
    result = box.run(HOOK, "clone")
    assert result.returncode == 1 and one_line(result.stderr) and "LXC_SRC_NAME" in result.stderr
