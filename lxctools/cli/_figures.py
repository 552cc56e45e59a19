# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a container uses, read from its limit cgroups, v1 or v2, and how lxc-info writes it."""

from __future__ import annotations

import _struct
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..container import Container

_DEV_HEADERS, _RX_BYTES, _TX_BYTES = 2, 1, 9  # of /proc/PID/net/dev: lines of headers, columns


def counter(link: str, name: str) -> int | None:
    try:
        with open(f"/sys/class/net/{link}/statistics/{name}") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def content(container: Container, item: str) -> str | None:
    """A cgroup file; None for one that cannot be read, too: the other figures do not need it."""
    try:
        return container.get_cgroup_item(item)
    except OSError:
        return None


def number(container: Container, *items: str) -> int | None:
    """The number in the first of these cgroup files that exists."""
    for item in items:
        text = content(container, item)
        if text is not None and text.strip().isdigit():
            return int(text)
    return None


def row(container: Container, item: str, name: str) -> int | None:
    """The number after a name in a file of "name number" lines."""
    for line in (content(container, item) or "").splitlines():
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


def block_io(container: Container, unit: str = "bytes") -> tuple[int, int, int] | None:
    """(read, written, all together), in bytes or "ios": v1 has a line a device and kind and one of totals, v2 a line a device."""
    text = content(container, "blkio.throttle.io_service_bytes" if unit == "bytes" else "blkio.throttle.io_serviced")
    if text is not None:
        sums: dict[str, int] = {}
        for line in text.splitlines():
            words = line.split()
            if words and words[-1].isdigit() and (words[-2:-1] == ["Total"]) == (len(words) == 2):
                sums[words[-2]] = sums.get(words[-2], 0) + int(words[-1])
        return (sums.get("Read", 0), sums.get("Write", 0), sums["Total"]) if "Total" in sums else None
    text = content(container, "io.stat")
    if text is None:
        return None
    pairs = [word.partition("=") for word in text.split()]
    read, written = (
        sum(int(number) for key, _equals, number in pairs if key == letter + unit and number.isdigit()) for letter in "rw"
    )
    return read, written, read + written


def network(pid: int) -> tuple[int, int] | None:
    """(received, sent): bytes that went through a process's interfaces but lo; None when it has ended, or shares our network."""
    try:
        theirs, ours = (os.stat(f"/proc/{who}/ns/net") for who in (pid, "self"))
        if (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino):
            return None
        with open(f"/proc/{pid}/net/dev") as file:
            lines = file.readlines()[_DEV_HEADERS:]
    except OSError:
        return None
    rows = [line.replace(":", " ").split() for line in lines]
    counted = [(int(row[_RX_BYTES]), int(row[_TX_BYTES])) for row in rows if len(row) > _TX_BYTES and row[0] != "lo"]
    return sum(received for received, _sent in counted), sum(sent for _received, sent in counted)


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
