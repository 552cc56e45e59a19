# SPDX-License-Identifier: LGPL-2.1-or-later
"""Network devices of a container: the contract of an interface type, the table of types, and the whole list's life.

An interface type is a module with

    create(net, rtnl, pid)      make and set up the device on the host; records in net.runtime: "pair" (host end), "peer"
                                (its name inside for now), "made"
    script_arguments(net)       what its up and down scripts are told after the type
    remove(net, rtnl)           remove the host's part; only logs

`create` may be called when nothing of the container's network is configured yet; `configure` (address.py) runs inside.
The lists are handled in numeric order; scripts are run by the caller (hooks are another package).
"""

from __future__ import annotations

import _socket
import errno

from .. import load_module, log
from ..errors import LxcError, Unsupported, describe
from ..linux import rtnetlink
from . import address, l2proxy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import ModuleType

    from ..config.net import Net

    Script = Callable[[Net, str, list[str]], None]

_MODULES = {"veth": "veth", "empty": "empty", "none": "empty", "macvlan": "", "ipvlan": "", "vlan": "", "phys": ""}
_loaded: dict[str, ModuleType] = {}


def load(types: Iterable[str]) -> None:
    """Import the modules of these types, before the first fork. Raises LxcError, Unsupported."""
    for kind in types:
        if kind not in _loaded:
            if not kind:
                raise LxcError("a network of the configuration has no type", remedy="set lxc.net.N.type, or remove lxc.net.N")
            if not _MODULES[kind]:
                raise Unsupported(f"not supported yet: lxc.net.N.type = {kind}", remedy="use veth, empty or none")
            _loaded[kind] = load_module(f"{__package__}.{_MODULES[kind]}")


def resolve_auto_gateways(nets: Sequence[Net]) -> None:
    """Gateways `auto`: the first address of the link. Raises LxcError."""
    for net in nets:
        for family in ("ipv4", "ipv6"):
            if net[f"{family}.gateway"] != "auto":
                continue
            key = f"lxc.net.{net.index}.{family}.gateway = auto"
            if not net["link"]:
                raise LxcError(f"{key} needs a link", remedy=f"set lxc.net.{net.index}.link")
            net.runtime[f"{family}.gateway"] = _first_address(net["link"], family, key)


def _first_address(link_name: str, family: str, key: str) -> str:
    with rtnetlink.Rtnl() as rtnl:
        link = rtnl.link(link_name)
        if link is None:
            raise LxcError(f'{key}: interface "{link_name}" does not exist')
        wanted = _socket.AF_INET6 if family == "ipv6" else _socket.AF_INET
        for index, found, _prefix, scope in rtnl.addresses():
            if index == link.index and rtnetlink.family_of(found) == wanted and scope == 0:
                return found
    raise LxcError(f"{key}: {link_name} has no {family} address")


def create_all(nets: Sequence[Net], pid: int, script: Script, *, reboot: bool) -> None:
    """Make every device for the process pid's network namespace and run its up script. Raises LxcError.

    A device that fails half-way is removed; teardown_all() removes the earlier ones.
    """
    if not nets:
        return
    with rtnetlink.Rtnl() as rtnl:
        for net in nets:
            net.runtime.pop("made", None)
            module = _loaded[net.type]
            if reboot and net.is_set("veth.pair"):
                _remove_of_last_boot(net, rtnl)
            if net["l2proxy"] and net.type != "none":
                l2proxy.add(net, rtnl)
            try:
                module.create(net, rtnl, pid)
            except BaseException:
                l2proxy.remove(net, rtnl)
                raise
            if net.type == "none":
                continue
            try:
                script(net, "up", [net.type, *module.script_arguments(net)])
            except BaseException:
                module.remove(net, rtnl)
                l2proxy.remove(net, rtnl)
                raise
            net.runtime["made"] = True


def _remove_of_last_boot(net: Net, rtnl: rtnetlink.Rtnl) -> None:
    """The pair with a name of its own may outlive the namespace of the boot before for a moment."""
    try:
        link = rtnl.link(net["veth.pair"])
        if link is not None and link.kind == "veth":
            rtnl.delete_link(link.name)
    except OSError as error:
        if error.errno != errno.ENODEV:
            key = f"lxc.net.{net.index}.veth.pair = {net['veth.pair']}"
            raise LxcError(f"{key}: the device of the last boot cannot be removed: {describe(error)}") from error


def teardown_all(nets: Sequence[Net], script: Script) -> None:
    """Down script and removal for every device whose up script has run; failures are logged."""
    made = [net for net in nets if net.runtime.get("made")]
    if not made:
        return
    with rtnetlink.Rtnl() as rtnl:
        for net in made:
            module = _loaded[net.type]
            l2proxy.remove(net, rtnl)
            try:
                script(net, "down", [net.type, *module.script_arguments(net)])
            except (LxcError, OSError) as error:
                log.error(describe(error))
            module.remove(net, rtnl)
            net.runtime.clear()


def configure_all(nets: Sequence[Net]) -> None:
    """Inside the container's namespace: names, addresses, up, gateways. Raises LxcError."""
    devices = [net for net in nets if net.type != "none"]
    if not devices:
        return
    with rtnetlink.Rtnl() as rtnl:
        # Those with a name of their own first, so that eth%d never takes a name that is wanted.
        for net in sorted(devices, key=lambda net: not address.wanted_name(net)):
            address.configure(net, rtnl)
