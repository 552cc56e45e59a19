# SPDX-License-Identifier: LGPL-2.1-or-later
"""Config: asking, changing and saving."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lxctools.config import keys, net
from lxctools.config.conf import Config
from lxctools.errors import ConfigError
from lxctools.idmap.ranges import IdMap


def conf_of(text: str) -> Config:
    conf = Config()
    conf.load_text(text, "/c/config")
    return conf


class TestAsking:
    def test_families(self) -> None:
        conf = conf_of(
            "lxc.cgroup2.memory.max = 1G\nlxc.cgroup2.devices.allow = a\nlxc.cgroup.cpuset.cpus = 0\n"
            "lxc.prlimit.nofile = 5:unlimited\nlxc.sysctl.net.x = 1\nlxc.proc.oom_score_adj = 3\n"
            "lxc.namespace.share.net = c2\nlxc.namespace.share.pid = 7\n"
        )
        assert conf["lxc.cgroup2"] == [("memory.max", "1G"), ("devices.allow", "a")]
        assert conf["lxc.cgroup"] == [("cpuset.cpus", "0")]
        assert conf["lxc.prlimit"] == [("nofile", 5, -1)]
        assert conf["lxc.sysctl"] == [("net.x", "1")]
        assert conf["lxc.proc"] == [("oom_score_adj", "3")]
        assert conf["lxc.namespace.share"] == {"net": "c2", "pid": "7"}
        assert conf.is_set("lxc.cgroup2.memory.max")
        assert conf.is_set("lxc.namespace.share.net")
        assert not conf.is_set("lxc.cgroup2.memory")
        assert not conf.is_set("lxc.namespace.share.uts")

    def test_values_when_unset(self) -> None:
        conf = Config()
        assert conf["lxc.cgroup2"] == conf["lxc.prlimit"] == conf["lxc.group"] == []
        assert conf["lxc.namespace.share"] == {}
        assert (conf["lxc.autodev"], conf["lxc.monitor.signal.pdeath"], conf["lxc.uts.name"]) == (1, 9, "")
        assert conf["lxc.rootfs.mount"].endswith("/lxc/rootfs")

    def test_a_list_from_outside_is_not_ours(self) -> None:
        conf = Config()
        conf["lxc.group"].append("x")
        assert conf["lxc.group"] == []

    def test_the_programs_mistakes(self) -> None:
        with pytest.raises(KeyError):
            Config()["lxc.bogus"]

    @pytest.mark.parametrize("key", ["lxc.include", "lxc.hook", "lxc.net.0", "lxc.net.5.type", "lxc.bogus", "lxc.net.x.type",
                                     "lxc.namespace.share", "lxc.namespace.share.bogus", "lxc.prlimitx", "lxc.kmsg"])  # fmt: skip
    def test_what_cannot_be_read(self, key: str) -> None:
        with pytest.raises(ConfigError):
            conf_of("lxc.net.0.type = veth\nlxc.hook.mount = x\n").text(key)

    def test_idmap(self) -> None:
        assert conf_of("lxc.idmap = u 0 100000 65536\n")["lxc.idmap"] == [IdMap("u", 0, 100000, 65536)]

    def test_where(self) -> None:
        conf = conf_of("\nlxc.group = a\nlxc.net.00.type = veth\nlxc.group = b\n")
        assert conf.where("lxc.group") == "/c/config:4"
        assert conf.where("lxc.net.0.type") == "/c/config:3"
        assert conf.where("lxc.uts.name") == ""
        conf.set("lxc.group", "c")
        assert conf.where("lxc.group") == ""

    def test_the_first_file_is_its_path(self, tmp_path: Path) -> None:
        one, two = tmp_path / "1", tmp_path / "2"
        one.write_text("lxc.group = a\n")
        two.write_text("lxc.group = b")
        conf = Config.read(str(one))
        conf.load(str(two))
        assert conf.path == str(one)
        assert conf["lxc.group"] == ["a", "b"]
        conf.load_line("lxc.group = c")
        assert conf.write_text() == "lxc.group = a\nlxc.group = b\nlxc.group = c"

    def test_foreign_keys(self, tmp_path: Path) -> None:
        path = tmp_path / "config"
        path.write_text("lxc.hook.create = /x\nlxc.group = a\nlxc.hook.create = /y 'z'\n")
        foreign: dict[str, list[str]] = {"lxc.hook.create": []}
        conf = Config.read(str(path), foreign)
        assert foreign == {"lxc.hook.create": ["/x", "/y 'z'"]}
        assert conf.write_text() == "lxc.group = a\n"
        with pytest.raises(ConfigError, match="Unsupported config key"):
            Config.read(str(path))


class TestExclusion:
    def test_capabilities(self) -> None:
        with pytest.raises(ConfigError, match=r"exclude each other.*remove lxc.cap.drop \(/c/config:1\)"):
            conf_of("lxc.cap.drop = kill\nlxc.cap.keep = none\n")
        conf = conf_of("lxc.cap.keep = kill none\n")
        assert conf.is_set("lxc.cap.keep")
        assert conf["lxc.cap.keep"] == []
        with pytest.raises(ConfigError):
            conf.set("lxc.cap.drop", "kill")
        conf.clear("lxc.cap.drop")  # clears both
        conf.set("lxc.cap.drop", "kill")
        assert conf.write_text() == "lxc.cap.drop = kill\n"

    def test_namespaces(self) -> None:
        with pytest.raises(ConfigError, match="exclude each other"):
            conf_of("lxc.namespace.keep = user\nlxc.namespace.clone = net\n")
        assert conf_of("lxc.namespace.keep = user\nlxc.namespace.keep =\nlxc.namespace.clone = net\n")["lxc.namespace.clone"] == [
            "net"
        ]


class TestChanging:
    def test_lists_grow_and_single_values_are_replaced_in_place(self) -> None:
        conf = conf_of("# head\n lxc.tty.max=1\nlxc.group = a\nlxc.tty.max = 2\n# tail\n")
        conf.set("lxc.tty.max", "3")
        conf.set("lxc.group", "b c")
        assert conf.write_text() == "# head\nlxc.group = a\nlxc.tty.max = 3\n# tail\nlxc.group = b c\n"
        assert conf["lxc.group"] == ["a", "b", "c"]

    def test_a_line_before_an_include_is_not_enough(self, tmp_path: Path) -> None:
        other = tmp_path / "o"
        other.write_text("lxc.tty.max = 5\n")
        conf = conf_of(f"lxc.tty.max = 1\nlxc.include = {other}\n")
        conf.set("lxc.tty.max", "3")
        assert conf_of(conf.write_text())["lxc.tty.max"] == 3
        conf.set("lxc.tty.max", "")
        assert conf_of(conf.write_text()).text("lxc.tty.max") == "0"

    def test_an_empty_value_keeps_its_meaning(self) -> None:
        conf = Config()
        conf.set("lxc.autodev", "")
        assert conf["lxc.autodev"] == 0
        assert conf_of(conf.write_text())["lxc.autodev"] == 0
        conf.clear("lxc.autodev")
        assert (conf["lxc.autodev"], conf.write_text()) == (1, "")

    def test_a_refused_value_changes_nothing(self) -> None:
        conf = conf_of("lxc.tty.max = 1\n")
        for key, text in (("lxc.tty.max", "x"), ("lxc.bogus", "1"), ("lxc.group", "a\nlxc.tty.max = 9"), ("lxc.net.0.vlan.id", "3")):
            with pytest.raises(ConfigError, match=key):
                conf.set(key, text)
        assert conf.write_text() == "lxc.tty.max = 1\n"
        assert not conf.nets
        assert conf["lxc.tty.max"] == 1

    def test_hardware_address_in_memory_and_text_are_the_same(self) -> None:
        conf = conf_of("lxc.net.0.type = veth\n")
        conf.set("lxc.net.0.hwaddr", "00:16:3e:xx:xx:xx")
        assert f"lxc.net.0.hwaddr = {conf.text('lxc.net.0.hwaddr')}\n" in conf.write_text()

    def test_no_trimming_of_values(self) -> None:
        conf = Config()
        conf.set("lxc.uts.name", " 'x' ")
        assert conf.text("lxc.uts.name") == " 'x' "

    def test_definitions_follow_the_grammar_of_lines(self) -> None:
        conf = Config()
        conf.define(" lxc.uts.name = 'x y' ")
        assert conf["lxc.uts.name"] == "x y"
        with pytest.raises(ConfigError, match="KEY=VALUE"):
            conf.define("foo=bar")

    @pytest.mark.parametrize(
        ("key", "left"),
        [
            ("lxc.net.1", "lxc.net.10.type = veth\nlxc.net.10.name = a\nlxc.net.2.type = phys\n"),
            ("lxc.net.10.name", "lxc.net.1.type = veth\nlxc.net.10.type = veth\n lxc.net.01.name = b\nlxc.net.2.type = phys\n"),
            ("lxc.net.10.type", "lxc.net.1.type = veth\n lxc.net.01.name = b\nlxc.net.2.type = phys\n"),
            ("lxc.net", ""),
        ],
    )
    def test_clearing_networks(self, key: str, left: str) -> None:
        conf = conf_of(
            "lxc.net.1.type = veth\nlxc.net.10.type = veth\n lxc.net.01.name = b\nlxc.net.10.name = a\nlxc.net.2.type = phys\n"
        )
        conf.clear(key)
        assert conf.write_text() == left
        again = conf_of(conf.write_text())
        types = [(device.index, device.type) for device in conf.nets if device.type]
        assert [(device.index, device.type) for device in again.nets] == types

    @pytest.mark.parametrize(
        ("key", "left"),
        [
            ("lxc.cgroup", "lxc.cgroup2.memory.max = 1\nlxc.cgroup.dir = a\nlxc.hook.mount = m\nlxc.hook.version = 1\n"),
            ("lxc.cgroup2", "lxc.cgroup.cpu = 2\nlxc.cgroup.dir = a\nlxc.hook.mount = m\nlxc.hook.version = 1\n"),
            ("lxc.hook", "lxc.cgroup2.memory.max = 1\nlxc.cgroup.cpu = 2\nlxc.cgroup.dir = a\nlxc.hook.version = 1\n"),
            ("lxc.cgroup2.memory.max", "lxc.cgroup.cpu = 2\nlxc.cgroup.dir = a\nlxc.hook.mount = m\nlxc.hook.version = 1\n"),
        ],
    )
    def test_clearing_groups(self, key: str, left: str) -> None:
        conf = conf_of(
            "lxc.cgroup2.memory.max = 1\nlxc.cgroup.cpu = 2\nlxc.cgroup.dir = a\nlxc.hook.mount = m\nlxc.hook.version = 1\n"
        )
        conf.clear(key)
        assert conf.write_text() == left
        for row in keys.KEYS:
            if row.readable and row.name[-1] != "*":
                assert conf_of(left).text(row.name) == conf.text(row.name)

    @pytest.mark.parametrize("key", ["lxc.bogus", "lxc.net.0.name", "lxc.net.x", "lxc.prlimitx"])
    def test_clearing_what_is_not_there(self, key: str) -> None:
        with pytest.raises(ConfigError):
            Config().clear(key)
        for fine in ("lxc.net.0", "lxc.include", "lxc.uts.name", "lxc.prlimit.nofile", "lxc.mount.fstab", "lxc.arch"):
            Config().clear(fine)

    def test_get_keys(self) -> None:
        conf = conf_of("lxc.net.3.type = macvlan\n")
        assert conf.keys("lxc.net.3")[-1] == "macvlan.mode"
        names = conf.keys()
        assert "lxc.tty.max" in names
        assert not any(name.endswith("*") for name in names)
        for base in ("lxc.net", "lxc.net.0", "lxc.bogus", "lxc.init"):
            with pytest.raises(ConfigError):
                conf.keys(base)


# Lines that a hand, an editor or an accident might write.
KEYS = [row.name.replace("*", "x") for row in keys.KEYS if row.name != "lxc.include"]
KEYS += [f"lxc.net.{number}.{row.name}" for number in (0, 1) for row in net.KEYS] + ["lxc.net.0", "lxc.network.type", "lxc.bogus"]
VALUES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", "0", "1", "-1", "veth", "phys", "none", "lo+", "up", "unlimited", "1:2", "u 0 1 2", "10.0.0.1/8", "::/0",
                     "kill", "net", "proc", "cgroup:ro", "dir:/a", "5s", "SIGTERM", "9" * 40, "00:16:3e:xx:xx:xx", "\0"]),
)  # fmt: skip
LINES = st.one_of(st.builds("{} = {}".format, st.sampled_from(KEYS), VALUES), st.text(max_size=20))


@given(st.lists(LINES, max_size=12).map("\n".join))
def test_any_text_is_read_or_refused_and_what_was_read_is_written(text: str) -> None:
    conf, problems = Config(), []
    try:
        conf.load_text(text, "/c/config", problems)
    except ConfigError as error:
        assert "NUL" in str(error)
        return
    for problem in problems:
        assert str(problem).startswith("/c/config:")
    for row in keys.KEYS:
        if row.readable and row.name[-1] != "*":
            assert isinstance(conf.text(row.name), str)
            conf[row.name]
    for device in conf.nets:
        for subkey in net.TABLE:
            device[subkey]
    if not any(row.lower().endswith("x") for row in text.split("hwaddr")[1:]) and "hwaddr" not in text:
        assert conf.write_text() == text.rstrip("\0") or "\0" in text


@example([("lxc.net.0.type", "veth"), ("lxc.net.0.type", ""), ("lxc.net.0.name", "x")])
@given(st.lists(st.tuples(st.sampled_from(KEYS), VALUES), max_size=8))
def test_what_was_set_reads_the_same_after_saving(pairs: list[tuple[str, str]]) -> None:
    conf = Config()
    for key, text in pairs:
        # Quotes and blanks around a value are a line's, not a value's.
        if text == text.strip(" \t") and text[:1] not in ("'", '"') and "+" not in text:
            try:
                conf.set(key, text)
            except ConfigError:
                pass
    again = Config()
    again.load_text(conf.write_text(), "c")
    for row in keys.KEYS:
        if row.readable and row.name[-1] != "*" and row.name != "lxc.net":
            assert again.text(row.name) == conf.text(row.name), row.name
    assert networks(again) == networks(conf)


def networks(conf: Config) -> list[tuple[str, dict[str, object]]]:
    """What lines can express: a network of which everything was cleared is in memory only, and one without a type is an
    empty one once it is read again (LXC behaviour).
    """
    return [(device.type or "empty", device.values) for device in conf.nets if device.values or device.type not in ("", "empty")]


class TestReplacing:
    def test_in_place_or_from_the_start(self) -> None:
        conf = conf_of("lxc.tty.max = 1\nlxc.group = a\n# x\n")
        conf.replace("lxc.tty.max", ["2"])
        conf.replace("lxc.group", ["b", "c"])
        assert conf.write_text() == "lxc.tty.max = 2\n# x\nlxc.group = b\nlxc.group = c\n"
        conf.replace("lxc.net.0.type", ["veth"])
        conf.replace("lxc.network.link", ["br0"])
        assert conf.text("lxc.net.0.link") == "br0"

    def test_a_refused_one_changes_nothing(self) -> None:
        text = "lxc.group = a\nlxc.idmap = u 0 1 2\nlxc.cgroup2.x = 1\nlxc.net.0.type = veth\nlxc.net.0.ipv4.address = 10.0.0.1/8\n"
        conf = conf_of(text)
        for key, values in {
            "lxc.idmap": ["u 0 5 6", "bad"],
            "lxc.cgroup2.x": ["2", "a\nb"],
            "lxc.net.0.ipv4.address": ["10.0.0.2/8", "x"],
            "lxc.net.5.link": ["a", "b\n"],
            "lxc.bogus": ["1"],
        }.items():
            with pytest.raises(ConfigError):
                conf.replace(key, values)
        assert conf.write_text() == text
        assert [str(entry) for entry in conf["lxc.idmap"]] == ["u 0 1 2"]
        assert conf["lxc.cgroup2"] == [("x", "1")]
        assert conf.text("lxc.net.0.ipv4.address") == "10.0.0.1/8"

    def test_old_networks_keep_their_numbers(self) -> None:
        conf = conf_of("lxc.network.type = veth\nlxc.network.name = a\n lxc.network.type = phys\nlxc.network.name = b\n")
        conf.clear("lxc.net.0")
        assert conf.write_text() == " lxc.net.1.type = phys\nlxc.net.1.name = b\n"

    def test_a_new_root_has_nothing_of_the_old_type(self) -> None:
        conf = conf_of("lxc.rootfs.backend = zfs\nlxc.rootfs = pool/x\n")
        conf.set("lxc.rootfs.path", "/srv/x")
        assert conf.rootfs_type == conf_of(conf.write_text()).rootfs_type == ""
        assert conf.write_text() == "lxc.rootfs.path = /srv/x\n"


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_config_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    try:
        conf = Config.read(str(path))
    except ConfigError as error:
        str(error).encode()
        return
    assert conf.write_text().encode("utf-8", "surrogateescape") == data.rstrip(b"\0") or b"\0" in data


@given(st.lists(st.builds("{}{}{}={}{}".format, st.sampled_from(["", " ", "\t"]), st.sampled_from(KEYS), st.sampled_from(["", " "]),
                          st.sampled_from(["", " ", " '"]), VALUES), max_size=6), st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))  # fmt: skip
def test_what_is_read_is_written_byte_for_byte(lines: list[str], end: str) -> None:
    text = end.join(line.replace("xx", "00").replace("\0", "") for line in lines)
    conf = Config()
    conf.load_text(text, "c", [])
    if "hwaddr" not in text:
        assert conf.write_text() == text
