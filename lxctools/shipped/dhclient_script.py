# SPDX-License-Identifier: LGPL-2.1-or-later
"""What dhclient runs at each change of a lease, with the lease in variables (dhclient-script(8)).

The interface is that of the namespace it runs in; ROOTFS is the container's root file system, which gets the resolv.conf.
All values come from whoever answers DHCP there: what is no address is dropped, and no shell sees any.
"""

from __future__ import annotations

import ipaddress
import os
import socket

from ..errors import LxcError
from ..process import find
from ..process import run as run_program
from ..template.rootfs import Rootfs
from . import invocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "dhclient-script"
_RESOLV_CONF = "etc/resolv.conf"
_LEAST_MTU = 576  # RFC 791; a server that says less is wrong
_GAINED = ("BOUND", "RENEW", "REBIND", "REBOOT")
_LOST = ("EXPIRE", "FAIL", "RELEASE", "STOP")


class Lease:
    """The variables of one call."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Raises LxcError for a call without an interface."""
        self.environment = environment
        self.interface = environment.get("interface", "")
        if not self.interface or "/" in self.interface:
            raise LxcError("not called by dhclient: no interface is named", remedy="it is run by the hook dhclient")

    def addresses(self, name: str) -> list[str]:
        """The IP addresses among the words of a variable."""
        return [word for word in self.environment.get(name, "").split() if _is_address(word)]

    def address(self, name: str) -> str:
        """The first of addresses(), or an empty text."""
        return (self.addresses(name) or [""])[0]

    def seconds(self, name: str) -> str:
        """A lifetime as ip(8) wants it."""
        text = self.environment.get(name, "")
        return text if text.isdigit() else "forever"

    def ip(self, *words: str, check: bool = True) -> bool:
        """Run ip(8); whether it succeeded. Raises LxcError if not, with check."""
        program = find("ip", f"{self.environment.get('PATH') or os.defpath}:/usr/sbin:/sbin")
        if program is None:
            raise LxcError(f"cannot set up {self.interface}: ip is missing", remedy="install the package iproute2 on the host")
        done = run_program([program, *words, "dev", self.interface], timeout=30.0)
        if done.status != 0 and check:
            raise LxcError(f"cannot set up {self.interface}: {' '.join(done.argv)} {done.why()}")
        return done.status == 0


def run(words: list[str], environment: Mapping[str, str]) -> int:
    """Put a change into effect; returns 1 when a lease that was not confirmed does not work. Raises LxcError, OSError."""
    lease = Lease(environment)
    reason = environment.get("reason", "")
    if reason in ("PREINIT", "PREINIT6"):
        lease.ip("link", "set", "up")
    elif reason in _GAINED:
        _gained(lease)
    elif reason in _LOST:
        lease.ip("-4", "addr", "flush", check=False)
    elif reason == "TIMEOUT":
        return _untested(lease)
    elif reason in ("BOUND6", "RENEW6", "REBIND6"):
        _gained6(lease)
    elif reason == "DEPREF6":
        _change6(lease, "cur", "change", "preferred_lft", "0")
    elif reason.removesuffix("6") in _LOST:
        _change6(lease, "old", "del")
    return 0


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _gained(lease: Lease) -> None:
    new, old = lease.address("new_ip_address"), lease.address("old_ip_address")
    if not new:
        raise LxcError(f"the lease for {lease.interface} holds no address")
    if old and old != new:
        lease.ip("-4", "addr", "flush", check=False)
    network = ipaddress.ip_network(f"{new}/{lease.address('new_subnet_mask') or 32}", strict=False)
    broadcast = lease.address("new_broadcast_address")
    lifetime = lease.seconds("new_dhcp_lease_time")
    words = [f"{new}/{network.prefixlen}", *(("broadcast", broadcast) if broadcast else ())]
    lease.ip("-4", "addr", "replace", *words, "valid_lft", lifetime, "preferred_lft", lifetime)
    mtu = lease.environment.get("new_interface_mtu", "")
    if mtu.isdigit() and int(mtu) >= _LEAST_MTU:
        lease.ip("link", "set", "mtu", mtu, check=False)
    for number, router in enumerate(lease.addresses("new_routers")):
        if ipaddress.ip_address(router) not in network:
            lease.ip("-4", "route", "replace", f"{router}/32", check=False)
        metric = ("metric", str(number)) if number else ()
        lease.ip("-4", "route", "replace", "default", "via", router, *metric, check=False)
    host = lease.environment.get("new_host_name", "")
    if host and socket.gethostname() in ("", "(none)", "localhost"):
        socket.sethostname(host)
    domain = lease.environment.get("new_domain_name", "").split()
    _resolver(lease, domain[:1], lease.environment.get("new_domain_search", "").split(), lease.addresses("new_domain_name_servers"))


def _untested(lease: Lease) -> int:
    """A lease of before, when no server answers: good if its router does."""
    _gained(lease)
    router = lease.address("new_routers")
    ping = find("ping")
    if router and ping and run_program([ping, "-q", "-c", "1", "-w", "2", "-I", lease.interface, router], timeout=10.0).status == 0:
        return 0
    lease.ip("-4", "addr", "flush", check=False)
    return 1


def _gained6(lease: Lease) -> None:
    valid, preferred = lease.seconds("new_max_life"), lease.seconds("new_preferred_life")
    _change6(lease, "new", "replace", "scope", "global", "valid_lft", valid, "preferred_lft", preferred)
    search = lease.environment.get("new_dhcp6_domain_search", "").split()
    _resolver(lease, [], search, lease.addresses("new_dhcp6_name_servers"))


def _change6(lease: Lease, which: str, verb: str, *more: str) -> None:
    address = lease.address(f"{which}_ip6_address")
    length = lease.environment.get(f"{which}_ip6_prefixlen", "")
    if address:
        lease.ip("-6", "addr", verb, f"{address}/{length if length.isdigit() else 128}", *more, check=verb == "replace")


def _resolver(lease: Lease, domain: list[str], search: list[str], servers: list[str]) -> None:
    path = lease.environment.get("ROOTFS", "")
    if not (domain or search or servers):
        return
    if not os.path.isabs(path) or not os.path.isdir(path):
        invocation.say(NAME, f"{_RESOLV_CONF} is not written: the root file system {path!r} is no folder here")
        return
    lines = [f"domain {name}" for name in domain]
    if search:
        lines.append(f"search {' '.join(domain + [name for name in search if name.rstrip('.') not in domain])}")
    with Rootfs(path) as root:
        if servers:
            lines += [f"nameserver {server}" for server in servers]
        else:  # a lease without any leaves those that are there
            lines += [line for line in (root.read(_RESOLV_CONF) or "").splitlines() if line.startswith("nameserver ")]
        root.write(_RESOLV_CONF, "".join(f"{line}\n" for line in lines))


def main() -> None:
    """dhclient's program."""
    invocation.main(run, NAME)
