# SPDX-License-Identifier: LGPL-2.1-or-later
"""What happens to the containers of some lxcpaths, as their lxc-monitord tells it."""

from __future__ import annotations

import select

from ..protocol import commands, monitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Event:
    """What lxc-monitord tells: a new state, or (is_exit) the wait status of a container's init."""

    __slots__ = ("is_exit", "lxcpath", "name", "value")

    def __init__(self, lxcpath: str, name: str, value: int, *, is_exit: bool) -> None:
        self.lxcpath = lxcpath
        self.name = name
        self.value = value
        self.is_exit = is_exit


def watch(lxcpaths: Sequence[str]) -> Iterator[Event]:
    """The events of all containers of these lxcpaths, as they happen. Raises LxcError when lxc-monitord ends."""
    poller = select.poll()
    subscriptions = {}
    for lxcpath in lxcpaths:
        subscription = monitor.subscribe(lxcpath)
        subscriptions[subscription.fileno()] = subscription
        poller.register(subscription, select.POLLIN)
    while True:
        for fd, _events in poller.poll():
            subscription = subscriptions[fd]
            for event in subscription.events():
                if event.kind in (commands.MESSAGE_STATE, commands.MESSAGE_EXIT):
                    is_exit = event.kind == commands.MESSAGE_EXIT
                    yield Event(subscription.lxcpath, event.name, event.value, is_exit=is_exit)
