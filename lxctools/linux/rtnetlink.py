# SPDX-License-Identifier: LGPL-2.1-or-later
"""rtnetlink(7): the messages that a start needs, encoded here because a netlink library costs more than the start.

A failure is an OSError with the operation as its note; where the kernel explains itself (extended acknowledgements), its
words are the error's text.
"""

from __future__ import annotations

import _socket
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

_NETLINK_ROUTE = 0
_SOL_NETLINK = 270
_NETLINK_EXT_ACK, _NETLINK_CAP_ACK = 11, 10

_NEWLINK, _DELLINK, _GETLINK, _SETLINK = 16, 17, 18, 19
_NEWADDR, _GETADDR = 20, 22
_NEWROUTE, _DELROUTE = 24, 25
_NEWNEIGH, _DELNEIGH = 28, 29

_F_REQUEST, _F_ACK, _F_DUMP = 1, 4, 0x300
_F_EXCL, _F_CREATE, _F_REPLACE = 0x200, 0x400, 0x100
_ERROR, _DONE = 2, 3

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER = 1, 3, 4, 5, 10
_IFLA_LINKINFO, _IFLA_NET_NS_PID, _IFLA_AF_SPEC, _IFLA_NET_NS_FD = 18, 19, 26, 28
_IFLA_NUM_TX_QUEUES, _IFLA_NUM_RX_QUEUES = 31, 32
_INFO_KIND, _INFO_DATA = 1, 2
_VETH_INFO_PEER = 1
_BR_VLAN_FILTERING, _BR_VLAN_DEFAULT_PVID = 7, 39
_BRIDGE_VLAN_INFO = 2
_VLAN_PVID, _VLAN_UNTAGGED = 2, 4

_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_NDA_DST = 1
_NTF_PROXY = 8
_NUD_PERMANENT = 0x80
_TABLE_MAIN, _PROTO_BOOT, _SCOPE_LINK, _SCOPE_UNIVERSE, _UNICAST = 254, 3, 253, 0, 1
_PERMANENT = 0x80

_AF_BRIDGE = 7

IFF_UP = 1
_HEADER = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_NDMSG = struct.Struct("=BxxxiHBB")
_ATTRIBUTE = struct.Struct("=HH")
# Bytes: twice what the kernel puts into one part of an answer; a buffer beyond 128 KiB costs a mapping of its own each time.
_LONGEST_ANSWER = 1 << 16


def _attribute(kind: int, data: bytes) -> bytes:
    length = 4 + len(data)
    return _ATTRIBUTE.pack(length, kind) + data + b"\0" * (-length % 4)


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, os.fsencode(value) + b"\0")


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def hardware_address(text: str) -> bytes:
    """aa:bb:cc:dd:ee:ff as bytes. Raises ValueError."""
    parts = text.split(":")
    if len(parts) != 6 or not all(0 < len(part) <= 2 and part.isascii() and part.isalnum() for part in parts):
        raise ValueError(f'"{text}" is not a hardware address')
    return bytes(int(part, 16) for part in parts)


def family_of(address: str) -> int:
    """AF_INET or AF_INET6."""
    return int(_socket.AF_INET6 if ":" in address else _socket.AF_INET)


class Link:
    """One interface: index, name, flags, mtu, address (bytes), master (index or 0), kind ("" for hardware).

    Of a bridge also: vlan_filtering, and default_pvid (0: none).
    """

    __slots__ = ("address", "default_pvid", "flags", "index", "kind", "master", "mtu", "name", "vlan_filtering")

    def __init__(self, message: bytes) -> None:
        _family, _type, self.index, self.flags, _change = _IFINFO.unpack_from(message)
        self.name = ""
        self.mtu = 0
        self.address = b""
        self.master = 0
        self.kind = ""
        self.vlan_filtering = False
        self.default_pvid = 0
        for kind, data in _attributes(message[_IFINFO.size :]):
            if kind == _IFLA_IFNAME:
                self.name = os.fsdecode(data.rstrip(b"\0"))
            elif kind == _IFLA_MTU:
                self.mtu = struct.unpack("=I", data)[0]
            elif kind == _IFLA_ADDRESS:
                self.address = data
            elif kind == _IFLA_MASTER:
                self.master = struct.unpack("=I", data)[0]
            elif kind == _IFLA_LINKINFO:
                info = dict(_attributes(data))
                self.kind = info.get(_INFO_KIND, b"").rstrip(b"\0").decode()
                if self.kind == "bridge":
                    self._read_bridge(info.get(_INFO_DATA, b""))

    def _read_bridge(self, data: bytes) -> None:
        for kind, value in _attributes(data):
            if kind == _BR_VLAN_FILTERING:
                self.vlan_filtering = value != b"\0"
            elif kind == _BR_VLAN_DEFAULT_PVID:
                self.default_pvid = struct.unpack("=H", value)[0]

    @property
    def up(self) -> bool:
        """Administratively up."""
        return bool(self.flags & IFF_UP)


class Rtnl:
    """A connection to the kernel in the network namespace in which it was made."""

    __slots__ = ("_seq", "_sock")

    def __init__(self) -> None:
        self._sock = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
        self._seq = 0
        for option in (_NETLINK_EXT_ACK, _NETLINK_CAP_ACK):
            try:
                self._sock.setsockopt(_SOL_NETLINK, option, 1)
            except OSError:
                pass  # an older kernel: errors then have no text of their own
        self._sock.bind((0, 0))

    def __enter__(self) -> Rtnl:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    # -- requests

    def _request(self, what: str, kind: int, flags: int, body: bytes) -> list[bytes]:
        """Send one request; returns the messages of its answer. Raises OSError."""
        self._seq += 1
        self._sock.send(_HEADER.pack(_HEADER.size + len(body), kind, _F_REQUEST | flags, self._seq, 0) + body)
        answers: list[bytes] = []
        while True:
            data = self._sock.recv(_LONGEST_ANSWER)
            offset = 0
            while offset + _HEADER.size <= len(data):
                length, message_kind, message_flags, seq, _pid = _HEADER.unpack_from(data, offset)
                body_of = data[offset + _HEADER.size : offset + length]
                offset += (length + 3) & ~3
                if seq != self._seq:
                    continue
                if message_kind == _DONE:
                    return answers
                if message_kind == _ERROR:
                    self._raise(what, body_of, message_flags)
                    return answers
                answers.append(body_of)
                if not flags & (_F_DUMP | _F_ACK):
                    return answers

    @staticmethod
    def _raise(what: str, body: bytes, flags: int) -> None:
        (code,) = struct.unpack_from("=i", body)
        if code == 0:
            return
        text = os.strerror(-code)
        if flags & 0x200:  # NLM_F_ACK_TLVS: attributes follow the echoed header
            for kind, data in _attributes(body[4 + _HEADER.size :]):
                if kind == 1:
                    text += f" ({data.rstrip(bytes(1)).decode('utf-8', 'replace')})"
        error = OSError(-code, text)
        error.add_note(what)
        raise error

    # -- links

    def link(self, which: str | int) -> Link | None:
        """An interface by name or index; None when there is none."""
        index = which if isinstance(which, int) else 0
        body = _IFINFO.pack(0, 0, index, 0, 0)
        if isinstance(which, str):
            body += _text(_IFLA_IFNAME, which)
        try:
            answers = self._request(f"looking for {which}", _GETLINK, 0, body)
        except OSError as error:
            if error.errno in (19, 34, 22):  # ENODEV; ERANGE, EINVAL: a name that none can have
                return None
            raise
        return Link(answers[0]) if answers else None

    def links(self) -> list[Link]:
        """All interfaces. Raises OSError."""
        return [Link(answer) for answer in self._request("listing interfaces", _GETLINK, _F_DUMP, _IFINFO.pack(0, 0, 0, 0, 0))]

    def names(self) -> dict[int, str]:
        """The names of all interfaces by index; the rest of what the kernel tells of each is not looked at. Raises OSError."""
        found = {}
        for answer in self._request("listing interfaces", _GETLINK, _F_DUMP, _IFINFO.pack(0, 0, 0, 0, 0)):
            index = _IFINFO.unpack_from(answer)[2]
            for kind, data in _attributes(answer[_IFINFO.size :]):
                if kind == _IFLA_IFNAME:
                    found[index] = os.fsdecode(data.rstrip(b"\0"))
                    break
        return found

    def add_veth(
        self,
        host: str,
        peer: str,
        *,
        peer_pid: int = 0,
        peer_fd: int = -1,
        mtu: int = 0,
        rx_queues: int = 0,
        tx_queues: int = 0,
        address: bytes = b"",
        master: int = 0,
        up: bool = False,
    ) -> None:
        """A pair whose peer is born in another network namespace: no move afterwards. Raises OSError."""
        flags = IFF_UP if up else 0
        inner = _IFINFO.pack(0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, peer)
        outer = _IFINFO.pack(0, 0, 0, flags, flags) + _text(_IFLA_IFNAME, host)
        if mtu:
            inner += _number(_IFLA_MTU, mtu)
            outer += _number(_IFLA_MTU, mtu)
        if peer_fd >= 0:
            inner += _number(_IFLA_NET_NS_FD, peer_fd)
        elif peer_pid:
            inner += _number(_IFLA_NET_NS_PID, peer_pid)
        if rx_queues:
            outer += _number(_IFLA_NUM_RX_QUEUES, rx_queues)
            inner += _number(_IFLA_NUM_TX_QUEUES, rx_queues)
        if tx_queues:
            outer += _number(_IFLA_NUM_TX_QUEUES, tx_queues)
            inner += _number(_IFLA_NUM_RX_QUEUES, tx_queues)
        if address:
            outer += _attribute(_IFLA_ADDRESS, address)
        if master:
            outer += _number(_IFLA_MASTER, master)
        data = _attribute(_INFO_DATA, _attribute(_VETH_INFO_PEER, inner))
        outer += _attribute(_IFLA_LINKINFO, _attribute(_INFO_KIND, b"veth\0") + data)
        self._request(f"making the veth pair {host}", _NEWLINK, _F_ACK | _F_CREATE | _F_EXCL, outer)

    def set_link(
        self,
        index: int,
        *,
        up: bool | None = None,
        name: str = "",
        mtu: int = 0,
        master: int = 0,
        address: bytes = b"",
        netns_pid: int = 0,
        netns_fd: int = -1,
    ) -> None:
        """Change an interface, all in one request. Raises OSError."""
        flags = 0 if up is None else IFF_UP
        body = _IFINFO.pack(0, 0, index, IFF_UP if up else 0, flags)
        if name:
            body += _text(_IFLA_IFNAME, name)
        if mtu:
            body += _number(_IFLA_MTU, mtu)
        if master:
            body += _number(_IFLA_MASTER, master)
        if address:
            body += _attribute(_IFLA_ADDRESS, address)
        if netns_pid:
            body += _number(_IFLA_NET_NS_PID, netns_pid)
        if netns_fd >= 0:
            body += _number(_IFLA_NET_NS_FD, netns_fd)
        self._request(f"changing interface {name or index}", _NEWLINK, _F_ACK, body)

    def delete_link(self, name: str) -> None:
        """Delete an interface. Raises OSError (ENODEV when there is none)."""
        body = _IFINFO.pack(0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, name)
        self._request(f"deleting interface {name}", _DELLINK, _F_ACK, body)

    def bridge_vlan(self, index: int, vlan: int, *, untagged: bool = False, delete: bool = False) -> None:
        """Add or remove a VLAN of a bridge port. Raises OSError."""
        flags = _VLAN_PVID | _VLAN_UNTAGGED if untagged else 0
        spec = _attribute(_BRIDGE_VLAN_INFO, struct.pack("=HH", flags, vlan))
        body = _IFINFO.pack(_AF_BRIDGE, 0, index, 0, 0)
        body += _attribute(_IFLA_AF_SPEC, spec)
        self._request(f"setting VLAN {vlan}", _DELLINK if delete else _SETLINK, _F_ACK, body)

    # -- addresses and routes

    def add_address(self, index: int, address: str, prefix: int, broadcast: str = "") -> None:
        """Add an address. Raises OSError."""
        family = family_of(address)
        raw = _socket.inet_pton(family, address)
        body = _IFADDR.pack(family, prefix, _PERMANENT, _SCOPE_UNIVERSE, index)
        body += _attribute(_IFA_LOCAL, raw) + _attribute(_IFA_ADDRESS, raw)
        if broadcast:
            body += _attribute(_IFA_BROADCAST, _socket.inet_pton(family, broadcast))
        self._request(f"adding {address}/{prefix}", _NEWADDR, _F_ACK | _F_CREATE | _F_EXCL, body)

    def addresses(self) -> list[tuple[int, str, int, int]]:
        """(interface index, address, prefix, scope) of every address, in the kernel's order. Raises OSError."""
        result = []
        for message in self._request("listing addresses", _GETADDR, _F_DUMP, _IFADDR.pack(0, 0, 0, 0, 0)):
            family, prefix, _flags, scope, index = _IFADDR.unpack_from(message)
            if family not in (_socket.AF_INET, _socket.AF_INET6):
                continue
            found = dict(_attributes(message[_IFADDR.size :]))
            raw = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
            if raw:
                result.append((index, _socket.inet_ntop(family, raw), prefix, scope))
        return result

    def addr_list(self, names: Mapping[int, str]) -> list[tuple[str, str, str]]:
        """(interface, "inet" or "inet6", address) of every address. names: those of the interfaces. Raises OSError."""
        return [
            (names.get(index, ""), "inet6" if ":" in address else "inet", address)
            for index, address, _prefix, _scope in self.addresses()
        ]

    def add_route(self, index: int, family: int, *, destination: str = "", prefix: int = 0, gateway: str = "") -> None:
        """A route through an interface; without destination the default route. Raises OSError."""
        self._route(_NEWROUTE, _F_ACK | _F_CREATE | _F_EXCL, "adding", index, family, destination, prefix, gateway)

    def delete_route(self, index: int, family: int, *, destination: str = "", prefix: int = 0) -> None:
        """Remove such a route. Raises OSError."""
        self._route(_DELROUTE, _F_ACK, "removing", index, family, destination, prefix, "")

    def _route(
        self, kind: int, flags: int, verb: str, index: int, family: int, destination: str, prefix: int, gateway: str
    ) -> None:
        scope = _SCOPE_UNIVERSE if gateway or family == _socket.AF_INET6 else _SCOPE_LINK
        body = _RTMSG.pack(family, prefix, 0, 0, _TABLE_MAIN, _PROTO_BOOT, scope, _UNICAST, 0)
        if destination:
            body += _attribute(_RTA_DST, _socket.inet_pton(family, destination))
        if gateway:
            body += _attribute(_RTA_GATEWAY, _socket.inet_pton(family, gateway))
        body += _number(_RTA_OIF, index)
        shown = f"{destination}/{prefix}" if destination else "default"
        self._request(f"{verb} the route {shown}" + (f" via {gateway}" if gateway else ""), kind, flags, body)

    def proxy_neighbour(self, index: int, address: str, *, delete: bool = False) -> None:
        """Answer, or no longer, for an address on an interface. Raises OSError.

        Permanent: others are forgotten with the carrier, as when a bridge's last port goes (net/core/neighbour.c; kernels
        before 6.17 may forget these, too).
        """
        family = family_of(address)
        body = _NDMSG.pack(family, index, _NUD_PERMANENT, _NTF_PROXY, 0) + _attribute(_NDA_DST, _socket.inet_pton(family, address))
        flags = _F_ACK if delete else _F_ACK | _F_CREATE
        self._request(f"proxying {address}", _DELNEIGH if delete else _NEWNEIGH, flags, body)
