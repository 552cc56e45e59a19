# SPDX-License-Identifier: LGPL-2.1-or-later
"""The states of a container; their numbers are part of the monitor's protocol."""

from __future__ import annotations

STATES = ("STOPPED", "STARTING", "RUNNING", "STOPPING", "ABORTING", "FREEZING", "FROZEN", "THAWED")
STOPPED, STARTING, RUNNING, STOPPING, ABORTING, FREEZING, FROZEN, THAWED = range(8)
# What a monitor answers to a client that has to wait for one of its states.
MUST_WAIT = 8


def name(number: int) -> str:
    """The name of a state; INVALID STATE for any other number (LXC behaviour)."""
    return STATES[number] if 0 <= number < len(STATES) else "INVALID STATE"


def number(text: str) -> int:
    """The number of a state's exact name. Raises ValueError."""
    return STATES.index(text)
