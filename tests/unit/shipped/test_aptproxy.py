# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from lxctools.errors import LxcError
from lxctools.shipped import aptproxy

from .hook import Box

WORDS = ["c1", "lxc", "pre-start"]
CONF = "etc/apt/apt.conf.d/50squid-deb-proxy"


def start(box: Box, conf: Path, discover: Path) -> int:
    return aptproxy.run(WORDS, box.environment(), str(conf), str(discover))


@pytest.fixture
def apt(box: Box) -> Path:
    folder = box.rootfs / "etc/apt/apt.conf.d"
    folder.mkdir(parents=True)
    return folder


def test_the_file_of_the_host_is_copied(box: Box, apt: Path, tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    conf.write_text('Acquire::http::Proxy "http://p:8000";\n')
    assert start(box, conf, tmp_path / "none") == 0
    assert (box.rootfs / CONF).read_text() == conf.read_text()


def test_a_proxy_is_looked_for(box: Box, apt: Path, tmp_path: Path) -> None:
    box.fake("discover", "echo http://10.0.3.1:8000/")
    assert start(box, tmp_path / "none", box.bin / "discover") == 0
    assert 'Acquire::http::Proxy "http://10.0.3.1:8000/";' in (box.rootfs / CONF).read_text()


@pytest.mark.parametrize("body", ["", "exit 3"])
def test_no_proxy_in_the_network_is_no_failure(box: Box, apt: Path, tmp_path: Path, body: str) -> None:
    box.fake("discover", body)
    assert start(box, tmp_path / "none", box.bin / "discover") == 0
    assert not (box.rootfs / CONF).exists()


def test_what_the_network_says_cannot_become_other_settings(box: Box, apt: Path, tmp_path: Path) -> None:
    box.fake("discover", """echo 'http://x";APT::Update::Pre-Invoke{"id";};"'""")
    with pytest.raises(LxcError, match="no address of a proxy"):
        start(box, tmp_path / "none", box.bin / "discover")
    assert not (box.rootfs / CONF).exists()


def test_no_link_leads_out(box: Box, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "apt.conf.d").mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    conf = tmp_path / "conf"
    conf.write_text("x")
    (box.rootfs / "etc").mkdir()
    (box.rootfs / "etc/apt").symlink_to(outside)
    assert start(box, conf, tmp_path / "none") == 0  # inside, that path is missing: a container without apt
    assert list((outside / "apt.conf.d").iterdir()) == []
    (box.rootfs / "etc/apt").unlink()
    (box.rootfs / "etc/apt/apt.conf.d").mkdir(parents=True)
    (box.rootfs / CONF).symlink_to(victim)
    assert start(box, conf, tmp_path / "none") == 0
    assert victim.read_text() == "mine" and not (box.rootfs / CONF).is_symlink()


def test_a_root_file_system_that_is_no_folder_starts(box: Box, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "conf"
    conf.write_text("x")
    assert aptproxy.run(WORDS, box.environment(LXC_ROOTFS_PATH="lvm:/dev/none/c1"), str(conf), "/none") == 0
    assert "/dev/none/c1 is no folder" in capfd.readouterr().err


def test_the_program_does_nothing_on_a_host_without_the_package(box: Box) -> None:
    if Path(f"/{CONF}").exists() or Path("/usr/share/squid-deb-proxy-client").exists():
        pytest.skip("squid-deb-proxy-client is installed")
    for version in (0, 1):
        result = box.run("squid-deb-proxy-client", "pre-start", version=version)
        assert (result.returncode, result.stderr) == (0, "")
