# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-top: what the running containers use, on a screen or as lines for programs."""

from __future__ import annotations

import _signal
import curses
import os
import select
import time

from .. import container as api
from ..container import Container
from ..errors import LxcError, describe
from . import _figures, _out
from ._options import NONE, REQUIRED, BadValue, Command, Option, Values
from ._values import unsigned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

_DELAY, _BATCH_DELAY = 3, 300
_TICKS = 100  # USER_HZ of every architecture
_PATIENCE = 1.0
_NAME_WIDTH = 18
_LINES_AROUND = 3
_KEYS = "ncbmsk"
HEADER = (
    "time_ms", "container", "cpu_nanos", "cpu_sys_userhz", "cpu_user_userhz", "blkio_bytes", "blkio_iops",
    "mem_used_bytes", "memsw_used_bytes", "kernel_mem_used_bytes",
)  # fmt: skip


def _check(values: Values) -> None:
    if values.json and not values.batch:
        raise BadValue("--json needs -b")


COMMAND = Command(
    "top",
    "[-d SECONDS] [-b [--json]] [-s n|c|b|m|s|k] [-r]",
    "Show what the running containers use. Keys: q quits, n c b m s k sort, r reverses.",
    (
        Option("d", "delay", REQUIRED, "delay", f"seconds between refreshes (default {_DELAY}; {_BATCH_DELAY} with -b)",
               metavar="SECONDS", convert=unsigned),
        Option("b", "batch", NONE, "batch", "print lines of values separated by commas instead"),
        Option("s", "sort", REQUIRED, "sort", "by name, CPU, block I/O, memory, memory and swap, or kernel memory",
               metavar="n|c|b|m|s|k", default="n"),
        Option("r", "reverse", NONE, "reverse", "the other way round"),
        Option("", "json", NONE, "json", "with -b: print a JSON object a line"),
    ),
    named=False,
    most_words=0,
    many_paths=True,
    undo=True,
    check=_check,
)  # fmt: skip


class Usage:
    """One container's figures: CPU in nanoseconds and ticks, the rest in bytes; 0 for what the kernel does not tell."""

    __slots__ = ("io", "iops", "kernel", "memory", "memory_swap", "name", "read", "system", "total", "user", "written")

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.total = self.system = self.user = 0
        self.io = self.iops = self.read = self.written = 0
        self.memory = self.memory_swap = self.kernel = 0

    def add(self, other: Usage) -> None:
        """For the line of sums."""
        for field in self.__slots__:
            if field != "name":
                setattr(self, field, getattr(self, field) + getattr(other, field))


def measure(container: Container) -> Usage:
    """Ask the monitor and read the cgroups, of either version."""
    usage = Usage(container.name)
    usage.total = _figures.cpu(container) or 0
    usage.system = _ticks(container, "system")
    usage.user = _ticks(container, "user")
    usage.read, usage.written, usage.io = _figures.block_io(container) or (0, 0, 0)
    usage.iops = (_figures.block_io(container, "ios") or (0, 0, 0))[2]
    usage.memory = _figures.number(container, "memory.usage_in_bytes", "memory.current") or 0
    both = _figures.number(container, "memory.memsw.usage_in_bytes")
    if both is None:
        both = usage.memory + (_figures.number(container, "memory.swap.current") or 0)
    usage.memory_swap = both
    usage.kernel = _figures.kernel_memory(container) or 0
    return usage


def _ticks(container: Container, kind: str) -> int:
    ticks = _figures.row(container, "cpuacct.stat", kind)
    if ticks is None:
        ticks = (_figures.row(container, "cpu.stat", f"{kind}_usec") or 0) * _TICKS // 1_000_000
    return ticks


def collect(lxcpaths: Sequence[str]) -> list[Usage]:
    """Those of all active containers whose monitor answers."""
    result = []
    for lxcpath in dict.fromkeys(lxcpaths):
        for name in api.list_containers(defined=False, config_path=lxcpath):
            try:
                result.append(measure(Container(name, lxcpath, timeout=_PATIENCE)))
            except LxcError:
                continue  # somebody else's, silent, or just gone
    return result


def arrange(rows: list[Usage], key: str, *, reverse: bool) -> list[Usage]:
    """Names ascend, numbers descend; reverse: the other way round."""
    rows = sorted(rows, key=lambda row: os.fsencode(row.name))
    field = {"c": "total", "b": "io", "m": "memory", "s": "memory_swap", "k": "kernel"}.get(key)
    if field is None:
        return rows[::-1] if reverse else rows
    return sorted(rows, key=lambda row: int(getattr(row, field)), reverse=not reverse)


def batch_line(row: Usage, now: int, *, as_json: bool) -> str:
    """One line for programs. now: milliseconds since 1970."""
    values = (
        now, row.name, row.total, row.system, row.user, row.io, row.iops, row.memory, row.memory_swap, row.kernel,
    )  # fmt: skip
    return api.as_json(dict(zip(HEADER, values, strict=True))) if as_json else ",".join(map(str, values))


def size(value: int) -> str:
    """Ten columns."""
    if value < 1 << 10:
        return f"{value:3d}.00   "
    number, unit = _figures.size_text(value).split(" ")
    return f"{number:>6} {unit}" if unit != "bytes" else f"{value:3d}.00   "


def screen_line(name: str, row: Usage, *, swap: bool, kernel: bool) -> str:
    """One line of the screen."""
    io = f"{size(row.io)}({size(row.read)}/{size(row.written)})"
    line = f"{name[:_NAME_WIDTH]:<{_NAME_WIDTH}} {row.total / 1e9:12.2f} {row.system / _TICKS:12.2f} {row.user / _TICKS:12.2f}"
    line += f" {io:>36} {size(row.memory):>10}"
    return line + (f" {size(row.memory_swap):>10}" if swap else "") + (f" {size(row.kernel):>10}" if kernel else "")


def screen(rows: list[Usage], room: int) -> list[str]:
    """Two lines of headers, as many rows as there is room for, and the sums."""
    total = Usage()
    for row in rows:
        total.add(row)
    swap, kernel = total.memory_swap > 0, total.kernel > 0
    columns: tuple[tuple[str, str, int], ...]
    columns = (("CPU", "Used", 12), ("CPU", "Sys", 12), ("CPU", "User", 12), ("BlkIO", "Total(Read/Write)", 36), ("Mem", "Used", 10))
    columns += ((("MemSw", "Used", 10),) if swap else ()) + ((("KMem", "Used", 10),) if kernel else ())
    first, second = (f"{text:<{_NAME_WIDTH}}" for text in ("Container", "Name"))
    shown = rows[: max(1, room - _LINES_AROUND)]
    return [
        first + "".join(f" {upper:>{width}}" for upper, _lower, width in columns),
        second + "".join(f" {lower:>{width}}" for _upper, lower, width in columns),
        *(screen_line(row.name, row, swap=swap, kernel=kernel) for row in shown),
        screen_line(f"TOTAL {len(shown)} of {len(rows)}", total, swap=swap, kernel=kernel),
    ]


def run(values: Values) -> int:
    """0 when it is quit; 1 without a terminal."""
    delay = values.delay if values.delay is not None else _BATCH_DELAY if values.batch else _DELAY
    if values.batch:
        return _batch(values, delay)
    if not os.isatty(0) or not os.isatty(1):
        raise LxcError("stdin is not a tty: Failed to setup terminal", remedy="-b needs none")
    return _interactive(values, delay)


def _batch(values: Values, delay: int) -> int:
    if not values.json:
        _out.line(",".join(HEADER))
    while True:
        now = int(time.time() * 1000)
        for row in arrange(collect(values.lxcpaths), values.sort[:1], reverse=values.reverse):
            _out.line(batch_line(row, now, as_json=values.json))
        _out.flush()
        time.sleep(delay)


class _Quit(Exception):
    """A signal that is answered as the key q."""


def _quit(_number: int, _frame: FrameType | None) -> None:
    raise _Quit


def _interactive(values: Values, delay: int) -> int:
    for number in (_signal.SIGINT, _signal.SIGQUIT):
        _signal.signal(number, _quit)
    key, reverse = values.sort[:1], values.reverse
    try:
        window = curses.initscr()
    except curses.error as error:
        raise LxcError(f"Failed to setup terminal: {describe(error)}", remedy="TERM names its type; -b needs none") from error
    try:
        curses.noecho()
        curses.cbreak()
        window.keypad(True)
        window.nodelay(True)
        poller = select.poll()
        poller.register(0, select.POLLIN)
        while True:
            _paint(window, arrange(collect(values.lxcpaths), key, reverse=reverse))
            events = poller.poll(delay * 1000)
            typed = window.getch()
            letter = chr(typed) if 0 < typed < 128 else ""
            if letter == "q" or (events and events[0][1] & (select.POLLHUP | select.POLLERR)):
                return 0
            if letter and letter in _KEYS:
                key, reverse = letter, not reverse if letter == key else False
            elif letter == "r":
                reverse = not reverse
    except _Quit:
        return 0
    finally:
        curses.endwin()


def _paint(window: curses.window, rows: list[Usage]) -> None:
    height, width = window.getmaxyx()
    window.erase()
    for number, line in enumerate(screen(rows, height)[:height]):
        printable = "".join(letter if letter.isprintable() else "?" for letter in line)[: width - 1]
        window.addstr(number, 0, printable, curses.A_REVERSE | curses.A_BOLD if number < 2 else curses.A_NORMAL)
    window.refresh()
