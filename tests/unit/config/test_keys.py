# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each row of the table is whole: it sets, reads, clears, survives saving, and is described."""

from __future__ import annotations

import pytest

from lxctools.config import keys, legacy, net
from lxctools.config.conf import Config

# A value for each type that is not its default, and what it reads as when that differs from the text.
SAMPLES = {
    "bool01": "1",
    "uint": "7",
    "int": "7",
    "string": "word",
    "string[64]": "word",
    "string[255]": "word",
    "path": "/a/b",
    "relpath": "a/b",
    "filename": "a",
    "signal": "15",
    "bytesize": "8192",
    "rlimit": "5:6",
    "idmap": "u 0 100000 65536",
    "duration": "5s",
    "list-ws": "one",
    "list-uint-comma": "5",
    "list-ns": "net",
    "list-cap": "mknod",
    "automount": "proc:mixed",
    "mountopts": "ro",
    "rootfs-spec": "/a",
    "fstab-line": "tmpfs tmp tmpfs rw 0 0",
    "hook-cmd": "/bin/true",
    "cmdline": "/bin/sh -c true",
    "env": "A=1",
    "arch": "i686",
    "loglevel": "INFO",
    "syslog-facility": "daemon",
    "unix-addr": "unix:/run/x",
    "ns-ref": "1",
    "ifname": "eth0",
    "int>0": "4",
    "u16<=4094": "12",
    "none|u16<=4094": "12",
    "flag-up": "up",
    "mac-template": "00:16:3e:00:00:01",
    "cidr4[ broadcast]": "10.0.0.2/8",
    "cidr4": "10.0.0.0/8",
    "cidr6": "fd00::/64",
    "ip4|auto|dev": "10.0.0.1",
    "ip6|auto|dev": "fd00::1",
}
PLAIN = [row for row in keys.KEYS if row.type.name != "clear-only" and row.name != "lxc.include"]


def sample(row: keys.Key) -> str:
    if row.type.name.startswith("enum("):
        return next(word for word in row.type.words if word != row.default)
    if row.default == 1 and row.type.name == "bool01":
        return "0"
    return SAMPLES[row.type.name]


def full_name(row: keys.Key) -> str:
    if row.name == "lxc.namespace.share.*":
        return "lxc.namespace.share.net"
    return row.name.replace("*", "member")


@pytest.mark.parametrize("row", PLAIN, ids=lambda row: row.name)
def test_a_key_sets_reads_saves_and_clears(row: keys.Key) -> None:
    conf, key, text = Config(), full_name(row), sample(row)
    unset = conf.text(key)
    assert not conf.is_set(key)
    conf.set(key, text)
    assert conf.is_set(key)
    shown = conf.text(key)
    assert shown.removesuffix("\n") == text.removeprefix("unix:") != unset
    again = Config()
    again.load_text(conf.write_text(), "c")
    assert again.text(key) == shown
    assert again.where(key) == "c:1"
    conf.clear(key)
    assert conf.text(key) == unset
    assert not conf.is_set(key)
    assert conf.write_text() == ""


@pytest.mark.parametrize("row", PLAIN, ids=lambda row: row.name)
def test_an_empty_value_and_repeated_lines(row: keys.Key) -> None:
    conf, key, text = Config(), full_name(row), sample(row)
    conf.load_text(f"{key} = {text}\n" * 2, "c")
    repeated = conf.text(key)
    adds_up = repeated.count(text.removeprefix("unix:")) == 2
    assert adds_up == (row.repeat and row.type.name not in ("automount", "list-ns"))
    if row.empty is keys.REFUSED:
        return
    conf.load_text(f"{key} =\n", "c")
    assert conf.text(key) == (Config().text(key) if row.empty is keys.UNSET else str(row.empty))


@pytest.mark.parametrize("row", net.KEYS, ids=lambda row: row.name)
def test_a_network_key(row: keys.Key) -> None:
    conf, text, kind = Config(), sample(row), row.only or "phys"
    conf.load_text(f"lxc.net.4.type = {kind}\n", "c")
    key = f"lxc.net.4.{row.name}"
    unset = conf.text(key)
    conf.set(key, text)
    assert conf.text(key) == text
    assert conf.is_set(key)
    again = Config()
    again.load_text(conf.write_text(), "c")
    assert again.text(key) == text
    conf.clear(key)
    assert conf.text(key) == ("" if row.name == "type" else unset)


def test_every_row_is_described_once() -> None:
    for row in (*keys.KEYS, *net.KEYS):
        assert row.summary.endswith((".", ".)")), row.name
        assert row.since, row.name
        assert row.type.legal, row.name
    for table in (keys.KEYS, net.KEYS):
        names = [row.name for row in table]
        assert len(set(names)) == len(names)
    for name in keys.FAMILIES:
        assert name in keys.TABLE or name == "lxc.namespace.share"


def test_every_excluded_key_excludes_back() -> None:
    for row in keys.KEYS:
        if row.excludes:
            assert keys.TABLE[row.excludes].excludes == row.name


def test_every_old_name_leads_to_a_key() -> None:
    names = [row.legacy for row in (*keys.KEYS, *net.KEYS) if row.legacy]
    assert len(set(names)) == len(names)
    for name in names:
        assert legacy.is_legacy(name.replace("*", "nofile")), name
        assert name not in keys.TABLE


def test_the_parts_that_get_keys_lists_are_keys() -> None:
    for base, parts in keys.SUBKEYS.items():
        for part in parts.split():
            assert f"{base}.{part}" in keys.TABLE or part == "autodevtmpfssize"
