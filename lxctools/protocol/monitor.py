# SPDX-License-Identifier: LGPL-2.1-or-later
"""The broadcast of state changes through lxc-monitord: names, messages, the publisher's and the subscriber's side.

Publishers write 264-byte messages to a FIFO, if somebody reads it; subscribers read them from an abstract socket.
"""

from __future__ import annotations

import _socket
import errno
import os
import time

from .. import log, paths, process
from ..errors import LxcError, describe
from . import commands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_RETRIES = (0.01, 0.05, 0.1, 0.2, 0.5)
QUIT = b"quit"


def fifo_path(lxcpath: str) -> str:
    """The FIFO that publishers of this lxcpath write to."""
    return f"{paths.runtime_dir()}/lxc/{lxcpath}/monitor-fifo"


def socket_address(lxcpath: str) -> bytes:
    """The abstract address of lxc-monitord for this lxcpath. Raises LxcError for one that is too long."""
    place = os.fsencode(lxcpath)
    name = b"lxc/%016x/%s" % (commands.fnv1a(b"lxc/" + place + b"/monitor-sock"), place)
    if len(name) > commands.LONGEST_ADDRESS:
        raise LxcError(f"lxc-monitord cannot serve {lxcpath}: its socket's name would be longer than 105 bytes")
    return b"\0" + name


def publish_state(lxcpath: str, name: str, state: int) -> None:
    """Tell the subscribers of a new state; nothing happens, and nothing is raised, when nobody listens."""
    _publish(lxcpath, name, commands.MESSAGE_STATE, state)


def publish_exit(lxcpath: str, name: str, wait_status: int) -> None:
    """Tell the subscribers how init ended, as waitpid(2) gave it."""
    _publish(lxcpath, name, commands.MESSAGE_EXIT, wait_status)


def _publish(lxcpath: str, name: str, kind: int, value: int) -> None:
    try:
        fd = os.open(fifo_path(lxcpath), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
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
        data = self._sock.recv(65536)
        if not data:
            raise LxcError(f"lxc-monitord of {self.lxcpath} has ended")
        self._data += data
        size = commands.STATE_MESSAGE.size
        while len(self._data) >= size:
            message, self._data = self._data[:size], self._data[size:]
            yield Event(message)


def subscribe(lxcpath: str) -> Subscription:
    """Start lxc-monitord for this lxcpath unless one runs, and connect to it. Raises LxcError."""
    address = socket_address(lxcpath)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        os.set_inheritable(writer, True)
        middle = process.spawn([paths.MONITORD, lxcpath, str(writer)], stdin=-1, setsid=True)
        os.set_inheritable(writer, False)
    finally:
        os.close(writer)
    try:
        os.read(reader, 1)  # its ready mark, or the end of file when another one runs already
    finally:
        os.close(reader)
    os.waitpid(middle, 0)
    sock = _connect(address)
    if sock is None:
        raise LxcError(f"cannot connect to lxc-monitord of {lxcpath}", remedy="may this user use this lxcpath?")
    return Subscription(sock, lxcpath)


def _connect(address: bytes, retries: tuple[float, ...] = _RETRIES) -> _socket.socket | None:
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
    """End the lxc-monitord of this lxcpath; False when none runs."""
    sock = _connect(socket_address(lxcpath), ())
    if sock is None:
        return False
    sock.send(QUIT)
    sock.settimeout(5.0)
    try:
        sock.recv(1)
    except OSError:
        pass  # it has ended
    sock.close()
    return True
