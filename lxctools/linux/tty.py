# SPDX-License-Identifier: LGPL-2.1-or-later
"""Terminals: pty(7), ioctl_tty(2), termios(3)."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    Settings = list[int | list[bytes | int]] | list[int | list[bytes]] | list[int | list[int]]

# asm-generic/ioctls.h; powerpc encodes the direction otherwise (arch/powerpc/include/uapi/asm/ioctl.h).
if os.uname().machine.startswith("ppc"):
    _TIOCSPTLCK, _TIOCGPTPEER, _TIOCGPTN = 0x80045431, 0x20005441, 0x40045430
else:
    _TIOCSPTLCK, _TIOCGPTPEER, _TIOCGPTN = 0x40045431, 0x5441, 0x80045430

_COOKED_INPUT = (
    termios.ISTRIP
    | termios.INLCR
    | termios.IGNCR
    | termios.ICRNL
    | termios.IXON
    | termios.IXANY
    | termios.IXOFF
    | getattr(termios, "IUCLC", 0)
)
_COOKED_LOCAL = (
    termios.TOSTOP
    | termios.ISIG
    | termios.ICANON
    | termios.ECHO
    | termios.ECHOE
    | termios.ECHOK
    | termios.ECHONL
    | termios.IEXTEN
)


def openpty(devpts_fd: int | None = None) -> tuple[int, int]:
    """A pty pair (master, slave) of the devpts behind the descriptor, else of the host's. Raises OSError.

    The slave is opened through the master (TIOCGPTPEER, Linux 4.13), never by a name that somebody else may control.
    """
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    if devpts_fd is None:
        master = os.open("/dev/ptmx", flags)
    else:
        master = os.open("ptmx", flags | os.O_NOFOLLOW, dir_fd=devpts_fd)
    try:
        _ioctl("TIOCSPTLCK", master, _TIOCSPTLCK, struct.pack("i", 0))
        slave = _peer(master, flags)
    except BaseException:
        os.close(master)
        raise
    return master, slave


def _peer(master: int, flags: int) -> int:
    try:
        return fcntl.ioctl(master, _TIOCGPTPEER, flags)
    except OSError as failure:
        failure.add_note("ioctl(TIOCGPTPEER)")
        raise


def _ioctl(name: str, fd: int, request: int, argument: bytes) -> bytes:
    try:
        return fcntl.ioctl(fd, request, argument)
    except OSError as failure:
        failure.add_note(f"ioctl({name})")
        raise


def pty_number(master: int) -> int:
    """The number of the pty in its devpts. Raises OSError."""
    return int(struct.unpack("I", _ioctl("TIOCGPTN", master, _TIOCGPTN, b"\0" * 4))[0])


def window_size(fd: int) -> bytes:
    """struct winsize of a terminal. Raises OSError."""
    return _ioctl("TIOCGWINSZ", fd, termios.TIOCGWINSZ, b"\0" * 8)


def set_window_size(fd: int, size: bytes) -> None:
    """Set struct winsize. Raises OSError."""
    _ioctl("TIOCSWINSZ", fd, termios.TIOCSWINSZ, size)


def set_controlling(fd: int) -> None:
    """Make fd the controlling terminal of this session leader. Raises OSError."""
    try:
        fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
    except OSError as failure:
        failure.add_note("ioctl(TIOCSCTTY)")
        raise


def make_raw(fd: int) -> Settings:
    """Switch a terminal to the mode of a console proxy: bytes pass as they are in both directions.

    The input and local flags are those of lxc-console. Output processing is off as well, where C LXC leaves it on: the
    terminal at the other end has already made a carriage return of each newline. Returns the settings for restore().
    Raises OSError.
    """
    try:
        before = termios.tcgetattr(fd)
        raw = termios.tcgetattr(fd)
        raw[0] = (raw[0] | termios.IGNPAR) & ~_COOKED_INPUT
        raw[1] &= ~termios.OPOST
        raw[3] &= ~_COOKED_LOCAL
        raw[6][termios.VMIN] = 1
        raw[6][termios.VTIME] = 0
        termios.tcsetattr(fd, termios.TCSANOW, raw)
    except termios.error as failure:
        raise _as_oserror(failure, "tcsetattr(3)") from None
    return before


def restore(fd: int, settings: Settings) -> None:
    """Give a terminal its settings back; what was typed and not read stays for the next reader. Raises OSError.

    At once: waiting for a terminal to show its output could take for ever, and output is processed when it is written.
    """
    try:
        termios.tcsetattr(fd, termios.TCSANOW, settings)
    except termios.error as failure:
        raise _as_oserror(failure, "tcsetattr(3)") from None


def _as_oserror(failure: termios.error, call: str) -> OSError:
    error = OSError(*failure.args)
    error.add_note(call)
    return error
