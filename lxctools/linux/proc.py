# SPDX-License-Identifier: LGPL-2.1-or-later
"""/proc as records (proc(5)); every function takes a path or a descriptor, so that a test can show it another /proc."""

from __future__ import annotations

import os

_BACKSLASH = 0x5C


class Mount:
    """One line of mountinfo: where what is mounted, and how it propagates. Raises ValueError for anything else.

    super_options are as the kernel escapes them: a comma within a value is an octal escape there.
    """

    __slots__ = ("device", "fstype", "number", "optional", "options", "parent", "point", "root", "source", "super_options")

    def __init__(self, line: bytes) -> None:
        left, _, right = line.partition(b" - ")
        fields = left.split(b" ")
        if not right or len(fields) < 6:
            raise ValueError(f"not a line of mountinfo: {line!r}")
        self.number = int(fields[0])
        self.parent = int(fields[1])
        self.device = fields[2].decode("ascii")
        self.root = unescape(fields[3])
        self.point = unescape(fields[4])
        self.options = os.fsdecode(fields[5]).split(",")
        self.optional = [os.fsdecode(field) for field in fields[6:]]
        kind, source, super_options = (right.split(b" ", 2) + [b"", b""])[:3]
        self.fstype = unescape(kind)
        self.source = unescape(source)
        self.super_options = os.fsdecode(super_options).rstrip("\n").split(",")


def unescape(field: bytes) -> str:
    """A path of mountinfo or fstab: blanks, tabs, newlines and backslashes are octal escapes in it.

    A doubled backslash, which only a person's fstab has, is one (getmntent(3)); any other backslash is itself.
    """
    if b"\\" not in field:
        return os.fsdecode(field)
    result = bytearray()
    at = 0
    while at < len(field):
        digits = field[at + 1 : at + 4]
        if field[at] != _BACKSLASH:
            result.append(field[at])
            at += 1
        elif len(digits) == 3 and 48 <= digits[0] <= 51 and all(48 <= byte <= 55 for byte in digits):
            result.append(int(digits, 8))
            at += 4
        else:
            result.append(_BACKSLASH)
            at += 2 if digits[:1] == b"\\" else 1
    return os.fsdecode(bytes(result))


def read(path: str, dir_fd: int | None = None) -> bytes:
    """A whole file of /proc or /sys. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        chunks: list[bytes] = []
        while True:
            chunk = os.read(fd, 65536)
            if not chunk:
                return b"".join(chunks)
            chunks.append(chunk)
    finally:
        os.close(fd)


def mountinfo(path: str = "/proc/self/mountinfo") -> list[Mount]:
    """The mounts of a process's mount namespace, in the kernel's order. Raises OSError, ValueError."""
    return [Mount(line) for line in read(path).split(b"\n") if line]


def status(pid: int, dir_fd: int | None = None) -> dict[str, str]:
    """The fields of /proc/PID/status; with dir_fd, a descriptor of /proc/PID, of that process. Raises OSError."""
    data = read("status", dir_fd) if dir_fd is not None else read(f"/proc/{pid}/status")
    result = {}
    for line in os.fsdecode(data).split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            result[name] = value.strip()
    return result


def cgroup(path: str = "/proc/self/cgroup") -> list[tuple[int, list[str], str]]:
    """(hierarchy number, controllers, path) of each line of /proc/PID/cgroup. Raises OSError, ValueError.

    The kernel escapes nothing here, and lets no cgroup have a newline in its name.
    """
    result = []
    for line in os.fsdecode(read(path)).split("\n"):
        if line:
            number, controllers, place = line.split(":", 2)
            result.append((int(number), [name for name in controllers.split(",") if name], place))
    return result


def id_map(path: str = "/proc/self/uid_map", dir_fd: int | None = None) -> list[tuple[int, int, int]]:
    """(first id inside, first id outside, count) of each line of a uid_map or gid_map. Raises OSError, ValueError."""
    result = []
    for line in read(path, dir_fd).splitlines():
        inside, outside, count = line.split()
        result.append((int(inside), int(outside), int(count)))
    return result
