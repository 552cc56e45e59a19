# SPDX-License-Identifier: LGPL-2.1-or-later
"""Edits of the text, and writing the file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lxctools.config import writer
from lxctools.config.conf import Config
from lxctools.config.writer import RawText
from lxctools.errors import ConfigError


def raw_of(*pairs: tuple[str, str]) -> RawText:
    raw = RawText()
    for line, key in pairs:
        raw.add(line, key)
    return raw


def test_appending_after_a_line_without_an_end() -> None:
    raw = raw_of(("# a", ""))
    raw.append("lxc.b", "c")
    assert raw.text() == "# a\nlxc.b = c\n"


def test_putting_keeps_blanks_and_line_ends() -> None:
    raw = raw_of(("\tlxc.a = 1\r\n", "lxc.a"), ("#\r\n", ""), ("  lxc.a=2\r\n", "lxc.a"))
    raw.put("lxc.a", "3")
    assert raw.text() == "#\r\n  lxc.a = 3\r\n"


def test_replacing_values() -> None:
    raw = raw_of(("lxc.hook.mount =  /old/x a\n", "lxc.hook.mount"), ("# /old\n", ""), ("lxc.group = /old", "lxc.group"))
    raw.replace(lambda key: key.startswith("lxc.hook."), lambda value: value.replace("/old/", "/new/"))
    assert raw.text() == "lxc.hook.mount =  /new/x a\n# /old\nlxc.group = /old"


def test_removing() -> None:
    raw = raw_of(("a\n", ""), ("lxc.a = 1\n", "lxc.a"), ("lxc.b = 1\n", "lxc.b"))
    raw.remove(lambda key: key == "lxc.a")
    assert (raw.text(), raw.keys) == ("a\nlxc.b = 1\n", ["", "lxc.b"])


def test_the_header() -> None:
    text = writer.creation_header("/t/lxc-busybox", ["-x", "a b"])
    assert text.startswith(
        "# Template used to create this container: /t/lxc-busybox\n# Parameters passed to the template: -x a b\n# For additional"
    )
    assert text.endswith("# (Be aware this has security implications)\n\n")
    assert "# Parameters passed to the template:\n" in writer.creation_header("/t", [])
    assert "\n# Template script checksum (SHA-1): 00ff\n" in writer.creation_header("/t", [], "00ff")
    conf = Config()
    conf.load_text(text, "c")
    assert conf.write_text() == text


class TestSaving:
    def test_a_new_file(self, tmp_path: Path) -> None:
        old = os.umask(0o022)
        try:
            writer.save(str(tmp_path / "config"), "lxc.group = \udcff\n")
        finally:
            os.umask(old)
        assert (tmp_path / "config").read_bytes() == b"lxc.group = \xff\n"
        assert stat.S_IMODE((tmp_path / "config").stat().st_mode) == 0o640
        assert os.listdir(tmp_path) == ["config"]

    def test_mode_and_link_stay(self, tmp_path: Path) -> None:
        real, link = tmp_path / "real", tmp_path / "config"
        real.write_text("old")
        real.chmod(0o604)
        link.symlink_to("real")
        before = real.stat().st_ino
        writer.save(str(link), "new\n")
        assert link.is_symlink()
        assert real.read_text() == "new\n"
        assert stat.S_IMODE(real.stat().st_mode) == 0o604
        assert real.stat().st_ino != before  # in one step: a reader has the old file or the new one

    @pytest.mark.root
    def test_the_owner_stays(self, tmp_path: Path) -> None:
        if os.geteuid():
            pytest.skip("needs root to own a file of another user")
        path = tmp_path / "config"
        path.write_text("old")
        os.chown(path, 65534, 65533)
        writer.save(str(path), "new\n")
        assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65533)

    def test_what_a_killed_writer_left(self, tmp_path: Path) -> None:
        (tmp_path / f".config.{os.getpid()}").write_text("half")
        writer.save(str(tmp_path / "config"), "x\n")
        assert os.listdir(tmp_path) == ["config"]

    def test_failures_leave_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "config"
        path.write_text("old")

        def full(_fd: int, _data: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(ConfigError, match="cannot write the configuration .*No space left"):
            writer.save(str(path), "new")
        monkeypatch.undo()
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["config"]

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="No such file"):
            writer.save(str(tmp_path / "none" / "config"), "")

    def test_a_configuration_ends_with_a_newline(self, tmp_path: Path) -> None:
        conf = Config()
        conf.load_text("lxc.group = a", "c")
        conf.save(str(tmp_path / "config"))
        assert (tmp_path / "config").read_text() == "lxc.group = a\n"


@pytest.mark.parametrize("value", [" a ", '"a"', "'a'", '"/a b" "c"', "\ta", '"', "a", '""'])
def test_what_is_set_is_what_the_file_says(value: str) -> None:
    config = Config()
    for key in ("lxc.uts.name", "lxc.hook.start"):
        config.set(key, value)
    again = Config()
    again.load_text(config._raw.text(), "config")
    assert [again[key] for key in ("lxc.uts.name", "lxc.hook.start")] == [value, [value]]
