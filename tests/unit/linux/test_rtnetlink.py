# SPDX-License-Identifier: LGPL-2.1-or-later
"""rtnetlink messages: the codec by itself, and against the kernel in a network namespace of the test's own."""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.linux import rtnetlink, sched
from lxctools.linux.rtnetlink import Link, Rtnl
from tests.forked import forked

IN_OWN_NET = pytest.mark.root


def in_net(function: Callable[[Rtnl], Any]) -> Any:
    """function(rtnl) in a new network namespace."""

    def inside() -> Any:
        with Rtnl() as rtnl:
            return function(rtnl)

    return forked(inside, unshare=sched.CLONE_NEWNET)


def ip(*argv: object) -> Any:
    """What iproute2 says, as a check by another implementation."""
    text = subprocess.run(["ip", "-json", "-details", *map(str, argv)], capture_output=True, check=True, text=True).stdout
    return json.loads(text) if text.strip() else []


def error_of(function: Callable[[], object]) -> list[Any]:
    try:
        function()
    except OSError as error:
        return [error.errno, error.strerror, *getattr(error, "__notes__", ())]
    return ["no error"]


# -- without a kernel


@pytest.mark.parametrize(
    ("text", "raw"), [("00:16:3e:00:00:01", b"\x00\x16\x3e\x00\x00\x01"), ("FE:0:a:b:c:d", b"\xfe\x00\x0a\x0b\x0c\x0d")]
)
def test_hardware_address(text: str, raw: bytes) -> None:
    assert rtnetlink.hardware_address(text) == raw


@pytest.mark.parametrize(
    "text", ["", "00:16:3e:00:00", "00:16:3e:00:00:01:02", "00:16:3e:00:00:001", "00:16:3e::00:1", "gg:0:0:0:0:0"]
)
def test_no_hardware_address(text: str) -> None:
    with pytest.raises(ValueError):
        rtnetlink.hardware_address(text)


@given(st.lists(st.tuples(st.integers(1, 0x3FFF), st.binary(max_size=40))))
def test_attributes_round_trip(pairs: list[tuple[int, bytes]]) -> None:
    data = b"".join(rtnetlink._attribute(kind, value) for kind, value in pairs)
    assert len(data) % 4 == 0
    assert list(rtnetlink._attributes(data)) == pairs


@given(st.binary(max_size=200))
def test_any_bytes_as_attributes_end(data: bytes) -> None:
    for _kind, value in rtnetlink._attributes(data):
        assert len(value) <= len(data)


def test_a_bridge_is_read_with_its_vlan_settings() -> None:
    data = rtnetlink._attribute(7, b"\1") + rtnetlink._attribute(39, struct.pack("=H", 12))
    info = rtnetlink._attribute(1, b"bridge\0") + rtnetlink._attribute(2, data)
    message = struct.pack("=BxHiII", 0, 1, 7, 0x1003, 0)
    message += rtnetlink._text(3, "br0") + rtnetlink._number(4, 1400) + rtnetlink._number(10, 9) + rtnetlink._attribute(18, info)
    link = Link(message)
    assert (link.index, link.name, link.mtu, link.master, link.kind, link.up) == (7, "br0", 1400, 9, "bridge", True)
    assert (link.vlan_filtering, link.default_pvid) == (True, 12)


# -- with one


@IN_OWN_NET
def test_a_new_namespace_has_lo_only() -> None:
    def see(rtnl: Rtnl) -> Any:
        lo = rtnl.link("lo")
        assert lo is not None
        by_index = rtnl.link(1)
        assert by_index is not None
        return [
            [link.name for link in rtnl.links()],
            lo.index,
            lo.up,
            by_index.name,
            rtnl.link("none"),
            rtnl.link(99),
            rtnl.link("x" * 30),
        ]

    assert in_net(see) == [["lo"], 1, False, "lo", None, None, None]


@IN_OWN_NET
def test_veth_is_born_in_the_other_namespace_with_everything_asked_for() -> None:
    def whole(rtnl: Rtnl) -> Any:
        ready, go = os.pipe(), os.pipe()
        subprocess.run(["ip", "link", "add", "br0", "type", "bridge"], check=True)
        bridge = rtnl.link("br0")
        assert bridge is not None
        other = os.fork()
        if other == 0:
            sched.unshare(sched.CLONE_NEWNET)
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            with Rtnl() as theirs:
                (seen,) = ip("link", "show", "inside")
                good = [link.name for link in theirs.links()] == ["lo", "inside"] and seen["mtu"] == 1300
                good = good and (seen["num_tx_queues"], seen["num_rx_queues"], seen["operstate"]) == (3, 2, "DOWN")
            os._exit(0 if good else 1)
        os.read(ready[0], 1)
        rtnl.add_veth(
            "outside",
            "inside",
            peer_pid=other,
            mtu=1300,
            rx_queues=3,
            tx_queues=2,
            address=b"\xfe\1\2\3\4\5",
            master=bridge.index,
            up=True,
        )
        # The pair goes with the namespace of either end, so this end is looked at while the other lives.
        (seen,) = ip("link", "show", "outside")
        os.write(go[1], b"x")
        status = os.waitpid(other, 0)[1]
        return [status, seen["address"], seen["mtu"], seen["num_rx_queues"], seen["num_tx_queues"], seen["master"]]

    assert in_net(whole) == [0, "fe:01:02:03:04:05", 1300, 3, 2, "br0"]


@IN_OWN_NET
def test_change_rename_and_delete() -> None:
    def change(rtnl: Rtnl) -> Any:
        rtnl.add_veth("one", "two")
        link = rtnl.link("one")
        assert link is not None
        rtnl.set_link(link.index, name="eth%d", mtu=1280, address=b"\2\0\0\0\0\7", up=True)
        (seen,) = ip("link", "show", "eth0")
        answer = [seen["mtu"], seen["address"], "UP" in seen["flags"], seen["ifindex"] == link.index]
        rtnl.set_link(link.index, up=False)
        answer.append("UP" in ip("link", "show", "eth0")[0]["flags"])
        rtnl.delete_link("eth0")
        return [*answer, [found.name for found in rtnl.links()]]

    assert in_net(change) == [1280, "02:00:00:00:00:07", True, True, False, ["lo"]]


@IN_OWN_NET
def test_move_and_rename_in_one_request() -> None:
    def move(rtnl: Rtnl) -> Any:
        rtnl.add_veth("one", "two")
        link = rtnl.link("one")
        assert link is not None
        old = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        sched.unshare(sched.CLONE_NEWNET)
        new = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        rtnl.set_link(link.index, name="moved", netns_fd=new)  # rtnl still speaks to the namespace it was made in
        with Rtnl() as here:
            answer = [sorted(found.name for found in here.links()), sorted(found.name for found in rtnl.links())]
            moved = here.link("moved")
            assert moved is not None
            here.set_link(moved.index, name="back", netns_fd=old)
        return [*answer, sorted(found.name for found in rtnl.links())]

    assert in_net(move) == [["lo", "moved"], ["lo", "two"], ["back", "lo", "two"]]


@IN_OWN_NET
def test_addresses() -> None:
    def add(rtnl: Rtnl) -> Any:
        rtnl.add_veth("one", "two")
        link = rtnl.link("one")
        assert link is not None
        rtnl.add_address(link.index, "10.7.0.5", 24, "10.7.0.255")
        rtnl.add_address(link.index, "10.8.0.4", 31)
        rtnl.add_address(link.index, "fd00::5", 64)
        found = [list(entry[1:]) for entry in rtnl.addresses() if entry[0] == link.index]
        seen = [[a["local"], a["prefixlen"], a.get("broadcast", "")] for a in ip("addr", "show", "one")[0]["addr_info"]]
        again = error_of(lambda: rtnl.add_address(link.index, "10.7.0.5", 24))
        listed = [list(entry) for entry in rtnl.addr_list(rtnl.names())]
        return found, seen, again, listed

    found, seen, again, listed = in_net(add)
    assert found == [["10.7.0.5", 24, 0], ["10.8.0.4", 31, 0], ["fd00::5", 64, 0]]
    assert seen == [["10.7.0.5", 24, "10.7.0.255"], ["10.8.0.4", 31, ""], ["fd00::5", 64, ""]]
    assert again[0] == errno.EEXIST
    assert again[-1] == "adding 10.7.0.5/24"
    assert listed == [["one", "inet", "10.7.0.5"], ["one", "inet", "10.8.0.4"], ["one", "inet6", "fd00::5"]]


@IN_OWN_NET
def test_routes() -> None:
    def add(rtnl: Rtnl) -> Any:
        rtnl.add_veth("one", "two", up=True)
        link, other = rtnl.link("one"), rtnl.link("two")
        assert link is not None
        assert other is not None
        rtnl.set_link(other.index, up=True)
        rtnl.add_address(link.index, "10.7.0.5", 32)
        rtnl.add_address(link.index, "fd00::5", 128)
        off = error_of(lambda: rtnl.add_route(link.index, socket.AF_INET, gateway="169.254.0.1"))
        rtnl.add_route(link.index, socket.AF_INET, destination="169.254.0.1", prefix=32)
        rtnl.add_route(link.index, socket.AF_INET, gateway="169.254.0.1")
        rtnl.add_route(link.index, socket.AF_INET, destination="192.0.2.0", prefix=24)
        rtnl.add_route(link.index, socket.AF_INET6, destination="fd00:9::", prefix=48)
        rtnl.add_route(link.index, socket.AF_INET6)
        four = [[route["dst"], route.get("gateway", "")] for route in ip("route", "show")]
        six = [route["dst"] for route in ip("-6", "route", "show", "proto", "boot")]
        rtnl.delete_route(link.index, socket.AF_INET, destination="192.0.2.0", prefix=24)
        return off, sorted(four), sorted(six), len(ip("route", "show"))

    off, four, six, left = in_net(add)
    assert off[0] == errno.ENETUNREACH
    assert "Nexthop has invalid gateway" in off[1]  # the kernel's own words
    assert off[2] == "adding the route default via 169.254.0.1"
    assert four == [["169.254.0.1", ""], ["192.0.2.0/24", ""], ["default", "169.254.0.1"]]
    assert six == ["default", "fd00:9::/48"]
    assert left == 2


@IN_OWN_NET
def test_proxy_neighbours() -> None:
    def proxy(rtnl: Rtnl) -> Any:
        rtnl.add_veth("one", "two")
        link = rtnl.link("one")
        assert link is not None
        rtnl.proxy_neighbour(link.index, "10.7.0.5")
        rtnl.proxy_neighbour(link.index, "fd00::5")
        seen = sorted(entry["dst"] for entry in ip("neigh", "show", "proxy"))
        rtnl.proxy_neighbour(link.index, "10.7.0.5", delete=True)
        return seen, [entry["dst"] for entry in ip("neigh", "show", "proxy")]

    assert in_net(proxy) == (["10.7.0.5", "fd00::5"], ["fd00::5"])


@IN_OWN_NET
def test_bridge_vlans() -> None:
    def vlans(rtnl: Rtnl) -> Any:
        made = subprocess.run(
            "ip link add br0 type bridge vlan_filtering 1 vlan_default_pvid 5".split(), capture_output=True, text=True
        )
        if made.returncode:
            return made.stderr
        bridge = rtnl.link("br0")
        assert bridge is not None
        rtnl.add_veth("one", "two", master=bridge.index)
        port = rtnl.link("one")
        assert port is not None
        rtnl.bridge_vlan(port.index, 5, delete=True)
        rtnl.bridge_vlan(port.index, 7, untagged=True)
        rtnl.bridge_vlan(port.index, 9)
        text = subprocess.run(["bridge", "-j", "vlan", "show", "dev", "one"], capture_output=True, check=True, text=True).stdout
        vlans = [[vlan["vlan"], sorted(vlan.get("flags", []))] for vlan in json.loads(text)[0]["vlans"]]
        return [bridge.vlan_filtering, bridge.default_pvid, port.master == bridge.index, vlans]

    answer = in_net(vlans)
    if isinstance(answer, str):
        pytest.skip(f"this kernel's bridges do not filter VLANs: {answer.strip()}")
    assert answer == [True, 5, True, [[7, ["Egress Untagged", "PVID"]], [9, []]]]


@IN_OWN_NET
@pytest.mark.skipif(tuple(map(int, os.uname().release.split(".")[:2])) < (6, 17), reason="older kernels forget the permanent ones, too")
def test_a_proxied_address_outlives_the_ports_of_its_bridge() -> None:
    def proxied(rtnl: Rtnl) -> Any:
        subprocess.run(["ip", "link", "add", "br0", "up", "type", "bridge"], check=True)
        bridge = rtnl.link("br0")
        assert bridge is not None
        rtnl.proxy_neighbour(bridge.index, "10.7.0.5")
        rtnl.add_veth("one", "two", master=bridge.index, up=True)
        subprocess.run(["ip", "link", "set", "two", "up"], check=True)
        rtnl.delete_link("one")
        # The kernel looks at changes of a carrier once a second.
        for _ in range(40):
            if "NO-CARRIER" in ip("link", "show", "br0")[0]["flags"]:
                break
            time.sleep(0.05)
        time.sleep(1.1)
        return [row["dst"] for row in ip("neigh", "show", "proxy")]

    assert in_net(proxied) == ["10.7.0.5"]


@IN_OWN_NET
def test_errors_carry_the_operation_and_the_interface() -> None:
    def fail(rtnl: Rtnl) -> Any:
        rtnl.add_veth("one", "two")
        link = rtnl.link("one")
        assert link is not None
        return [
            error_of(lambda: rtnl.add_veth("one", "three")),
            error_of(lambda: rtnl.delete_link("none")),
            error_of(lambda: rtnl.set_link(link.index, name="two")),
            error_of(lambda: rtnl.set_link(link.index, mtu=1 << 30)),
            error_of(lambda: rtnl.set_link(link.index, address=b"\1\0\0\0\0\0")),
        ]

    taken, missing, name, mtu, address = in_net(fail)
    assert (taken[0], taken[-1]) == (errno.EEXIST, "making the veth pair one")
    assert (missing[0], missing[-1]) == (errno.ENODEV, "deleting interface none")
    assert (name[0], name[-1]) == (errno.EEXIST, "changing interface two")
    assert mtu[0] == errno.EINVAL
    assert "mtu" in mtu[1]
    assert address[0] == errno.EADDRNOTAVAIL


@IN_OWN_NET
def test_many_links_are_listed_whole() -> None:
    def many(rtnl: Rtnl) -> Any:
        for number in range(150):
            rtnl.add_veth(f"a{number}", f"b{number}")
        return len(rtnl.links())

    assert in_net(many) == 301
