# SPDX-License-Identifier: LGPL-2.1-or-later
"""veth(4): a pair whose one end is on the host, in a bridge or routed, and whose other is born inside the container."""

from __future__ import annotations

import _socket
import os
import time

from .. import log
from ..errors import LxcError, Unsupported, describe
from ..linux import rtnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.net import Net

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DEFAULT_MTU = 1500
_TRIES = 100
_PATIENCE = 0.5  # seconds for a name that is taken to become free


def random_name(prefix: str, rtnl: rtnetlink.Rtnl) -> str:
    """A name that no interface of this namespace has: prefix and six random letters and digits."""
    for _ in range(_TRIES):
        name = prefix + "".join(_LETTERS[byte % len(_LETTERS)] for byte in os.urandom(6))
        if rtnl.link(name) is None:
            return name
    raise LxcError(f"no free interface name of the form {prefix}XXXXXX was found")


def create(net: Net, rtnl: rtnetlink.Rtnl, pid: int) -> None:
    """Make the pair, its peer in the network namespace of pid, and set the host's end up. Raises LxcError."""
    key = f"lxc.net.{net.index}"
    mtu = wanted_mtu(net)
    link = rtnl.link(net["link"]) if net["link"] else None
    bridge = _bridge(net, link, key)
    _check_vlans(net, bridge, key)
    if not mtu and link is not None:
        mtu = link.mtu
    pair, peer = _add_pair(net, rtnl, pid, mtu or _DEFAULT_MTU, bridge, key)
    net.runtime["pair"] = pair
    net.runtime["peer"] = peer
    try:
        if _needs_more(net):
            _set_up(net, rtnl, pair, bridge, key)
    except OSError as error:
        remove(net, rtnl)
        raise LxcError(f"{key}: cannot set up {pair}: {describe(error)}") from error
    except BaseException:
        remove(net, rtnl)
        raise


def _add_pair(net: Net, rtnl: rtnetlink.Rtnl, pid: int, mtu: int, bridge: rtnetlink.Link | None, key: str) -> tuple[str, str]:
    """Make the pair; returns the names of the host's and of the other end."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        pair = net["veth.pair"] or random_name("veth", rtnl)
        peer = random_name("veth", rtnl)
        try:
            rtnl.add_veth(
                pair,
                peer,
                peer_pid=pid,
                mtu=mtu,
                rx_queues=net["veth.n_rxqueues"] or 0,
                tx_queues=net["veth.n_txqueues"] or 0,
                # A first byte of 0xfe is higher than any other: the bridge never takes it for its own address.
                address=b"\xfe" + os.urandom(5),
                master=bridge.index if bridge is not None else 0,
                up=not _needs_more(net),
            )
        except FileExistsError as error:
            # A container that was killed a moment ago: the kernel removes its network namespace, and the pair, in its own time.
            if time.monotonic() < deadline:
                time.sleep(0.02)
                continue
            raise LxcError(
                f"{key}.veth.pair = {pair}: an interface of this name exists already",
                remedy="another container uses it, or remove it: ip link del " + pair,
            ) from error
        except OSError as error:
            raise LxcError(f"{key}: cannot make a veth pair: {describe(error)}") from error
        return pair, peer


def _bridge(net: Net, link: rtnetlink.Link | None, key: str) -> rtnetlink.Link | None:
    """The bridge that the host's end becomes a port of, if any. Raises LxcError."""
    name = net["link"]
    if not name or net["veth.mode"] != "bridge":
        return None
    if link is None:
        raise LxcError(
            f'{key}.link = {name}: bridge "{name}" does not exist', remedy="run `lxc-net start`, or name an existing bridge"
        )
    if link.kind == "openvswitch":
        raise Unsupported(f"not supported yet: {key}.link = {name}: an Open vSwitch bridge", remedy="name a bridge of the kernel")
    if link.kind != "bridge":
        raise LxcError(
            f"{key}.link = {name}: this interface is not a bridge",
            remedy=f"name a bridge, or set {key}.veth.mode = router to route through the host",
        )
    return link


def _needs_more(net: Net) -> bool:
    return bool(
        net["veth.mode"] == "router"
        or net["veth.ipv4.route"]
        or net["veth.ipv6.route"]
        or net.is_set("veth.vlan.id")
        or net["veth.vlan.tagged.id"]
    )


def wanted_mtu(net: Net) -> int:
    """The value of its mtu, 0 without one. Raises LxcError."""
    text = net["mtu"]
    if not text:
        return 0
    if not text.isascii() or not text.isdecimal() or len(text) > 20 or not 68 <= int(text) <= 65535:
        raise LxcError(f"lxc.net.{net.index}.mtu = {text}: not a number from 68 to 65535")
    return int(text)


def _check_vlans(net: Net, bridge: rtnetlink.Link | None, key: str) -> None:
    vlan = net["veth.vlan.id"]
    tagged = net["veth.vlan.tagged.id"]
    if vlan is None and not tagged:
        return
    if bridge is None:
        raise LxcError(f"{key}.veth.vlan.*: VLANs need the bridge mode and a link")
    if vlan in tagged:
        raise LxcError(f"{key}.veth.vlan.id = {vlan} is among the tagged ids")
    if not bridge.vlan_filtering:
        raise LxcError(
            f"{key}.veth.vlan.*: the bridge {bridge.name} does not filter VLANs",
            remedy=f"ip link set {bridge.name} type bridge vlan_filtering 1",
        )


def _set_up(net: Net, rtnl: rtnetlink.Rtnl, pair: str, bridge: rtnetlink.Link | None, key: str) -> None:
    link = rtnl.link(pair)
    if link is None:
        raise LxcError(f"{key}: {pair} has vanished")
    if bridge is not None:
        _vlans(net, rtnl, link.index, bridge.default_pvid)
    rtnl.set_link(link.index, up=True)
    for family, number in (("ipv4", _socket.AF_INET), ("ipv6", _socket.AF_INET6)):
        for destination, prefix in net[f"veth.{family}.route"]:
            rtnl.add_route(link.index, number, destination=destination, prefix=prefix)
    if net["veth.mode"] == "router":
        _router(net, rtnl, link.index, pair, key)


def _vlans(net: Net, rtnl: rtnetlink.Rtnl, index: int, default: int) -> None:
    vlan = net["veth.vlan.id"]
    if vlan is not None:
        if default not in (0, vlan):
            rtnl.bridge_vlan(index, default, delete=True)
        if vlan >= 0:
            rtnl.bridge_vlan(index, vlan, untagged=True)
    for tagged in net["veth.vlan.tagged.id"]:
        rtnl.bridge_vlan(index, tagged)


def _router(net: Net, rtnl: rtnetlink.Rtnl, index: int, pair: str, key: str) -> None:
    """Routed: the host answers for the gateway, and each of the container's addresses is a host route to the pair."""
    for family, number, length in (("ipv4", _socket.AF_INET, 32), ("ipv6", _socket.AF_INET6, 128)):
        gateway = net[f"{family}.gateway"]
        if gateway and gateway not in ("auto", "dev"):
            _sysctl(f"net/{family}/conf/{pair}/forwarding", key)
            if family == "ipv6":
                with open("/proc/sys/net/ipv6/conf/all/forwarding", encoding="ascii") as file:
                    if file.read().strip() != "1":
                        raise LxcError(f"{key}: the router mode with IPv6 needs net.ipv6.conf.all.forwarding = 1")
                _sysctl(f"net/ipv6/conf/{pair}/proxy_ndp", key)
            rtnl.proxy_neighbour(index, gateway)
        for entry in net[f"{family}.address"]:
            rtnl.add_route(index, number, destination=entry[0], prefix=length)


def _sysctl(name: str, key: str) -> None:
    try:
        with open(f"/proc/sys/{name}", "w", encoding="ascii") as file:
            file.write("1")
    except OSError as error:
        raise LxcError(f"{key}: cannot set {name.replace('/', '.')} = 1: {describe(error)}") from error


def script_arguments(net: Net) -> list[str]:
    """Link (empty when there is none) and host end."""
    return [net["link"], str(net.runtime.get("pair", ""))]


def remove(net: Net, rtnl: rtnetlink.Rtnl) -> None:
    """Delete the host's end; gone with the container's namespace it is fine too."""
    pair = net.runtime.pop("pair", None)
    if not pair:
        return
    try:
        rtnl.delete_link(str(pair))
    except OSError as error:
        if error.errno != 19:  # ENODEV: it went with the namespace of its peer
            log.warn(f"the interface {pair} could not be removed: {describe(error)}")
