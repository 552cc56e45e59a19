# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-monitor: print state changes as they happen."""

from __future__ import annotations

import os

from .. import container as api
from .. import states
from ..errors import LxcError
from ..linux.regex import Regex
from ..protocol.monitor import quit_monitord
from . import _out
from ._options import NONE, Command, Option, Values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..runtime.events import Event

COMMAND = Command(
    "monitor",
    "[-n REGEX] [-P PATH]... [-Q]",
    "Print every change of state of the containers whose whole name matches REGEX, until interrupted.",
    (
        Option("Q", "quit", NONE, "quit", "tell the lxc-monitord of each -P to end, and print nothing"),
        Option("", "json", NONE, "json", "print a JSON object a line"),
    ),
    named=False,
    most_words=0,
    surplus="-n takes a regular expression of names",
    rcfile=False,
    many_paths=True,
)


def run(values: Values) -> int:
    """Runs until it is killed; 1 when the monitoring cannot begin or ends."""
    if values.quit:
        return _quit(values.lxcpaths)
    pattern = values.name or ".*"
    try:
        matches = Regex(f"^{pattern}$").search
    except ValueError as error:
        raise LxcError(f"Failed to compile the regex '{pattern}': {error}") from None
    for event in api.watch(values.lxcpaths):
        if matches(event.name):
            _out.line(api.as_json(_as_data(event)) if values.json else _line(event))
            _out.flush()
    return 1


def _line(event: Event) -> str:
    if event.is_exit:
        return f"'{event.name}' exited with status [{_exit_status(event)}]"
    return f"'{event.name}' changed state to [{states.name(event.value)}]"


def _exit_status(event: Event) -> int:
    """LXC behaviour: an init that died of a signal, as halt and reboot look like, counts as 0."""
    return os.WEXITSTATUS(event.value) if os.WIFEXITED(event.value) else 0


def _as_data(event: Event) -> dict[str, object]:
    """See docs/json.md."""
    data: dict[str, object] = {"name": event.name, "lxcpath": event.lxcpath}
    if event.is_exit:
        signal = os.WTERMSIG(event.value) if os.WIFSIGNALED(event.value) else None
        return data | {"exit_status": _exit_status(event), "signal": signal}
    return data | {"state": states.name(event.value)}


def _quit(lxcpaths: list[str]) -> int:
    missing = [path for path in lxcpaths if not quit_monitord(path)]
    if missing:
        raise LxcError(f"Unable to open monitor on path: {', '.join(missing)}", remedy="no lxc-monitord runs there")
    return 0
