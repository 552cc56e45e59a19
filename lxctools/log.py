# SPDX-License-Identifier: LGPL-2.1-or-later
"""Logging in liblxc's format: levels, the line layout of the file sink, stderr for errors, syslog.

File sink:  ``PROG NAME STAMP LEVEL    CATEGORY - FILE:FUNC:LINE - TEXT`` (NAME left out when unknown).
stderr:     ``PROG: NAME: TEXT``, records of level ERROR and worse only, unless quiet.
syslog:     ``NAME: CATEGORY - FILE:FUNC:LINE - TEXT``.

Not the standard library's logging: its import costs more than a whole lxc-info.
The file descriptor of the log file is close-on-exec and survives the forks of the daemon.
"""

from __future__ import annotations

import fcntl
import os
import sys
import syslog
import time

from . import paths

LEVELS = ("TRACE", "DEBUG", "INFO", "NOTICE", "WARN", "ERROR", "CRIT", "ALERT", "FATAL", "NOTSET")
TRACE, DEBUG, INFO, NOTICE, WARN, ERROR, CRIT, ALERT, FATAL, NOTSET = range(10)
_SYSLOG_PRIORITY = (7, 7, 6, 5, 4, 3, 2, 1, 0, 5)
_LONGEST_LINE = 4096


class _State:
    """What the sinks need; one per process."""

    __slots__ = ("fd", "name", "prog", "threshold", "to_stderr", "use_syslog")

    def __init__(self) -> None:
        self.prog = "lxc"
        self.name = ""
        self.threshold = ERROR
        self.fd = -1
        self.to_stderr = False
        self.use_syslog = False


_state = _State()


def level_number(text: str) -> int:
    """The number of a level name in any case; ERROR for anything else (LXC behaviour of -l)."""
    upper = text.upper()
    return LEVELS.index(upper) if upper in LEVELS[:9] else ERROR


def setup(prog: str, name: str = "", *, level: int = ERROR, to_stderr: bool = True) -> None:
    """Name the program and container for all records that follow, and set the threshold."""
    _state.prog = prog
    _state.name = name
    _state.threshold = level
    _state.to_stderr = to_stderr


def set_name(name: str) -> None:
    """The container that the following records speak of."""
    _state.name = name


def set_level(level: int) -> None:
    """Write records of this level and worse."""
    _state.threshold = level


def level() -> int:
    """The threshold in force; what hooks get as LXC_LOG_LEVEL (by name)."""
    return _state.threshold


def prog() -> str:
    """The program name given to setup()."""
    return _state.prog


def to_stderr(on: bool) -> None:
    """Switch the stderr sink; a daemon turns it off once its stderr is /dev/null."""
    _state.to_stderr = on


def open_file(path: str) -> None:
    """Append records to path from now on; missing parent folders are made.

    Mode 0660 less the umask, as C LXC 5.0 makes it. Raises OSError.
    """
    parent = os.path.dirname(path)
    if parent:
        os.makedirs(parent, 0o755, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY, 0o660)
    close_file()
    # Above the standard descriptors and out of the way of LISTEN_FDS.
    _state.fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64)
    os.close(fd)


def default_files(lxcpath: str, name: str) -> list[str]:
    """Where the log of a container is when only -l is given: the first that can be opened.

    LXC behaviour, but no folder is made for a container that does not exist.
    """
    candidates = [f"{paths.LOGPATH}/{name}.log"]
    folder = f"{lxcpath}/{name}"
    if not (paths.is_root() and lxcpath == paths.GLOBAL_LXCPATH) and os.path.isdir(folder):
        candidates.insert(0, f"{folder}/{name}.log")
    return candidates


def close_file() -> None:
    """Close the log file, if one is open."""
    if _state.fd >= 0:
        os.close(_state.fd)
    _state.fd = -1


def file_fd() -> int:
    """The descriptor of the log file, or -1: daemons keep it open."""
    return _state.fd


def open_syslog(facility: str) -> None:
    """Send records to syslog too; facility: daemon or local0 to local7 (the value of lxc.log.syslog)."""
    syslog.openlog(_state.prog, syslog.LOG_PID, getattr(syslog, f"LOG_{facility.upper()}"))
    _state.use_syslog = True


def enabled(wanted: int) -> bool:
    """Whether a record of this level would be written anywhere."""
    return wanted >= _state.threshold and (_state.fd >= 0 or _state.to_stderr or _state.use_syslog)


def record(wanted: int, text: str, depth: int = 1) -> None:
    """Write one record; depth is how many frames up the call came from."""
    state = _state
    if wanted < state.threshold and not (wanted >= ERROR and state.to_stderr):
        return
    if state.to_stderr and wanted >= ERROR:
        prefix = f"{state.prog}: {state.name}: " if state.name else f"{state.prog}: "
        _write(2, prefix + text)
    if state.fd < 0 and not state.use_syslog:
        return
    frame = sys._getframe(depth)
    code = frame.f_code
    module = frame.f_globals.get("__name__", "?").rpartition(".")[2]
    package = code.co_filename.rpartition("/lxctools/")[2]
    where = f"{module} - {package}:{code.co_name}:{frame.f_lineno} - {text}"
    if state.fd >= 0:
        now = time.time()
        stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}"
        name = f" {state.name}" if state.name else ""
        _write(state.fd, f"{state.prog}{name} {stamp} {LEVELS[wanted]:<8} {where}")
    if state.use_syslog:
        syslog.syslog(_SYSLOG_PRIORITY[wanted], f"{state.name}: {where}")


def _write(fd: int, line: str) -> None:
    data = (line + "\n").encode("utf-8", "backslashreplace")
    if len(data) > _LONGEST_LINE:
        data = data[: _LONGEST_LINE - 1] + b"\n"
    try:
        os.write(fd, data)
    except OSError:
        pass  # a full disk or closed stderr must not stop the container


def tell(text: str) -> None:
    """A line for the user on stderr, whatever the level, unless quiet: what was done beyond what was asked for."""
    if _state.to_stderr:
        _write(2, f"{_state.prog}: {_state.name}: {text}" if _state.name else f"{_state.prog}: {text}")


def trace(text: str) -> None:
    """Record at TRACE."""
    record(TRACE, text, 2)


def debug(text: str) -> None:
    """Record at DEBUG."""
    record(DEBUG, text, 2)


def info(text: str) -> None:
    """Record at INFO."""
    record(INFO, text, 2)


def notice(text: str) -> None:
    """Record at NOTICE."""
    record(NOTICE, text, 2)


def warn(text: str) -> None:
    """Record at WARN."""
    record(WARN, text, 2)


def error(text: str) -> None:
    """Record at ERROR: also one line on stderr unless quiet."""
    record(ERROR, text, 2)
