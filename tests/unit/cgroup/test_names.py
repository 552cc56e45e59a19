# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table of names."""

from __future__ import annotations

import pytest

from lxctools.cgroup.names import choose
from lxctools.config.conf import Config
from lxctools.errors import LxcError


def conf(**keys: str) -> Config:
    made = Config()
    for key, value in keys.items():
        made.set("lxc.cgroup." + key.replace("_", "."), value)
    return made


@pytest.mark.parametrize(
    ("keys", "pattern", "wanted"),
    [
        ({}, None, ("lxc.monitor.c1", "lxc.payload.c1", "", "lxc.pivot", False)),
        ({}, "/all/%n/x/", ("all/c1/x/monitor", "all/c1/x/payload", "", "lxc.pivot", False)),
        ({"dir": "a/b"}, "%n", ("a/b/lxc.monitor.c1", "a/b/lxc.payload.c1", "", "a/b/lxc.pivot", False)),
        ({"dir_monitor": "m", "dir_container": "p/q"}, "%n", ("m", "p/q", "", "lxc.pivot", True)),
        (
            {"dir_monitor": "m", "dir_container": "p", "dir_container_inner": "i", "dir_monitor_pivot": "v"},
            None,
            ("m", "p", "i", "v/lxc.pivot", True),
        ),
    ],
)
def test_table(keys: dict[str, str], pattern: str | None, wanted: tuple[object, ...]) -> None:
    found = choose(conf(**keys), "c1", pattern)
    assert (found.monitor, found.limit, found.inner, found.pivot, found.fixed) == wanted


def test_only_plain_names_count_as_not_placed() -> None:
    assert not choose(conf(), "c1", None).placed
    assert choose(conf(dir="x"), "c1", None).placed
    assert choose(conf(), "c1", "%n").placed
    assert choose(conf(dir_monitor="m", dir_container="p"), "c1", None).placed


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"dir_monitor": "m"}, "must both be set"),
        ({"dir_container": "m"}, "must both be set"),
        ({"dir": "d", "dir_monitor": "m", "dir_container": "p"}, "conflicts"),
        ({"dir": "d", "dir_container": "p"}, "conflicts"),
        ({"dir_monitor": "m", "dir_container": "m"}, "must differ"),
    ],
)
def test_contradictions(keys: dict[str, str], why: str) -> None:
    with pytest.raises(LxcError, match=why):
        choose(conf(**keys), "c1", None)


def test_a_pattern_must_not_leave_the_base() -> None:
    with pytest.raises(LxcError, match="must not contain"):
        choose(conf(), "c1", "../%n")
