# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keys of LXC before 3.0. C LXC 5.0 refuses them, and so do we, but with the modern key as the remedy.

lxc-update-config converts a file; until it exists here, the message names the line to write.
"""

from __future__ import annotations

from . import keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .conf import Config

_NETWORK = {
    "type": "type",
    "flags": "flags",
    "link": "link",
    "mtu": "mtu",
    "name": "name",
    "hwaddr": "hwaddr",
    "ipv4": "ipv4.address",
    "ipv4.gateway": "ipv4.gateway",
    "ipv6": "ipv6.address",
    "ipv6.gateway": "ipv6.gateway",
    "script.up": "script.up",
    "script.down": "script.down",
    "veth.pair": "veth.pair",
    "vlan.id": "vlan.id",
    "macvlan.mode": "macvlan.mode",
}


def modern(conf: Config, key: str, text: str) -> str:
    """The key itself when it is a modern one. Raises ConfigError that names the modern key for an old one."""
    if key in keys.BY_NAME or key.startswith("lxc.net"):
        if not key.startswith("lxc.network"):
            return key
        sub = key[len("lxc.network.") :]
        known = _NETWORK.get(sub)
        raise conf._error(
            f'Unsupported config key "{key}"',
            f"write lxc.net.0.{known} = {text}" if known else "networks are lxc.net.N.* since LXC 2.1",
        )
    row = keys.OLD_NAMES.get(key)
    if row is None and key.startswith("lxc.limit."):
        row = keys.OLD_NAMES.get("lxc.limit")
        if row is not None:
            raise conf._error(f'Unsupported config key "{key}"', f"write lxc.prlimit.{key[10:]} = {text}")
    if row is not None:
        raise conf._error(f'Unsupported config key "{key}"', f"write {row.name} = {text}")
    return key
