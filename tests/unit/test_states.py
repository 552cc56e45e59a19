# SPDX-License-Identifier: LGPL-2.1-or-later
"""Numbers and names of states and namespaces: both go over the wire or into files."""

from __future__ import annotations

import os

import pytest

from lxctools import namespaces, states


def test_the_numbers_of_the_protocol() -> None:
    expected = ["STOPPED", "STARTING", "RUNNING", "STOPPING", "ABORTING", "FREEZING", "FROZEN", "THAWED"]
    assert [states.name(number) for number in range(8)] == expected
    assert [states.number(name) for name in expected] == list(range(8))
    assert [getattr(states, name) for name in expected] == list(range(8))
    assert states.MUST_WAIT == 8


@pytest.mark.parametrize("number", [-1, 8, 1 << 31])
def test_what_is_no_state(number: int) -> None:
    assert states.name(number) == "INVALID STATE"


@pytest.mark.parametrize("text", ["running", "", "RUNNING ", "INVALID STATE"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        states.number(text)


def test_namespaces_are_the_kernels() -> None:
    rows = namespaces.NAMESPACES
    assert rows[0].name == "user"  # joined first: it gives the privileges for the others
    assert [row.name for row in rows] == ["user", "mnt", "pid", "uts", "ipc", "net", "cgroup", "time"]
    assert {row.name: row.flag for row in rows} == {
        "mnt": 0x20000,
        "cgroup": 0x2000000,
        "uts": 0x4000000,
        "ipc": 0x8000000,
        "user": 0x10000000,
        "pid": 0x20000000,
        "net": 0x40000000,
        "time": 0x80,
    }
    assert all(os.path.exists(f"/proc/self/ns/{row.proc}") for row in rows if row.name != "time")
    assert len({row.flag for row in rows}) == len({row.attach for row in rows}) == 8
    assert namespaces.by_name("net").attach == "NETWORK"
    with pytest.raises(KeyError):
        namespaces.by_name("NETWORK")
