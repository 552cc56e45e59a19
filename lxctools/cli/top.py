# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-top: what the running containers use, on a screen or as lines for programs."""

from __future__ import annotations

import _signal
import contextlib
import curses
import os
import select
import time

from ..errors import LxcError, describe
from . import _figures, _out, _usage
from ._options import NONE, REQUIRED, BadValue, Command, Option, Values
from ._usage import Usage
from ._values import unsigned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

_DELAY, _BATCH_DELAY = 3, 300
_NAME_WIDTH = 18
_LINES_AROUND = 3
_UNKNOWN = "-"


def _check(values: Values) -> None:
    if values.json and not values.batch:
        raise BadValue("--json needs -b")


COMMAND = Command(
    "top",
    "[-d SECONDS] [-b [--json]] [-s n|c|b|m|s|k|t] [-r]",
    "Show what the running containers use. Keys: q quits, n c b m s k t sort, r reverses.",
    (
        Option("d", "delay", REQUIRED, "delay", f"seconds between refreshes (default {_DELAY}; {_BATCH_DELAY} with -b)",
               metavar="SECONDS", convert=unsigned),
        Option("b", "batch", NONE, "batch", "print lines of values separated by commas instead"),
        Option("s", "sort", REQUIRED, "sort", "by name, CPU, block I/O, memory, memory and swap, kernel memory, or network",
               metavar="n|c|b|m|s|k|t", default="n"),
        Option("r", "reverse", NONE, "reverse", "the other way round"),
        Option("", "json", NONE, "json", "with -b: print a JSON object a line"),
    ),
    named=False,
    most_words=0,
    many_paths=True,
    undo=True,
    check=_check,
)  # fmt: skip


class Column:
    """A column of the screen: two lines of heading, its width, and what it shows of a container. sparing: less of it, where it is narrow."""

    __slots__ = ("lower", "show", "sparing", "upper", "width")

    def __init__(self, upper: str, lower: str, width: int, show: Callable[[Usage], str], sparing: Column | None = None) -> None:
        self.upper = upper
        self.lower = lower
        self.width = width
        self.show = show
        self.sparing = sparing


def size(value: int | None) -> str:
    """Bytes in ten places."""
    if value is None:
        return f"{_UNKNOWN:>6}    "
    if value < 1 << 10:
        return f"{value:3d}.00   "
    number, unit = _figures.size_text(value).split(" ")
    return f"{number:>6} {unit}" if unit != "bytes" else f"{value:3d}.00   "


def _seconds(value: int | None, per_second: float) -> str:
    return _UNKNOWN if value is None else f"{value / per_second:.2f}"


_CPU = Column("CPU", "Used", 12, lambda row: _seconds(row.total, 1e9))
_CPU_SYS = Column("CPU", "Sys", 12, lambda row: _seconds(row.system, _usage.TICKS))
_CPU_USER = Column("CPU", "User", 12, lambda row: _seconds(row.user, _usage.TICKS))
_IO = Column("BlkIO", "Total(Read/Write)", 36, lambda row: f"{size(row.io)}({size(row.read)}/{size(row.written)})",
             Column("BlkIO", "Total", 10, lambda row: size(row.io)))  # fmt: skip
_MEM = Column("Mem", "Used", 10, lambda row: size(row.memory))
_SWAP = Column("MemSw", "Used", 10, lambda row: size(row.memory_swap))
_KERNEL = Column("KMem", "Used", 10, lambda row: size(row.kernel))
_RECEIVED = Column("Net", "Rx", 10, lambda row: size(row.received))
_SENT = Column("Net", "Tx", 10, lambda row: size(row.sent))
# What a narrow terminal does without, in this order.
_DISPENSABLE = (_CPU_SYS, _CPU_USER, _KERNEL, _SWAP, _RECEIVED, _SENT, _IO.sparing, _MEM)


def columns_for(total: Usage, width: int) -> list[Column]:
    """Those that anybody uses, as many as a terminal of this width has room for."""
    columns = [_CPU, _CPU_SYS, _CPU_USER, _IO, _MEM]
    columns += [_SWAP] * bool(total.memory_swap) + [_KERNEL] * bool(total.kernel)
    columns += [_RECEIVED, _SENT] * (total.traffic is not None)

    def too_wide() -> bool:
        return _NAME_WIDTH + sum(1 + column.width for column in columns) > width

    if too_wide():
        columns = [column.sparing or column for column in columns]
    for column in _DISPENSABLE:
        if too_wide() and column in columns:
            columns.remove(column)
    return columns


def screen(rows: list[Usage], room: int, width: int) -> list[str]:
    """Two lines of headers, as many rows as there is room for, and the sums."""
    total = _usage.sums(rows)
    columns = columns_for(total, width)
    shown = rows[: max(1, room - _LINES_AROUND)]
    total.name = f"TOTAL {len(shown)} of {len(rows)}"

    def line(first: str, cells: Sequence[str]) -> str:
        return f"{first[:_NAME_WIDTH]:<{_NAME_WIDTH}}" + "".join(
            f" {cell:>{column.width}}" for cell, column in zip(cells, columns, strict=True)
        )

    return [
        line("Container", [column.upper for column in columns]),
        line("Name", [column.lower for column in columns]),
        *(line(row.name, [column.show(row) for column in columns]) for row in (*shown, total)),
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
        _out.line(",".join(_usage.HEADER))
    while True:
        now = int(time.time() * 1000)
        for row in _usage.arrange(_usage.collect(values.lxcpaths), values.sort[:1], reverse=values.reverse):
            _out.line(_usage.batch_line(row, now, as_json=values.json))
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
    # A change of the window's size wakes the poll; without a handler of ours curses would answer it, after the delay.
    waking, told = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    _signal.set_wakeup_fd(told)
    _signal.signal(_signal.SIGWINCH, lambda _number, _frame: None)
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
        poller.register(waking, select.POLLIN)
        rows = _usage.collect(values.lxcpaths)
        while True:
            _paint(window, _usage.arrange(rows, key, reverse=reverse))
            events = dict(poller.poll(delay * 1000))
            if waking in events:
                os.read(waking, 64)
                _resize(window)
                continue
            typed = window.getch()
            letter = chr(typed) if 0 < typed < 128 else ""
            if letter == "q" or events.get(0, 0) & (select.POLLHUP | select.POLLERR):
                return 0
            if letter and letter in _usage.KEYS:
                key, reverse = letter, not reverse if letter == key else False
            elif letter == "r":
                reverse = not reverse
            rows = _usage.collect(values.lxcpaths)
    except _Quit:
        return 0
    finally:
        with contextlib.suppress(curses.error):  # the terminal may be gone
            curses.endwin()


def _resize(window: curses.window) -> None:
    columns, lines = os.get_terminal_size(1)
    if lines and columns:
        curses.resizeterm(lines, columns)
        window.clear()


def _paint(window: curses.window, rows: list[Usage]) -> None:
    height, width = window.getmaxyx()
    window.erase()
    for number, line in enumerate(screen(rows, height, width - 1)[:height]):
        printable = "".join(letter if letter.isprintable() else "?" for letter in line)[: width - 1]
        window.addstr(number, 0, printable, curses.A_REVERSE | curses.A_BOLD if number < 2 else curses.A_NORMAL)
    window.refresh()
