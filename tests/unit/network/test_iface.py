# SPDX-License-Identifier: LGPL-2.1-or-later
"""A container's devices from configuration to teardown, in network namespaces of the test's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import Any

import pytest

from lxctools.config.conf import Config
from lxctools.config.net import Net
from lxctools.errors import LxcError, Unsupported
from lxctools.linux import prctl, sched
from lxctools.network import iface
from tests.forked import forked

pytestmark = pytest.mark.root

_OUTSIDE = (
    "ip link set lo up",
    "ip link add br0 type bridge",
    "ip addr add 10.7.0.1/24 dev br0",
    "ip addr add fd07::1/64 dev br0 nodad",
    "ip link set br0 mtu 1400 up",
    "ip link add taken type veth peer name other",
)


def shell(*commands: str) -> None:
    for command in commands:
        subprocess.run(command.split(), check=True)


def ip(*argv: str) -> Any:
    text = subprocess.run(["ip", "-json", *argv], capture_output=True, check=True, text=True).stdout
    return json.loads(text) if text.strip() else []


def links() -> list[str]:
    return sorted(link["ifname"] for link in ip("link", "show"))


def nets_of(*lines: str) -> list[Net]:
    conf = Config()
    for line in lines:
        conf.load_line(f"lxc.net.{line}")
    return list(conf.nets)


def other_namespace() -> int:
    """The pid of a process with a network namespace of its own, which plays the container's init."""
    ready, started = os.pipe()
    pid = os.fork()
    if pid == 0:
        prctl.set_pdeathsig(signal.SIGKILL)
        sched.unshare(sched.CLONE_NEWNET)
        os.write(started, b"x")
        os.close(started)
        signal.pause()
    os.close(started)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    return pid


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


class Calls:
    """A script runner that keeps what it was told, and fails where told to."""

    def __init__(self, fail: str = "") -> None:
        self.seen: list[str] = []
        self.fail = fail

    def __call__(self, net: Net, event: str, extra: list[str]) -> None:
        self.seen.append(f"{net.index} {event} {' '.join(extra)}")
        if self.fail == f"{net.index} {event}":
            raise LxcError(f"script {self.fail} failed")


def life(*lines: str, fail: str = "", before: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every phase of a container's network, and what iproute2 sees in each. error: the LxcError that ended it."""

    def world() -> dict[str, Any]:
        shell(*_OUTSIDE, *before)
        at_first = links()
        nets = nets_of(*lines)
        iface.load({net.type for net in nets})
        holder = other_namespace()
        calls = Calls(fail)
        answer: dict[str, Any] = {"error": ""}

        def inside() -> Any:
            fd = os.open(f"/proc/{holder}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            sched.setns(fd, sched.CLONE_NEWNET)
            try:
                iface.configure_all(nets)
            except LxcError as error:
                return str(error)
            return {
                "addr": {link["ifname"]: link for link in ip("addr", "show")},
                "route": [f"{r['dst']} {r.get('gateway', '-')} {r['dev']}" for r in ip("route", "show")],
                "route6": [f"{r['dst']} {r.get('gateway', '-')}" for r in ip("-6", "route", "show", "proto", "boot")],
                "names": [net.runtime.get("name") for net in nets],
            }

        try:
            iface.resolve_auto_gateways(nets)
            iface.create_all(nets, holder, calls, reboot=False)
            answer["pairs"] = [net.runtime.get("pair") for net in nets]
            answer["host"] = {link["ifname"]: link for link in ip("-details", "link", "show")}
            answer["proxy"] = sorted(entry["dst"] for entry in ip("neigh", "show", "proxy"))
            answer["host routes"] = [f"{r['dst']} {r['dev']}" for r in ip("route", "show")]
            answer["inside"] = forked(inside)
        except LxcError as error:
            answer["error"] = str(error)
        iface.teardown_all(nets, calls)
        answer["left"] = sorted(set(links()) - set(at_first))
        answer["scripts"] = calls.seen
        end(holder)
        return answer

    result = forked(world, unshare=sched.CLONE_NEWNET)
    assert isinstance(result, dict)
    assert result["left"] == [], "left on the host"
    return result


def addresses(link: dict[str, Any], family: str) -> list[str]:
    return [
        f"{a['local']}/{a['prefixlen']} {a.get('broadcast', '-')}"
        for a in link["addr_info"]
        if a["family"] == family and a["scope"] == "global"
    ]


def test_veth_on_a_bridge_with_everything() -> None:
    got = life(
        "0.type = veth",
        "0.link = br0",
        "0.flags = up",
        "0.name = lan",
        "0.hwaddr = 00:16:3e:01:02:03",
        "0.ipv4.address = 10.7.0.5/24",
        "0.ipv4.address = 10.8.0.4/31",
        "0.ipv4.address = 10.9.0.9/16 10.9.255.254",
        "0.ipv4.gateway = 10.7.0.1",
        "0.ipv6.address = fd07::5/64",
        "0.ipv6.gateway = fd07::1",
        "0.veth.pair = hostend",
    )
    assert got["error"] == ""
    host = got["host"]["hostend"]
    assert (host["master"], host["mtu"], host["address"][:3]) == ("br0", 1400, "fe:")
    assert "UP" in host["flags"]
    lan = got["inside"]["addr"]["lan"]
    assert (lan["address"], lan["mtu"], "UP" in lan["flags"]) == ("00:16:3e:01:02:03", 1400, True)
    assert addresses(lan, "inet") == ["10.7.0.5/24 10.7.0.255", "10.8.0.4/31 -", "10.9.0.9/16 10.9.255.254"]
    assert addresses(lan, "inet6") == ["fd07::5/64 -"]
    assert "UP" in got["inside"]["addr"]["lo"]["flags"]
    assert "default 10.7.0.1 lan" in got["inside"]["route"]
    assert got["inside"]["route6"] == ["default fd07::1"]
    assert got["scripts"] == ["0 up veth br0 hostend", "0 down veth br0 hostend"]


def test_defaults_of_a_veth() -> None:
    got = life("0.type = veth")
    (pair,) = got["pairs"]
    assert pair.startswith("veth") and len(pair) == 10
    assert got["host"][pair]["mtu"] == 1500
    assert "master" not in got["host"][pair]
    assert "UP" not in got["inside"]["addr"]["eth0"]["flags"]
    assert "UP" not in got["inside"]["addr"]["lo"]["flags"]
    assert got["scripts"] == [f"0 up veth  {pair}", f"0 down veth  {pair}"]


def test_mtu_and_queues() -> None:
    got = life("0.type = veth", "0.link = br0", "0.mtu = 1280", "0.veth.n_rxqueues = 3", "0.veth.n_txqueues = 2")
    host = got["host"][got["pairs"][0]]
    assert (host["mtu"], host["num_rx_queues"], host["num_tx_queues"]) == (1280, 3, 2)
    assert got["inside"]["addr"]["eth0"]["mtu"] == 1280


def test_names_asked_for_come_before_those_that_the_kernel_chooses() -> None:
    got = life("0.type = veth", "3.type = veth", "3.name = eth0", "7.type = veth", "7.name = eth%d")
    assert got["inside"]["names"] == ["eth1", "eth0", "eth2"]
    assert [line[:4] for line in got["scripts"]] == ["0 up", "3 up", "7 up", "0 do", "3 do", "7 do"]


def test_a_gateway_off_the_link_gets_a_host_route_first() -> None:
    got = life(
        "0.type = veth",
        "0.flags = up",
        "0.ipv4.address = 10.7.0.5/32",
        "0.ipv4.gateway = 169.254.0.1",
        "0.ipv6.address = fd07::5/128",
        "0.ipv6.gateway = fd99::1",
    )
    assert got["inside"]["route"] == ["default 169.254.0.1 eth0", "169.254.0.1 - eth0"]
    assert sorted(got["inside"]["route6"]) == ["default fd99::1", "fd99::1 -"]


def test_gateways_auto_and_dev() -> None:
    auto = life(
        "0.type = veth",
        "0.link = br0",
        "0.flags = up",
        "0.ipv4.address = 10.7.0.5/24",
        "0.ipv4.gateway = auto",
        "0.ipv6.address = fd07::5/64",
        "0.ipv6.gateway = auto",
    )
    assert "default 10.7.0.1 eth0" in auto["inside"]["route"]
    assert auto["inside"]["route6"] == ["default fd07::1"]
    dev = life("0.type = veth", "0.flags = up", "0.ipv4.address = 10.7.0.5/24", "0.ipv4.gateway = dev")
    assert "default - eth0" in dev["inside"]["route"]


def test_router_mode() -> None:
    got = life(
        "0.type = veth",
        "0.flags = up",
        "0.link = br0",
        "0.veth.mode = router",
        "0.veth.pair = hostend",
        "0.ipv4.address = 10.50.0.5/32",
        "0.ipv4.gateway = 169.254.0.1",
        "0.ipv6.address = fd50::5/128",
        "0.ipv6.gateway = fd50::1",
        "0.veth.ipv4.route = 192.0.2.0/24",
        before=("sysctl -q -w net.ipv6.conf.all.forwarding=1",),
    )
    assert got["error"] == ""
    assert "master" not in got["host"]["hostend"]
    assert got["proxy"] == ["169.254.0.1", "fd50::1"]
    assert {"10.50.0.5 hostend", "192.0.2.0/24 hostend"} <= set(got["host routes"])
    assert "default 169.254.0.1 eth0" in got["inside"]["route"]


def test_router_mode_with_ipv6_needs_forwarding() -> None:
    got = life(
        "0.type = veth",
        "0.flags = up",
        "0.veth.mode = router",
        "0.ipv6.address = fd50::5/128",
        "0.ipv6.gateway = fd50::1",
        before=("sysctl -q -w net.ipv6.conf.all.forwarding=0",),
    )
    assert "net.ipv6.conf.all.forwarding = 1" in got["error"]
    assert got["scripts"] == []


def test_l2proxy() -> None:
    lines = ("0.type = veth", "0.link = br0", "0.flags = up", "0.l2proxy = 1", "0.ipv4.address = 10.7.0.5/24")
    off = life(*lines, before=("sysctl -q -w net.ipv4.conf.br0.forwarding=0",))
    assert off["error"] == (
        "lxc.net.0.l2proxy = 1 needs net.ipv4.conf.br0.forwarding = 1, which is 0 (sysctl -w net.ipv4.conf.br0.forwarding=1)"
    )
    on = life(*lines, before=("sysctl -q -w net.ipv4.conf.br0.forwarding=1",))
    assert (on["error"], on["proxy"]) == ("", ["10.7.0.5"])
    assert "needs a link" in life("0.type = veth", "0.l2proxy = 1")["error"]


def test_empty_configures_lo_and_its_down_script_runs() -> None:
    got = life("0.type = empty", "0.flags = up", "0.ipv4.address = 10.66.0.1/32")
    assert addresses(got["inside"]["addr"]["lo"], "inet") == ["10.66.0.1/32 -"]
    assert "UP" in got["inside"]["addr"]["lo"]["flags"]
    assert got["scripts"] == ["0 up empty", "0 down empty"]
    assert "has lo only" in life("0.type = empty", "0.name = eth0")["error"]


def test_none_beside_others_does_nothing() -> None:
    got = life("0.type = none", "0.flags = up", "1.type = veth", "1.veth.pair = hostend")
    assert got["error"] == ""
    assert got["scripts"] == ["1 up veth  hostend", "1 down veth  hostend"]


def test_a_failing_up_script_removes_its_device_and_ends_the_earlier_ones() -> None:
    lines = ("0.type = veth", "0.veth.pair = first", "1.type = veth", "1.veth.pair = second", "2.type = veth")
    got = life(*lines, fail="1 up")
    assert got["error"] == "script 1 up failed"
    assert got["scripts"] == ["0 up veth  first", "1 up veth  second", "0 down veth  first"]


def test_a_failing_down_script_keeps_nothing() -> None:
    got = life("0.type = veth", "0.veth.pair = first", "1.type = veth", "1.veth.pair = second", fail="0 down")
    assert got["scripts"][2:] == ["0 down veth  first", "1 down veth  second"]


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        (("link = nobr",), ('lxc.net.0.link = nobr: bridge "nobr" does not exist', "run `lxc-net start`")),
        (("link = taken",), ("lxc.net.0.link = taken: this interface is not a bridge", "router")),
        (("veth.pair = taken",), ("lxc.net.0.veth.pair = taken: an interface of this name exists already", "ip link del taken")),
        (("mtu = big",), ("lxc.net.0.mtu = big: not a number",)),
        (("mtu = 67",), ("lxc.net.0.mtu = 67: not a number from 68",)),
        (("veth.vlan.id = 5",), ("lxc.net.0.veth.vlan.*: VLANs need the bridge mode and a link",)),
        (("link = br0", "veth.vlan.id = 5"), ("lxc.net.0.veth.vlan.*: the bridge br0 does not filter VLANs", "vlan_filtering 1")),
        (("link = br0", "veth.vlan.id = 5", "veth.vlan.tagged.id = 5"), ("veth.vlan.id = 5 is among the tagged ids",)),
        (("ipv4.gateway = auto",), ("lxc.net.0.ipv4.gateway = auto needs a link", "set lxc.net.0.link")),
        (("link = other", "ipv4.gateway = auto"), ("lxc.net.0.ipv4.gateway = auto: other has no ipv4 address",)),
    ],
)
def test_what_is_wrong_on_the_host_is_named(lines: tuple[str, ...], parts: tuple[str, ...]) -> None:
    got = life("0.type = veth", *[f"0.{line}" for line in lines])
    for part in parts:
        assert part in got["error"]
    assert got["scripts"] == []


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        (("hwaddr = 00:16:3e",), ("lxc.net.0.hwaddr = 00:16:3e", "write it as 00:16:3e:xx:xx:xx")),
        (("hwaddr = 01:16:3e:00:00:01",), ("lxc.net.0.hwaddr = 01:16:3e:00:00:01", "first byte must be even")),
        (("name = lo",), ("lxc.net.0.name = lo", "two devices cannot have one name")),
        (("ipv4.gateway = 10.7.0.1", "ipv4.address = 10.7.0.5/24"), ("lxc.net.0.ipv4.gateway", "lxc.net.0.flags = up")),
        (("flags = up", "ipv4.gateway = 10.7.0.1"), ("has no ipv4 address", "set lxc.net.0.ipv4.address")),
        (("ipv4.address = 10.7.0.5/24", "ipv4.address = 10.7.0.5/24"), ("lxc.net.0.ipv4.address = 10.7.0.5/24: File exists",)),
    ],
)
def test_what_is_wrong_inside_is_named(lines: tuple[str, ...], parts: tuple[str, ...]) -> None:
    got = life("0.type = veth", *[f"0.{line}" for line in lines])
    for part in parts:
        assert part in got["inside"]


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan", "vlan", "phys"])
def test_types_that_are_not_there_yet_are_refused(kind: str) -> None:
    with pytest.raises(Unsupported, match=f"not supported yet: lxc.net.N.type = {kind}"):
        iface.load([kind])


def test_a_name_held_by_a_dying_namespace_is_waited_for() -> None:
    """After a kill -9 the kernel removes the pair in its own time; a start right behind it finds the name free."""

    def world() -> Any:
        shell(*_OUTSIDE)
        iface.load(["veth"])
        (net,) = nets_of("0.type = veth", "0.veth.pair = hostend")
        seen = []
        for _ in range(3):
            holder = other_namespace()
            iface.create_all([net], holder, Calls(), reboot=False)
            seen.append(net.runtime["pair"])
            end(holder)
        return seen

    assert forked(world, unshare=sched.CLONE_NEWNET) == ["hostend"] * 3
