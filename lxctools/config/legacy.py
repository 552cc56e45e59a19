# SPDX-License-Identifier: LGPL-2.1-or-later
"""The key names of LXC 1.0 and 2.0, as LXC 2.1 understood them beside the present ones.

LXC 3.0 and later refuse them. Here they are read with their old meaning and a warning, so that no container is lost;
the file stays as it is until lxc-update-config has renamed them (update.py). The names follow from the key tables; what has
no successor is listed below.
"""

from __future__ import annotations

from . import keys, net
from .grammar import setting
from .values import BadValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Names that LXC 2.0 itself read without effect, or that only described the next one.
IGNORED = ("lxc.pivotdir", "lxc.kmsg")
BACKEND = "lxc.rootfs.backend"

NAMES = {row.legacy: row.name for row in keys.KEYS if row.legacy and row.legacy[-1] != "*"}
NETWORK = "lxc.network."
_LIMIT = "lxc.limit."
_SUBKEYS = {row.legacy[len(NETWORK) :]: row.name for row in net.KEYS if row.legacy}


def is_legacy(key: str) -> bool:
    """Whether a key is one of the old names (a value of lxc.network.* may still be wrong)."""
    return key in NAMES or key in IGNORED or key == BACKEND or key.startswith((_LIMIT, NETWORK))


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
    rest = key[len(NETWORK) :]
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


class Networks:
    """Which network the lines lxc.network.* without a number speak of: lxc.network.type begins the next one.

    last: the one begun by the last line of a type, -1 without any.
    """

    __slots__ = ("_first", "_highest", "_reserved", "last")

    def __init__(self) -> None:
        self._first = -1  # what lines before the first type speak of
        self._highest = -1
        self._reserved = -1
        self.last = -1

    def reserve(self, lines: Iterable[str]) -> None:
        """Keep the numbers that lines such as lxc.net.3.type give from being given to another network."""
        for line in lines:
            key, value = setting(line)
            parts = key.split(".")
            if value and len(parts) == 4 and parts[1] in ("net", "network") and parts[3] == "type":
                self._reserved = max(self._reserved, number(parts[2]))

    def modern(self, key: str) -> str:
        """As the function of that name."""
        new = max(self._highest, self._reserved) + 1
        if self.last < 0 and key.startswith(NETWORK):
            if self._first < 0:
                self._first = new
            new = self._first
        return modern(key, new if self.last < 0 else self.last, new)

    def there(self, index: int) -> None:
        """A line made a network."""
        self._highest = max(self._highest, index)

    def began(self, index: int) -> None:
        """A line gave a network its type."""
        self.last = index

    def copy(self) -> Networks:
        """One that changes to this one do not reach."""
        other = Networks()
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        return other

    def emptied(self) -> None:
        """All networks were removed."""
        self._first = self._highest = self.last = -1


def number(digits: str) -> int:
    """The number of a network as a key has it; -1 for what is none."""
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 10 else -1
