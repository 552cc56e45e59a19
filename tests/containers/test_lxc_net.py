# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-net for real, in network, mount and pid namespaces of the test's own: bridge, firewall, DHCP, DNS, and failures."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.host import OURS, wait_until

from .world import ADDRESS, World

THEIRS = Path("/usr/libexec/lxc/lxc-net")


def test_start_and_stop_twice(world: World) -> None:
    before = world.state()
    assert world.net("start") == (0, "", "")
    assert world.get("ip -o -4 addr show lxcbr0").split()[3:6] == ["10.0.3.1/24", "brd", "10.0.3.255"]
    assert world.get("cat /sys/class/net/lxcbr0/address /proc/sys/net/ipv4/ip_forward") == "00:16:3e:00:00:00\n1\n"
    assert world.net("start") == (1, "lxc-net is already running\n", "")
    started = world.state()
    assert world.net("restart") == (0, "", "")
    assert world.state() == started
    assert world.net("stop") == (0, "", "")
    assert world.state() == before
    assert world.net("stop") == (1, "lxc-net isn't running\n", "")
    assert world.net("reload") == (0, "lxc-net isn't running\n", "")
    assert world.state() == started


@pytest.mark.parametrize("argv", [[], ["status"], ["start", "now"]])
def test_anything_else_is_told_the_usage(world: World, argv: list[str]) -> None:
    status, out, err = world.run(OURS / "lxc-net", *argv)
    assert (status, out, err) == (2, f"Usage: {OURS}/lxc-net {{start|stop|restart|reload|force-reload}}\n", "")


def test_clients_get_addresses_and_names(world: World) -> None:
    assert world.net("start")[0] == 0
    addresses = {}
    for name in ("d1", "d2"):
        world.client(name)
        addresses[name] = world.lease(name)
        assert addresses[name].startswith("10.0.3.")
    assert addresses["d1"] != addresses["d2"]
    # The host asks the bridge, and each asks for the other; the bridge is reached, and they reach each other.
    assert {name: world.resolve(name) for name in addresses} == addresses
    assert world.resolve("d2", within="d1") == addresses["d2"]
    assert world.resolve("d1", within="d2") == addresses["d1"]
    world.get(f"ip netns exec d1 ping -c 1 -W 2 {ADDRESS}")
    world.get(f"ip netns exec d1 ping -c 1 -W 2 {addresses['d2']}")
    # A restart keeps the bridge that they are on, the leases and the names.
    assert world.net("restart") == (0, "", "")
    assert world.lease("d1") == addresses["d1"]
    assert world.resolve("d1") == addresses["d1"]


def test_a_domain_is_added_to_the_names(world: World) -> None:
    world.write("/etc/default/lxc-net", "LXC_DOMAIN=lxc.test\n")
    world.write("/etc/default/lxc", "[ ! -f /etc/default/lxc-net ] || . /etc/default/lxc-net\n")
    assert world.net("start")[0] == 0
    world.client("d1")
    address = world.lease("d1")
    assert world.resolve("d1.lxc.test") == world.resolve("d1") == address


def test_clients_leave_by_the_host_address(world: World) -> None:
    assert world.net("start")[0] == 0
    world.client("d1")
    world.lease("d1")
    world.get(
        "ip netns add out && ip link add up0 type veth peer name eth0 netns out && ip addr add 192.0.2.1/24 dev up0 &&"
        "ip link set up0 up && ip -n out addr add 192.0.2.2/24 dev eth0 && ip -n out link set eth0 up"
    )
    # `out` has no route to 10.0.3.0/24, so an answer proves that the host's address was put in.
    world.get("ip netns exec d1 ping -c 1 -W 2 192.0.2.2")


def test_a_bridge_with_ports_stays(world: World) -> None:
    assert world.net("start")[0] == 0
    world.client("d1")
    assert world.net("stop") == (0, "", "")
    assert world.get("ls /sys/class/net/lxcbr0/brif") == "vd1\n"
    assert world.get("ip -o addr show dev lxcbr0; nft list ruleset") == ""
    assert world.net("start") == (0, "", "")
    assert world.lease("d1").startswith("10.0.3.")


def test_ipv6(world: World) -> None:
    world.write(
        "/etc/default/lxc",
        "LXC_IPV6_ADDR=fd00:3::1\nLXC_IPV6_MASK=64\nLXC_IPV6_NETWORK=fd00:3::/64\nLXC_IPV6_NAT=true\nUSE_LXC_BRIDGE=true\n",
    )
    before = world.state()
    assert world.net("start") == (0, "", "")
    assert "fd00:3::1/64" in world.get("ip -o -6 addr show lxcbr0")
    assert "ip6 saddr fd00:3::/64" in world.get("nft list table ip6 lxc")
    assert "fd00:3::1,ra-only" in world.get("ps -ww -eo args | grep [d]nsmasq")
    assert world.net("stop") == (0, "", "")
    assert world.state() == before


def test_ipv6_is_left_out_where_it_is_switched_off(world: World) -> None:
    world.get("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6")
    world.write("/etc/default/lxc", "LXC_IPV6_ADDR=fd00:3::1\nLXC_IPV6_MASK=64\nLXC_IPV6_NETWORK=fd00:3::/64\nLXC_IPV6_NAT=true\n")
    assert world.net("start") == (0, "", "")
    assert "ra-only" not in world.get("ps -ww -eo args | grep [d]nsmasq")
    assert "ip6 lxc" not in world.get("nft list ruleset")


def test_switched_off_does_nothing(world: World) -> None:
    world.write("/etc/default/lxc", "USE_LXC_BRIDGE=false\n")
    world.write("/etc/default/lxc-net", "")
    before = world.state()
    for action in ("start", "stop", "restart"):
        assert world.net(action) == (0, "", "")
    assert world.state() == before


def test_stop_removes_what_was_started_not_what_is_configured_now(world: World) -> None:
    before = world.state()
    assert world.net("start")[0] == 0
    world.write("/etc/default/lxc", "LXC_BRIDGE=other0\nUSE_LXC_BRIDGE=false\n")
    world.write("/etc/default/lxc-net", "")
    assert world.net("stop") == (0, "", "")
    assert world.state() == before


def test_a_foreign_interface_is_not_touched(world: World) -> None:
    world.get("ip link add eth9 type veth peer name eth8 && ip addr add 192.0.2.9/24 dev eth9 && ip link set eth9 up")
    world.write("/etc/default/lxc", "LXC_BRIDGE=eth9\n")
    before = world.state()
    status, out, err = world.net("start")
    assert (status, out) == (1, "")
    assert err.splitlines() == [
        "Failed to setup lxc-net.",
        "lxc-net: LXC_BRIDGE=eth9: an interface of this name exists and is not a bridge"
        " (set LXC_BRIDGE to another name in /etc/default/lxc-net)",
    ]
    assert world.state() == before


def _fails(world: World, *parts: str) -> None:
    before = world.state()
    status, out, err = world.net("start")
    assert (status, out) == (1, "")
    first, reason = err.splitlines()
    assert first == "Failed to setup lxc-net."
    for part in parts:
        assert part in reason
    assert world.state() == before


def test_a_taken_dns_port_is_named_and_all_undone(world: World) -> None:
    world.get("dnsmasq --conf-file=/dev/null --pid-file=/run/other.pid --port 53 -u nobody")
    _fails(world, "Address already in use", "another DNS or DHCP server on 10.0.3.1")


def test_a_wrong_range_is_told_in_dnsmasqs_words(world: World) -> None:
    world.write("/etc/default/lxc", "LXC_DHCP_RANGE=nonsense\n")
    _fails(world, "dnsmasq exited with status 1: dnsmasq: bad command line options: bad dhcp-range")


def test_missing_programs_are_named(world: World) -> None:
    world.get("mount --bind /dev/null $(command -v dnsmasq)")
    _fails(world, "dnsmasq is not installed (install the package dnsmasq-base)")
    world.get("mount --bind /dev/null $(command -v nft)")
    status, _out, err = world.net("start")
    assert status == 1
    assert "the packet filter cannot be set: nft: not installed; iptables: " in err


def test_a_wrong_setting_is_named(world: World) -> None:
    world.write("/etc/default/lxc", "LXC_NETMASK=255.0.255.0\n")
    status, out, err = world.net("start")
    assert (status, out) == (1, "")
    assert err.startswith("lxc-net: LXC_ADDR/LXC_NETMASK=10.0.3.1/255.0.255.0: ")


def test_a_range_elsewhere_is_warned_of(world: World) -> None:
    world.write("/etc/default/lxc", "LXC_ADDR=10.9.0.1\n")
    status, out, err = world.net("start")
    assert (status, out) == (0, "")
    assert "lxc-net: warning: LXC_DHCP_RANGE: 10.0.3.2 is not in 10.9.0.0/24: containers will get no address" in err


def test_only_root_may(world: World) -> None:
    status, out, err = world.run("setpriv", "--reuid=65534", "--clear-groups", OURS / "lxc-net", "start")
    assert (status, out) == (1, "")
    assert err == "lxc-net: only root can set up the network of the host (run it as root)\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_start_is_cleaned_up(world: World, number: int) -> None:
    before = world.state()
    began = time.monotonic()
    assert world.net("start")[0] == 0
    whole = time.monotonic() - began
    started = world.state()
    assert world.net("stop")[0] == 0
    for step in range(8):
        with world.popen(OURS / "lxc-net", "start") as process:
            time.sleep(whole * (0.3 + 0.1 * step))
            for child in _descendants(process.pid):
                try:
                    if b"lxc-net" in child.joinpath("cmdline").read_bytes():
                        os.kill(int(child.name), number)
                except OSError:
                    pass  # it has ended meanwhile
            process.communicate(timeout=60)
        if number == signal.SIGTERM and process.returncode != 0:
            assert world.state() == before, f"left after SIGTERM at step {step}"
        # The next start reports the truth: running, or it puts everything right.
        status, out, err = world.net("start")
        assert (status, err) in ((0, ""), (1, ""))
        assert out == ("lxc-net is already running\n" if status else "")
        assert world.state() == started
        assert world.net("stop") == (0, "", "")
        assert world.state() == before


def _descendants(pid: int) -> list[Path]:
    """The processes below pid that are the program itself: nsenter forks once to enter the pid namespace."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [Path(f"/proc/{child}") for child in children]


def test_two_starts_at_once(world: World) -> None:
    both = [world.popen(OURS / "lxc-net", "start") for _ in range(2)]
    answers = []
    for process in both:
        out, err = process.communicate(timeout=60)
        answers.append((process.returncode, out, err))
    assert sorted(answers) == [(0, "", ""), (1, "lxc-net is already running\n", "")]


@pytest.mark.skipif(not THEIRS.is_file(), reason="needs the lxc-net of Debian's lxc")
def test_either_lxc_net_stops_what_the_other_started(world: World) -> None:
    before = world.state()
    assert world.run(THEIRS, "start")[0] == 0
    theirs = world.state()
    assert world.net("start") == (1, "lxc-net is already running\n", "")
    assert world.net("stop") == (0, "", "")
    assert world.state() == before
    assert world.net("start")[0] == 0
    assert world.state() == theirs
    assert world.run(THEIRS, "start")[:2] == (1, "lxc-net is already running\n")
    assert world.run(THEIRS, "stop")[0] == 0
    assert wait_until(lambda: world.state() == before)
