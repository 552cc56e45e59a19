# SPDX-License-Identifier: LGPL-2.1-or-later
"""prctl(2), capget(2), capset(2).

By ourselves rather than python-prctl: that module costs 6 ms to import, and has neither PR_SET_MM_MAP nor the ambient set
in one call, both of which every start needs.
"""

from __future__ import annotations

import mmap
import os
import struct

from ._cdata import addressof, c_char, c_long, create_string_buffer
from ._libc import bind, c_int, c_ulong, c_void_p, error

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_KEEPCAPS = 8
_PR_SET_NAME = 15
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_MM = 35
_PR_SET_MM_MAP = 14
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522

_prctl = bind("prctl", c_int, c_ulong, c_ulong, c_ulong, c_ulong)
_capget = bind("capget", c_void_p, c_void_p)
_capset = bind("capset", c_void_p, c_void_p)

_sbrk = bind("sbrk", c_long, restype=c_ulong)
_kept: list[mmap.mmap] = []


def _call(what: str, option: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> int:
    result: int = _prctl(option, a, b, c, d)
    if result < 0:
        raise error(f"prctl({what})")
    return result


def set_pdeathsig(number: int) -> None:
    """The signal that this process gets when its parent thread ends; 0 for none. Raises OSError."""
    _call("PR_SET_PDEATHSIG", _PR_SET_PDEATHSIG, number)


def set_dumpable(on: bool) -> None:
    """Whether others may look into this process through /proc and ptrace(2). Raises OSError."""
    _call("PR_SET_DUMPABLE", _PR_SET_DUMPABLE, int(on))


def set_name(comm: str) -> None:
    """The thread's name, at most 15 bytes. Raises OSError."""
    text = create_string_buffer(os.fsencode(comm)[:15])
    _call("PR_SET_NAME", _PR_SET_NAME, addressof(text))


def set_no_new_privs() -> None:
    """From here on execve(2) gives no privileges. Raises OSError."""
    _call("PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)


def set_keepcaps(on: bool) -> None:
    """Whether the permitted set survives a change from uid 0 to others; cleared by execve(2). Raises OSError."""
    _call("PR_SET_KEEPCAPS", _PR_SET_KEEPCAPS, int(on))


def set_child_subreaper(on: bool) -> None:
    """Whether orphaned descendants become children of this process. Raises OSError."""
    _call("PR_SET_CHILD_SUBREAPER", _PR_SET_CHILD_SUBREAPER, int(on))


def capbset_read(capability: int) -> bool:
    """Whether the bounding set holds the capability. Raises OSError (EINVAL: the kernel has no such capability)."""
    return bool(_call("PR_CAPBSET_READ", _PR_CAPBSET_READ, capability))


def capbset_drop(capability: int) -> None:
    """Drop a capability from the bounding set. Raises OSError."""
    _call("PR_CAPBSET_DROP", _PR_CAPBSET_DROP, capability)


def ambient_clear() -> None:
    """Empty the ambient capability set. Raises OSError."""
    _call("PR_CAP_AMBIENT", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)


def capget() -> tuple[int, int, int]:
    """The effective, permitted and inheritable sets of this thread as bit masks. Raises OSError."""
    header = create_string_buffer(struct.pack("Ii", _CAPABILITY_VERSION_3, 0), 8)
    data = create_string_buffer(24)
    if _capget(addressof(header), addressof(data)) < 0:
        raise error("capget(2)")
    low = struct.unpack("6I", data.raw)
    return low[0] | low[3] << 32, low[1] | low[4] << 32, low[2] | low[5] << 32


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set the three sets of this thread. Raises OSError."""
    header = create_string_buffer(struct.pack("Ii", _CAPABILITY_VERSION_3, 0), 8)
    words = [value & 0xFFFFFFFF for value in (effective, permitted, inheritable)]
    words += [value >> 32 for value in (effective, permitted, inheritable)]
    data = create_string_buffer(struct.pack("6I", *words), 24)
    if _capset(addressof(header), addressof(data)) < 0:
        raise error("capset(2)")


def set_title(text: str) -> None:
    """Make /proc/PID/cmdline exactly this text and a NUL, whatever its length.

    PR_SET_MM_MAP moves the kernel's argument pointers to memory of ours; unlike the single PR_SET_MM_ARG_START it needs
    no capability as long as the executable stays. prctl(2); Linux 3.18. Raises OSError.
    """
    data = os.fsencode(text) + b"\0"
    # Private anonymous memory (the kernel reads no other kind for cmdline) that is never unmapped.
    area = mmap.mmap(-1, (len(data) + 4095) & ~4095, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.write(data)
    start = addressof(c_char.from_buffer(area))
    _kept.append(area)
    with open("/proc/self/stat", "rb", buffering=0) as file:
        fields = file.readall().rpartition(b")")[2].split()
    # proc(5): the fields after the command name start with number 3.
    field = {number: int(fields[number - 3]) for number in (26, 27, 28, 45, 46, 47, 50, 51)}
    # struct prctl_mm_map: eleven addresses, auxv pointer, its size, exe descriptor.
    record = struct.pack(
        "11QQIi",
        field[26],
        field[27],
        field[45],
        field[46],
        field[47],
        _sbrk(0),
        field[28],
        start,
        start + len(data),
        field[50],
        field[51],
        0,
        0,
        -1,
    )
    buffer = create_string_buffer(record, len(record))
    _call("PR_SET_MM_MAP", _PR_SET_MM, _PR_SET_MM_MAP, addressof(buffer), len(record))
