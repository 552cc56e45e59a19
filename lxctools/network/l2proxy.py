# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc.net.N.l2proxy: the host answers on the link for the container's addresses (proxy ARP and NDP entries)."""

from __future__ import annotations

from .. import log
from ..errors import LxcError, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.net import Net
    from ..linux.rtnetlink import Rtnl

_NEEDED = {"ipv4": ("forwarding",), "ipv6": ("proxy_ndp", "forwarding")}


def add(net: Net, rtnl: Rtnl) -> None:
    """Answer for every configured address on the link. Raises LxcError naming the key, and leaves nothing then."""
    name = net["link"]
    key = f"lxc.net.{net.index}.l2proxy = 1"
    if not name:
        raise LxcError(f"{key} needs a link", remedy=f"set lxc.net.{net.index}.link")
    link = rtnl.link(name)
    if link is None:
        raise LxcError(f'{key}: interface "{name}" does not exist')
    for family, variables in _NEEDED.items():
        if net[f"{family}.address"]:
            for variable in variables:
                _require(f"net.{family}.conf.{name}.{variable}", f"/proc/sys/net/{family}/conf/{name}/{variable}", key)
    added: list[str] = []
    net.runtime["proxied"] = added
    for family in _NEEDED:
        for address, *_prefix in net[f"{family}.address"]:
            try:
                rtnl.proxy_neighbour(link.index, address)
            except OSError as error:
                remove(net, rtnl)
                raise LxcError(f"{key}: cannot answer for {address} on {name}: {describe(error)}") from error
            added.append(address)


def _require(variable: str, path: str, key: str) -> None:
    try:
        with open(path, encoding="ascii") as file:
            value = file.read().strip()
    except OSError as error:
        raise LxcError(f"{key}: cannot read {variable}: {describe(error)}") from error
    if value != "1":
        raise LxcError(f"{key} needs {variable} = 1, which is {value}", remedy=f"sysctl -w {variable}=1")


def remove(net: Net, rtnl: Rtnl) -> None:
    """No longer answer for them; failures are logged."""
    added = net.runtime.pop("proxied", None)
    if not isinstance(added, list) or not added:
        return
    link = rtnl.link(net["link"])
    for address in added if link is not None else ():
        assert link is not None
        try:
            rtnl.proxy_neighbour(link.index, address, delete=True)
        except OSError as error:
            log.warn(f"the proxy entry of {address} on {net['link']} could not be removed: {describe(error)}")
