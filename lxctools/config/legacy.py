# SPDX-License-Identifier: LGPL-2.1-or-later
"""The key names of LXC 1.0 and 2.0, as LXC 2.1 understood them beside the present ones.

LXC 3.0 and later refuse them. Here they are read with their old meaning and a warning, so that no container is lost;
the file stays as it is. The names follow from the key tables; what has no successor is listed below.
"""

from __future__ import annotations

from . import keys, net
from .values import BadValue

# Names that LXC 2.0 itself read without effect, or that only described the next one.
IGNORED = ("lxc.pivotdir", "lxc.kmsg")
BACKEND = "lxc.rootfs.backend"

NAMES = {row.legacy: row.name for row in keys.KEYS if row.legacy and row.legacy[-1] != "*"}
_LIMIT = "lxc.limit."
_NETWORK = "lxc.network."
_SUBKEYS = {row.legacy[len(_NETWORK) :]: row.name for row in net.KEYS if row.legacy}


def is_legacy(key: str) -> bool:
    """Whether a key is one of the old names (a value of lxc.network.* may still be wrong)."""
    return key in NAMES or key in IGNORED or key == BACKEND or key.startswith((_LIMIT, _NETWORK))


def modern(key: str, last: int, new: int) -> str:
    """The present name of an old key; "" for one without meaning. Raises BadValue.

    last: the index of the network that lines without a number speak of, -1 when none was begun; new: the index for the
    next one, which lxc.network.type begins.
    """
    if key in NAMES:
        return NAMES[key]
    if key in IGNORED:
        return ""
    if key.startswith(_LIMIT):
        return "lxc.prlimit." + key[len(_LIMIT) :]
    rest = key[len(_NETWORK) :]
    digits, dot, subkey = rest.partition(".")
    if digits.isascii() and digits.isdecimal():
        if not dot:
            return f"lxc.net.{digits}"
        return f"lxc.net.{digits}.{_subkey(subkey, key)}"
    subkey = _subkey(rest, key)
    if subkey == "type":
        return f"lxc.net.{new}.type"
    # Before the first lxc.network.type, LXC 2.0 refused these; the first network is what was meant.
    return f"lxc.net.{max(last, 0)}.{subkey}"


def _subkey(subkey: str, key: str) -> str:
    found = _SUBKEYS.get(subkey) or (subkey if subkey in net.TABLE else "")
    if not found:
        raise BadValue(f'Unknown network configuration key "{key}"', "see lxc.container.conf(5) for lxc.net.N.*", key)
    return found
