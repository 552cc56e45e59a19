# SPDX-License-Identifier: LGPL-2.1-or-later
"""The channel between the monitor and the container's first process."""

from __future__ import annotations

import pytest

from lxctools.errors import LxcError
from lxctools.runtime.sync import ERROR, GO, READY, PeerGone, pair


def test_last_words_survive_a_message_that_was_never_read() -> None:
    """A side that closes with unread messages resets the connection; what it said before must not be lost."""
    monitor, child = pair()
    monitor.send(GO)
    child.send(READY, {"ttys": 0})
    child.send(ERROR, ("the hook failed", "mend it"))
    child.close()
    assert monitor.receive(READY)[:2] == (READY, {"ttys": 0})
    with pytest.raises(LxcError, match="the hook failed"):
        monitor.receive(READY)
    with pytest.raises(PeerGone):
        monitor.receive(READY)
    monitor.close()
