# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a container uses, read from its limit cgroups, v1 or v2, and how lxc-info writes it."""

from __future__ import annotations

import _struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..container import Container


def counter(link: str, name: str) -> int | None:
    try:
        with open(f"/sys/class/net/{link}/statistics/{name}") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def number(container: Container, *items: str) -> int | None:
    """The number in the first of these cgroup files that exists."""
    for item in items:
        text = container.get_cgroup_item(item)
        if text is not None and text.strip().isdigit():
            return int(text)
    return None


def row(container: Container, item: str, name: str) -> int | None:
    """The number after a name in a file of "name number" lines."""
    for line in (container.get_cgroup_item(item) or "").splitlines():
        word, _blank, number = line.partition(" ")
        if word == name and number.isdigit():
            return int(number)
    return None


def cpu(container: Container) -> int | None:
    """Nanoseconds."""
    usage = number(container, "cpuacct.usage")
    if usage is None:
        microseconds = row(container, "cpu.stat", "usage_usec")
        usage = None if microseconds is None else microseconds * 1000
    return usage


def kernel_memory(container: Container) -> int | None:
    """Bytes that the kernel holds for it."""
    usage = number(container, "memory.kmem.usage_in_bytes")
    return row(container, "memory.stat", "kernel") if usage is None else usage


def block_io(container: Container) -> int | None:
    """Bytes read and written: the last line of the v1 file is their total; v2 has a line a device."""
    text = container.get_cgroup_item("blkio.throttle.io_service_bytes")
    if text is not None:
        word, _blank, number = (text.splitlines() or [""])[-1].partition(" ")
        return int(number) if word == "Total" and number.isdigit() else None
    text = container.get_cgroup_item("io.stat")
    if text is None:
        return None
    pairs = (word.partition("=") for word in text.split())
    return sum(int(number) for key, _equals, number in pairs if key in ("rbytes", "wbytes") and number.isdigit())


def cpu_text(nanoseconds: int) -> str:
    """Seconds with two digits, in the single precision of LXC."""
    (seconds,) = _struct.unpack("f", _struct.pack("f", nanoseconds / 1e9))
    return f"{seconds:.2f} seconds"


def size_text(value: int) -> str:
    """Bytes for people, cut (not rounded) as LXC cuts them; the limits themselves belong to the smaller unit."""
    if value > 1 << 30:
        return f"{value >> 30}.{(value & ((1 << 30) - 1)) // 10737419:02d} GiB"
    if value > 1 << 20:
        value += 5243
        return f"{value >> 20}.{(value & ((1 << 20) - 1)) * 100 >> 20:02d} MiB"
    if value > 1 << 10:
        value += 5
        return f"{value >> 10}.{(value & 1023) * 100 >> 10:02d} KiB"
    return f"{value} bytes"
