# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rows of lxc-ls: who is there, in which state, and what the columns asked for need to know of it.

Only what is asked for is found out: a list of names asks no monitor and reads no configuration.
"""

from __future__ import annotations

import os
import time

from .. import container as api
from .. import states
from ..container import Container
from ..errors import ConfigError, Denied, LxcError, TimedOut, os_path
from ..protocol import client
from . import _out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..config.peek import Peek
    from ._options import Values

COLUMNS = (
    "NAME", "STATE", "PID", "RAM", "SWAP", "AUTOSTART", "GROUPS", "INTERFACE", "IPV4", "IPV6", "UNPRIVILEGED",
)  # fmt: skip
FROM_CONFIG = {"AUTOSTART": "lxc.start.auto", "GROUPS": "lxc.group", "UNPRIVILEGED": "lxc.idmap"}
INSIDE_NETWORK = frozenset(("INTERFACE", "IPV4", "IPV6"))
NOTHING = "-"
UNRESPONSIVE = "UNRESPONSIVE"
_ONE_ANSWER = 1.0
_ALL_SILENT = 1.8  # seconds that all monitors together may fail to answer
_LEAST = 0.05
_AT_ONCE = 50  # containers whose monitors are asked at the same time
_RESERVE = 32  # descriptors for everything else


class Row:
    """One container. state: a number, or None when the monitor refuses to say or does not answer (then silent)."""

    __slots__ = ("container", "denied", "fields", "level", "name", "on_disk", "path", "silent", "state")

    def __init__(self, name: str, lxcpath: str, parent: str = "", level: int = 0) -> None:
        self.name = name
        self.path = f"{parent}/{name}" if parent else name
        self.level = level
        self.container = Container(name, lxcpath)
        self.fields: dict[str, str] = {}
        self.state: int | None = states.STOPPED
        self.denied = False
        self.silent = False
        self.on_disk: dict[str, list[str]] | None = None

    @property
    def running(self) -> bool:
        """Whether there is a monitor."""
        return self.state != states.STOPPED

    @property
    def answers(self) -> bool:
        """Whether the monitor can be asked."""
        return self.running and not self.denied and not self.silent

    def groups(self) -> set[str]:
        """What -g compares: the items of lxc.group, those with commas taken apart."""
        text = self.fields.get("GROUPS", NOTHING)
        return set() if text == NOTHING else {word.strip() for word in text.split(",")}


class Query:
    """What is asked for. columns: of the table, [] for a mere list. keep: the test of a name."""

    __slots__ = ("active", "columns", "defined", "frozen", "groups", "keep", "running", "stopped")

    def __init__(self, values: Values, columns: list[str], keep: Callable[[str], bool]) -> None:
        self.columns = columns
        self.keep = keep
        self.active: bool = values.active
        self.defined: bool = values.defined
        self.running: bool = values.running
        self.frozen: bool = values.frozen
        self.stopped: bool = values.stopped
        self.groups: set[str] | None = None
        if values.groups:
            self.groups = {word.strip() for word in values.groups.split(",") if word.strip()}

    def needs_states(self) -> bool:
        """Whether monitors must be asked."""
        return bool(self.columns or self.running or self.frozen or self.stopped or self.groups is not None)

    def state_matches(self, row: Row) -> bool:
        """All state options are ANDed; a container whose state is not known counts as running."""
        if self.running and row.state == states.STOPPED:
            return False
        if self.stopped and row.state != states.STOPPED:
            return False
        return not self.frozen or self.active or row.state == states.FROZEN

    def wanted(self) -> set[str]:
        """The columns that most of those that run will have to fill, as the state leaves few of them out."""
        return set() if self.stopped or self.frozen else {*self.columns, *(("GROUPS",) if self.groups is not None else ())}


class Patience:
    """Bounds the time that silent monitors take from the whole list."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = _ALL_SILENT

    def limit(self) -> float:
        """Seconds that the next question may take."""
        return max(_LEAST, min(_ONE_ANSWER, self.left))

    def ask(self, row: Row, question: Callable[[], str | int | None]) -> str | int | None:
        """The answer; None, and the row marked, when the monitor refuses or is silent, and when it answers with nonsense."""
        row.container.timeout = self.limit()
        begun = time.monotonic()
        try:
            return question()
        except Denied:
            row.denied = True
        except TimedOut:
            row.silent = True
            self.left -= time.monotonic() - begun
        except LxcError as error:
            _out.complain(f"{os_path(row.path)}: {error}\n")  # about this one answer
            return None
        row.state = None
        return None


class Place:
    """Where to list. parent, level: for containers in containers. asleep: nothing can run there.

    proc: a descriptor of the host's /proc, for places whose own does not show us.
    """

    __slots__ = ("_peek", "asleep", "level", "lxcpath", "parent", "proc")

    def __init__(self, lxcpath: str, *, parent: str = "", level: int = 0, asleep: bool = False, proc: int | None = None) -> None:
        self.lxcpath = lxcpath
        self.parent = parent
        self.level = level
        self.asleep = asleep
        self.proc = proc
        self._peek: Peek | None = None

    def peek(self, path: str) -> dict[str, list[str]]:
        """What the table needs of a configuration file. Raises ConfigError."""
        if self._peek is None:
            self._peek = api.peek_at(FROM_CONFIG.values())
        return self._peek.read(path)

    def active(self) -> set[str]:
        """The names of the containers that have a monitor in our network namespace."""
        if self.asleep:
            return set()
        if self.proc is None:
            return set(client.active(self.lxcpath))
        return set(client.active(self.lxcpath, os.open("self/net/unix", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)))


def collect(query: Query, place: Place, patience: Patience) -> list[Row]:
    """The rows of a place that match, in order, with the columns filled in."""
    lxcpath = place.lxcpath
    running = place.active()
    names = running if query.active or query.frozen else running.union(api.list_containers(False, True, lxcpath))
    rows = []
    for name in sorted(filter(query.keep, names), key=os.fsencode):
        row = Row(name, lxcpath, place.parent, place.level)
        if name in running:
            row.state = states.RUNNING  # until it is asked
        if not query.defined or row.container.defined:
            rows.append(row)
    if query.needs_states():
        ask_states(rows, query.wanted(), patience)
        rows = list(filter(query.state_matches, rows))
    if query.groups is not None:
        fill(rows, ["GROUPS"], patience, place)
        # "-g ," asks for no group in particular, but for one: LXC behaviour.
        rows = [row for row in rows if row.groups() and query.groups <= row.groups()]
    if query.columns:
        known = {"GROUPS"} if query.groups is not None else set()
        fill(rows, [column for column in query.columns if column not in known], patience, place)
    return rows


def ask_states(rows: Iterable[Row], columns: set[str], patience: Patience) -> None:
    """Ask the monitor of every active container for its state, and at once for what fill() will want to know."""
    for some in _chunks([row for row in rows if row.running]):
        for row in some:
            row.container.ask_ahead(state=True, init_pid=_needs_pid(columns), keys=_keys(columns))
        for row in some:
            number = patience.ask(row, lambda row=row: row.container.state_number)  # type: ignore[misc]
            row.state = number if isinstance(number, int) else None


def _chunks(rows: list[Row]) -> Iterator[list[Row]]:
    if not rows:
        return
    try:
        taken = len(os.listdir("/proc/self/fd"))
    except OSError:
        taken = _RESERVE  # in a container whose /proc is not mounted
    room = os.sysconf("SC_OPEN_MAX") - taken - _RESERVE
    at_once = max(1, min(_AT_ONCE, room))
    for first in range(0, len(rows), at_once):
        yield rows[first : first + at_once]


def fill(rows: list[Row], wanted: Iterable[str], patience: Patience, place: Place) -> None:
    """Find out the columns wanted."""
    columns = set(wanted)
    keys = _keys(columns)
    for some in _chunks(rows):
        for row in some:
            if row.answers:
                row.container.ask_ahead(init_pid=_needs_pid(columns), keys=keys)
        for row in some:
            _identity(row, columns, patience)
            _from_configuration(row, columns, patience, place)
            if row.running and not row.answers:
                row.container.ask_ahead()  # nothing: one that fell silent has answers that nobody waits for
    if columns & INSIDE_NETWORK:
        _network([row for row in rows if row.answers], columns, place)
    for row in rows:
        if row.answers and columns & {"RAM", "SWAP"}:
            _memory(row, columns, patience)
        # Last: a monitor may have fallen silent at any of the questions.
        row.fields["STATE"] = _state_text(row)


def _keys(columns: set[str]) -> list[str]:
    return [key for column, key in FROM_CONFIG.items() if column in columns]


def _needs_pid(columns: set[str]) -> bool:
    return bool(columns & (INSIDE_NETWORK | {"PID"}))


def _state_text(row: Row) -> str:
    if row.silent:
        return UNRESPONSIVE
    return NOTHING if row.state is None else states.name(row.state)


def _identity(row: Row, columns: set[str], patience: Patience) -> None:
    row.fields["NAME"] = row.name
    if row.answers and _needs_pid(columns):
        pid = patience.ask(row, lambda: row.container.init_pid)
        if isinstance(pid, int) and pid > 0:
            row.fields["PID"] = str(pid)


def _from_configuration(row: Row, columns: set[str], patience: Patience, place: Place) -> None:
    """A running container's values come from its monitor, others from disk."""
    for column, key in FROM_CONFIG.items():
        if column not in columns:
            continue
        value: str | None = None
        if row.answers:
            answer = patience.ask(row, lambda key=key: row.container.get_running_config_item(key))  # type: ignore[misc]
            value = answer if isinstance(answer, str) else None
        if not row.answers and (column == "GROUPS" or not row.denied):
            value = _on_disk(row, key, place)
        row.fields[column] = _shown(column, value or "")


def _shown(column: str, value: str) -> str:
    if column == "AUTOSTART":
        return "0" if value.rpartition("\n")[2] in ("", "0") else "1"
    if column == "UNPRIVILEGED":
        return "true" if value else "false"
    return ", ".join(value.split()) or NOTHING


def _on_disk(row: Row, key: str, place: Place) -> str:
    """The value on disk; empty when there is no configuration or it cannot be read, and that is told once."""
    if row.on_disk is None:
        row.on_disk = {}
        try:
            if row.container.defined:
                row.on_disk = place.peek(row.container.config_file_name)
        except ConfigError as error:
            _out.complain(f"Failed to load config for {os_path(row.name)}: {error}\n")
    return "\n".join(row.on_disk.get(key, ()))


def _network(rows: list[Row], columns: set[str], place: Place) -> None:
    """Look into the network namespaces of the inits."""
    pids: dict[int, int] = {}
    pidfds: dict[int, int] = {}
    for index, row in enumerate(rows):
        # A number from inside a container says nothing here, but the monitor hands out the process itself.
        if place.level:
            fd = client.init_pidfd(row.container.name, row.container.lxcpath)
            if fd is not None:
                pidfds[index] = fd
        elif "PID" in row.fields:
            pids[index] = int(row.fields["PID"])
    networks = api.look_into_networks(pids, pidfds, place.proc)
    for index, network in networks.items():
        fields = rows[index].fields
        fields["INTERFACE"] = ", ".join(network.interfaces) or NOTHING
        for column, family in (("IPV4", "inet"), ("IPV6", "inet6")):
            fields[column] = ", ".join(network.ips(family=family)) or NOTHING


def _memory(row: Row, columns: set[str], patience: Patience) -> None:
    def item(name: str) -> str:
        try:
            answer = patience.ask(row, lambda: row.container.get_cgroup_item(name)) if row.answers else None
        except OSError:
            return ""  # the other columns do not need it
        return answer if isinstance(answer, str) else ""

    if "RAM" in columns:
        text = item("memory.usage_in_bytes") or item("memory.current")
        row.fields["RAM"] = f"{int(text) / 1048576:.2f}" if text.strip().isdigit() else "0.00"
    if "SWAP" in columns:
        row.fields["SWAP"] = f"{_swap(item) >> 20}.00"


def _swap(item: Callable[[str], str]) -> int:
    """Bytes: the swap line of v1's memory.stat, or v2's own file."""
    for line in item("memory.stat").splitlines():
        name, _blank, number = line.partition(" ")
        if name == "swap" and number.isdigit():
            return int(number)
    text = item("memory.swap.current").strip()
    return int(text) if text.isdigit() else 0
