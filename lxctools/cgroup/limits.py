# SPDX-License-Identifier: LGPL-2.1-or-later
"""The limits of a configuration, in the order and the words in which they are written on this host; pure.

A host controls by version 1 (lxc.cgroup.FILE) or by version 2 (lxc.cgroup2.FILE). Lines for the version that it does not
have are said again in the words of the one it has (translate.py, which is loaded for such lines only); where the
configuration speaks of the same file (the same device in it) or controller for this host's version as well, it was written
for both, and its native lines alone count. Device rules need no translation: both versions know the same.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Write = list[tuple[str, str]]  # (file, text) in order of preference: the first whose file the kernel has

V1, V2 = "lxc.cgroup.", "lxc.cgroup2."
DEVICE_FILES = ("devices.allow", "devices.deny")
_MEMSW = "memory.memsw.limit_in_bytes"
_UNIFIED_MARK = "/sys/fs/cgroup/cgroup.controllers"


class Setting:
    """One value to be written. key, value: the configured line it comes from. choices: see Write."""

    __slots__ = ("choices", "key", "value")

    def __init__(self, key: str, value: str, choices: Write) -> None:
        self.key = key
        self.value = value
        self.choices = choices


class Plan:
    """settings: in the order in which they are written. devices: (key, value) of device rules in force, in order.

    notes: (key, value, sentence) of what is not done as it is written. problems: (key, value, reason, remedy).
    """

    __slots__ = ("devices", "notes", "problems", "settings")

    def __init__(self) -> None:
        self.settings: list[Setting] = []
        self.devices: list[tuple[str, str]] = []
        self.notes: list[tuple[str, str, str]] = []
        self.problems: list[tuple[str, str, str, str]] = []


def plan(old: Iterable[tuple[str, str]], new: Iterable[tuple[str, str]], *, unified: bool, core: bool = False) -> Plan:
    """What is to be written for lxc.cgroup.* (old) and lxc.cgroup2.* (new), as (file, value) in their order.

    unified: this host controls by version 2. core: it does not, but has a version 2 hierarchy without controllers beside,
    whose own files (cgroup.max.depth ...) can be written.
    """
    result = Plan()
    prefix, other = (V2, V1) if unified else (V1, V2)
    native, foreign = (list(new), list(old)) if unified else (list(old), list(new))
    for file, value in native:
        if not file.startswith("devices."):
            result.settings.append(Setting(prefix + file, value, [(file, value)]))
        elif unified and file not in DEVICE_FILES:
            result.problems.append((prefix + file, value, "there are devices.allow and devices.deny only", "remove the line"))
    if _speaks_of_files(foreign):
        from . import translate

        translate.add(result, native, foreign, unified=unified, core=core)
    # The kernel refuses a limit of memory and swap that is below the limit of memory (memory.rst, 8.2).
    result.settings.sort(key=lambda setting: setting.choices[0][0] == _MEMSW)
    _devices(result, native, foreign, prefix, other)
    return result


def preload(old: Iterable[tuple[str, str]], new: Iterable[tuple[str, str]]) -> None:
    """Load now what plan() will need of these, for a process that is not to load anything later."""
    if _speaks_of_files(old if os.path.exists(_UNIFIED_MARK) else new):
        from . import translate

        assert translate


def _speaks_of_files(foreign: Iterable[tuple[str, str]]) -> bool:
    return any(file not in DEVICE_FILES for file, _value in foreign)


def _devices(result: Plan, native: Sequence[tuple[str, str]], foreign: Sequence[tuple[str, str]], prefix: str, other: str) -> None:
    """Rules are read in order, so both lists become one.

    Lines that stand in both, as in LXC's common.conf, are the native ones. A rest that begins anew ("a") comes before the
    native lines, which then hold, or is left out where they begin anew themselves; any other rest goes on from them.
    """
    mine = [(prefix + file, value) for file, value in native if file.startswith("devices.")]
    known = {(file, _rule(value)) for file, value in native}
    rest = [(file, _rule(value)) for file, value in foreign if file in DEVICE_FILES]
    added = [(other + file, value) for file, value in rest if (file, value) not in known]
    what = f"is of the other cgroup version: set with {prefix}devices"
    if _anew(added):
        begins = _anew(mine)
        result.devices = mine if begins else [*added, *mine]
        if begins:
            what = f"is passed over: {begins[-1][0]} = {begins[-1][1].strip()} begins anew, and {prefix}devices says what counts here"
    else:
        result.devices = [*mine, *added]
    for key in dict.fromkeys(key for key, _value in added):
        values = [value for name, value in added if name == key]
        result.notes.append((key, values[0], f"({len(values)} of such lines) {what}"))


def _rule(value: str) -> str:
    """A device rule; the kernel's version 1 reads nothing after an "a"."""
    words = value.split()
    return "a" if words[:1] == ["a"] else value.strip()


def _anew(rules: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(key, value) for key, value in rules if _rule(value) == "a"]
