# SPDX-License-Identifier: LGPL-2.1-or-later
"""Arithmetic on id maps, and their texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.idmap import ranges
from lxctools.idmap.ranges import IdMap

USUAL = [IdMap("u", 0, 100000, 65536), IdMap("g", 0, 200000, 65536), IdMap("u", 70000, 1000, 1)]
IDS = st.integers(0, 2**32 - 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("u 0 100000 65536", IdMap("u", 0, 100000, 65536)),
        ("g \t0x10   010\r1", IdMap("g", 16, 8, 1)),
        ("u 0 1 18446744073709551615", IdMap("u", 0, 1, 2**64 - 1)),
        ("u 0 1 0", IdMap("u", 0, 1, 0)),
        ("u 0 1 +1", IdMap("u", 0, 1, 1)),
    ],
)
def test_parse(text: str, expected: IdMap) -> None:
    assert ranges.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "type"),
        ("b 0 1 1", "type"),
        ("U 0 1 1", "type"),
        ("uid 0 1 1", "type"),
        ("u 0 1", "four words"),
        ("u 0 1 1 1", "four words"),
        ("u -1 1 1", "inside"),
        ("u 0 1_0 1", "host"),
        ("u 0 08 1", "host"),
        ("u 0 0x 1", "host"),
        ("u 0 1 18446744073709551616", "size"),
        ("u 0 ٣ 1", "host"),
        ("u 0\u00a01 1 1", "inside"),
    ],
)
def test_refused(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        ranges.parse(text)


@given(st.sampled_from("ug"), IDS, IDS, IDS)
def test_text_reads_back(kind: str, nsid: int, hostid: int, count: int) -> None:
    entry = IdMap(kind, nsid, hostid, count)
    assert ranges.parse(str(entry)) == entry
    assert ranges.map_text([entry], kind) == f"{nsid} {hostid} {count}\n"
    assert ranges.parse_option(f"{kind}:{nsid}:{hostid}:{count}") == [entry]
    assert len({entry, IdMap(kind, nsid, hostid, count)}) == 1


def test_options_of_both_kinds() -> None:
    assert ranges.parse_option("b:0:5:1") == [IdMap("u", 0, 5, 1), IdMap("g", 0, 5, 1)]
    for text in ("b:0:5", "x:0:5:1", "u:0:-5:1", "u:0x1:5:1", "u::5:1", "ug:0:5:1"):
        with pytest.raises(ValueError, match="u|not a number"):
            ranges.parse_option(text)


@given(st.integers(0, 70001), st.sampled_from("ug"))
def test_there_and_back(number: int, kind: str) -> None:
    host = ranges.to_host(USUAL, kind, number)
    assert (host is not None) == (number < 65536 or (kind == "u" and number == 70000))
    if host is not None:
        assert ranges.to_ns(USUAL, kind, host) == number


def test_the_edges() -> None:
    assert ranges.to_host(USUAL, "u", 65535) == 165535
    assert ranges.to_host(USUAL, "u", 65536) is None
    assert ranges.to_host(USUAL, "g", 0) == 200000
    assert ranges.to_ns(USUAL, "u", 99999) is None
    assert ranges.to_ns(USUAL, "u", 1000) == 70000
    assert ranges.to_host([], "u", 0) is None


def test_free_ids_and_the_caller() -> None:
    assert ranges.free_id(USUAL, "u") == 65536
    assert ranges.free_id([IdMap("u", 5, 1, 1)], "u") == 0
    assert ranges.free_id([IdMap("u", 1, 9, 2), IdMap("u", 0, 3, 1)], "u") == 3
    assert ranges.with_caller(USUAL, 1000, 1000) == [*USUAL, IdMap("g", 65536, 1000, 1)]
    assert ranges.with_caller(USUAL, 1001, 200001) == [*USUAL, IdMap("u", 65536, 1001, 1)]


@given(st.lists(st.tuples(st.sampled_from("ug"), st.integers(0, 50), st.integers(0, 50), st.integers(1, 20)), max_size=6))
def test_what_passes_the_check_maps_each_id_once(entries: list[tuple[str, int, int, int]]) -> None:
    maps = [IdMap(*entry) for entry in entries]
    inside = [(m.kind, m.nsid + at) for m in maps for at in range(m.count)]
    outside = [(m.kind, m.hostid + at) for m in maps for at in range(m.count)]
    once = len(set(inside)) == len(inside) and len(set(outside)) == len(outside)
    both = {m.kind for m in maps} in (set(), {"u", "g"})
    assert (ranges.check(maps) == "") == (once and both)


def test_the_reason() -> None:
    assert "maps no id" in ranges.check([IdMap("u", 0, 1, 0), IdMap("g", 0, 1, 1)])
    assert "beyond id" in ranges.check([IdMap("u", 0, 2**32 - 2, 2), IdMap("g", 0, 1, 1)])
    assert ranges.check([IdMap("u", 0, 2**32 - 2, 1), IdMap("g", 0, 1, 1)]) == ""
    assert "overlap on the host" in ranges.check([IdMap("u", 0, 1, 2), IdMap("u", 5, 2, 2), IdMap("g", 0, 1, 1)])
    assert "no g entry" in ranges.check([IdMap("u", 0, 1, 1)])


def test_subordinate_ids() -> None:
    text = "root:100000:65536\n1000:7:8\nuser:1:2\n\n# x\nuser:x:1\nuser:3\nuser:5:6:7\nuser:9:1"
    assert ranges.subordinate(text, "user", 1000) == [(7, 8), (1, 2), (9, 1)]
    assert ranges.subordinate(text, "root", 0) == [(100000, 65536)]
    assert ranges.subordinate(text, "", 1000) == [(7, 8)]


def test_what_newuidmap_allows() -> None:
    given_ranges = [(100000, 65536), (1, 2)]
    assert ranges.allowed(USUAL, "u", given_ranges, own=1000) is None
    assert ranges.allowed(USUAL, "u", given_ranges, own=5) == USUAL[2]
    assert ranges.allowed([IdMap("u", 0, 100001, 65536)], "u", given_ranges, own=0) is not None
    assert ranges.allowed(USUAL, "g", given_ranges, own=0) == USUAL[1]
