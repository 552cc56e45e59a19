# SPDX-License-Identifier: LGPL-2.1-or-later
"""From text to keys and values, includes, and what is said about lines that cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.config import grammar
from lxctools.config.conf import Config
from lxctools.config.grammar import BadLine, parse_line, split_lines
from lxctools.errors import ConfigError

ANY_TEXT = st.text(alphabet="lxc. =#\"'ab\n\r\t\x0b\x0cé\udcff\\", max_size=40)


@given(ANY_TEXT)
def test_the_lines_joined_are_the_text(text: str) -> None:
    lines = split_lines(text)
    assert "".join(lines) == text
    for line in lines[:-1]:
        assert line.endswith(("\n", "\r"))
    for line in lines:
        assert "\n" not in line[:-1]
        assert "\r" not in line.removesuffix("\n")[:-1]
        assert line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("lxc.a = b", ("lxc.a", "b")),
        (" \tlxc.a\t=\t b \t\n", ("lxc.a", "b")),
        ("lxc.a=b=c", ("lxc.a", "b=c")),
        ("lxc.a = b # c", ("lxc.a", "b # c")),
        ("lxc.a = 'b '", ("lxc.a", "b ")),
        ("lxc.a = \"'b'\"", ("lxc.a", "'b'")),
        ('lxc.a = "b', ("lxc.a", '"b')),
        ('lxc.a = "', ("lxc.a", '"')),
        ('lxc.a = ""', ("lxc.a", "")),
        ("lxc.a =", ("lxc.a", "")),
        ("lxc.a = b\x0b", ("lxc.a", "b\x0b")),
        ("lxc.a =\u00a0b", ("lxc.a", "\u00a0b")),
        ("lxc.a b = c", ("lxc.a b", "c")),
        ("lxc.a = b\r\n", ("lxc.a", "b")),
        ("# lxc.a = b", None),
        ("; lxc.a = b", None),
        ("\x0blxc.a = b", None),
        ("\ufefflxc.a = b", None),
        ("LXC.a = b", None),
        ("lxc = b", None),
        ("a.lxc.a = b", None),
        ("", None),
        (" \x0c\n", None),
    ],
)
def test_a_line(line: str, expected: tuple[str, str] | None) -> None:
    assert parse_line(line) == expected


@given(
    st.text(alphabet="abc.", max_size=8),
    st.text(alphabet="ab='\"#\\ \t", max_size=10),
    st.sampled_from(["", " ", "\t "]),
    st.sampled_from(["'", '"']),
)
def test_what_is_written_with_quotes_is_read(key: str, value: str, blank: str, quote: str) -> None:
    line = f"{blank}lxc.{key}{blank}={blank}{quote}{value}{quote}{blank}\n"
    assert parse_line(line) == (f"lxc.{key}", value)


def test_a_line_without_equals_sign() -> None:
    with pytest.raises(ValueError, match="Invalid configuration line: lxc.a b"):
        parse_line(" lxc.a b\n")


@pytest.mark.parametrize("text", ["", "#lxc.a=b", "a=b", "lxc.a", "lxc"])
def test_a_definition_is_a_setting(text: str) -> None:
    with pytest.raises(ValueError):
        grammar.parse_definition(text)


def test_line_ends_of_all_systems(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_bytes(b"lxc.tty.max = 3\rlxc.pty.max = 4\r\nlxc.uts.name = x\n\rlxc.group = g")
    conf = Config.read(str(path))
    assert (conf["lxc.tty.max"], conf["lxc.pty.max"], conf["lxc.uts.name"], conf["lxc.group"]) == (3, 4, "x", ["g"])
    assert conf.where("lxc.group") == f"{path}:5"
    assert conf.write_text().encode() == path.read_bytes()


def test_bytes_that_are_not_utf8_pass_through(tmp_path: Path) -> None:
    path, other = tmp_path / "config", tmp_path / "other"
    path.write_bytes(b"# \xff\nlxc.rootfs.path = dir:/\xe9\n")
    conf = Config.read(str(path))
    assert os.fsencode(conf["lxc.rootfs.path"]) == b"/\xe9"
    conf.save(str(other))
    assert other.read_bytes() == path.read_bytes()


def test_nul_bytes(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_bytes(b"lxc.tty.max = 3\n\0\0\0\n")
    assert Config.read(str(path))["lxc.tty.max"] == 3
    path.write_bytes(b"lxc.tty.max = 3\n\0lxc.tty.max = 4\n")
    with pytest.raises(ConfigError, match=r"config:2: a NUL byte"):
        Config.read(str(path))


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        Config.read(str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match="is a folder"):
        Config.read(str(tmp_path))


def test_too_large_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config"
    path.write_text("# " + "x" * 100)
    monkeypatch.setattr(grammar, "LARGEST_TREE", 100)
    with pytest.raises(ConfigError, match="is larger than"):
        Config.read(str(path))


def test_a_very_long_line(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("lxc.tty.max = " + "9" * 1_000_000)
    with pytest.raises(ConfigError) as caught:
        Config.read(str(path))
    assert len(str(caught.value)) < 1200


class TestInclude:
    def test_in_place_and_not_written(self, tmp_path: Path) -> None:
        other, path = tmp_path / "other", tmp_path / "config"
        other.write_text("lxc.tty.max = 2\nlxc.group = o\n")
        path.write_text(f"lxc.tty.max = 1\nlxc.group = a\nlxc.include = {other}\nlxc.group = b\n")
        conf = Config.read(str(path))
        assert conf["lxc.tty.max"] == 2
        assert conf["lxc.group"] == ["a", "o", "b"]
        assert conf.where("lxc.tty.max") == f"{other}:1"
        assert conf.write_text() == path.read_text()
        assert conf.path == str(path)

    def test_a_folder_in_order(self, tmp_path: Path) -> None:
        folder = tmp_path / "d"
        folder.mkdir()
        for name in ("20.conf", "10.conf", ".x.conf", "30.conf.bak", ".conf", "conf"):
            (folder / name).write_text(f"lxc.group = {name}\n")
        (folder / "sub.conf").mkdir()
        for value in (folder, f"{folder}/"):
            conf = Config()
            conf.load_text(f"lxc.include = {value}\n", "c")
            assert conf["lxc.group"] == [".x.conf", "10.conf", "20.conf"]

    def test_empty_and_missing_folders(self, tmp_path: Path) -> None:
        conf = Config()
        conf.load_text(f"lxc.include =\nlxc.include = {tmp_path}/none/\nlxc.include = {tmp_path}\n", "c")
        with pytest.raises(ConfigError, match=r"^c:1: lxc.include: Failed to open .*none.*No such file"):
            conf.load_text(f"lxc.include = {tmp_path}/none\n", "c")

    def test_relative_to_the_current_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "other").write_text("lxc.tty.max = 9\n")
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "config").write_text("lxc.include = other\n")
        monkeypatch.chdir(tmp_path)
        assert Config.read("sub/config")["lxc.tty.max"] == 9

    def test_a_loop(self, tmp_path: Path) -> None:
        one, two, link = tmp_path / "1", tmp_path / "2", tmp_path / "link"
        one.write_text(f"lxc.include = {two}\n")
        two.write_text(f"\nlxc.include = {link}\n")
        link.symlink_to(one)
        with pytest.raises(ConfigError, match=rf'^{two}:2: lxc.include: "{link}" includes itself'):
            Config.read(str(one))

    def test_the_same_file_twice_is_no_loop(self, tmp_path: Path) -> None:
        (tmp_path / "o").write_text("lxc.group = o\n")
        (tmp_path / "config").write_text(f"lxc.include = {tmp_path}/o\n" * 2)
        assert Config.read(str(tmp_path / "config"))["lxc.group"] == ["o", "o"]

    def test_too_deep_and_too_many(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(120):
            (tmp_path / str(number)).write_text(f"lxc.include = {tmp_path}/{number + 1}\n")
        (tmp_path / "120").write_text("")
        assert Config.read(str(tmp_path / "30")).text("lxc.group") == ""
        with pytest.raises(ConfigError, match="more than 100 levels"):
            Config.read(str(tmp_path / "0"))
        # Each file includes the next one twice: 2^60 files if nobody counted.
        for number in range(60):
            (tmp_path / str(number)).write_text(f"lxc.include = {tmp_path}/{number + 1}\n" * 2)
        monkeypatch.setattr(grammar, "MOST_FILES", 500)
        (tmp_path / "60").write_text("")
        with pytest.raises(ConfigError, match="more than 500 files"):
            Config.read(str(tmp_path / "0"))

    def test_an_error_in_an_included_file_names_both_places(self, tmp_path: Path) -> None:
        other, path = tmp_path / "other", tmp_path / "config"
        other.write_text("\nlxc.tty.max = x\n")
        path.write_text(f"#\n#\nlxc.include = {other}\n")
        with pytest.raises(BadLine) as caught:
            Config.read(str(path))
        assert str(caught.value).startswith(f"{other}:2: lxc.tty.max: ")
        assert f"included at {path}:3" in str(caught.value)
        assert (caught.value.path, caught.value.number) == (str(other), 2)

    def test_hardware_addresses_are_not_persisted(self, tmp_path: Path) -> None:
        (tmp_path / "o").write_text("lxc.net.0.type = veth\nlxc.net.0.hwaddr = 00:16:3e:xx:xx:xx\n")
        conf = Config()
        conf.load_text(f"lxc.include = {tmp_path}/o\n", "c")
        assert "x" not in conf.text("lxc.net.0.hwaddr")
        assert conf.write_text() == f"lxc.include = {tmp_path}/o\n"

    def test_an_unreadable_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: str) -> list[str]:
            raise PermissionError(13, "Permission denied", path)

        monkeypatch.setattr(os, "listdir", refuse)
        with pytest.raises(ConfigError, match=r"^c:1: .*cannot read the folder .*Permission denied"):
            Config().load_text(f"lxc.include = {tmp_path}\n", "c")


class TestBadLine:
    @pytest.mark.parametrize(
        ("line", "excerpt"),
        [
            ("lxc.tty.max = abc", "lxc.tty.max = abc\n              ^^^"),
            ("  lxc.tty.mx = 3", "  lxc.tty.mx = 3\n  ^^^^^^^^^^"),
            ("lxc.cap.drop =\tkill nope", "lxc.cap.drop = kill nope\n                    ^^^^"),
            ("lxc.foo", "lxc.foo\n^^^^^^^"),
            ("lxc.arch = arch", "lxc.arch = arch\n           ^^^^"),
        ],
    )
    def test_the_caret(self, line: str, excerpt: str) -> None:
        with pytest.raises(BadLine) as caught:
            Config().load_text(line, "c")
        assert caught.value.excerpt() == excerpt

    def test_one_line_of_printable_text(self) -> None:
        with pytest.raises(BadLine) as caught:
            Config().load_text("lxc.tty.max = \udcff" + "y" * 1000, "/\udcfe/config")
        text = str(caught.value)
        assert "\n" not in text
        assert text.encode("utf-8")

    def test_all_problems_at_once(self) -> None:
        problems: list[ConfigError] = []
        conf = Config()
        conf.load_text("lxc.tty.max = x\nlxc.pty.max = 5\nlxc.bogus = 1\nlxc.nothing\n", "c", problems)
        assert [problem.number for problem in problems if isinstance(problem, BadLine)] == [1, 3, 4]
        assert conf["lxc.pty.max"] == 5

    def test_all_problems_of_included_files(self, tmp_path: Path) -> None:
        other, path = tmp_path / "other", tmp_path / "config"
        other.write_text("lxc.bogus = 1\nlxc.tty.max = 7\n")
        path.write_text(f"lxc.include = {other}\nlxc.include = {tmp_path}/gone\nlxc.bogus = 2\n")
        problems: list[ConfigError] = []
        conf = Config()
        conf.load(str(path), problems)
        assert [(problem.path, problem.number) for problem in problems if isinstance(problem, BadLine)] == [
            (str(other), 1),
            (str(path), 2),
            (str(path), 3),
        ]
        assert conf["lxc.tty.max"] == 7
