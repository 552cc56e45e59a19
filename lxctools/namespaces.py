# SPDX-License-Identifier: LGPL-2.1-or-later
"""The namespaces that LXC knows, in the one order in which they are listed, passed to hooks and entered."""

from __future__ import annotations


class Namespace:
    """name: as in lxc.namespace.*; flag: its CLONE_* bit; proc: its name in /proc/PID/ns; attach: lxc-attach -s."""

    __slots__ = ("attach", "flag", "name", "proc")

    def __init__(self, name: str, flag: int, proc: str, attach: str) -> None:
        self.name = name
        self.flag = flag
        self.proc = proc
        self.attach = attach


# The user namespace first: joining it gives the privileges for the others (setns(2)).
NAMESPACES = (
    Namespace("user", 0x10000000, "user", "USER"),
    Namespace("mnt", 0x00020000, "mnt", "MOUNT"),
    Namespace("pid", 0x20000000, "pid", "PID"),
    Namespace("uts", 0x04000000, "uts", "UTSNAME"),
    Namespace("ipc", 0x08000000, "ipc", "IPC"),
    Namespace("net", 0x40000000, "net", "NETWORK"),
    Namespace("cgroup", 0x02000000, "cgroup", "CGROUP"),
    Namespace("time", 0x00000080, "time", "TIME"),
)


def by_name(name: str) -> Namespace:
    """The row with this name. Raises KeyError."""
    for row in NAMESPACES:
        if row.name == name:
            return row
    raise KeyError(name)
