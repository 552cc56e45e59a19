# SPDX-License-Identifier: LGPL-2.1-or-later
"""The start of lxc-attach's entrant: a second, sealed interpreter (seal.py) that will go in (entrant.py).

It takes as long to start as everything else that lxc-attach does, so the launcher starts it before the command line is
even read; an entrant that nobody takes ends with the channel, when this process ends.
"""

from __future__ import annotations

import _signal
import os

from ..cgroup.settle import Settling
from ..errors import LxcError, describe
from . import seal
from .sync import pair

_PROGRAM = (
    "import sys; sys.path.insert(0, {root!r}); sys.dont_write_bytecode = True; "
    "from lxctools.runtime.entrant import main; main({fd})"
)


class Entrant:
    """The sealed interpreter; killed and reaped by close() unless it has done its work. Raises OSError."""

    __slots__ = ("channel", "pid")

    def __init__(self) -> None:
        self.channel, theirs = pair()
        package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        code = _PROGRAM.format(root=os.path.dirname(package), fd=theirs.fileno())
        try:
            self.pid = seal.spawn_sealed(["-I", "-S", "-c", code], [theirs.fileno()])
        finally:
            theirs.close()

    def close(self) -> None:
        """End it if it still runs, and collect its status."""
        self.channel.close()
        if self.pid:
            try:
                os.kill(self.pid, _signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.reap()

    def reap(self) -> None:
        """Wait for it."""
        pid, self.pid = self.pid, 0
        if pid:
            os.waitpid(pid, 0)


_waiting: list[Entrant] = []
settling = Settling()  # for the entrant's move into the container's cgroups


def begin() -> None:
    """Start one ahead of its use; a failure is told when it is taken."""
    try:
        _waiting.append(Entrant())
    except OSError:
        pass
    settling.begin()


def take() -> Entrant:
    """The one that was started, or a new one. Raises LxcError."""
    if _waiting:
        return _waiting.pop()
    try:
        return Entrant()
    except OSError as error:
        raise LxcError(f"cannot make a protected interpreter to enter the container: {describe(error)}") from error


