# SPDX-License-Identifier: LGPL-2.1-or-later
"""The key table does for every key what keys.tsv says: parses, formats, clears, comes back from a file, has its old name."""

from __future__ import annotations

from pathlib import Path

import pytest

from lxctools import paths
from lxctools.config import keys, legacy, net
from lxctools.config.conf import Config
from lxctools.config.update import convert
from lxctools.errors import ConfigError

TEXT = [line for line in Path(__file__).with_name("keys.tsv").read_text().splitlines() if line[:1] != "#"]
HEAD = TEXT[0].split("\t")
ROWS = [dict(zip(HEAD, ["" if cell == "-" else cell for cell in line.split("\t")], strict=True)) for line in TEXT[1:]]
GONE = [row["legacy"] for row in ROWS if not row["key"]]
MODERN = [row for row in ROWS if row["key"]]
VALUED = [row for row in MODERN if row["value"]]
ONLY_CLEARED = [row for row in MODERN if not row["value"] and row["key"] != "lxc.include"]
OLD = [row for row in VALUED if row["legacy"]]

TABLE = {row.name: row for row in keys.KEYS} | {f"lxc.net.N.{row.name}": row for row in net.KEYS}


def full(row: dict[str, str], column: str = "key") -> str:
    """The key as a file has it."""
    return row[column].replace(".N.", ".0.").replace("*", row["member"])


def before(row: dict[str, str]) -> str:
    """The lines that a key needs before it."""
    if not row["key"].startswith("lxc.net.N.") or row["key"] == "lxc.net.N.type":
        return ""
    return f"lxc.net.0.type = {row['network'] or 'veth'}\n"


def conf_of(text: str) -> Config:
    conf = Config()
    conf.load_text(text, "c")
    return conf


def default(row: dict[str, str]) -> str:
    return paths.ROOTFS_MOUNT if row["default"] == "ROOTFS_MOUNT" else row["default"]


def ids(row: dict[str, str]) -> str:
    return row["key"]


def test_the_same_keys_in_both() -> None:
    assert {row["key"] for row in MODERN} - {"lxc.net.N"} == set(TABLE)
    assert {row["legacy"] for row in MODERN if row["legacy"]} - {"lxc.network.N"} == {
        row.legacy for row in TABLE.values() if row.legacy
    }
    assert sorted(GONE) == sorted([*legacy.IGNORED, legacy.BACKEND])
    assert len(MODERN) > 110 and len(OLD) > 30


@pytest.mark.parametrize("row", [row for row in MODERN if row["key"] != "lxc.net.N"], ids=ids)
def test_the_row_of_the_table(row: dict[str, str]) -> None:
    mine = TABLE[row["key"]]
    assert (mine.legacy, mine.type.name, mine.unit, mine.since) == (row["legacy"], row["type"], row["unit"], row["since"])
    assert mine.repeat == (row["repeats"] == "yes")
    assert mine.readable == (row["readable"] == "yes")
    assert mine.only == row["network"]


@pytest.mark.parametrize("row", VALUED, ids=ids)
def test_a_value(row: dict[str, str]) -> None:
    key, text = full(row), before(row) + f"{full(row)} = {row['value']}\n"
    conf = conf_of(text)
    reads = row["reads"].replace("\\n", "\n")
    assert conf.text(key) == reads
    assert conf.is_set(key)
    assert conf.write_text() == text
    other = conf_of(before(row))
    if row["key"] != "lxc.net.N.type":
        assert other.text(key) == default(row)
        assert not other.is_set(key)
    other.set(key, row["value"])
    assert other.text(key) == reads
    assert conf_of(other.write_text()).text(key) == reads
    other.replace(key, [row["value"]])
    assert other.text(key) == reads == conf_of(other.write_text()).text(key)
    other.clear(key)
    assert other.text(key) == ("" if row["key"] == "lxc.net.N.type" else default(row))
    assert other.write_text() == before(row)
    assert conf_of(f"lxc.{key[4:]}={row['value']}" if not before(row) else text).text(key) == reads


@pytest.mark.parametrize("row", VALUED, ids=ids)
def test_an_empty_value(row: dict[str, str]) -> None:
    key = full(row)
    text = before(row) + f"{key} = {row['value']}\n{key} =\n"
    if row["clearable"] != "yes":
        with pytest.raises(ConfigError, match="c:2: .*an empty value"):
            conf_of(text)
        return
    # The few for which a file's empty value is not the default.
    other = {"lxc.autodev": "0", "lxc.autodev.tmpfs.size": "500000", "lxc.monitor.signal.pdeath": "0", "lxc.rootfs.mount": ""}
    assert conf_of(text).text(key) == ("" if row["key"] == "lxc.net.N.type" else other.get(key, default(row)))


@pytest.mark.parametrize("row", VALUED, ids=ids)
def test_two_lines(row: dict[str, str]) -> None:
    key, once = full(row), row["reads"].replace("\\n", "\n")
    twice = conf_of(before(row) + f"{key} = {row['value']}\n" * 2).text(key)
    if row["repeats"] == "no" or row["type"] in ("automount", "list-ns") or "none" in row["value"].split():
        assert twice == once
    elif once[-1] == "\n":
        assert twice == once + once
    else:
        assert twice in (f"{once}\n{once}", f"{once},{once}")


@pytest.mark.parametrize("row", ONLY_CLEARED, ids=ids)
def test_what_stands_for_all(row: dict[str, str]) -> None:
    name = row["key"].replace(".N", ".0")
    with pytest.raises(ConfigError, match="must not have a value"):
        conf_of(f"{name} = x\n")
    member = next(other for other in VALUED if other["key"].startswith(row["key"] + "."))
    text = before(member) + f"{full(member)} = {member['value']}\n"
    conf = conf_of(text + f"{name} =\n")
    if not member["network"] and not row["key"].startswith("lxc.net"):
        assert conf.text(full(member)) == ""
    assert conf.nets == []
    if row["readable"] == "yes":
        assert conf.text(name) == ""
        assert conf_of(text).text(name) != ""
    else:
        with pytest.raises(ConfigError, match="cannot be read"):
            conf.text(name)


@pytest.mark.parametrize("row", OLD, ids=ids)
def test_the_old_name(row: dict[str, str]) -> None:
    old, new = full(row, "legacy"), full(row)
    first = before(row).replace("lxc.net.0.", "lxc.network.")
    text = first + f"{old} = {row['value']}\n"
    reads = row["reads"].replace("\\n", "\n")
    for name in (old, new, old.replace("lxc.network.", "lxc.network.0.")):
        assert conf_of(text).text(name) == reads
    assert conf_of(text).write_text() == text
    assert conf_of(before(row) + f"{new} = {row['value']}\n").text(old) == reads
    converted = convert(text)
    assert converted == before(row) + f"{new} = {row['value']}\n"
    numbered = text.replace("lxc.network.", "lxc.network.0.")
    assert convert(numbered) == converted
    conf = conf_of(numbered)
    assert conf.text(new) == reads
    conf.clear(old)
    assert conf.text(new) == ("" if row["key"] == "lxc.net.N.type" else default(row))
    assert old not in conf.write_text()


def test_old_names_that_stand_for_all() -> None:
    assert convert("lxc.network =\nlxc.limit =\nlxc.network.3 =\n") == "lxc.net =\nlxc.prlimit =\nlxc.net.3 =\n"
    assert conf_of("lxc.network.type = veth\nlxc.network =\n").nets == []
    assert conf_of("lxc.network.type = veth\nlxc.network.0 =\n").nets == []
    assert conf_of("lxc.limit.core = 1\nlxc.limit =\n")["lxc.prlimit"] == []


@pytest.mark.parametrize("name", GONE)
def test_names_without_a_successor(name: str) -> None:
    text = f"lxc.tty.max = 1\n{name} = 0\n"
    conf = conf_of(text)
    assert conf.write_text() == text
    assert convert(text) == "lxc.tty.max = 1\n"
    with pytest.raises(ConfigError, match="Unsupported config key"):
        conf.text(name)
