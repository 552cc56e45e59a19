# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is in the network namespaces of containers: interfaces and their addresses."""

from __future__ import annotations

import errno
import os

from ..linux import rtnetlink, sched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOOPBACK = "lo"
_SHORTAGE = (errno.EMFILE, errno.ENFILE)


class Network:
    """What is in a network namespace: addresses as (interface, "inet" or "inet6", address), names of interfaces."""

    __slots__ = ("addresses", "interfaces")

    def __init__(self, addresses: Sequence[tuple[str, str, str]], interfaces: Sequence[str]) -> None:
        self.addresses = addresses
        self.interfaces = tuple(interfaces)

    def ips(self, *, interface: str | None = None, family: str | None = None) -> tuple[str, ...]:
        """The addresses that LXC lists, sorted as text: of this interface, or of all but lo; none that are link-local."""
        return tuple(
            sorted(
                address
                for name, kind, address in self.addresses
                if (name == interface if interface else name != LOOPBACK)
                and family in (None, kind)
                and not (kind == "inet6" and address[:3].lower() in ("fe8", "fe9", "fea", "feb"))
            )
        )


def look_into(pids: Mapping[int, int], pidfds: Mapping[int, int] | None = None, proc: int | None = None) -> dict[int, Network]:
    """The networks of processes, by the caller's keys; without those that have ended or may not be looked into.

    pids: numbers, 0 and less are passed over. pidfds: descriptors, which are closed. proc: a descriptor of /proc, where
    the current root has none that shows us. Raises OSError when the caller's own network cannot be come back to, and when
    there is no descriptor left.
    """
    given = dict(pidfds or {})
    found: dict[int, Network] = {}
    try:
        home = _open("self", proc) if given or pids else None
        if home is None:
            return {}
        try:
            for key in (*given, *pids):
                network = _visit(given.pop(key) if key in given else _open(str(pids[key]), None) if pids[key] > 0 else None)
                if network is not None:
                    found[key] = network
        finally:
            try:
                sched.setns(home, sched.CLONE_NEWNET)
            finally:
                os.close(home)
    finally:
        for fd in given.values():
            os.close(fd)
    return found


def _open(process: str, proc: int | None) -> int | None:
    try:
        where = "/proc/" if proc is None else ""
        return os.open(f"{where}{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    except OSError as error:
        if error.errno in _SHORTAGE:
            raise
        return None


def _visit(process: int | None) -> Network | None:
    """Enter the network of a process, whose descriptor is closed, and look around; None when it has ended, or is not ours."""
    if process is None:
        return None
    try:
        sched.setns(process, sched.CLONE_NEWNET)
        with rtnetlink.Rtnl() as rtnl:
            names = rtnl.names()
            return Network(rtnl.addr_list(names), sorted(names.values()))
    except OSError as error:
        if error.errno in _SHORTAGE:
            raise
        return None
    finally:
        os.close(process)
