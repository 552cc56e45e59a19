# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is in the network namespaces of containers: interfaces and their addresses."""

from __future__ import annotations

import os

from ..linux import rtnetlink, sched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOOPBACK = "lo"


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
    the current root has none that shows us. Raises OSError when the caller's own network cannot be come back to.
    """
    targets = dict(pidfds or {})
    home: int | None = None
    try:
        for key, pid in pids.items():
            fd = _open(str(pid), None) if pid > 0 else None
            if fd is not None:
                targets[key] = fd
        home = _open("self", proc) if targets else None
        return _visit(targets, home) if home is not None else {}
    finally:
        for fd in (*targets.values(), *([] if home is None else [home])):
            os.close(fd)


def _open(process: str, proc: int | None) -> int | None:
    try:
        where = "/proc/" if proc is None else ""
        return os.open(f"{where}{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    except OSError:
        return None


def _visit(targets: Mapping[int, int], home: int) -> dict[int, Network]:
    """Enter each, open a netlink socket there, and return home."""
    found: dict[int, Network] = {}
    try:
        for key, fd in targets.items():
            try:
                sched.setns(fd, sched.CLONE_NEWNET)
                with rtnetlink.Rtnl() as rtnl:
                    names = rtnl.names()
                    found[key] = Network(rtnl.addr_list(names), sorted(names.values()))
            except OSError:
                pass  # it has ended, or is not ours
    finally:
        sched.setns(home, sched.CLONE_NEWNET)
    return found
