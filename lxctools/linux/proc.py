# SPDX-License-Identifier: LGPL-2.1-or-later
"""/proc as records (proc(5)); every function takes a path or a descriptor, so that a test can show it another /proc."""

from __future__ import annotations

import os


class Mount:
    """One line of mountinfo: where what is mounted, and how it propagates."""

    __slots__ = ("device", "fstype", "optional", "options", "parent", "point", "root", "source", "super_options")

    def __init__(self, line: bytes) -> None:
        left, _, right = line.partition(b" - ")
        fields = left.split(b" ")
        self.parent = int(fields[1])
        self.device = fields[2].decode()
        self.root = unescape(fields[3])
        self.point = unescape(fields[4])
        self.options = fields[5].decode().split(",")
        self.optional = [field.decode() for field in fields[6:]]
        kind, source, super_options = (right.split(b" ", 2) + [b"", b""])[:3]
        self.fstype = kind.decode()
        self.source = unescape(source)
        self.super_options = super_options.decode("utf-8", "surrogateescape").rstrip("\n").split(",")


def unescape(field: bytes) -> str:
    """A path of mountinfo or fstab: blanks, tabs, newlines and backslashes are octal escapes in it."""
    if b"\\" not in field:
        return os.fsdecode(field)
    parts = field.split(b"\\")
    result = parts[0]
    for part in parts[1:]:
        digits = part[:3]
        if len(digits) == 3 and all(48 <= byte <= 55 for byte in digits):
            result += bytes([int(digits, 8) & 0xFF]) + part[3:]
        else:
            result += b"\\" + part
    return os.fsdecode(result)


def read(path: str, dir_fd: int | None = None) -> bytes:
    """A whole file of /proc or /sys. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        chunks = []
        while True:
            chunk = os.read(fd, 65536)
            if not chunk:
                return b"".join(chunks)
            chunks.append(chunk)
    finally:
        os.close(fd)


def mountinfo(path: str = "/proc/self/mountinfo") -> list[Mount]:
    """The mounts of a process's mount namespace, in the kernel's order. Raises OSError."""
    return [Mount(line) for line in read(path).splitlines() if line]


def status(pid: int, dir_fd: int | None = None) -> dict[str, str]:
    """The fields of /proc/PID/status; with dir_fd, a descriptor of /proc/PID, of that process. Raises OSError."""
    data = read("status", dir_fd) if dir_fd is not None else read(f"/proc/{pid}/status")
    result = {}
    for line in data.decode("utf-8", "surrogateescape").splitlines():
        name, _, value = line.partition(":")
        result[name] = value.strip()
    return result


def cgroup(path: str = "/proc/self/cgroup") -> list[tuple[int, list[str], str]]:
    """(hierarchy number, controllers, path) of each line of /proc/PID/cgroup. Raises OSError."""
    result = []
    for line in read(path).decode("utf-8", "surrogateescape").splitlines():
        number, controllers, place = line.split(":", 2)
        result.append((int(number), [name for name in controllers.split(",") if name], place))
    return result
