# SPDX-License-Identifier: LGPL-2.1-or-later
"""One container as its monitor sees it: what was asked for, and what has been made so far.

Everything that has to be given back is an attribute here, empty until it exists; end.py gives back what is not empty.
So the end of a failed start and the end of a running container are the same code.
"""

from __future__ import annotations

import os

from .. import log, states
from ..hooks.run import HookContext
from ..process import callers_environment
from ..protocol import monitor as broadcast

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Sequence

    from ..cgroup.session import ContainerCgroups
    from ..config.conf import Config
    from ..protocol.server import Server
    from ..terminal.console import Console, TtySlots
    from .daemon import Report
    from .sync import Channel

STOP = "stop"
REBOOT = "reboot"


class Request:
    """What the caller of start() wants; fixed for the life of the monitor."""

    __slots__ = (
        "argv",
        "conf",
        "destroy",
        "execute",
        "foreground",
        "lxcpath",
        "name",
        "pidfile",
        "quiet",
    )

    def __init__(
        self,
        name: str,
        lxcpath: str,
        conf: Config,
        *,
        argv: Sequence[str],
        execute: bool,
        foreground: bool,
        pidfile: str,
        destroy: Callable[[], None] | None,
    ) -> None:
        self.name = name
        self.lxcpath = lxcpath
        self.conf = conf
        self.argv = list(argv)
        self.execute = execute  # run argv under our own init
        self.foreground = foreground
        self.pidfile = pidfile
        self.destroy = destroy  # removes an ephemeral container after its end


class Instance:
    """The state of one container's monitor."""

    __slots__ = (
        "cgroups",
        "channel",
        "clone_flags",
        "command_socket",
        "console",
        "created_namespaces",
        "devpts_fd",
        "exit_status",
        "hooks",
        "init_pid",
        "init_pidfd",
        "namespace_fds",
        "network_made",
        "old_mask",
        "pin_fd",
        "reboots",
        "report",
        "request",
        "root_fd",
        "seccomp_fd",
        "server",
        "signal_fd",
        "state",
        "ttys",
    )

    def __init__(self, request: Request, command_socket: _socket.socket, report: Report) -> None:
        self.request = request
        self.command_socket = command_socket
        self.report = report
        self.server: Server | None = None
        self.hooks = HookContext(request.name, request.lxcpath, request.conf, callers_environment())
        self.state = states.STOPPED
        self.reboots = 0
        self.exit_status = 0  # of the last init, as waitpid(2) gave it
        self.signal_fd = -1
        self.old_mask: set[int] = set()
        self.cgroups: ContainerCgroups | None = None
        self.console: Console | None = None
        self.ttys: TtySlots | None = None
        self.channel: Channel | None = None
        self.init_pid = 0
        self.init_pidfd = -1
        self.clone_flags = 0  # what clone3 was asked for
        self.created_namespaces = 0  # those and the ones init unshares itself
        self.namespace_fds: dict[str, int] = {}
        self.network_made = False
        self.devpts_fd = -1
        self.seccomp_fd = -1
        self.pin_fd = -1
        self.root_fd = -1  # the root, mounted detached for a child that may not do so itself

    @property
    def name(self) -> str:
        """The container's name."""
        return self.request.name

    @property
    def lxcpath(self) -> str:
        """The folder of containers, spelled as the caller spelled it."""
        return self.request.lxcpath

    @property
    def conf(self) -> Config:
        """The configuration in memory."""
        return self.request.conf

    def announce(self, state: int) -> None:
        """Enter a state: the waiting clients and lxc-monitord hear of it (protocol.md: audiences W and D)."""
        self.state = states.RUNNING if state == states.THAWED else state
        log.debug(f"state {states.name(state)}")
        if self.server is not None:
            self.server.announce(state, self.name)
        broadcast.publish_state(self.lxcpath, self.name, state)

    def namespace_paths(self) -> dict[str, str]:
        """Namespace name -> /proc/MONITOR/fd/N, for the hooks that run after init's end."""
        me = os.getpid()
        return {name: f"/proc/{me}/fd/{fd}" for name, fd in self.namespace_fds.items()}

    def close_fd(self, attribute: str) -> None:
        """Close the descriptor in this attribute, if there is one."""
        fd = getattr(self, attribute)
        setattr(self, attribute, -1)
        if fd >= 0:
            os.close(fd)
