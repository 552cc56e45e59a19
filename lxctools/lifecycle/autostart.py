# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which containers lxc-autostart acts on, and in which order; nothing here touches one."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

KEYS = ("lxc.start.auto", "lxc.start.delay", "lxc.start.order", "lxc.group")
# The group of the containers that are in none; in -g an empty element.
NO_GROUP = ""


class Candidate:
    """A defined container and what its configuration says of starting. delay: seconds."""

    __slots__ = ("auto", "delay", "groups", "name", "order")

    def __init__(self, name: str, items: Mapping[str, Sequence[str]]) -> None:
        """items: the values of KEYS on disk; what cannot be read counts as unset."""
        self.name = name
        self.auto = _number(items, "lxc.start.auto") == 1
        self.order = _number(items, "lxc.start.order")
        self.delay = max(0, _number(items, "lxc.start.delay"))
        self.groups = tuple(group for value in items.get("lxc.group", ()) for group in value.split())

    def is_in(self, group: str) -> bool:
        """Whether it belongs to a group; NO_GROUP: to none."""
        return group in self.groups if group else not self.groups


def _number(items: Mapping[str, Sequence[str]], key: str) -> int:
    values = items.get(key)
    try:
        return int(values[-1]) if values else 0
    except ValueError:
        return 0


def waves(
    candidates: Iterable[Candidate], groups: Sequence[str], *, everything: bool, ignore_auto: bool, backwards: bool
) -> list[list[Candidate]]:
    """The containers to act on: waves one after the other, the containers of a wave at the same time.

    Groups in the order given, in each the containers by lxc.start.order, then by name; those of equal order are a wave.
    A container that is in two groups belongs to the first. everything: whatever the groups. backwards: the last started
    goes first, as for a shutdown; the groups keep their order, as in LXC.
    """
    left = sorted(candidates, key=lambda one: (one.order, os.fsencode(one.name)), reverse=backwards)
    left = [one for one in left if one.auto or ignore_auto]
    result: list[list[Candidate]] = []
    for group in [None] if everything else groups or [NO_GROUP]:
        chosen = [one for one in left if group is None or one.is_in(group)]
        left = [one for one in left if one not in chosen]
        previous: int | None = None
        for one in chosen:
            if one.order != previous:
                result.append([])
            result[-1].append(one)
            previous = one.order
    return result
