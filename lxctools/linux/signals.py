# SPDX-License-Identifier: LGPL-2.1-or-later
"""Signals by the interpreter's C module: masks, signalfd(2), and waits that a signal may interrupt.

`_signal` and not `signal`: the latter builds enums (5 ms) that nothing here needs.
"""

from __future__ import annotations

import _signal
import os
import struct

from . import _nr
from ._cdata import addressof, create_string_buffer
from ._libc import bind, c_int, c_void_p, error, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType, TracebackType

    Handler = Callable[[int, FrameType | None], object] | int | None

_SFD_CLOEXEC = 0o2000000
_SFD_NONBLOCK = 0o4000
_SIGINFO_SIZE = 128
_RESERVED = (32, 33)

_signalfd = bind("signalfd", c_int, c_void_p, c_int)


def all_but(exceptions: Iterable[int]) -> set[int]:
    """Every signal of this system that can be blocked, without the exceptions."""
    return set(_signal.valid_signals()) - {_signal.SIGKILL, _signal.SIGSTOP} - set(exceptions)


def block_all_but(exceptions: Iterable[int]) -> set[int]:
    """Set the mask to everything but exceptions; returns the mask before."""
    return set(_signal.pthread_sigmask(_signal.SIG_SETMASK, all_but(exceptions)))


def restore(mask: set[int]) -> None:
    """Set the mask to this one."""
    _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)


def signalfd(mask: Iterable[int]) -> int:
    """A non-blocking, close-on-exec descriptor that these signals are read from; they must be blocked. Raises OSError."""
    bits = 0
    for number in mask:
        bits |= 1 << (number - 1)
    # sigset_t of the C library is larger than the kernel's; the rest is empty.
    raw = create_string_buffer(struct.pack("Q", bits), 128)
    fd = _signalfd(-1, addressof(raw), _SFD_CLOEXEC | _SFD_NONBLOCK)
    if fd < 0:
        raise error("signalfd(2)")
    return fd


def read(fd: int) -> list[tuple[int, int]]:
    """The signals that wait in a signalfd: (number, pid of the sender)."""
    found: list[tuple[int, int]] = []
    while True:
        try:
            data = os.read(fd, _SIGINFO_SIZE * 16)
        except BlockingIOError:
            return found
        for offset in range(0, len(data), _SIGINFO_SIZE):
            # struct signalfd_siginfo: ssi_signo u32, ssi_errno s32, ssi_code s32, ssi_pid u32
            number, _errno, _code, pid = struct.unpack_from("IiiI", data, offset)
            found.append((number, pid))


def default_dispositions() -> None:
    """Every signal's default action, those that the C library keeps for itself included: a caller may have ignored them."""
    for number in all_but(()):
        if number not in _RESERVED:
            _signal.signal(number, _signal.SIG_DFL)
    default_reserved()


def default_reserved() -> None:
    """The default action for the signals that the C library keeps for itself, and whose disposition it does not let change."""
    empty = bytes(32)  # struct kernel_sigaction: handler SIG_DFL, no flags, no restorer, no mask
    for number in _RESERVED:
        try:
            syscall("rt_sigaction(2)", _nr.RT_SIGACTION, number, empty, None, 8)
        except OSError:
            pass  # a machine whose number is not known


class Interrupted(Exception):
    """A signal arrived in an interruptible block; args[0] is its number."""


class interruptible:
    """Within the block the given signals are unblocked and raise Interrupted; mask and handlers come back after it.

    The handler itself puts both back before it raises: an exception may strike anywhere, in __exit__ too, before its first
    line. A signal that was pending raises in the with statement.
    """

    __slots__ = ("_handlers", "_mask", "_signals")

    def __init__(self, numbers: Iterable[int]) -> None:
        self._signals = tuple(numbers)
        self._handlers: dict[int, Handler] = {}
        self._mask: set[int] = set()

    def __enter__(self) -> None:
        self._mask = set(_signal.pthread_sigmask(_signal.SIG_BLOCK, ()))
        for number in self._signals:
            self._handlers[number] = _signal.getsignal(number)
            _signal.signal(number, self._arrived)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, self._signals)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._put_back()

    def _put_back(self) -> None:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self._mask)
        for number, handler in self._handlers.items():
            _signal.signal(number, handler)

    def _arrived(self, number: int, _frame: FrameType | None) -> None:
        self._put_back()
        raise Interrupted(number)
