# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-logs: print what a container has written to its console, or what LXC has logged of it."""

from __future__ import annotations

import os
import time

from .. import log
from ..container import Container
from ..errors import LxcError
from ..terminal.tail import Filter, Tail, last_lines
from . import _out
from ._options import NONE, REQUIRED, BadValue, Command, Option, Values
from ._values import unsigned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_AGAIN = 0.25  # seconds between two looks for something new


def _check(values: Values) -> None:
    if values.buffer and values.runtime:
        raise BadValue("-b and -r are two different logs")


COMMAND = Command(
    "logs",
    "[-n] NAME [-b | -r] [-f] [-t LINES] [--raw]",
    "Print the container's console log: its file, or else the buffer that its monitor keeps.",
    (
        Option("b", "buffer", NONE, "buffer", "the monitor's buffer (lxc.console.buffer.size), which this empties"),
        Option("r", "runtime", NONE, "runtime", "LXC's own log of the container instead"),
        Option("f", "follow", NONE, "follow", "go on with what is added, until interrupted"),
        Option("t", "tail", REQUIRED, "tail", "begin with the last LINES lines", metavar="LINES", convert=unsigned),
        Option("", "raw", NONE, "raw", "on a terminal, too, leave control characters as they are"),
    ),
    most_words=0,
    check=_check,
)


def run(values: Values) -> int:
    """0; 1 when there is no such container, or it keeps no log."""
    container = Container(values.name, values.lxcpath, rcfile=values.rcfile)
    container.require_control()
    running = container.running
    if not running:
        container.require_defined()
    show = _shower(values)
    path = "" if values.buffer else _runtime_log(container) if values.runtime else _value(container, "lxc.console.logfile", running)
    if path:
        _print_file(path, values, show)
    elif running:
        _print_buffer(container, values, show)
    elif values.buffer:
        raise LxcError(
            f"{container.name} is not running: the buffer of its console ended with its monitor",
            remedy="lxc-logs without -b prints lxc.console.logfile, where that is set",
        )
    else:
        raise LxcError(
            f"{container.name} is not running, and its console has no log file",
            remedy="set lxc.console.logfile to a file, and start it",
        )
    return 0


def _shower(values: Values) -> Callable[[bytes], None]:
    """How bytes are written: on a terminal without what it would obey."""
    if values.raw or not os.isatty(1):
        return _out.now
    clean = Filter()
    return lambda data: _out.now(clean.feed(data, final=not data))


def _value(container: Container, key: str, running: bool) -> str:
    """The value that is in force: the monitor's, or on disk."""
    if running:
        return container.get_running_config_item(key) or ""
    return container.get_config_item(key)


def _runtime_log(container: Container) -> str:
    """lxc.log.file, or the file that -l opens. Raises LxcError when there is none."""
    path = _value(container, "lxc.log.file", container.running) or log.default_files(container.lxcpath, container.name)[0]
    if not os.path.exists(path):
        raise LxcError(
            f"LXC has no log of {container.name}: there is no {path}",
            remedy="set lxc.log.file, or start it with -l DEBUG",
        )
    return path


def _print_file(path: str, values: Values, show: Callable[[bytes], None]) -> None:
    tail = Tail(path)
    try:
        if values.tail is not None:
            tail.seek_lines(values.tail)
        while True:
            data = tail.read()
            if data:
                show(data)
            elif values.follow:
                time.sleep(_AGAIN)
            else:
                break
    finally:
        tail.close()
    show(b"")


def _print_buffer(container: Container, values: Values, show: Callable[[bytes], None]) -> None:
    """The monitor hands out each byte once. Following ends with the container."""
    try:
        data = container.console_log(read=True) or b""
    except LxcError as error:
        raise LxcError(
            f"the console of {container.name} has neither a log file nor a buffer: {error.message}",
            remedy="set lxc.console.logfile, or lxc.console.buffer.size = auto, and start it again",
        ) from error
    show(data if values.tail is None else last_lines(data, values.tail))
    while values.follow:
        time.sleep(_AGAIN)
        more = container.console_log(read=True)
        if more is None:
            break
        if more:
            show(more)
    show(b"")
