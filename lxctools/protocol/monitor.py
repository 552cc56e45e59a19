# SPDX-License-Identifier: LGPL-2.1-or-later
"""The broadcast of state changes through lxc-monitord: names, messages, the publisher's and the subscriber's side.

Publishers write 264-byte messages to a FIFO, if somebody reads it; subscribers read them from an abstract socket.
"""

from __future__ import annotations

import _socket
import errno
import os
import select
import time

from .. import log, paths, process
from ..errors import LxcError, describe
from . import commands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_RETRIES = (0.01, 0.05, 0.1, 0.2, 0.5)
_PATIENCE = 10.0  # seconds for lxc-monitord to be ready
QUIT = b"quit"


def fifo_path(lxcpath: str) -> str:
    """The FIFO that publishers of this lxcpath write to."""
    return f"{paths.runtime_dir()}/lxc/{lxcpath}/monitor-fifo"


def socket_address(lxcpath: str) -> bytes:
    """The abstract address of lxc-monitord for this lxcpath.

    liblxc's has the path behind the hash and does not exist for paths of more than 84 bytes; there ours is the hash alone.
    """
    place = os.fsencode(lxcpath)
    digits = b"lxc/%016x" % commands.fnv1a(b"lxc/" + place + b"/monitor-sock")
    name = digits + b"/" + place
    return b"\0" + (name if len(name) <= commands.LONGEST_ADDRESS else digits + b"/monitor-sock")


def publish_state(lxcpath: str, name: str, state: int) -> None:
    """Tell the subscribers of a new state; nothing happens, and nothing is raised, when nobody listens."""
    _publish(lxcpath, name, commands.MESSAGE_STATE, state)


def publish_exit(lxcpath: str, name: str, wait_status: int) -> None:
    """Tell the subscribers how init ended, as waitpid(2) gave it."""
    _publish(lxcpath, name, commands.MESSAGE_EXIT, wait_status)


def _publish(lxcpath: str, name: str, kind: int, value: int) -> None:
    try:
        fd = os.open(fifo_path(lxcpath), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENXIO, errno.ENOTDIR):
            log.warn(f"lxc-monitord is not told of a change: {describe(error)}")
        return
    try:
        # One write of less than PIPE_BUF is atomic; a full FIFO (a stopped lxc-monitord) must not stop a container.
        os.write(fd, commands.STATE_MESSAGE.pack(kind, os.fsencode(name)[:255], value))
    except OSError as error:
        log.warn(f"lxc-monitord is not told of a change: {describe(error)}")
    finally:
        os.close(fd)


class Event:
    """What a message says: kind is MESSAGE_STATE or MESSAGE_EXIT; value a state or a wait status."""

    __slots__ = ("kind", "name", "value")

    def __init__(self, data: bytes) -> None:
        self.kind, raw, self.value = commands.STATE_MESSAGE.unpack(data)
        self.name = os.fsdecode(raw.split(b"\0", 1)[0])


class Subscription:
    """A subscriber's connection; fileno() for poll, events() after it is readable."""

    __slots__ = ("_data", "_sock", "lxcpath")

    def __init__(self, sock: _socket.socket, lxcpath: str) -> None:
        self._sock = sock
        self._data = b""
        self.lxcpath = lxcpath

    def fileno(self) -> int:
        """For poll."""
        return self._sock.fileno()

    def close(self) -> None:
        """End the subscription."""
        self._sock.close()

    def events(self) -> Iterator[Event]:
        """The events that have arrived. Raises LxcError at the end of the connection."""
        try:
            data = self._sock.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise LxcError(f"lxc-monitord of {self.lxcpath} has ended", remedy="start lxc-monitor again")
        self._data += data
        size = commands.STATE_MESSAGE.size
        while len(self._data) >= size:
            message, self._data = self._data[:size], self._data[size:]
            yield Event(message)


def subscribe(lxcpath: str) -> Subscription:
    """Start lxc-monitord for this lxcpath unless one runs, and connect to it. Raises LxcError."""
    address = socket_address(lxcpath)
    # Twice: one that was just ending for want of subscribers keeps the first of ours from starting.
    for _ in range(2):
        _start(lxcpath)
        sock = connect(address, _RETRIES)
        if sock is not None:
            return Subscription(sock, lxcpath)
    raise LxcError(
        f"cannot connect to lxc-monitord of {lxcpath}",
        remedy=f"`{paths.MONITORD} --daemon {lxcpath}` shows why it does not start",
    )


def _start(lxcpath: str) -> None:
    """Run lxc-monitord and wait until it is ready, or has ended because another one runs."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            os.set_inheritable(writer, True)
            middle = process.spawn([paths.MONITORD, lxcpath, str(writer)], stdin=-1, setsid=True)
        finally:
            os.close(writer)
        poller = select.poll()
        poller.register(reader, select.POLLIN)
        if not poller.poll(_PATIENCE * 1000):
            log.warn(f"lxc-monitord of {lxcpath} was not ready within {_PATIENCE:g} s")
        os.waitpid(middle, 0)  # its grandchild is what stays
    finally:
        os.close(reader)


def connect(address: bytes, retries: tuple[float, ...] = ()) -> _socket.socket | None:
    """A connection to lxc-monitord, None when none listens after these pauses in seconds. Raises LxcError."""
    for pause in (0.0, *retries):
        time.sleep(pause)
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            sock.connect(address)
            return sock
        except OSError as error:
            sock.close()
            if error.errno != errno.ECONNREFUSED:
                raise LxcError(f"cannot connect to lxc-monitord: {describe(error)}") from error
    return None


def quit_monitord(lxcpath: str) -> bool:
    """End the lxc-monitord of this lxcpath; False when none runs, or it does not end."""
    sock = connect(socket_address(lxcpath))
    if sock is None:
        return False
    try:
        sock.settimeout(_PATIENCE)
        sock.send(QUIT, _socket.MSG_NOSIGNAL)
        while sock.recv(65536):
            pass  # what it still had to say
        return True
    except TimeoutError:
        return False
    except OSError:
        return True  # it has ended
    finally:
        sock.close()
