# SPDX-License-Identifier: LGPL-2.1-or-later
"""What lxc-top shows of the running containers: their figures, the order, and a line of each for programs."""

from __future__ import annotations

import os

from .. import container as api
from ..container import Container
from ..errors import LxcError
from . import _figures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

TICKS = 100  # USER_HZ of every architecture
_PATIENCE = 1.0
SORTED_BY = {"c": "total", "b": "io", "m": "memory", "s": "memory_swap", "k": "kernel", "t": "traffic"}
KEYS = "n" + "".join(SORTED_BY)
# What C LXC prints with -b, and the field of each.
HEADER = {
    "time_ms": "", "container": "name", "cpu_nanos": "total", "cpu_sys_userhz": "system", "cpu_user_userhz": "user", "blkio_bytes": "io",
    "blkio_iops": "iops", "mem_used_bytes": "memory", "memsw_used_bytes": "memory_swap", "kernel_mem_used_bytes": "kernel",
}  # fmt: skip
JSON_HEADER = HEADER | {"net_rx_bytes": "received", "net_tx_bytes": "sent"}
_FIGURES = (
    "io", "iops", "kernel", "memory", "memory_swap", "read", "received", "sent", "system", "total", "user", "written",
)  # fmt: skip


class Usage:
    """One container's figures: CPU in nanoseconds and ticks, the rest in bytes; None for what the kernel does not tell."""

    __slots__ = ("name", *_FIGURES)
    total: int | None
    system: int | None
    user: int | None
    io: int | None
    iops: int | None
    read: int | None
    written: int | None
    memory: int | None
    memory_swap: int | None
    kernel: int | None
    received: int | None
    sent: int | None

    def __init__(self, name: str = "") -> None:
        self.name = name
        for field in _FIGURES:
            setattr(self, field, None)

    @property
    def traffic(self) -> int | None:
        """Bytes through its interfaces in both directions."""
        return None if self.received is None or self.sent is None else self.received + self.sent


def sums(rows: Sequence[Usage]) -> Usage:
    """The line of sums: of what is known."""
    total = Usage()
    for field in _FIGURES:
        known = [value for row in rows if (value := getattr(row, field)) is not None]
        setattr(total, field, sum(known) if known else None)
    return total


def measure(container: Container) -> Usage:
    """Ask the monitor and read the cgroups, of either version. Raises LxcError."""
    usage = Usage(container.name)
    usage.total = _figures.cpu(container)
    usage.system = _ticks(container, "system")
    usage.user = _ticks(container, "user")
    usage.read, usage.written, usage.io = _figures.block_io(container) or (None, None, None)
    usage.iops = (_figures.block_io(container, "ios") or (None, None, None))[2]
    usage.memory = _figures.number(container, "memory.usage_in_bytes", "memory.current")
    usage.memory_swap = _figures.number(container, "memory.memsw.usage_in_bytes")
    if usage.memory_swap is None and usage.memory is not None:
        usage.memory_swap = usage.memory + (_figures.number(container, "memory.swap.current") or 0)
    usage.kernel = _figures.kernel_memory(container)
    usage.received, usage.sent = _figures.network(container.init_pid) or (None, None)
    return usage


def _ticks(container: Container, kind: str) -> int | None:
    ticks = _figures.row(container, "cpuacct.stat", kind)
    if ticks is None:
        microseconds = _figures.row(container, "cpu.stat", f"{kind}_usec")
        ticks = None if microseconds is None else microseconds * TICKS // 1_000_000
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
    """Names ascend, numbers descend, what is not known comes last; reverse: the other way round."""
    rows = sorted(rows, key=lambda row: os.fsencode(row.name))
    field = SORTED_BY.get(key)
    if field is None:
        return rows[::-1] if reverse else rows

    def value(row: Usage) -> int:
        found = getattr(row, field)
        return -1 if found is None else int(found)

    return sorted(rows, key=value, reverse=not reverse)


def batch_line(row: Usage, now: int, *, as_json: bool) -> str:
    """One line for programs; what is not known is 0, as in LXC, and null in JSON. now: milliseconds since 1970."""
    if as_json:
        return api.as_json({title: getattr(row, field) if field else now for title, field in JSON_HEADER.items()})
    return ",".join(str(getattr(row, field) or 0) if field else str(now) for field in HEADER.values())
