# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cgroup version 2: delegation of controllers, the freezer (Documentation/admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

import os
import select
import time

from . import folders

_LOOK_AGAIN = 0.5  # seconds, even when no event tells


def delegate(base: int, path: str) -> None:
    """Let a folder and those above it, down from base, give every controller that base has to their children.

    path: relative to base, "" for base alone. What is enabled already is not written again. Raises OSError with the
    folder's relative path as its filename.
    """
    parts = path.split("/") if path else []
    for depth in range(len(parts) + 1):
        _enable(base, "/".join(parts[:depth]) or ".")


def _enable(base: int, path: str) -> None:
    folder = folders.open_folder(path, base)
    try:
        enabled = folders.read(folder, "cgroup.subtree_control").split()
        missing = [name for name in folders.read(folder, "cgroup.controllers").split() if name not in enabled]
        if missing:
            folders.write(folder, "cgroup.subtree_control", " ".join(f"+{name}" for name in missing))
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(folder)


def freeze(folder: int, frozen: bool, seconds: float) -> bool:
    """Freeze or thaw a folder; True once cgroup.events says so.

    seconds: how long to wait; 0 does not, below 0 is for ever. Raises OSError.
    """
    wanted = f"frozen {int(frozen)}"
    deadline = time.monotonic() + seconds
    events = os.open("cgroup.events", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        folders.write(folder, "cgroup.freeze", str(int(frozen)))
        poller = select.poll()
        poller.register(events, select.POLLPRI)
        while wanted not in os.pread(events, 4096, 0).decode().splitlines():
            left = deadline - time.monotonic()
            if seconds >= 0 and left <= 0:
                return False
            poller.poll(1000 * (min(left, _LOOK_AGAIN) if seconds >= 0 else _LOOK_AGAIN))
        return True
    finally:
        os.close(events)
