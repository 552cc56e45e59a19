# SPDX-License-Identifier: LGPL-2.1-or-later
"""libseccomp (seccomp_init(3) and its family), loaded when the first policy is compiled; and seccomp(2) itself.

Compiling and loading are apart: the monitor compiles with the library and exports the program, the process that is
already inside loads the bytes with one system call and no library.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from . import _nr
from ._cdata import addressof, c_char_p, c_int, c_uint, c_uint32, c_void_p, create_string_buffer, function, library
from ._libc import syscall
from .prctl import set_no_new_privs

ACT_KILL = 0x00000000
ACT_TRAP = 0x00030000
ACT_ALLOW = 0x7FFF0000
ACT_NOTIFY = 0x7FC00000
CMP_NE, CMP_LT, CMP_LE, CMP_EQ, CMP_GE, CMP_GT, CMP_MASKED_EQ = range(1, 8)

_ATTR_CTL_NNP = 3
_ATTR_CTL_TSKIP = 5
_SET_MODE_FILTER = 1
_GET_NOTIF_SIZES = 3
# linux/seccomp.h: _IOWR('!', 0, struct seccomp_notif), _IOWR('!', 1, struct seccomp_notif_resp), _IOW('!', 2, __u64)
_NOTIF_SIZE = 80
_NOTIF_RECV = 0xC0502100
_NOTIF_SEND = 0xC0182101
_NOTIF_ID_VALID = 0x80082102 if os.uname().machine.startswith("ppc") else 0x40082102
_FLAG_NEW_LISTENER = 1 << 3
NR_ERROR = -1


def act_errno(number: int) -> int:
    """SCMP_ACT_ERRNO(number)."""
    return 0x00050000 | (number & 0xFFFF)


_PROTOTYPES: dict[str, tuple[tuple[type, ...], type | None]] = {
    "seccomp_init": ((c_uint32,), c_void_p),
    "seccomp_release": ((c_void_p,), None),
    "seccomp_arch_native": ((), c_uint32),
    "seccomp_arch_resolve_name": ((c_char_p,), c_uint32),
    "seccomp_arch_add": ((c_void_p, c_uint32), c_int),
    "seccomp_arch_remove": ((c_void_p, c_uint32), c_int),
    "seccomp_attr_set": ((c_void_p, c_int, c_uint32), c_int),
    "seccomp_merge": ((c_void_p, c_void_p), c_int),
    "seccomp_syscall_resolve_name_arch": ((c_uint32, c_char_p), c_int),
    "seccomp_rule_add_exact_array": ((c_void_p, c_uint32, c_int, c_uint, c_char_p), c_int),
    "seccomp_export_bpf": ((c_void_p, c_int), c_int),
}


class Library:
    """libseccomp.so.2. Raises OSError when it is not installed."""

    __slots__ = ("_lib",)

    def __init__(self) -> None:
        shared = library("libseccomp.so.2")
        self._lib = {name: function(shared, name, *prototype) for name, prototype in _PROTOTYPES.items()}

    def native(self) -> int:
        """The architecture token of this machine."""
        return int(self._lib["seccomp_arch_native"]())

    def arch(self, name: str) -> int:
        """The token of an architecture's name; 0 for an unknown one."""
        return int(self._lib["seccomp_arch_resolve_name"](name.encode()))

    def resolve(self, arch: int, name: str) -> int:
        """The number of a call on an architecture; NR_ERROR when there is none of that name."""
        return int(self._lib["seccomp_syscall_resolve_name_arch"](arch, name.encode()))

    def filter(self, default: int, arch: int) -> int:
        """A new filter for one architecture. Raises OSError."""
        context = self._lib["seccomp_init"](default)
        if not context:
            raise OSError("seccomp_init failed")
        self._lib["seccomp_attr_set"](context, _ATTR_CTL_NNP, 0)
        if arch != self.native():
            self._check(self._lib["seccomp_arch_add"](context, arch), "seccomp_arch_add")
            self._check(self._lib["seccomp_arch_remove"](context, self.native()), "seccomp_arch_remove")
        return int(context)

    def add(self, context: int, action: int, call: int, arguments: list[tuple[int, int, int, int]]) -> None:
        """One rule; arguments: (index, CMP_*, a, b). Raises OSError."""
        # struct scmp_arg_cmp: unsigned index, enum operation, two 64-bit datums
        try:
            array = b"".join(struct.pack("=IiQQ", *argument) for argument in arguments)
        except struct.error:
            raise OSError(errno.ERANGE, os.strerror(errno.ERANGE)) from None
        self._check(
            self._lib["seccomp_rule_add_exact_array"](context, action, call, len(arguments), array),
            "seccomp_rule_add_exact_array",
        )

    def merge(self, into: int, other: int) -> None:
        """Add another architecture's filter; it is released with the first. Raises OSError."""
        self._check(self._lib["seccomp_merge"](into, other), "seccomp_merge")

    def release(self, context: int) -> None:
        """Free a filter."""
        self._lib["seccomp_release"](context)

    def export(self, context: int) -> bytes:
        """The program as instructions of classic BPF. Raises OSError."""
        fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        try:
            self._check(self._lib["seccomp_export_bpf"](context, fd), "seccomp_export_bpf")
            return os.pread(fd, os.fstat(fd).st_size, 0)
        finally:
            os.close(fd)

    def _check(self, result: int, call: str) -> None:
        if result < 0:
            error = OSError(-result, os.strerror(-result))
            error.add_note(call)
            raise error


def load_program(code: bytes, notify: bool, no_new_privs: bool = False) -> int:
    """seccomp(2): confine this process; returns the listener's descriptor with notify, else -1. Raises OSError."""
    if no_new_privs:
        set_no_new_privs()
    instructions = create_string_buffer(code, len(code))
    # struct sock_fprog: unsigned short length, pointer
    record = struct.pack("HP", len(code) // 8, addressof(instructions))
    program = create_string_buffer(record, len(record))
    fd = syscall(
        "seccomp(SECCOMP_SET_MODE_FILTER)",
        _nr.SECCOMP,
        _SET_MODE_FILTER,
        _FLAG_NEW_LISTENER if notify else 0,
        c_void_p(addressof(program)),
    )
    if not notify:
        return -1
    os.set_inheritable(fd, False)
    return fd


class Notification:
    """One call that waits in the kernel for an answer: struct seccomp_notif, whole and in its parts."""

    __slots__ = ("arch", "arguments", "call", "ident", "pid", "raw")

    def __init__(self, raw: bytes) -> None:
        # id, pid, flags; struct seccomp_data: number, architecture, instruction pointer, six arguments
        self.ident, self.pid, _flags, self.call, self.arch, _pointer, *self.arguments = struct.unpack("=QIIiIQ6Q", raw)
        self.raw = raw


def notify_sizes() -> tuple[int, int, int]:
    """The kernel's sizes of struct seccomp_notif, seccomp_notif_resp and seccomp_data. Raises OSError."""
    sizes = create_string_buffer(6)
    pointer = c_void_p(addressof(sizes))
    syscall("seccomp(SECCOMP_GET_NOTIF_SIZES)", _nr.SECCOMP, _GET_NOTIF_SIZES, 0, pointer)
    notification, response, data = struct.unpack("HHH", sizes.raw)
    return notification, response, data


def notify_receive(listener: int) -> Notification:
    """Take the next notification; waits for one. Raises OSError (ENOENT: its process was killed meanwhile)."""
    raw = bytearray(_NOTIF_SIZE)
    fcntl.ioctl(listener, _NOTIF_RECV, raw)
    return Notification(bytes(raw))


def notify_id_valid(listener: int, ident: int) -> bool:
    """Whether the call still waits, so that what was learnt of its pid was of its own process. Raises OSError."""
    try:
        fcntl.ioctl(listener, _NOTIF_ID_VALID, struct.pack("=Q", ident))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def notify_respond(listener: int, ident: int, *, value: int = 0, error: int = 0, flags: int = 0) -> None:
    """End the call with a value, or with an errno (positive here). Raises OSError (ENOENT: nobody waits any more)."""
    fcntl.ioctl(listener, _NOTIF_SEND, struct.pack("=QqiI", ident, value, -error, flags))
