# SPDX-License-Identifier: LGPL-2.1-or-later
"""Wait for a state: the monitor tells it, or, while there is no monitor, asking again and again for one."""

from __future__ import annotations

import select
import sys
import time

from .. import states
from ..errors import TimedOut
from ..protocol import client

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Sequence

_STATE_MESSAGE = 264
_AGAIN = 0.1  # seconds between two looks for a monitor
_LEAST = 0.5  # seconds for the answer of a monitor that is only looked at


def wait(name: str, lxcpath: str, wanted: Sequence[int], timeout: float) -> bool:
    """True once the container is in one of the states; False when the time is over or it ended in another way.

    timeout: seconds, 0 only looks, negative waits without limit. Without a monitor the state is STOPPED, also for a
    container that was never defined. The end of the container, and a reboot, reads as STOPPED. Raises Denied, TimedOut.
    """
    deadline = None if timeout < 0 else time.monotonic() + timeout
    while True:
        try:
            found = client.add_state_client(name, lxcpath, dict.fromkeys(wanted, 1), timeout=_limit(deadline))
        except TimedOut:
            if timeout == 0:
                raise
            return False
        if isinstance(found, int):
            return True
        if found is not None:
            reached = told(found, deadline)
            found.close()
            return reached in wanted
        if states.STOPPED in wanted:
            return True
        if deadline is not None and time.monotonic() + _AGAIN > deadline:
            time.sleep(max(0.0, deadline - time.monotonic()))
            return False
        time.sleep(_AGAIN)


def _limit(deadline: float | None) -> float | None:
    """How long the monitor may take to register us: it does so only when the container runs, whatever the start takes."""
    return None if deadline is None else max(_LEAST, deadline - time.monotonic())


def told(waiting: _socket.socket, deadline: float | None) -> int | None:
    """The state that a monitor tells a waiting client: STOPPED for the end of file, None when the time is over."""
    poller = select.poll()
    poller.register(waiting.fileno(), select.POLLIN)
    left = None if deadline is None else max(0, int((deadline - time.monotonic()) * 1000))
    if not poller.poll(left):
        return None
    data = waiting.recv(_STATE_MESSAGE)
    return int.from_bytes(data[-4:], sys.byteorder) if len(data) == _STATE_MESSAGE else states.STOPPED
