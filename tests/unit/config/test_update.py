# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-update-config: what it writes, what it keeps, and what it says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.config import update
from lxctools.config.conf import Config
from lxctools.config.update import convert
from lxctools.errors import ConfigError

COMMAND = Path(__file__).parents[3] / "bin" / "lxc-update-config"


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *map(str, words)], capture_output=True, text=True, check=False, timeout=20, stdin=subprocess.DEVNULL
    )


class TestNumbers:
    """Networks without a number, beside those with one."""

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("lxc.network.type = veth\nlxc.network.0.mtu = 9\n", "lxc.net.0.type = veth\nlxc.net.0.mtu = 9\n"),
            ("lxc.network.0.type = veth\nlxc.network.type = phys\n", "lxc.net.0.type = veth\nlxc.net.1.type = phys\n"),
            ("lxc.network.type = phys\nlxc.network.0.type = veth\n", "lxc.net.1.type = phys\nlxc.net.0.type = veth\n"),
            ("lxc.network.2.type = veth\nlxc.network.mtu = 9\n", "lxc.net.2.type = veth\nlxc.net.2.mtu = 9\n"),
            ("lxc.network.type = veth\nlxc.net.0.mtu = 9\n", "lxc.net.0.type = veth\nlxc.net.0.mtu = 9\n"),
            ("lxc.net.0.mtu = 9\nlxc.network.type = veth\n", "lxc.net.0.mtu = 9\nlxc.net.1.type = veth\n"),
            ("lxc.network.name = a\nlxc.network.type = veth\n", "lxc.net.0.name = a\nlxc.net.0.type = veth\n"),
            ("#lxc.network.mtu = 9\nlxc.net.1.link = b\nlxc.network.type = veth",
             "#lxc.net.0.mtu = 9\nlxc.net.1.link = b\nlxc.net.2.type = veth"),
            ("#lxc.network.type = phys\nlxc.network.type = veth", "#lxc.net.0.type = phys\nlxc.net.0.type = veth"),
        ],
    )
    def test_given(self, old: str, new: str) -> None:
        assert convert(old) == new
        before, after = Config(), Config()
        before.load_text(old, "c")
        after.load_text(new, "c")
        assert [(one.index, one.type, one.values) for one in before.nets] == [(one.index, one.type, one.values) for one in after.nets]

    LINES = [
        *("lxc.network.type = veth", "lxc.network.type = phys", "lxc.network.name = n", "lxc.network.0.mtu = 3", "lxc.net.1.link = b"),
        *("lxc.network.1.type = veth", "lxc.net.0.type = empty", "lxc.network =", "lxc.network.0 =", "#lxc.network.type = x"),
        *("lxc.net.0.name = x", "lxc.network.3.ipv4 = 1.2.3.4/8", "lxc.network.ipv6 = ::1", "lxc.net.2 =", "lxc.network.flags = up"),
    ]

    @given(st.lists(st.sampled_from(LINES), max_size=10).map("\n".join))
    def test_any_mixture_means_the_same(self, old: str) -> None:
        before, after = Config(), Config()
        before.load_text(old, "c")
        new = convert(old)
        after.load_text(new, "c")
        assert [(one.index, one.type, one.values) for one in before.nets] == [(one.index, one.type, one.values) for one in after.nets]
        assert "lxc.network" not in new
        assert convert(new) == new


def test_what_is_no_folder_gets_no_type(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.touch()
    assert convert(f"lxc.rootfs = {image}\n") == f"lxc.rootfs.path = {image}\n"
    assert convert(f"lxc.rootfs = {tmp_path}\n") == f"lxc.rootfs.path = dir:{tmp_path}\n"
    assert convert("lxc.rootfs = /dev/vg/c\nlxc.rootfs.backend = lvm") == "lxc.rootfs.path = lvm:/dev/vg/c\n"


def test_only_names_change() -> None:
    text = "lxc.group = lxc.utsname lxc.tty = x\n lxc.utsname\t=  'a' \r\n\n\xff free lxc.utsname = b\n; lxc.tty = 1\n"
    assert convert(text) == text.replace("lxc.utsname\t", "lxc.uts.name\t")
    assert convert("lxc.hook.mount = /bin/x lxc.kmsg = 1\n#lxc.kmsg = 0\nlxc.tty=1") == (
        "lxc.hook.mount = /bin/x lxc.kmsg = 1\nlxc.tty.max=1"
    )


@given(st.text(alphabet="lxc.network.type.ipv4 =\n#'\"0veth/\r", max_size=60))
def test_any_text_converts(text: str) -> None:
    assert convert(convert(text)) == convert(text)


class TestTheFile:
    def test_in_place_with_a_backup(self, tmp_path: Path) -> None:
        path, backup = tmp_path / "config", tmp_path / "config.backup"
        path.write_bytes(b"lxc.utsname = \xff\n\n# x")
        path.chmod(0o600)
        backup.write_text("older")
        done = run("-c", path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert path.read_bytes() == b"lxc.uts.name = \xff\n\n# x"
        assert backup.read_bytes() == b"lxc.utsname = \xff\n\n# x"
        assert path.stat().st_mode & 0o777 == 0o600
        assert sorted(os.listdir(tmp_path)) == ["config", "config.backup"]

    def test_a_second_run_keeps_the_original(self, tmp_path: Path) -> None:
        path, backup = tmp_path / "config", tmp_path / "config.backup"
        path.write_text("lxc.utsname = a\n")
        assert run("--config", path).returncode == 0
        assert run(f"--conf={path}").returncode == 0
        assert (path.read_text(), backup.read_text()) == ("lxc.uts.name = a\n", "lxc.utsname = a\n")

    def test_a_new_backup_has_the_mode_of_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "config"
        path.write_text("lxc.tty.max = 1\n")
        path.chmod(0o600)
        assert update.update(str(path)) == []
        assert (tmp_path / "config.backup").read_text() == "lxc.tty.max = 1\n"
        assert (tmp_path / "config.backup").stat().st_mode & 0o777 == 0o600

    def test_links(self, tmp_path: Path) -> None:
        real, link, victim = tmp_path / "real", tmp_path / "config", tmp_path / "victim"
        real.write_text("lxc.utsname = a\n")
        victim.write_text("precious")
        link.symlink_to("real")
        (tmp_path / "config.backup").symlink_to("victim")
        update.update(str(link))
        assert link.is_symlink()
        assert real.read_text() == "lxc.uts.name = a\n"
        assert victim.read_text() == "precious"
        assert not (tmp_path / "config.backup").is_symlink()
        assert (tmp_path / "config.backup").read_text() == "lxc.utsname = a\n"

    def test_without_a_backup_nothing_is_changed(self, tmp_path: Path) -> None:
        path = tmp_path / "config"
        path.write_text("lxc.utsname = a\n")
        (tmp_path / "config.backup").mkdir()
        with pytest.raises(ConfigError, match="cannot keep a copy"):
            update.update(str(path))
        assert path.read_text() == "lxc.utsname = a\n"

    def test_names_of_no_lxc_are_told(self, tmp_path: Path) -> None:
        path = tmp_path / "config"
        path.write_text("lxc.network.type = veth\nlxc.network.bogus = 1\n")
        done = run("-c", path)
        assert (done.returncode, done.stdout) == (0, "")
        assert "lxc.network.bogus is no key of any LXC" in done.stderr
        assert path.read_text() == "lxc.net.0.type = veth\nlxc.network.bogus = 1\n"


class TestTheCommandLine:
    @pytest.mark.parametrize("words", [(), ("-h",), ("--help",)])
    def test_help_on_stdout(self, words: tuple[str, ...]) -> None:
        done = run(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert "-c, --config=FILE" in done.stdout

    @pytest.mark.parametrize("words", [("-x",), ("-c",), ("--config",), ("file",), ("-c", "/nope"), ("-c", "/"), ("-c", ""),
                                       ("-c", "/nope", "more"), ("-c", "/dev/zero")])  # fmt: skip
    def test_wrong(self, words: tuple[str, ...]) -> None:
        done = run(*words)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr and "bug" not in done.stderr
