# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-stop: shut a container down, reboot it, or kill it."""

from __future__ import annotations

from ..container import Container
from ..errors import LxcError, NotRunning
from ._options import NONE, REQUIRED, Command, Option, Values
from ._values import signed

NOT_RUNNING = 2
PATIENCE = 60

COMMAND = Command(
    "stop",
    "[-n] NAME [-r | -k] [-W | -t SECONDS] [--nokill]",
    "Shut the container down: its init is asked to stop, and killed when it has not stopped in time.",
    (
        Option("r", "reboot", NONE, "reboot", "reboot instead"),
        Option("W", "nowait", NONE, "nowait", "do not wait for the end, nor kill"),
        Option("t", "timeout", REQUIRED, "timeout", f"wait that long, not {PATIENCE}; -1: for ever", metavar="SECONDS",
               convert=signed),
        Option("k", "kill", NONE, "kill", "kill at once"),
        Option("", "nokill", NONE, "nokill", "fail when the time is over, do not kill"),
        Option("", "nolock", NONE, "nolock", "accepted with -k; nothing is locked anyway"),
    ),
    bad_name=NOT_RUNNING,
    most_words=0,
    surplus="one container at a time",
)  # fmt: skip


def run(values: Values) -> int:
    """0 stopped, 2 was not running, 1 everything else."""
    timeout = _timeout(values)
    container = Container(values.name, values.lxcpath, rcfile=values.rcfile)
    try:
        container.require_running()
    except NotRunning as error:
        error.exit_code = NOT_RUNNING
        raise
    if values.kill:
        container.stop(wait=not values.nowait)
        return 0
    if values.reboot:
        if not container.reboot(timeout):
            raise LxcError(f"{container.name} did not reboot within {timeout} s", remedy="is its init able to reboot?")
        return 0
    if container.shutdown(timeout) or timeout == 0:
        return 0
    if values.nokill:
        raise LxcError(f"{container.name} did not stop within {timeout} s", remedy="without --nokill it is killed then")
    container.stop()
    return 0


def _timeout(values: Values) -> int:
    """Seconds, -1 for ever; LXC's order of the checks."""
    given: int | None = 0 if values.nowait else values.timeout
    if given is not None and given < -1:
        raise LxcError("Invalid timeout", remedy="-1 waits for ever")
    if values.kill and values.nokill:
        raise LxcError("-k can't be used with --nokill")
    if values.kill and values.reboot:
        raise LxcError("-k can't be used with -r")
    if values.kill and given:
        raise LxcError("-k doesn't allow timeouts")
    if values.nolock and not values.kill:
        raise LxcError("--nolock may only be used with -k")
    return PATIENCE if given is None else given
