# SPDX-License-Identifier: LGPL-2.1-or-later
"""A device's configuration inside the container: name, hardware address, addresses, up, gateways.

Runs in the container's network namespace and in the host's mount namespace, before the root is entered.
"""

from __future__ import annotations

import _socket

from ..errors import LxcError, describe
from ..linux import rtnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.net import Net

_LOOPBACK = 1  # the index of lo in every network namespace


def wanted_name(net: Net) -> str:
    """The name that the configuration asks for; "" leaves it to the kernel (eth%d)."""
    name: str = net["name"]
    return "" if name == "eth%d" else name


def configure(net: Net, rtnl: rtnetlink.Rtnl) -> None:
    """Configure one device. Raises LxcError naming the key."""
    key = f"lxc.net.{net.index}"
    try:
        if net.type == "empty":
            index = _LOOPBACK
        else:
            transient = str(net.runtime["peer"])
            link = rtnl.link(transient)
            if link is None:
                raise LxcError(f"{key}: the device {transient} is not in the container's network namespace")
            index = link.index
            _rename(net, rtnl, index, key)
            net.runtime["ifindex"] = index
        _set_address(net, rtnl, index, key)
        for family in ("ipv4", "ipv6"):
            for place, prefix, *broadcast in net[f"{family}.address"]:  # IPv6 has none
                try:
                    rtnl.add_address(index, place, prefix, *broadcast)
                except OSError as error:
                    raise LxcError(f"{key}.{family}.address = {place}/{prefix}: {describe(error)}") from error
        if net["flags"]:
            rtnl.set_link(index, up=True)
            rtnl.set_link(_LOOPBACK, up=True)
        for family in ("ipv4", "ipv6"):
            _gateway(net, rtnl, index, family, key)
    except OSError as error:
        raise LxcError(f"{key}: cannot configure the device inside the container: {describe(error)}") from error


def _rename(net: Net, rtnl: rtnetlink.Rtnl, index: int, key: str) -> None:
    name = wanted_name(net) or "eth%d"
    try:
        rtnl.set_link(index, name=name)
    except OSError as error:
        raise LxcError(f"{key}.name = {name}: {describe(error)}", remedy="two devices cannot have one name") from error
    link = rtnl.link(index)
    net.runtime["name"] = link.name if link is not None else name


def wanted_address(net: Net) -> bytes:
    """The hardware address that the configuration asks for; b"" for none, and where there is no device to give it to.

    Raises LxcError.
    """
    text = net["hwaddr"]
    if not text or net.type in ("empty", "none"):
        return b""
    try:
        address = rtnetlink.hardware_address(text)
    except ValueError as error:
        raise LxcError(f"lxc.net.{net.index}.hwaddr = {text}: {error}", remedy="write it as 00:16:3e:xx:xx:xx") from None
    if address[0] & 1:
        raise LxcError(
            f"lxc.net.{net.index}.hwaddr = {text}: it is an address of a group of stations", remedy="the first byte must be even (unicast)"
        )
    return address


def _set_address(net: Net, rtnl: rtnetlink.Rtnl, index: int, key: str) -> None:
    address = wanted_address(net)
    if not address:
        return
    try:
        rtnl.set_link(index, address=address)
    except OSError as error:
        raise LxcError(f"{key}.hwaddr = {net['hwaddr']}: {describe(error)}") from error


def _gateway(net: Net, rtnl: rtnetlink.Rtnl, index: int, family: str, key: str) -> None:
    gateway = net.runtime.get(f"{family}.gateway") or net[f"{family}.gateway"]
    if not gateway:
        return
    gateway = str(gateway)
    shown = f"{key}.{family}.gateway = {gateway}"
    number = _socket.AF_INET6 if family == "ipv6" else _socket.AF_INET
    if not net["flags"]:
        raise LxcError(f"{shown}: the device is not up", remedy=f"set {key}.flags = up")
    link_local = family == "ipv6" and gateway != "dev" and _is_link_local(gateway)
    if not net[f"{family}.address"] and gateway != "dev" and not link_local:
        raise LxcError(f"{shown}: the device has no {family} address", remedy=f"set {key}.{family}.address")
    try:
        if gateway == "dev":
            rtnl.add_route(index, number)
            return
        try:
            rtnl.add_route(index, number, gateway=gateway)
        except OSError:
            # Not on the link: make it so by a host route, then once more.
            rtnl.add_route(index, number, destination=gateway, prefix=128 if family == "ipv6" else 32)
            rtnl.add_route(index, number, gateway=gateway)
    except OSError as error:
        raise LxcError(f"{shown}: {describe(error)}") from error


def _is_link_local(address: str) -> bool:
    """fe80::/10 (RFC 4291)."""
    first, second = _socket.inet_pton(_socket.AF_INET6, address)[:2]
    return first == 0xFE and second & 0xC0 == 0x80
