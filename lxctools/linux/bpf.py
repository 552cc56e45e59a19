# SPDX-License-Identifier: LGPL-2.1-or-later
"""bpf(2) for cgroup device programs: load, attach, replace, detach."""

from __future__ import annotations

import os
import struct

from . import _nr
from ._cdata import addressof, create_string_buffer
from ._libc import syscall

_PROG_LOAD = 5
_PROG_ATTACH = 8
_PROG_DETACH = 9
_PROG_GET_FD_BY_ID = 13
_PROG_QUERY = 16
_CGROUP_DEVICE = 15  # BPF_PROG_TYPE_CGROUP_DEVICE
_ATTACH_DEVICE = 6  # BPF_CGROUP_DEVICE
_F_ALLOW_MULTI = 1 << 1
_F_REPLACE = 1 << 2


def load_device_program(code: bytes) -> int:
    """Load a program of 8-byte instructions; returns its descriptor. Raises OSError (EACCES: the verifier's objection)."""
    instructions = create_string_buffer(code, len(code))
    license_text = create_string_buffer(b"LGPL-2.1-or-later")
    # union bpf_attr of BPF_PROG_LOAD: type, count, instructions, license, log level, log size, log, kernel version
    attributes = struct.pack(
        "IIQQIIQI",
        _CGROUP_DEVICE,
        len(code) // 8,
        addressof(instructions),
        addressof(license_text),
        0,
        0,
        0,
        0,
    ).ljust(128, b"\0")
    fd = syscall("bpf(BPF_PROG_LOAD)", _nr.BPF, _PROG_LOAD, attributes, len(attributes))
    os.set_inheritable(fd, False)
    return fd


def attach_device_program(cgroup_fd: int, program_fd: int, replaces: int = -1) -> None:
    """Attach to a cgroup; replaces: the descriptor of the program it takes the place of. Raises OSError."""
    flags = _F_ALLOW_MULTI | (_F_REPLACE if replaces >= 0 else 0)
    attributes = struct.pack("IIIII", cgroup_fd, program_fd, _ATTACH_DEVICE, flags, max(0, replaces)).ljust(128, b"\0")
    syscall("bpf(BPF_PROG_ATTACH)", _nr.BPF, _PROG_ATTACH, attributes, len(attributes))


def detach_device_program(cgroup_fd: int, program_fd: int) -> None:
    """Detach from a cgroup. Raises OSError."""
    attributes = struct.pack("III", cgroup_fd, program_fd, _ATTACH_DEVICE).ljust(128, b"\0")
    syscall("bpf(BPF_PROG_DETACH)", _nr.BPF, _PROG_DETACH, attributes, len(attributes))


def attached_device_programs(cgroup_fd: int) -> list[int]:
    """The kernel's ids of the device programs attached to a cgroup itself, at most 64. Raises OSError."""
    ids = create_string_buffer(64 * 4)
    # union bpf_attr of BPF_PROG_QUERY: target, attach type, query flags, attach flags, ids, count
    attributes = create_string_buffer(
        struct.pack("IIIIQI", cgroup_fd, _ATTACH_DEVICE, 0, 0, addressof(ids), 64), 128
    )
    syscall("bpf(BPF_PROG_QUERY)", _nr.BPF, _PROG_QUERY, attributes, len(attributes))
    count = struct.unpack_from("I", attributes.raw, 24)[0]
    return list(struct.unpack(f"{count}I", ids.raw[: count * 4]))


def device_program_by_id(ident: int) -> int:
    """A descriptor of a loaded program. Raises OSError."""
    attributes = struct.pack("I", ident).ljust(128, b"\0")
    fd = syscall("bpf(BPF_PROG_GET_FD_BY_ID)", _nr.BPF, _PROG_GET_FD_BY_ID, attributes, len(attributes))
    os.set_inheritable(fd, False)
    return fd
