# SPDX-License-Identifier: LGPL-2.1-or-later
"""The networks of a configuration: the keys lxc.net.N.*, their value types, and Net, which holds those of one N."""

from __future__ import annotations

import _socket
import os

from . import values as v
from .keys import Key
from .values import BadValue, Type, c_number, joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

LARGEST_INDEX = 2**31 - 2
TYPES = ("none", "empty", "veth", "macvlan", "ipvlan", "vlan", "phys")

# -- addresses ---------------------------------------------------------------------------------------------------------


def _address(text: str, family: int, what: str) -> str:
    """An address in the form that the C library prints."""
    try:
        return _socket.inet_ntop(family, _socket.inet_pton(family, text))
    except (OSError, ValueError):
        raise BadValue(f'Invalid {what} "{text}"', word=text) from None


def _prefix(text: str, most: int) -> int:
    return c_number(text, 0, most, f"a prefix length of 0 to {most}")


def _class_prefix(address: str) -> int:
    """The prefix of the address's class. (C LXC looks at the last octet instead of the first.)"""
    first = int(address.partition(".")[0])
    return 8 if first < 128 else 16 if first < 192 else 24 if first < 224 else 32


def _broadcast(address: str, prefix: int) -> str:
    """The address with all host bits set; "" where there is none (/31, /32)."""
    if prefix > 30:
        return ""
    number = int.from_bytes(_socket.inet_aton(address), "big") | (2 ** (32 - prefix) - 1)
    return _socket.inet_ntoa(number.to_bytes(4, "big"))


def _address4(text: str) -> list[tuple[str, int, str]]:
    """A.B.C.D[/PREFIX][ BROADCAST] with one blank."""
    word, _, given = text.partition(" ")
    word, slash, length = word.partition("/")
    address = _address(word, _socket.AF_INET, "ipv4 address")
    prefix = _prefix(length, 32) if slash else _class_prefix(address)
    broadcast = _address(given, _socket.AF_INET, "ipv4 broadcast address") if given else _broadcast(address, prefix)
    return [(address, prefix, broadcast)]


def _address6(text: str) -> list[tuple[str, int]]:
    word, slash, length = text.partition("/")
    return [(_address(word, _socket.AF_INET6, "ipv6 address"), _prefix(length, 128) if slash else 64)]


def _gateway4(text: str) -> str:
    return text if text in ("auto", "dev") else _address(text, _socket.AF_INET, "ipv4 gateway address")


def _gateway6(text: str) -> str:
    return text if text in ("auto", "dev") else _address(text, _socket.AF_INET6, "ipv6 gateway address")


def _route4(text: str) -> list[tuple[str, int]]:
    word, slash, length = text.partition("/")
    if not slash:
        raise BadValue(f'"{text}" has no prefix length', f"write {text}/32 for a single address", text)
    return [(_address(word, _socket.AF_INET, "ipv4 route"), _prefix(length, 32))]


def _route6(text: str) -> list[tuple[str, int]]:
    word, slash, length = text.partition("/")
    if not slash:
        raise BadValue(f'"{text}" has no prefix length', f"write {text}/128 for a single address", text)
    return [(_address(word, _socket.AF_INET6, "ipv6 route"), _prefix(length, 128))]


def _slashed(items: Sequence[tuple[Any, ...]]) -> str:
    return joined([f"{item[0]}/{item[1]}" for item in items])


def _extend(old: list[Any], new: list[Any]) -> list[Any]:
    old.extend(new)
    return old


# -- hardware addresses, flags, names ----------------------------------------------------------------------------------


def expand_hwaddr(text: str) -> str:
    """Each x replaced by a random hexadecimal digit; the address stays one of a single station (bit 0 clear)."""
    if "x" not in text and "X" not in text:
        return text
    random = iter(os.urandom(len(text)))
    digits = []
    for at, letter in enumerate(text):
        if letter in "xX":
            number = next(random) & 15
            letter = "0123456789abcdef"[number & 14 if at == 1 else number]
        digits.append(letter)
    return "".join(digits)


def _flags(text: str) -> bool:
    """LXC knows no flag but up, and takes any other word for it; down is what it says here."""
    return text.strip().lower() != "down"


def link_by_prefix(prefix: str) -> str:
    """The host's last interface whose name begins so, or ""; for lxc.net.N.link = PREFIX+ of type phys."""
    names = [name for _, name in _socket.if_nameindex() if name.startswith(prefix)]
    return names[-1] if names else ""


TYPE = Type(f"enum({'|'.join(TYPES)})", "one of: " + " ".join(TYPES), v.enumeration("empty", *TYPES).parse, default="empty",
            words=TYPES)  # fmt: skip
FLAGS = Type("flag-up", "up", _flags, lambda up: "up" if up else "", default=False)
HWADDR = Type("mac-template", "six bytes in hexadecimal with colons; each x becomes a random digit", expand_hwaddr)
ADDRESSES4 = Type("cidr4[ broadcast]", "ADDRESS[/PREFIX][ BROADCAST]", _address4, _slashed, default=(), join=_extend)
ADDRESSES6 = Type("cidr6", "ADDRESS[/PREFIX]", _address6, _slashed, default=(), join=_extend)
GATEWAY4 = Type("ip4|auto|dev", "an address, auto or dev", _gateway4)
GATEWAY6 = Type("ip6|auto|dev", "an address, auto or dev", _gateway6)
ROUTES4 = Type("cidr4", "ADDRESS/PREFIX", _route4, _slashed, default=(), join=_extend)
ROUTES6 = Type("cidr6", "ADDRESS/PREFIX", _route6, _slashed, default=(), join=_extend)

_HOST_END = "The host's end of the pair"

KEYS = (
    Key("type", TYPE, "2.1",
        "Kind of network; write it before the network's other keys, because it forgets them. none: the host's network; "
        "empty: the loopback interface only.", legacy="lxc.network.type"),
    Key("script.up", v.HOOK, "2.1", "Run on the host when the interface was made.", legacy="lxc.network.script.up"),
    Key("script.down", v.HOOK, "2.1", "Run on the host before the interface goes.", legacy="lxc.network.script.down"),
    Key("flags", FLAGS, "2.1", "up: the interface is brought up.", legacy="lxc.network.flags"),
    Key("link", v.INTERFACE, "2.1",
        "Interface of the host: the bridge, the parent, or the device itself. With type phys, PREFIX+ is an interface whose "
        "name begins so.", legacy="lxc.network.link"),
    Key("name", v.INTERFACE, "2.1", "Name of the interface inside the container.", legacy="lxc.network.name"),
    Key("hwaddr", HWADDR, "2.1", "Hardware address; each x in it becomes a random digit.", legacy="lxc.network.hwaddr"),
    Key("mtu", v.STRING, "2.1", "Largest packet.", unit="bytes", legacy="lxc.network.mtu"),
    Key("ipv6.address", ADDRESSES6, "2.1", "IPv6 address; the prefix is 64 unless given.", legacy="lxc.network.ipv6"),
    Key("ipv6.gateway", GATEWAY6, "2.1",
        "IPv6 gateway. auto: the address of the link's interface; dev: a route through the interface.",
        legacy="lxc.network.ipv6.gateway"),
    Key("ipv4.address", ADDRESSES4, "2.1", "IPv4 address; the prefix is that of its class unless given.",
        legacy="lxc.network.ipv4"),
    Key("ipv4.gateway", GATEWAY4, "2.1",
        "IPv4 gateway. auto: the address of the link's interface; dev: a route through the interface.",
        legacy="lxc.network.ipv4.gateway"),
    Key("veth.pair", v.INTERFACE, "2.1", "Name of the host's end; unset: vethXXXXXX.", only="veth",
        legacy="lxc.network.veth.pair"),
    Key("veth.ipv4.route", ROUTES4, "3.2", "Route on the host to addresses of the container.", only="veth"),
    Key("veth.ipv6.route", ROUTES6, "3.2", "Route on the host to addresses of the container.", only="veth"),
    Key("veth.vlan.id", v.VLAN_OR_NONE, "5.0",
        _HOST_END + " is an untagged member of this VLAN of the bridge; none: of no VLAN.", only="veth"),
    Key("macvlan.mode", v.enumeration("private", "private", "vepa", "bridge", "passthru"), "2.1",
        "Which interfaces on the same link it reaches.", only="macvlan", legacy="lxc.network.macvlan.mode"),
    Key("ipvlan.mode", v.enumeration("l2", "l3", "l3s", "l2"), "3.2",
        "Layer at which packets are passed on. (LXC's manual gives l3 as the default; it is l2.)", only="ipvlan"),
    Key("ipvlan.isolation", v.enumeration("bridge", "bridge", "private", "vepa"), "3.2",
        "Which interfaces on the same link it reaches.", only="ipvlan"),
    Key("vlan.id", v.VLAN, "2.1", "Number of the VLAN.", only="vlan", legacy="lxc.network.vlan.id"),
    Key("veth.mode", v.enumeration("bridge", "bridge", "router"), "3.2",
        _HOST_END + " is put into the bridge of link, or gets routes to the container's addresses.", only="veth"),
    Key("veth.n_rxqueues", v.POSITIVE, "5.0", "How many receive queues.", only="veth"),
    Key("veth.n_txqueues", v.POSITIVE, "5.0", "How many transmit queues.", only="veth"),
    Key("veth.vlan.tagged.id", v.VLANS, "5.0", _HOST_END + " is a tagged member of this VLAN of the bridge.", only="veth"),
    Key("l2proxy", v.BOOL, "3.2", "1: the host answers on link for the container's addresses."),
)  # fmt: skip

TABLE = {row.name: row for row in KEYS}
_LISTED_ALWAYS = ("type", "script.up", "script.down")
_NOT_LISTED = ("veth.mode", "veth.n_rxqueues", "veth.n_txqueues", "veth.vlan.tagged.id", "l2proxy")


class Net:
    """One network of a configuration, lxc.net.INDEX.

    net["link"] and so on are the values, or the keys' defaults. runtime: what the start chose (names, interface numbers);
    "pair" is the name of the host's end and "name" that inside, which veth.pair and name read as from then on.
    """

    __slots__ = ("index", "runtime", "type", "values")

    def __init__(self, index: int) -> None:
        self.index = index
        self.type = "empty"
        self.values: dict[str, Any] = {}
        self.runtime: dict[str, Any] = {}

    def copy(self) -> Net:
        """One that changes to this one do not reach."""
        other = Net(self.index)
        other.type = self.type
        other.values = {key: value.copy() if value.__class__ is list else value for key, value in self.values.items()}
        other.runtime = dict(self.runtime)
        return other

    def __repr__(self) -> str:
        return f"Net({self.index}, {self.type!r}, {self.values!r})"

    def __getitem__(self, subkey: str) -> Any:
        """The value of a subkey or its default, whatever the network's type. Raises KeyError for no subkey."""
        if subkey == "type":
            return self.type
        if subkey in self.values:
            return self.values[subkey]
        default = TABLE[subkey].default
        return [] if default.__class__ is tuple else default

    @property
    def uses_link(self) -> bool:
        """Whether a start looks for the interface that `link` names, if it does."""
        if self.type in ("", "none"):
            return False
        if self["l2proxy"] or "auto" in (self["ipv4.gateway"], self["ipv6.gateway"]):
            return True
        return self.type != "empty" and (self.type != "veth" or bool(self["veth.mode"] == "bridge"))

    def is_set(self, subkey: str) -> bool:
        """Whether the configuration gives it a value."""
        return subkey == "type" or subkey in self.values

    def row(self, subkey: str, name: str) -> Key:
        """The table's row. Raises BadValue when there is none or it belongs to another type; name is the full key."""
        row = TABLE.get(subkey)
        if row is None:
            hint = v.nearest(subkey, TABLE)
            remedy = f"did you mean lxc.net.{self.index}.{hint}?" if hint else ""
            raise BadValue(f'Unknown network configuration key "{name}"', remedy, subkey)
        if row.only and row.only != self.type:
            raise BadValue(
                f"{name} can only be used with {row.only} networks, and lxc.net.{self.index} is of type {self.type or 'unknown'}",
                f"write lxc.net.{self.index}.type = {row.only} before it",
                name,
            )
        return row

    def set(self, subkey: str, text: str, name: str) -> None:
        """Take a line's value; an empty one clears. Raises BadValue."""
        if not text:
            self.clear(subkey, name)
            return
        row = self.row(subkey, name)
        if row is TABLE["type"]:
            self.reset(row.type.parse(text))
        elif subkey == "link" and self.type == "phys" and text[-1] == "+":
            self.values[subkey] = link_by_prefix(text[:-1])
        else:
            value = row.type.parse(text)
            if row.type.join is not None:
                value = row.type.join(self.values.get(subkey, []), value)
            self.values[subkey] = value

    def reset(self, kind: str) -> None:
        """Become a network of this type, "" for none, without any other key."""
        self.type = kind
        self.values = {"name": "lo"} if kind == "empty" else {}

    def clear(self, subkey: str, name: str) -> None:
        """Unset a subkey; one of another type is none to clear. Raises BadValue for an unknown one."""
        if subkey == "type":
            self.reset("")
        elif subkey in TABLE:
            self.values.pop(subkey, None)
        else:
            self.row(subkey, name)

    def text(self, subkey: str, name: str) -> str:
        """What get_config_item returns. Raises BadValue for unknown subkeys and those of another type."""
        row = self.row(subkey, name)
        made = self.runtime.get("pair" if subkey == "veth.pair" else "name" if subkey == "name" else "")
        if made:
            return str(made)
        return row.type.format(self[subkey])

    def subkeys(self) -> list[str]:
        """What get_keys of liblxc lists for this network."""
        return [
            row.name
            for row in KEYS
            if row.name in _LISTED_ALWAYS
            or (self.type != "empty" and row.only in ("", self.type) and row.name not in _NOT_LISTED)
        ]


def split_key(key: str) -> tuple[int, str]:
    """The index and the subkey ("" for none) of lxc.net.N[.SUBKEY]. Raises BadValue."""
    digits, dot, subkey = key[8:].partition(".")
    if not digits.isascii() or not digits.isdecimal():
        raise BadValue(f'"{key}" has no network number', "write lxc.net.0.… for the first network", digits or key)
    number = int(digits) if len(digits.lstrip("0")) < 12 else LARGEST_INDEX + 1
    if number > LARGEST_INDEX:
        raise BadValue(f"Number of configured networks would overflow the counter: {digits}", word=digits)
    if dot and not subkey:
        raise BadValue(f'"{key}" ends with a dot', word=key)
    return number, subkey
