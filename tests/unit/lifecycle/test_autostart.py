# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which containers, in which waves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lxctools.lifecycle.autostart import Candidate, waves


def one(name: str, auto: str = "1", order: str = "", delay: str = "", groups: str = "") -> Candidate:
    given = {"lxc.start.auto": auto, "lxc.start.order": order, "lxc.start.delay": delay, "lxc.group": groups}
    return Candidate(name, {key: [value] for key, value in given.items() if value})


def names(found: list[list[Candidate]]) -> list[list[str]]:
    return [[candidate.name for candidate in wave] for wave in found]


def plan(
    *candidates: Candidate, groups: tuple[str, ...] = (), everything: bool = False, ignore_auto: bool = False, backwards: bool = False
) -> list[list[str]]:
    found = waves(candidates, groups, everything=everything, ignore_auto=ignore_auto, backwards=backwards)
    return names(found)


def test_equal_orders_are_one_wave() -> None:
    assert plan(one("c"), one("b", order="5"), one("a", order="-1"), one("d", order="5")) == [["a"], ["c"], ["b", "d"]]


def test_a_shutdown_goes_backwards() -> None:
    assert plan(one("a", order="1"), one("b", order="2"), one("c", order="2"), backwards=True) == [["c", "b"], ["a"]]


def test_groups_in_the_order_given() -> None:
    web, both, none = one("web", groups="web"), one("both", groups="web db", order="9"), one("none")
    assert plan(web, both, none) == [["none"]]
    assert plan(web, both, none, groups=("db", "web")) == [["both"], ["web"]]
    assert plan(web, both, none, groups=("", "web", "web")) == [["none"], ["web"], ["both"]]
    assert plan(web, both, none, groups=("db",), everything=True) == [["none", "web"], ["both"]]
    assert plan(one("x", groups="webshop"), groups=("web",)) == []


def test_only_those_that_follow_the_host() -> None:
    assert plan(one("a", auto="0"), one("b", auto=""), one("c", auto="yes"), one("d")) == [["d"]]
    assert plan(one("a", auto="0"), ignore_auto=True) == [["a"]]


def test_what_cannot_be_read_counts_as_unset() -> None:
    strange = one("a", order="soon", delay="-3")
    assert (strange.order, strange.delay) == (0, 0)


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.sampled_from(("", "a", "b", "a b"))), max_size=12),
    st.lists(st.sampled_from(("", "a", "b", "c")), max_size=4),
)
def test_nobody_is_chosen_twice_and_orders_ascend_in_a_group(rows: list[tuple[int, str]], groups: list[str]) -> None:
    candidates = [one(f"c{index}", order=str(order), groups=text) for index, (order, text) in enumerate(rows)]
    found = waves(candidates, groups, everything=False, ignore_auto=False, backwards=False)
    flat = [candidate for wave in found for candidate in wave]
    assert len({candidate.name for candidate in flat}) == len(flat)
    wanted = groups or [""]
    assert {c.name for c in flat} == {c.name for c in candidates if any(c.is_in(group) for group in wanted)}
    assert all(len({candidate.order for candidate in wave}) == 1 for wave in found)
