# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a user who is not root makes on disk: modes and owners are C LXC's."""

from __future__ import annotations

from pathlib import Path

from tests import host, throwaway, user

STEPS = (
    ("create", "-n", "c1", "-t", user.TEMPLATE),
    ("copy", "-n", "c1", "-N", "c2"),
    ("snapshot", "-n", "c1"),
    ("snapshot", "-n", "c1", "-r", "snap0"),
    ("copy", "-n", "c2", "-N", "c4", "-R"),
    ("snapshot", "-n", "c1", "-d", "snap0"),
    ("destroy", "-n", "c4"),
    ("destroy", "-n", "c1"),
)


def _all(tools: Path) -> list[list[str]]:
    user.prepare()
    found = []
    for tool, *words in STEPS:
        done = user.run(tools / f"lxc-{tool}", *words)
        assert done.returncode == 0, done
        # C LXC leaves the folder of the snapshots when the last one is gone.
        found.append([line for line in user.listing() if not line.endswith("/snaps")])
    return found


def test_modes_and_owners() -> None:
    ours, theirs = (throwaway.inside(lambda tools=tools: _all(tools)) for tools in (host.OURS, host.THEIRS))  # type: ignore[misc]
    for step, mine, other in zip(STEPS, ours, theirs, strict=True):
        assert mine == other, step
