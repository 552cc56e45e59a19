# SPDX-License-Identifier: LGPL-2.1-or-later
"""Freeze and thaw a container: done by the client, which also announces the states (protocol of LXC 4.0 and later).

A cgroup v1 freezer is told by freezer.state and has no notification; v2 has cgroup.freeze and cgroup.events. On v1 the
final state is announced twice, which lxc-monitor shows: LXC behaviour.
"""

from __future__ import annotations

import os
import select
import time

from .. import states
from ..errors import LxcError, NotRunning, TimedOut, describe
from ..protocol import client
from ..protocol import monitor as broadcast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 60.0
_V1_STEP = 0.02


def freeze(name: str, lxcpath: str) -> None:
    """Freeze it; nothing to do when it is frozen. Raises NotRunning, Denied, TimedOut, LxcError."""
    state = client.state(name, lxcpath)
    if state is None or state == states.STOPPED:
        raise NotRunning(f"{name} is not running")
    if state != states.FROZEN:
        _change(name, lxcpath, frozen=True)


def unfreeze(name: str, lxcpath: str) -> None:
    """Thaw it; nothing to do unless it is frozen, or was left half frozen. Raises Denied, TimedOut, LxcError."""
    if client.state(name, lxcpath) in (states.FROZEN, states.FREEZING):
        _change(name, lxcpath, frozen=False)


def _change(name: str, lxcpath: str, *, frozen: bool) -> None:
    begun, reached, failed = (
        (states.FREEZING, states.FROZEN, states.RUNNING) if frozen else (states.THAWED, states.RUNNING, states.FROZEN)
    )

    def announce(state: int) -> None:
        client.serve_state_clients(name, lxcpath, state)
        broadcast.publish_state(lxcpath, name, state)

    unified = client.cgroup2_fd(name, lxcpath, limit=True)
    folder = unified if unified is not None else client.cgroup_fd(name, lxcpath, "freezer", limit=True)
    if folder is None:
        raise LxcError("the container has no freezer cgroup", remedy="is the freezer controller mounted on this host?")
    try:
        announce(begun)
        try:
            if unified is not None:
                _unified(folder, frozen)
            else:
                _legacy(folder, frozen)
                announce(states.FROZEN if frozen else begun)
        except (OSError, LxcError) as error:
            announce(failed)
            raise error if isinstance(error, LxcError) else LxcError(describe(error)) from error
        announce(reached)
    finally:
        os.close(folder)


def _unified(folder: int, frozen: bool) -> None:
    """Write cgroup.freeze and wait for cgroup.events to say so."""
    events = os.open("cgroup.events", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        _write(folder, "cgroup.freeze", "1" if frozen else "0")
        poller = select.poll()
        poller.register(events, select.POLLPRI)
        wanted = f"frozen {int(frozen)}"

        def reached() -> bool:
            return wanted in os.pread(events, 4096, 0).decode().splitlines()

        _until(reached, lambda left: poller.poll(int(left * 1000)), folder, "cgroup.freeze", "0" if frozen else "")
    finally:
        os.close(events)


def _legacy(folder: int, frozen: bool) -> None:
    wanted = "FROZEN" if frozen else "THAWED"
    _write(folder, "freezer.state", wanted)

    def reached() -> bool:
        fd = os.open("freezer.state", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
        try:
            return os.read(fd, 64).decode().strip() == wanted
        finally:
            os.close(fd)

    _until(reached, lambda _left: time.sleep(_V1_STEP), folder, "freezer.state", "THAWED" if frozen else "")


def _until(reached: Callable[[], bool], pause: Callable[[float], object], folder: int, file: str, give_up: str) -> None:
    """Wait; after PATIENCE write give_up, if any, and raise TimedOut: a half-frozen container serves nobody."""
    deadline = time.monotonic() + PATIENCE
    while not reached():
        left = deadline - time.monotonic()
        if left <= 0:
            if give_up:
                _write(folder, file, give_up)
            raise TimedOut(f"not done within {PATIENCE:g} s", remedy="a process may hang in the kernel")
        pause(left)


def _write(folder: int, file: str, text: str) -> None:
    fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
