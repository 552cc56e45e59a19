# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sub-table of lxc.net.N.*: one row a subkey, and the record of one network device."""

from __future__ import annotations

import _socket
import os

from . import values as v
from .values import Kind

TYPES = ("none", "empty", "veth", "vlan", "macvlan", "ipvlan", "phys")
_IFNAMSIZ = 16


def _interface(text: str) -> str:
    """At most 15 bytes; a longer name is cut (LXC behaviour)."""
    return os.fsdecode(os.fsencode(text)[: _IFNAMSIZ - 1])


def _choice(what: str, *names: str) -> Kind:
    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f'Invalid {what} "{text}": one of {" ".join(names)}')
        return text

    return Kind(what, parse, str, names[0])


def expand_hwaddr(template: str) -> str:
    """Replace every x of a hardware address by a random hexadecimal digit; a random second digit is made even (unicast)."""
    result = []
    for index, character in enumerate(template):
        if character in "xX":
            digit = os.urandom(1)[0] & 0xF
            if index == 1:
                digit &= 0xE
            character = "0123456789abcdef"[digit]
        result.append(character)
    return "".join(result)


def _prefix(text: str, most: int, what: str) -> int:
    if not text.isdecimal() or not text.isascii() or int(text) > most:
        raise ValueError(f'Invalid {what} "{text}": the prefix is a number from 0 to {most}')
    return int(text)


def _ipv4(text: str, what: str = "ipv4 address") -> str:
    try:
        return _socket.inet_ntop(_socket.AF_INET, _socket.inet_pton(_socket.AF_INET, text))
    except OSError:
        raise ValueError(f'Invalid {what} "{text}"') from None


def _ipv6(text: str, what: str = "ipv6 address") -> str:
    try:
        return _socket.inet_ntop(_socket.AF_INET6, _socket.inet_pton(_socket.AF_INET6, text))
    except OSError:
        raise ValueError(f'Invalid {what} "{text}"') from None


def _classful(address: str) -> int:
    """The prefix of an IPv4 address that is given without one, by its class."""
    first = int(address.partition(".")[0])
    return 8 if first < 128 else 16 if first < 192 else 24 if first < 224 else 0


def _broadcast(address: str, prefix: int) -> str:
    """The address with all host bits set; "" for /31 and /32 (RFC 3021)."""
    if prefix > 30:
        return ""
    number = int.from_bytes(_socket.inet_pton(_socket.AF_INET, address), "big") | (1 << (32 - prefix)) - 1
    return _socket.inet_ntop(_socket.AF_INET, number.to_bytes(4, "big"))


def _cidr4(text: str) -> list[tuple[str, int, str]]:
    """A.B.C.D[/P][ BROADCAST]."""
    place, _, broadcast = text.partition(" ")
    address, slash, prefix_text = place.partition("/")
    address = _ipv4(address)
    prefix = _prefix(prefix_text, 32, "ipv4 address") if slash else _classful(address)
    broadcast = broadcast.strip(" \t")
    return [(address, prefix, _ipv4(broadcast, "ipv4 broadcast address") if broadcast else _broadcast(address, prefix))]


def _cidr6(text: str) -> list[tuple[str, int, str]]:
    address, slash, prefix_text = text.partition("/")
    return [(_ipv6(address), _prefix(prefix_text, 128, "ipv6 address") if slash else 64, "")]


def _show_cidrs(value: object) -> str:
    assert isinstance(value, list)
    return "\n".join(f"{entry[0]}/{entry[1]}" for entry in value)


def _gateway4(text: str) -> str:
    return text if text in ("auto", "dev") else _ipv4(text, "ipv4 gateway address")


def _gateway6(text: str) -> str:
    return text if text in ("auto", "dev") else _ipv6(text, "ipv6 gateway address")


def _route4(text: str) -> list[tuple[str, int]]:
    address, slash, prefix = text.partition("/")
    if not slash:
        raise ValueError(f'Invalid ipv4 route "{text}": NETWORK/PREFIX')
    return [(_ipv4(address, "ipv4 route"), _prefix(prefix, 32, "ipv4 route"))]


def _route6(text: str) -> list[tuple[str, int]]:
    address, slash, prefix = text.partition("/")
    if not slash:
        raise ValueError(f'Invalid ipv6 route "{text}": NETWORK/PREFIX')
    return [(_ipv6(address, "ipv6 route"), _prefix(prefix, 128, "ipv6 route"))]


def _positive(text: str) -> int:
    value = v.number(text)
    if not 0 < value < 1 << 31:
        raise ValueError(f'"{text}" is not a number above 0')
    return value


def _vlan(text: str) -> int:
    value = v.u16(text)
    if value > 4094:
        raise ValueError(f'Invalid VLAN id "{text}": 0 to 4094')
    return value


def _vlan_or_none(text: str) -> int:
    return -1 if text == "none" else _vlan(text)


def _show_flag(value: object) -> str:
    return "up" if value else ""


def _show_number(value: object) -> str:
    return "" if value is None else str(value)


def _show_numbers(value: object) -> str:
    assert isinstance(value, list)
    return "\n".join(str(entry) for entry in value)


_IFNAME = Kind("interface name", _interface, str, "")
_OPTIONAL_COUNT = Kind("number", _positive, _show_number, None)
_VLAN_ID = Kind("VLAN id", _vlan_or_none, _show_number, None)


class NetKey:
    """One subkey; only: the network type it belongs to, or "" for all."""

    __slots__ = ("help", "kind", "name", "only")

    def __init__(self, name: str, kind: Kind, help_: str) -> None:
        self.name = name
        self.kind = kind
        self.help = help_
        first = name.partition(".")[0]
        self.only = first if first in ("veth", "vlan", "macvlan", "ipvlan") else ""


ROWS = (
    NetKey("type", _choice("network type", *TYPES), "kind of device: " + " ".join(TYPES)),
    NetKey("flags", Kind("flag", bool, _show_flag, False), "any text: bring the device up"),
    NetKey("link", _IFNAME, "bridge, or interface of the host, that the device belongs to"),
    NetKey("l2proxy", v.BOOL, "answer for the addresses on the link"),
    NetKey("mtu", v.STRING, "maximum transfer unit"),
    NetKey("name", _IFNAME, "the device's name inside"),
    NetKey("hwaddr", Kind("hardware address", expand_hwaddr, str, ""), "hardware address; x is a random digit"),
    NetKey("ipv4.address", Kind("ADDRESS[/PREFIX] [BROADCAST]", _cidr4, _show_cidrs, [], many=True), "IPv4 address"),
    NetKey("ipv4.gateway", Kind("address, auto or dev", _gateway4, str, ""), "IPv4 gateway"),
    NetKey("ipv6.address", Kind("ADDRESS[/PREFIX]", _cidr6, _show_cidrs, [], many=True), "IPv6 address"),
    NetKey("ipv6.gateway", Kind("address, auto or dev", _gateway6, str, ""), "IPv6 gateway"),
    NetKey("script.up", v.STRING, "program to run when the device has been made"),
    NetKey("script.down", v.STRING, "program to run before the device is removed"),
    NetKey("veth.mode", _choice("veth mode", "bridge", "router"), "bridge or router"),
    NetKey("veth.pair", _IFNAME, "the device's name on the host"),
    NetKey("veth.n_rxqueues", _OPTIONAL_COUNT, "receive queues"),
    NetKey("veth.n_txqueues", _OPTIONAL_COUNT, "transmit queues"),
    NetKey("veth.ipv4.route", Kind("route", _route4, _show_cidrs, [], many=True), "IPv4 route to the device on the host"),
    NetKey("veth.ipv6.route", Kind("route", _route6, _show_cidrs, [], many=True), "IPv6 route to the device on the host"),
    NetKey("veth.vlan.id", _VLAN_ID, "untagged VLAN on the bridge"),
    NetKey("veth.vlan.tagged.id", Kind("VLAN id", lambda t: [_vlan(t)], _show_numbers, [], many=True), "tagged VLAN"),
    NetKey("vlan.id", Kind("VLAN id", v.u16, str, 0), "VLAN id"),
    NetKey("macvlan.mode", _choice("macvlan mode", "private", "vepa", "bridge", "passthru"), "macvlan mode"),
    NetKey("ipvlan.mode", _choice("ipvlan mode", "l2", "l3", "l3s"), "ipvlan mode"),
    NetKey("ipvlan.isolation", _choice("ipvlan isolation", "bridge", "private", "vepa"), "ipvlan isolation"),
)
BY_NAME = {row.name: row for row in ROWS}


class Net:
    """One network device of the configuration; net[subkey] is a value, or its default.

    runtime: what the start has chosen and made: "pair" (host end), "name" (inside), "ifindex" ...
    """

    __slots__ = ("_values", "index", "runtime")

    def __init__(self, index: int) -> None:
        self.index = index
        self._values: dict[str, object] = {}
        self.runtime: dict[str, object] = {}

    @property
    def type(self) -> str:
        """The type; a device without one is empty."""
        found = self._values.get("type", "empty")
        assert isinstance(found, str)
        return found

    def __getitem__(self, subkey: str):  # type: ignore[no-untyped-def]  # its type is the row's
        row = BY_NAME[subkey]
        return self._values.get(subkey, row.kind.unset)

    def is_set(self, subkey: str) -> bool:
        """Whether the configuration sets it."""
        return subkey in self._values

    def set(self, subkey: str, text: str) -> None:
        """Set a subkey from text. Raises ValueError with the reason, KeyError for an unknown one."""
        row = BY_NAME[subkey]
        if not text:
            self._values.pop(subkey, None)
            return
        self._check_type(row)
        value = row.kind.parse(text)
        if subkey == "type":
            self._values.clear()
        if subkey == "link" and self.type == "phys" and text.endswith("+"):
            value = _last_interface(text[:-1])
        if row.kind.many:
            assert isinstance(value, list)
            kept = self._values.setdefault(subkey, [])
            assert isinstance(kept, list)
            kept.extend(value)
        else:
            self._values[subkey] = value

    def _check_type(self, row: NetKey) -> None:
        if row.only and self.type != row.only:
            raise ValueError(
                f"can only be used with a {row.only} network: set lxc.net.{self.index}.type = {row.only} before it"
            )

    def text(self, subkey: str) -> str:
        """As liblxc prints it, with what the start has chosen. Raises KeyError, ValueError for another type's subkey."""
        row = BY_NAME[subkey]
        self._check_type(row)
        if subkey == "type":
            return self.type
        if subkey == "veth.pair" and self.runtime.get("pair"):
            return str(self.runtime["pair"])
        return row.kind.show(self[subkey])


def _last_interface(prefix: str) -> str:
    names = [name for _index, name in _socket.if_nameindex() if name.startswith(prefix)]
    return names[-1] if names else ""
