# SPDX-License-Identifier: LGPL-2.1-or-later
"""Terminals: pty(7), ioctl_tty(2), termios(3)."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441
_TIOCGPTN = 0x80045430
_TIOCSWINSZ = 0x5414
_TIOCGWINSZ = 0x5413


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
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        slave = fcntl.ioctl(master, _TIOCGPTPEER, flags)
    except BaseException:
        os.close(master)
        raise
    return master, slave


def pty_number(master: int) -> int:
    """The number of the pty in its devpts. Raises OSError."""
    return int(struct.unpack("I", fcntl.ioctl(master, _TIOCGPTN, struct.pack("I", 0)))[0])


def window_size(fd: int) -> bytes:
    """struct winsize of a terminal. Raises OSError."""
    return fcntl.ioctl(fd, _TIOCGWINSZ, b"\0" * 8)


def set_window_size(fd: int, size: bytes) -> None:
    """Set struct winsize. Raises OSError."""
    fcntl.ioctl(fd, _TIOCSWINSZ, size)


def set_controlling(fd: int) -> None:
    """Make fd the controlling terminal of this session leader. Raises OSError."""
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)


def make_raw(fd: int) -> list[object]:
    """Switch a terminal to the mode of a console proxy: bytes pass as they are, output untouched by line discipline.

    Returns the settings to be given to restore(). Raises OSError.
    """
    try:
        before = termios.tcgetattr(fd)
        raw = termios.tcgetattr(fd)
        raw[0] = (raw[0] | termios.IGNPAR) & ~(
            termios.ISTRIP | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON | termios.IXANY | termios.IXOFF
        )
        raw[3] &= ~(
            termios.TOSTOP | termios.ISIG | termios.ICANON | termios.ECHO | termios.ECHOE | termios.ECHOK | termios.ECHONL | termios.IEXTEN
        )
        raw[1] &= ~termios.OPOST
        raw[6][termios.VMIN] = 1
        raw[6][termios.VTIME] = 0
        termios.tcsetattr(fd, termios.TCSAFLUSH, raw)
    except termios.error as failure:
        raise OSError(*failure.args) from None
    return before


def restore(fd: int, settings: list[object]) -> None:
    """Give a terminal its settings back; a terminal that is gone is passed over."""
    try:
        termios.tcsetattr(fd, termios.TCSAFLUSH, settings)
    except termios.error:
        pass
