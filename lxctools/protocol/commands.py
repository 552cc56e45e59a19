# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands of the monitor's socket: numbers, names and layouts, little-endian (liblxc 4.0 and later).

request   int32 command, int32 payload length, int64 value; then the payload
reply     int32 ret (0 or -errno), int32 payload length, int64 value, descriptors; then the payload
"""

from __future__ import annotations

import struct

GET_TTY_FD = 0
TERMINAL_WINCH = 1
STOP = 2
GET_STATE = 3
GET_INIT_PID = 4
GET_CLONE_FLAGS = 5
GET_CGROUP = 6
GET_CONFIG_ITEM = 7
GET_NAME = 8
GET_LXCPATH = 9
ADD_STATE_CLIENT = 10
CONSOLE_LOG = 11
SERVE_STATE_CLIENTS = 12
SECCOMP_NOTIFY_ADD_LISTENER = 13
ADD_BPF_DEVICE_CGROUP = 14
FREEZE = 15
UNFREEZE = 16
GET_CGROUP2_FD = 17
GET_INIT_PIDFD = 18
GET_LIMIT_CGROUP = 19
GET_LIMIT_CGROUP2_FD = 20
GET_DEVPTS_FD = 21
GET_SECCOMP_NOTIFY_FD = 22
GET_CGROUP_CTX = 23
GET_CGROUP_FD = 24
GET_LIMIT_CGROUP_FD = 25
GET_SYSTEMD_SCOPE = 26

# By number, as log lines call them. The numbers are liblxc's: none is ever added here.
NAMES = (
    "get_tty_fd",
    "terminal_winch",
    "stop",
    "get_state",
    "get_init_pid",
    "get_clone_flags",
    "get_cgroup",
    "get_config_item",
    "get_name",
    "get_lxcpath",
    "add_state_client",
    "console_log",
    "serve_state_clients",
    "seccomp_notify_add_listener",
    "add_bpf_device_cgroup",
    "freeze",
    "unfreeze",
    "get_cgroup2_fd",
    "get_init_pidfd",
    "get_limit_cgroup",
    "get_limit_cgroup2_fd",
    "get_devpts_fd",
    "get_seccomp_notify_fd",
    "get_cgroup_ctx",
    "get_cgroup_fd",
    "get_limit_cgroup_fd",
    "get_systemd_scope",
)
COUNT = len(NAMES)
# Whose replies pass descriptors.
WITH_FDS = frozenset((
    GET_TTY_FD, GET_CGROUP2_FD, GET_INIT_PIDFD, GET_LIMIT_CGROUP2_FD, GET_DEVPTS_FD, GET_SECCOMP_NOTIFY_FD, GET_CGROUP_CTX,
    GET_CGROUP_FD, GET_LIMIT_CGROUP_FD,
))  # fmt: skip

HEADER = struct.Struct("<iiq")
STATE_SET = struct.Struct("<8i")
STATE_MESSAGE = struct.Struct("<i256si")
MESSAGE_STATE, MESSAGE_PRIORITY, MESSAGE_EXIT = range(3)
CGROUP_FD = struct.Struct("<iIii64s")
CGROUP_CTX = struct.Struct("<iII20i4x")
DEVICE_RULE = struct.Struct("<c3xii4si4x16x")
CONSOLE_LOG_REQUEST = struct.Struct("<BB6xQB7x")

LONGEST_PAYLOAD = 8192  # both ways, but for what CONSOLE_LOG replies
MOST_FDS = 252
UNUSED_FD = -9  # what stands in a structure where the descriptor itself is passed beside it
LONGEST_ADDRESS = 105  # bytes after the leading NUL

_FNV_START = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3


def fnv1a(data: bytes) -> int:
    """The 64-bit FNV-1a hash that names what does not fit into a socket address."""
    value = _FNV_START
    for byte in data:
        value = (value ^ byte) * _FNV_PRIME & 0xFFFFFFFFFFFFFFFF
    return value


def address(name: bytes, lxcpath: bytes) -> bytes:
    """The abstract address of a container's command socket, the leading NUL included.

    lxcpath is taken as text, only trailing slashes are dropped: two spellings are two containers to the socket. What does
    not fit into the address is hashed (LXC 1.1 and later).
    """
    place = (lxcpath.rstrip(b"/") or b"/") + b"/" + name
    plain = place + b"/command"
    if len(plain) <= LONGEST_ADDRESS:
        return b"\0" + plain
    return b"\0lxc/%016x/command" % fnv1a(place)


def low32(value: int) -> int:
    """The low 32 bits of a header's third field as a signed number: all that an int of the other side fills."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value & 0x80000000 else value
