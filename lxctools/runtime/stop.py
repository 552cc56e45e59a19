# SPDX-License-Identifier: LGPL-2.1-or-later
"""End a running container from outside: ask its init to stop or to reboot, or have its monitor kill it."""

from __future__ import annotations

import _signal
import os
import select
import time

from .. import states
from ..errors import LxcError, NotRunning, describe
from ..protocol import client
from .wait import told

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from ..config.conf import Config

_SYSTEMD_HALT = int(_signal.SIGRTMIN) + 3
# Not even when it is in that state now: the only registration that a reboot does not end.
_ACROSS_REBOOT = 2


def stop(name: str, lxcpath: str, *, wait: bool = True) -> None:
    """Kill it with lxc.signal.stop and wait until the monitor has cleaned up. Raises Denied, LxcError."""
    client.stop(name, lxcpath, wait=wait)


def shutdown(name: str, lxcpath: str, conf: Config, timeout: float) -> bool:
    """Send lxc.signal.halt to init and wait for the end: that many seconds, 0 not at all, negative without limit.

    Unset, the signal is SIGRTMIN+3 for an init that blocks it (systemd), else SIGPWR. True when it has stopped.
    """
    pidfd = _init_pidfd(name, lxcpath)
    waiting: _socket.socket | int | None = None
    try:
        number = _halt_signal(name, lxcpath, conf)
        waiting = client.add_state_client(name, lxcpath, {states.STOPPED: 1}) if timeout else None
        _send(pidfd, number)
        if not timeout:
            return False
        deadline = None if timeout < 0 else time.monotonic() + timeout
        return _wait_readable(pidfd, deadline) and _stopped(waiting, deadline)
    finally:
        _close(pidfd, waiting)


def reboot(name: str, lxcpath: str, conf: Config, timeout: float) -> bool:
    """Send lxc.signal.reboot (default SIGINT) to init and wait, as shutdown() does, until the new one runs."""
    pidfd = _init_pidfd(name, lxcpath)
    waiting: _socket.socket | int | None = None
    try:
        number = conf["lxc.signal.reboot"] if conf.is_set("lxc.signal.reboot") else _signal.SIGINT
        waiting = client.add_state_client(name, lxcpath, {states.RUNNING: _ACROSS_REBOOT}) if timeout else None
        _send(pidfd, number)
        if not timeout:
            return True
        deadline = None if timeout < 0 else time.monotonic() + timeout
        return not isinstance(waiting, int) and waiting is not None and told(waiting, deadline) == states.RUNNING
    finally:
        _close(pidfd, waiting)


def _close(pidfd: int, waiting: _socket.socket | int | None) -> None:
    os.close(pidfd)
    if waiting is not None and not isinstance(waiting, int):
        waiting.close()


def _init_pidfd(name: str, lxcpath: str) -> int:
    """A pidfd of init. Raises NotRunning."""
    pidfd = client.init_pidfd(name, lxcpath)
    if pidfd is not None:
        return pidfd
    pid = client.init_pid(name, lxcpath)  # monitors before 4.0 have no pidfd to give
    if not pid:
        raise NotRunning(f"{name} is not running")
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise NotRunning(f"{name} is not running: {describe(error)}") from error


def _halt_signal(name: str, lxcpath: str, conf: Config) -> int:
    if conf.is_set("lxc.signal.halt"):
        number: int = conf["lxc.signal.halt"]
        return number
    pid = client.init_pid(name, lxcpath)
    return _SYSTEMD_HALT if pid and _blocks(pid, _SYSTEMD_HALT) else int(_signal.SIGPWR)


def _blocks(pid: int, number: int) -> bool:
    """Whether a process has the signal blocked, as /proc/PID/status says."""
    try:
        with open(f"/proc/{pid}/status", errors="replace") as file:
            for line in file:
                if line.startswith("SigBlk:"):
                    return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    except OSError:
        pass  # it has just ended
    return False


def _send(pidfd: int, number: int) -> None:
    try:
        _signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass  # it has just ended, which is what is wanted
    except OSError as error:
        raise LxcError(f"cannot send signal {number} to the container's init: {describe(error)}") from error


def _wait_readable(fd: int, deadline: float | None) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    left = None if deadline is None else max(0, int((deadline - time.monotonic()) * 1000))
    return bool(poller.poll(left))


def _stopped(waiting: _socket.socket | int | None, deadline: float | None) -> bool:
    """Init has ended; now until the monitor has cleaned up."""
    return waiting is None or isinstance(waiting, int) or told(waiting, deadline) == states.STOPPED
