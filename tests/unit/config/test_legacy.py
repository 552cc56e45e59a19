# SPDX-License-Identifier: LGPL-2.1-or-later
"""Configurations of LXC 1.0 and 2.0: read with their old meaning, and converted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.config import keys, legacy, net
from lxctools.config.conf import Config
from lxctools.config.update import convert
from lxctools.errors import ConfigError

OLD = """\
# lxc.utsname = commented
#lxc.network.type = veth
lxc.utsname = legacy
lxc.rootfs = /var/lib/lxc/legacy/rootfs
lxc.mount = /var/lib/lxc/legacy/fstab
lxc.limit.nofile = 10
lxc.aa_profile = unconfined
lxc.id_map = u 0 100000 65536
lxc.kmsg = 0
lxc.pivotdir = lxc_putold
lxc.network.type = veth
lxc.network.flags = up
lxc.network.ipv4 = 10.0.3.5/24
lxc.network.ipv4.gateway = 10.0.3.1
   lxc.network.type = macvlan
lxc.network.macvlan.mode = bridge
lxc.network.0.ipv6 = fd00::1
lxc.tty = 4
lxc.haltsignal = SIGUSR1
lxc.cgroup.memory.limit_in_bytes = 1G
"""
NEW = """\
# lxc.uts.name = commented
#lxc.net.0.type = veth
lxc.uts.name = legacy
lxc.rootfs.path = dir:/var/lib/lxc/legacy/rootfs
lxc.mount.fstab = /var/lib/lxc/legacy/fstab
lxc.prlimit.nofile = 10
lxc.apparmor.profile = unconfined
lxc.idmap = u 0 100000 65536
lxc.net.0.type = veth
lxc.net.0.flags = up
lxc.net.0.ipv4.address = 10.0.3.5/24
lxc.net.0.ipv4.gateway = 10.0.3.1
   lxc.net.1.type = macvlan
lxc.net.1.macvlan.mode = bridge
lxc.net.0.ipv6.address = fd00::1
lxc.tty.max = 4
lxc.signal.halt = SIGUSR1
lxc.cgroup.memory.limit_in_bytes = 1G
"""


def conf_of(text: str) -> Config:
    conf = Config()
    conf.load_text(text, "c")
    return conf


def meaning(conf: Config) -> dict[str, object]:
    found: dict[str, object] = {row.name: conf.text(row.name) for row in keys.KEYS if row.readable and row.name[-1] != "*"}
    found["networks"] = [(device.index, device.type, device.values) for device in conf.nets]
    return found


def test_converted() -> None:
    assert convert(OLD) == NEW
    assert convert(NEW) == NEW


def test_old_and_converted_mean_the_same() -> None:
    assert meaning(conf_of(OLD)) == meaning(conf_of(NEW))


def test_old_text_is_saved_as_it_was() -> None:
    conf = conf_of(OLD)
    assert conf.write_text() == OLD
    conf.set("lxc.tty.max", "5")
    assert conf.write_text() == OLD.replace("lxc.tty = 4", "lxc.tty.max = 5")
    conf.clear("lxc.net.0")
    assert "lxc.network.ipv4" not in conf.write_text()
    assert "macvlan.mode = bridge" in conf.write_text()


def test_old_names_are_readable() -> None:
    conf = conf_of(NEW)
    assert conf.text("lxc.utsname") == "legacy"
    assert conf.text("lxc.rootfs") == "/var/lib/lxc/legacy/rootfs"
    assert conf.text("lxc.network.0.ipv4") == "10.0.3.5/24"
    assert conf.text("lxc.network") == "veth\nmacvlan\n"
    assert conf.is_set("lxc.tty")
    with pytest.raises(ConfigError):
        conf.text("lxc.pivotdir")


@pytest.mark.parametrize(
    ("text", "kind", "path", "converted"),
    [
        ("lxc.rootfs = /r\n", "", "/r", "lxc.rootfs.path = dir:/r\n"),
        ("lxc.rootfs   =   '/r'\n", "", "/r", "lxc.rootfs.path   =   'dir:/r'\n"),
        ("lxc.rootfs = overlayfs:/a:/b\n", "overlayfs", "/a:/b", "lxc.rootfs.path = overlayfs:/a:/b\n"),
        ("lxc.rootfs.backend = zfs\nlxc.rootfs = p/x\n", "zfs", "p/x", "lxc.rootfs.path = zfs:p/x\n"),
        ("lxc.rootfs = /dev/vg/c\n", "", "/dev/vg/c", "lxc.rootfs.path = /dev/vg/c\n"),
        ("lxc.rootfs = /r\nlxc.rootfs.backend = dir", "dir", "/r", "lxc.rootfs.path = dir:/r\n"),
    ],
)
def test_the_storage_type(text: str, kind: str, path: str, converted: str) -> None:
    conf = conf_of(text)
    assert (conf.rootfs_type, conf["lxc.rootfs.path"]) == (kind, path)
    assert convert(text) == converted


def test_networks_beside_numbered_ones() -> None:
    text = "lxc.net.0.type = phys\nlxc.network.type = veth\nlxc.network.name = a\n"
    assert convert(text) == "lxc.net.0.type = phys\nlxc.net.1.type = veth\nlxc.net.1.name = a\n"
    assert [device.type for device in conf_of(text).nets] == ["phys", "veth"]


def test_keys_before_the_first_type() -> None:
    assert convert("lxc.network.name = a") == "lxc.net.0.name = a"
    assert conf_of("lxc.network.name = a").text("lxc.net.0.name") == "a"


def test_an_emptied_network_list_starts_again() -> None:
    conf = conf_of("lxc.network.type = veth\nlxc.network =\nlxc.network.type = macvlan\nlxc.network.name = b\n")
    assert [(device.index, device.type, device["name"]) for device in conf.nets] == [(0, "macvlan", "b")]


def test_an_unknown_key_of_a_network() -> None:
    with pytest.raises(ConfigError, match="Unknown network configuration key"):
        conf_of("lxc.network.type = veth\nlxc.network.bogus = 1\n")
    assert convert("lxc.network.bogus = 1\n") == "lxc.network.bogus = 1\n"


LINES = [
    *("lxc.utsname = a", "lxc.tty=3", " lxc.pts = 4", "lxc.limit.core = 1", "lxc.group = lxc.utsname", "# lxc.tty = 2", "text"),
    *("lxc.network.type = veth", "lxc.network.type = phys", "lxc.network.name = n", "lxc.network.ipv4 = 1.2.3.4/8", "lxc.kmsg = 1"),
    *("lxc.network.veth.pair = p", "lxc.network.mtu = 9", "lxc.init_cmd = /x", "lxc.tty.max = 1", "lxc.id_map = u 0 1 2", ""),
]


@given(st.lists(st.sampled_from(LINES), max_size=12).map("\n".join))
def test_converting_keeps_the_meaning(text: str) -> None:
    problems: list[ConfigError] = []
    old, new = Config(), Config()
    old.load_text(text, "c", problems)
    converted = convert(text)
    new.load_text(converted, "c", problems)
    assert convert(converted) == converted
    if not problems:
        assert meaning(new) == meaning(old)
        assert not any(legacy.is_legacy(key) for key in new.raw.keys if key)


def test_every_legacy_name_converts() -> None:
    for row in keys.KEYS:
        if row.legacy and row.legacy[-1] != "*" and row.name not in ("lxc.rootfs.path", "lxc.net", "lxc.prlimit"):
            assert convert(f"{row.legacy} = 1\n") == f"{row.name} = 1\n"
    for row in net.KEYS:
        if row.legacy:
            assert convert(f"{row.legacy} = 1") == f"lxc.net.0.{row.name} = 1"
