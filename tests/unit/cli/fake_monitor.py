# SPDX-License-Identifier: LGPL-2.1-or-later
"""A monitor that answers the command socket's questions from a table; wire format of LXC 5.0, written out anew."""

from __future__ import annotations

import array
import os
import socket
import struct
import threading
from collections.abc import Mapping

GET_TTY, STOP, GET_STATE, GET_INIT_PID, GET_CLONE_FLAGS, GET_CGROUP, GET_CONFIG_ITEM = 0, 2, 3, 4, 5, 6, 7
ADD_STATE_CLIENT, SERVE, INIT_PIDFD, CGROUP2_FD, CGROUP_FD = 10, 12, 18, 20, 25
RUNNING, FROZEN = 2, 6
MUST_WAIT = 8


class FakeMonitor:
    """Answers until closed. config: running items. cgroups: controller -> folder. denied: refuses everybody."""

    def __init__(
        self,
        lxcpath: str,
        name: str,
        *,
        state: int = RUNNING,
        pid: int = 0,
        config: Mapping[str, str] | None = None,
        cgroups: Mapping[str, str] | None = None,
        denied: bool = False,
        silent: bool = False,
        clone_flags: int = 0,
    ) -> None:
        self.state = state
        self.pid = pid or os.getpid()
        self.config = dict(config or {})
        self.cgroups = dict(cgroups or {})
        self.denied = denied
        self.clone_flags = clone_flags
        self.asked: list[int] = []
        self.served: list[int] = []
        self.waiting: list[socket.socket] = []
        self._open: list[socket.socket] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(b"\0" + os.fsencode(f"{lxcpath}/{name}/command"))
        self.socket.listen(100)
        self.name = name
        self.thread = threading.Thread(target=self._serve, daemon=True)
        if not silent:
            self.thread.start()

    def __enter__(self) -> FakeMonitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The container has ended: every connection gets end of file."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        if self.thread.is_alive():
            self.thread.join(5)
        for client in self._open:
            client.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _address = self.socket.accept()
            except OSError:
                return
            self._open.append(client)
            try:
                if not self._answer(client):
                    client.close()
            except OSError:
                client.close()

    def _reply(self, client: socket.socket, ret: int, immediate: int = 0, data: bytes = b"", fd: int = -1) -> None:
        header = struct.pack("=iiq", ret, len(data), immediate)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))] if fd >= 0 else []
        client.sendmsg([header], rights)
        if data:
            client.sendall(data)

    def _answer(self, client: socket.socket) -> bool:
        """Whether the connection stays open."""
        client.settimeout(5)
        header = client.recv(16, socket.MSG_WAITALL)
        if len(header) < 16:
            return False
        number, length, immediate = struct.unpack("=iiq", header)
        if self.denied:
            self._reply(client, -1)
            return False
        payload = client.recv(length, socket.MSG_WAITALL) if length else b""
        self.asked.append(number)
        if number == GET_STATE:
            self._reply(client, 0, self.state)
        elif number == GET_INIT_PID:
            self._reply(client, 0, self.pid)
        elif number == GET_CLONE_FLAGS:
            self._reply(client, 0, self.clone_flags)
        elif number == GET_CONFIG_ITEM:
            value = self.config.get(payload.rstrip(b"\0").decode())
            self._reply(client, 0 if value else -1, data=value.encode() + b"\0" if value else b"")
        elif number == CGROUP_FD:
            self._cgroup(client, payload)
        elif number == INIT_PIDFD:
            fd = os.pidfd_open(self.pid)
            self._reply(client, 0, fd=fd)
            os.close(fd)
        elif number == ADD_STATE_CLIENT:
            return self._state_client(client, payload)
        elif number == SERVE:
            self.state = immediate if immediate != 7 else RUNNING
            self.served.append(immediate)
            self._reply(client, 0)
        elif number == STOP:
            return True
        else:
            self._reply(client, -22)
        return False

    def _cgroup(self, client: socket.socket, payload: bytes) -> None:
        controller = payload[16:].rstrip(b"\0").decode()
        if controller not in self.cgroups:
            self._reply(client, -2)
            return
        fd = os.open(self.cgroups[controller], os.O_PATH | os.O_DIRECTORY)
        reply = struct.pack("=iIii", 1, 0, 0x27E0EB, fd) + payload[16:80]
        self._reply(client, 0, data=reply, fd=fd)
        os.close(fd)

    def _state_client(self, client: socket.socket, payload: bytes) -> bool:
        wanted = struct.unpack("=8i", payload)
        if wanted[self.state] == 1:
            self._reply(client, self.state, self.state)
            return False
        self._reply(client, MUST_WAIT, MUST_WAIT)
        self.waiting.append(client)
        return True

    def tell(self, state: int) -> None:
        """Announce a state to all that wait."""
        self.state = state
        for client in self.waiting:
            client.sendall(struct.pack("=i256si", 0, self.name.encode(), state))
            client.close()
        self.waiting.clear()
