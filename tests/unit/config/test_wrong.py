# SPDX-License-Identifier: LGPL-2.1-or-later
"""What can be wrong with a configuration: one clear error each, in bounded time and memory."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path

import pytest

from lxctools.config import grammar
from lxctools.config.conf import Config
from lxctools.config.peek import Peek
from lxctools.errors import ConfigError


def error_of(data: bytes, folder: Path) -> str:
    """The message, without the file's folder."""
    path = folder / "config"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        Config.read(str(path))
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 1500
    text.encode()  # printable anywhere
    return text.replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (b"lxc.utss.name = a\n", ("config:1:", 'Unsupported config key "lxc.utss.name"', "did you mean lxc.uts.name?")),
        (b"\nlxc.shiny.new.thing = a\n", ("config:2:", "Unsupported config key", "LXC up to 7.0 has no such key")),
        (b"lxc.net.0.hwadr = x\n", ("config:1:", "Unknown network configuration key", "did you mean lxc.net.0.hwaddr?")),
        (b"lxc.arch = amd46\n", ("config:1: lxc.arch: ", "did you mean amd64?")),
        (b"lxc.start.delay = 4294967296\n", ("config:1: lxc.start.delay: ", "a number of 0 to 4294967295")),
        (b"lxc.start.order = x\n", ("config:1: lxc.start.order: ", "a number of -2147483648 to 2147483647")),
        (b"lxc.console.size = 10 TB\n", ("config:1: lxc.console.size: ", "units are KB, MB and GB")),
        (b"lxc.time.offset.boot = 5 days\n", ("config:1: lxc.time.offset.boot: ", "h m s ms us ns")),
        (b"lxc.uts.name\n", ("config:1:", "Invalid configuration line: lxc.uts.name")),
        (b"lxc.uts.name a = b\n", ("config:1:", 'Unsupported config key "lxc.uts.name a"')),
        (b"lxc.tty.max = 1\0\nlxc.tty.max = 2\n", ("config:1:", "a NUL byte")),
        (b"lxc.tty.max = \xff\n", ("config:1: lxc.tty.max: ", "\\xff")),
        (b"lxc.\xff = 1\n", ("config:1:", 'Unsupported config key "lxc.\\xff"')),
        (b"lxc.tty.max = 1\nlxc.uts.name = " + b"a" * (10 << 20), ("config:2:", "the line has 10485775 characters: at most 1048576")),
        (b"lxc.tty.max = " + b"9" * 100_000, ("config:1: lxc.tty.max: ", "is not a number")),
        (b"\x7fELF\0\0\0lxc.", ("config:1:", "a NUL byte")),
        (b"lxc.include = /nope/file\n", ("config:1: lxc.include: ", '"/nope/file": No such file or directory')),
        (b"lxc.include = /dev/zero\n", ("config:1: lxc.include: ", "is a device or socket")),
        (b"lxc.net.99999999999.type = veth\n", ("config:1: ", "would overflow the counter")),
        (b"lxc.net.0.vlan.id = 3\n", ("config:1: ", "can only be used with vlan networks", "write lxc.net.0.type = vlan before")),
        (b"lxc.cap.keep = kill\nlxc.cap.drop = chown\n", ("config:2: ", "exclude each other", "config:1")),
        (b"lxc.mount.fstab =\n", ("config:1: lxc.mount.fstab: ", "an empty value is not accepted")),
    ],
    ids=range(22),
)
def test_a_line(tmp_path: Path, data: bytes, parts: tuple[str, ...]) -> None:
    text = error_of(data, tmp_path)
    for part in parts:
        assert part in text


def test_the_excerpt_of_a_long_line_shows_the_place() -> None:
    error = grammar.BadLine("x", text="lxc.group = " + "é" * 5000 + "WRONG" + "b" * 5000, word="WRONG")
    line, mark = error.excerpt().split("\n")
    assert len(line) == 200
    assert line[mark.index("^") : mark.rindex("^") + 1] == "WRONG"
    error = grammar.BadLine("x", text="lxc.a = \udcff WRONG", word="WRONG")
    line, mark = error.excerpt().split("\n")
    assert line[mark.index("^") : mark.rindex("^") + 1] == "WRONG"


def test_an_unreadable_include() -> None:
    with tempfile.TemporaryDirectory(prefix="lxcu.", dir="/tmp") as folder:
        secret = Path(folder) / "secret"
        secret.touch(0o000)
        root = os.geteuid() == 0
        if root:  # who reads everything
            os.chmod(folder, 0o777)
            os.seteuid(65534)
        try:
            text = error_of(f"lxc.include = {secret}\n".encode(), Path(folder))
        finally:
            if root:
                os.seteuid(0)
    assert text.startswith("config:1: lxc.include: ") and "Permission denied" in text


class TestFiles:
    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"is a folder \(name a file\)"):
            Config.read(str(tmp_path))

    def test_devices(self, tmp_path: Path) -> None:
        assert Config.read("/dev/null").write_text() == ""
        with pytest.raises(ConfigError, match="is a device or socket"):
            Config.read("/dev/zero")

    def test_a_pipe(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)

        def slowly() -> None:
            with open(pipe, "w") as file:
                for line in ("lxc.tty.max = 1\n", "lxc.group = a\n"):
                    time.sleep(0.05)
                    file.write(line)
                    file.flush()

        writer = threading.Thread(target=slowly)
        writer.start()
        conf = Config.read(str(pipe))
        writer.join()
        assert (conf["lxc.tty.max"], conf["lxc.group"]) == (1, ["a"])
        monkeypatch.setattr(grammar, "_PATIENCE", 0.1)
        begun = time.monotonic()
        with pytest.raises(ConfigError, match="a pipe into which nothing was written"):
            Config.read(str(pipe))
        assert time.monotonic() - begun < 3

    def test_a_path_with_a_nul_byte(self) -> None:
        with pytest.raises(ConfigError, match="null byte"):
            Config.read("/a\0b")


class TestIncludes:
    def test_a_loop(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text(f"\nlxc.include = {tmp_path}/config\n")
        text = error_of(f"lxc.include = {tmp_path}/a\n".encode(), tmp_path)
        assert text.startswith("a:2: lxc.include: ")
        assert "includes itself" in text and "included at config:1" in text and "remove this lxc.include" in text

    def test_a_loop_by_another_name(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("config")
        assert "includes itself" in error_of(f"lxc.include = {tmp_path}/link\n".encode(), tmp_path)

    def test_a_folder_that_holds_its_includer(self, tmp_path: Path) -> None:
        (tmp_path / "a.conf").write_text(f"lxc.include = {tmp_path}\n")
        assert "includes itself" in error_of(f"lxc.include = {tmp_path}/\n".encode(), tmp_path)

    def test_too_deep(self, tmp_path: Path) -> None:
        for number in range(200):
            (tmp_path / str(number)).write_text(f"lxc.include = {tmp_path}/{number + 1}\n")
        assert "more than 100 levels deep" in error_of(f"lxc.include = {tmp_path}/0\n".encode(), tmp_path)

    def test_a_hundred_levels_are_fine(self, tmp_path: Path) -> None:
        for number in range(99):
            (tmp_path / str(number)).write_text(f"lxc.include = {tmp_path}/{number + 1}\nlxc.group = g\n")
        (tmp_path / "99").write_text("lxc.tty.max = 7\n")
        conf = Config.read(str(tmp_path / "0"))
        assert (conf["lxc.tty.max"], len(conf["lxc.group"])) == (7, 99)

    def test_each_twice(self, tmp_path: Path) -> None:
        for number in range(40):
            (tmp_path / str(number)).write_text(f"lxc.include = {tmp_path}/{number + 1}\n" * 2)
        (tmp_path / "40").touch()
        begun = time.monotonic()
        assert "more than 10000 files" in error_of(f"lxc.include = {tmp_path}/0\n".encode(), tmp_path)
        assert time.monotonic() - begun < 20

    def test_large_ones_twice(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(grammar, "LARGEST_TREE", 10_000)
        (tmp_path / "a").write_text("# " + "x" * 4000 + "\n")
        text = error_of(f"lxc.include = {tmp_path}/a\n".encode() * 3, tmp_path)
        assert text.startswith("config:3: ") and "are larger than" in text

    def test_one_that_is_set_and_fails_changes_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("lxc.group = b\nlxc.tty.max = 2\nlxc.bogus = 1\n")
        conf = Config()
        conf.load_text("lxc.group = a\n", "c")
        with pytest.raises(ConfigError, match="a:3: Unsupported"):
            conf.set("lxc.include", f"{tmp_path}/a")
        assert (conf["lxc.group"], conf["lxc.tty.max"], conf.write_text()) == (["a"], 0, "lxc.group = a\n")

    def test_the_list_looks_at_what_it_can(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("lxc.id_map = u 0 100000 65536\n")
        (tmp_path / "b").write_text(f"lxc.include = {tmp_path}/a\nlxc.include = /dev/zero\n")
        assert Peek(frozenset(["lxc.idmap"])).read(str(tmp_path / "b")) == {"lxc.idmap": ["u 0 100000 65536"]}


def test_problems_are_collected_but_not_without_end() -> None:
    problems: list[ConfigError] = []
    with pytest.raises(ConfigError):
        Config().load_text("lxc.bogus = 1\n" * 5000, "c", problems)
    assert len(problems) == grammar.MOST_PROBLEMS


# Each made time grow with the square of the size, or would if it were done the simple way.
@pytest.mark.parametrize(
    "text",
    [
        "lxc.cap.drop = kill\n" * 50_000,
        "lxc.cap.keep = kill\n" * 50_000,
        "lxc.cgroup.a = 1\n" * 50_000 + "lxc.cgroup.b = 1\nlxc.cgroup.b =\n" * 25_000,
        "".join(f"lxc.net.{number}.type = veth\n" for number in range(30_000)) + "lxc.network.name = x\n" * 30_000,
        "lxc.network.type = veth\n" * 50_000,
        "lxc.mount.auto = proc\n" * 50_000,
        "lxc.namespace.clone = net\n" * 50_000,
        "lxc.group = " + "a " * 500_000,
        "lxc.tty.max = 1\r" * 100_000,
        "\r\n" * 500_000,
        "lxc.tty.max = " + " " * 1_000_000 + "1",
        "lxc.rootfs.path = " + "/." * 500_000,
        "lxc.sysctl.a = 1\n" * 50_000 + "lxc.sysctl =\n" * 50_000,
        "".join(f"lxc.sysctl.a{number} = 1\n" for number in range(50_000)),
        "lxc." + "a" * 500_000 + " = 1",
    ],
    ids=range(15),
)
def test_time_grows_with_the_size(text: str) -> None:
    begun = time.process_time()
    try:
        Config().load_text(text, "c")
    except ConfigError:
        pass
    assert time.process_time() - begun < 4
