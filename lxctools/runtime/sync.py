# SPDX-License-Identifier: LGPL-2.1-or-later
"""The messages between the monitor and the process that becomes the container's init.

        monitor                                            child (in the new namespaces)
           |                                                  |
           | id maps, rlimits                                 |  waits
           |------------------ GO --------------------------->|
           | cgroups, limits, network                         |  user ids, rootfs, host name
           |------------------ DEVICES {devices} ------------>|
           |                                                  |  cgroup and time namespaces, interfaces, mounts,
           |<----------------- IDMAP {target} ----------------|  /dev: any number of times: an idmapped mount is asked
           |------------------ MOUNT + fd ------------------->|  for, and comes back as a detached mount
           |                                                  |  LSM, no_new_privs, seccomp, start hooks
           |<------- READY {console, ttys, devices} + fds ----|
           | device limits, start-host hooks                  |  waits
           |------------------ EXEC ------------------------->|
           |                                                  |  environment, ids, execve
           |<----------------- end of file -------------------|  the descriptor is close-on-exec: init runs
           |
           |   instead of any message of the child: ERROR {text, remedy}

Messages are records of a SOCK_SEQPACKET pair: a kind, a marshalled payload (both ends are the same program image) and
descriptors. Each side says which kind it expects; anything else is an error. The monitor closes its copy of the child's
end right after the clone, so a dead child is an end of file and never a wait without end.
"""

from __future__ import annotations

import _socket
import _struct
import marshal
import os

from ..errors import LxcError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

GO = "GO"
DEVICES = "DEVICES"
IDMAP = "IDMAP"
MOUNT = "MOUNT"
READY = "READY"
EXEC = "EXEC"
ERROR = "ERROR"

_LARGEST = 160 * 1024
_MOST_FDS = 250


class PeerGone(Exception):
    """The other side closed the channel: it died, or (after EXEC) executed init."""


class Channel:
    """One end of the pair; owns its descriptor."""

    __slots__ = ("_sock",)

    def __init__(self, sock: _socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        """For poll."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close this end."""
        self._sock.close()

    def send(self, kind: str, payload: object = None, fds: Sequence[int] = ()) -> None:
        """Send one message with descriptors (which stay ours). Raises PeerGone when nobody reads any more."""
        control = []
        if fds:
            control.append((_socket.SOL_SOCKET, _socket.SCM_RIGHTS, _struct.pack(f"{len(fds)}i", *fds)))
        try:
            data = marshal.dumps((kind, payload))  # type: ignore[arg-type]
            self._sock.sendmsg([data], control, _socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError):
            raise PeerGone from None

    def receive(self, *expected: str) -> tuple[str, object, list[int]]:
        """The next message: (kind, payload, descriptors), the descriptors close-on-exec and the caller's.

        An ERROR of the other side is raised as LxcError. Raises PeerGone at the end of file.
        """
        data, control = self._message()
        fds: list[int] = []
        for level, kind, raw in control:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                fds += [number for (number,) in _struct.iter_unpack("i", raw[: len(raw) - len(raw) % 4])]
        if not data:
            _close_all(fds)
            raise PeerGone
        what, payload = marshal.loads(data)
        if what == ERROR:
            _close_all(fds)
            text, remedy = payload
            raise LxcError(text, remedy=remedy)
        if what not in expected:
            _close_all(fds)
            raise LxcError(f"internal error: message {what} where {' or '.join(expected)} was expected")
        return what, payload, fds


    def _message(self) -> tuple[bytes, list[tuple[int, int, bytes]]]:
        while True:
            try:
                return self._sock.recvmsg(
                    _LARGEST, _socket.CMSG_SPACE(_MOST_FDS * 4), _socket.MSG_CMSG_CLOEXEC
                )[:2]
            except ConnectionResetError:
                # It closed with a message of ours unread (unix(7)). Told once; what it said before is still to be read.
                continue


def pair() -> tuple[Channel, Channel]:
    """A connected pair, both ends close-on-exec."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    os.set_inheritable(ours.fileno(), False)
    os.set_inheritable(theirs.fileno(), False)
    return Channel(ours), Channel(theirs)


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
