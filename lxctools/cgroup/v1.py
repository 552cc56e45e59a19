# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cgroup version 1: what a new cpuset needs, the freezer (Documentation/admin-guide/cgroup-v1/)."""

from __future__ import annotations

import os
import time

from .. import log
from ..errors import describe
from ..linux import proc
from . import folders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_CPU = "/sys/devices/system/cpu"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05


def prepare_cpuset(base: int, made: list[str], sys_cpu: str = _CPU) -> None:
    """Let new folders of the cpuset controller take processes: without processors or memory nodes they refuse (cpusets.rst).

    made: the new folders relative to base, outermost first. Each gets what its parent has, without processors that are
    isolated or offline, and the outermost lets folders below it inherit. Raises OSError.
    """
    for path in made:
        folder = folders.open_folder(path, base)
        parent = folders.open_folder(os.path.dirname(path) or ".", base)
        try:
            if path == made[0]:
                _inherit(folder, path)
            for file, chosen in (("cpuset.cpus", _usable), ("cpuset.mems", _same)):
                if not folders.read(folder, file):
                    folders.write(folder, file, chosen(folders.read(parent, file), sys_cpu))
        finally:
            os.close(parent)
            os.close(folder)


def _inherit(folder: int, path: str) -> None:
    try:
        folders.write(folder, "cgroup.clone_children", "1")
    except OSError as error:
        log.info(f"cpusets below {path} do not inherit: {describe(error)}")


def _same(text: str, _sys_cpu: str) -> str:
    return text


def _usable(text: str, sys_cpu: str) -> str:
    without = _cpus(f"{sys_cpu}/isolated") | _cpus(f"{sys_cpu}/offline")
    left = parse_list(text) - without
    return format_list(left) if left and without else text


def _cpus(path: str) -> set[int]:
    try:
        return parse_list(proc.read(path).decode())
    except (OSError, ValueError):
        return set()  # a kernel without it has none


def parse_list(text: str) -> set[int]:
    """The numbers of a list such as `0-3,8` (List Format of cpuset(7)). Raises ValueError."""
    found: set[int] = set()
    for word in text.strip().split(","):
        if word:
            first, _, last = word.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    return found


def format_list(numbers: Iterable[int]) -> str:
    """The opposite of parse_list()."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def freeze(folder: int, frozen: bool, seconds: float) -> bool:
    """Freeze or thaw a folder of the freezer controller; True once it is so. It has no notification: look again.

    seconds: how long to look; 0 does not, below 0 is for ever. Raises OSError.
    """
    wanted = "FROZEN" if frozen else "THAWED"
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    folders.write(folder, "freezer.state", wanted)
    while folders.read(folder, "freezer.state") != wanted:
        if seconds >= 0 and time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
        # A process that was forked meanwhile keeps it FREEZING until it is written again (freezer-subsystem.rst).
        folders.write(folder, "freezer.state", wanted)
    return True
