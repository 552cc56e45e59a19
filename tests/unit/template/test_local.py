# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lxctools.config.conf import Config
from lxctools.errors import LxcError
from lxctools.template import local


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A folder with fs/ and meta/, which pack() makes archives of."""
    for name in ("fs/etc", "fs/dev", "meta", "c1"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "fs/etc/hostname").write_text("LXC_NAME.example\n")
    (tmp_path / "fs/dev/file").touch()
    (tmp_path / "meta/config").write_text("lxc.include = LXC_TEMPLATE_CONFIG/common.conf\nlxc.arch = x86_64\n")
    return tmp_path


def fill(image: Path, *words: str, metadata: bool = True, compress: str = "-z") -> Path:
    folder = image / "c1"
    for source, archive in (("fs", "rootfs.tar"), ("meta", "meta.tar")):
        members = sorted(os.listdir(image / source))
        subprocess.run(["tar", "-c", compress, "-f", image / archive, "-C", image / source, *(f"./{m}" for m in members)], check=True)
    (folder / "config").write_text(f"lxc.rootfs.path = dir:{folder}/rootfs\nlxc.net.0.type = empty\n")
    extra = [f"--metadata={image}/meta.tar"] if metadata else []
    local.run([f"--path={folder}", "--name=c1", f"--fstree={image}/rootfs.tar", *extra, *words])
    return folder


@pytest.mark.parametrize("compress", ["-z", "-J", "-j", "--no-auto-compress"])
def test_an_image_of_any_compression(image: Path, compress: str, capfd: pytest.CaptureFixture[str]) -> None:
    (image / "meta/templates").write_text("/etc/hostname\netc/missing\n")
    (image / "meta/fstab").write_text("none mnt tmpfs defaults 0 0 # LXC_NAME\n")
    (image / "meta/create-message").write_text("Welcome\n")
    folder = fill(image, compress=compress)
    assert (folder / "rootfs/etc/hostname").read_text() == "c1.example\n"
    assert (folder / "rootfs/dev/pts").is_dir()
    assert (folder / "rootfs/dev/file").exists()
    assert (folder / "fstab").read_text() == "none mnt tmpfs defaults 0 0 # c1\n"
    conf = Config.read(str(folder / "config"))
    assert conf["lxc.uts.name"] == "c1"
    assert conf["lxc.mount.fstab"] == f"{folder}/fstab"
    assert "sys_module" in conf["lxc.cap.drop"]
    assert [net.type for net in conf.nets] == ["empty"]
    assert capfd.readouterr().out == "\n---\nWelcome\n"
    assert sorted(os.listdir(folder)) == ["config", "fstab", "rootfs"]


def test_without_metadata_only_the_name_is_added(image: Path) -> None:
    folder = fill(image, metadata=False)
    conf = Config.read(str(folder / "config"))
    assert conf["lxc.uts.name"] == "c1"
    assert not conf.is_set("lxc.arch")
    assert (folder / "rootfs/etc/hostname").read_text() == "LXC_NAME.example\n"


@pytest.mark.parametrize(
    ("members", "wanted"),
    [
        (("config",), "config"),
        (("config", "config.5"), "config.5"),
        (("config", "config.5", "config-system"), "config-system"),
        (("config", "config-system", "config-system.5", "config-user.5"), "config-system.5"),
    ],
)
def test_which_of_the_variants_of_a_member_is_taken(image: Path, members: tuple[str, ...], wanted: str) -> None:
    for name in members:
        (image / "meta" / name).write_text(f"# from {name}\nlxc.tty.max = 3\n")
    text = (fill(image) / "config").read_text()
    assert [line for line in text.splitlines() if line.startswith("# from")] == [f"# from {wanted}"]


def test_devices_and_excluded_files_are_left_out(image: Path) -> None:
    (image / "fs/etc/secret").touch()
    (image / "fs/etc/sub").mkdir()
    (image / "fs/etc/sub/secret").touch()
    (image / "meta/excludes").write_text("./etc/secret\n\n")
    folder = fill(image, "--no-dev")
    assert not (folder / "rootfs/dev/file").exists()
    assert not (folder / "rootfs/etc/secret").exists()
    assert (folder / "rootfs/etc/sub/secret").exists()


def test_names_are_not_filled_in_through_links_to_the_host(image: Path) -> None:
    mine = image / "mine"
    mine.mkdir()
    (mine / "file").write_text("LXC_NAME\n")
    (image / "fs/etc/link").symlink_to(mine / "file")
    (image / "fs/folder").symlink_to(mine)
    (image / "fs/up").symlink_to("../../../../../../../../" + str(mine))
    (image / "meta/templates").write_text("/etc/link\nfolder/file\nup/file\n../../mine/file\n/\n..\n")
    fill(image)
    assert (mine / "file").read_text() == "LXC_NAME\n"


def test_what_is_wrong_with_an_image_is_told(image: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LxcError, match="no such archive"):
        fill(image, f"--metadata={image}/missing.tar.xz")
    (image / "meta/config").rename(image / "meta/other")
    with pytest.raises(LxcError, match="holds no config"):
        fill(image)
    (image / "broken").write_text("no archive")
    with pytest.raises(LxcError, match="could not unpack .*/broken"):
        fill(image, f"--fstree={image}/broken", metadata=False)
    assert sorted(os.listdir(image / "c1")) == ["config", "rootfs"]
