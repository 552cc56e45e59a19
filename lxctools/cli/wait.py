# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-wait: wait until a container is in one of some states."""

from __future__ import annotations

from .. import states
from ..container import FOREVER, Container
from ..errors import LxcError
from ._options import REQUIRED, BadValue, Command, Option, Values
from ._values import lenient

_LEAST = 0.5  # seconds for the answer of a monitor, also with -t 0


def _check(values: Values) -> None:
    if values.states is None:
        raise BadValue("Missing state option to wait for: give one or more with -s")
    if not values.states.strip("|"):
        raise BadValue(f'-s "{values.states}" names no state to wait for')


COMMAND = Command(
    "wait",
    "[-n] NAME -s STATE[|STATE...] [-t SECONDS]",
    "Wait until the container is in one of these states: " + " ".join(states.STATES) + ".",
    (
        Option("s", "state", REQUIRED, "states", "the states to wait for, joined by |", metavar="STATE[|STATE...]"),
        Option("t", "timeout", REQUIRED, "timeout", "give up after that many seconds", metavar="SECONDS",
               default=FOREVER, convert=lenient),
    ),
    most_words=0,
    check=_check,
)  # fmt: skip


def run(values: Values) -> int:
    """0 when one of the states was reached, 1 when the time was over or the container ended in another way."""
    wanted = []
    for word in values.states.split("|"):
        if word and word not in states.STATES:
            raise LxcError(f"invalid state '{word}'", remedy="the states are " + " ".join(states.STATES))
        if word:
            wanted.append(states.number(word))
    container = Container(values.name, values.lxcpath, rcfile=values.rcfile)
    if values.timeout >= 0:
        container.timeout = min(container.timeout, max(_LEAST, values.timeout))
    container.require_control()
    return 0 if container.wait(wanted, values.timeout) else 1
