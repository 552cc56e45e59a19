# SPDX-License-Identifier: LGPL-2.1-or-later
"""Networks: their order, types, addresses and names."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.config import net
from lxctools.config.conf import Config
from lxctools.errors import ConfigError


def conf_of(text: str) -> Config:
    conf = Config()
    conf.load_text(text, "c")
    return conf


def test_networks_are_sorted_and_typed() -> None:
    conf = conf_of("lxc.net.5.type=veth\nlxc.net.2.type=macvlan\nlxc.net.3.name=foo\n")
    assert conf.text("lxc.net") == "macvlan\nempty\nveth\n"
    assert [device.index for device in conf.nets] == [2, 3, 5]


def test_the_type_comes_first() -> None:
    conf = conf_of("lxc.net.0.name=eth0\nlxc.net.0.type=veth\n")
    assert conf.text("lxc.net.0.name") == ""
    with pytest.raises(ConfigError, match=r"write lxc.net.1.type = veth before it"):
        conf_of("lxc.net.1.veth.pair = x\n")
    assert not conf_of("lxc.net.0.type = veth\nlxc.net.0 =\n").nets


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("lxc.net.0 = 5", "must not have a value"),
        ("lxc.net = 5", "must not have a value"),
        ("lxc.net.x.type = veth", "no network number"),
        ("lxc.net.-1.type = veth", "no network number"),
        ("lxc.net.2147483647.type = veth", "overflow the counter"),
        ("lxc.net.1.name =", "no network 1"),
        ("lxc.net.0.type = vet", "did you mean veth?"),
        ("lxc.net.0.hwadr = x", "did you mean lxc.net.0.hwaddr?"),
        ("lxc.net.0.ipv4.address = 1.2.3", "Invalid ipv4 address"),
        ("lxc.net.0.ipv4.address = 1.2.3.4/33", "prefix length of 0 to 32"),
        ("lxc.net.0.ipv4.address = 1.2.3.4/8 x", "Invalid ipv4 broadcast address"),
        ("lxc.net.0.ipv6.address = fc00::1/200", "prefix length of 0 to 128"),
        ("lxc.net.0.ipv4.gateway = AUTO", "Invalid ipv4 gateway"),
        ("lxc.net.0.veth.ipv4.route = 1.2.3.4", "write 1.2.3.4/32"),
        ("lxc.net.0.veth.n_rxqueues = 0", "1 to"),
        ("lxc.net.0.veth.vlan.id = 4095", "VLAN id"),
        ("lxc.net.0.veth.mode =x", "bridge router"),
        ("lxc.net.0.macvlan.mode = bridge", "is of type veth"),
        ("lxc.net.0.ipv4.address = 1.2.3.4\udcff", "Invalid ipv4 address"),
    ],
)
def test_refused(line: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        conf_of(f"lxc.net.0.type = veth\n{line}\n")
    assert part in str(caught.value)


def test_addresses() -> None:
    device = conf_of(
        "lxc.net.0.type = veth\nlxc.net.0.ipv4.address = 10.0.3.2/24\nlxc.net.0.ipv4.address = 10.0.3.3/24 10.0.3.99\n"
        "lxc.net.0.ipv4.address = 10.0.3.4/31\nlxc.net.0.ipv6.address = FC00:0::1\nlxc.net.0.ipv4.gateway = dev\n"
        "lxc.net.0.ipv4.gateway = 10.0.3.1\nlxc.net.0.veth.ipv6.route = fc00::/7\n"
    ).nets[0]
    assert device["ipv4.address"] == [("10.0.3.2", 24, "10.0.3.255"), ("10.0.3.3", 24, "10.0.3.99"), ("10.0.3.4", 31, "")]
    assert device["ipv6.address"] == [("fc00::1", 64)]
    assert device["ipv4.gateway"] == "10.0.3.1"
    assert device["veth.ipv6.route"] == [("fc00::", 7)]
    assert device["ipv6.gateway"] == ""


@pytest.mark.parametrize(
    ("address", "prefix"), [("10.0.3.200", 8), ("127.0.0.1", 8), ("172.16.0.1", 16), ("192.168.1.1", 24), ("224.0.0.1", 32)]
)
def test_the_prefix_of_the_class(address: str, prefix: int) -> None:
    device = conf_of(f"lxc.net.0.type = veth\nlxc.net.0.ipv4.address = {address}\n").nets[0]
    assert device["ipv4.address"][0][1] == prefix


@given(st.ip_addresses(v=4), st.integers(0, 30))
def test_the_broadcast_address(address: ipaddress.IPv4Address, prefix: int) -> None:
    conf = Config()
    conf.set("lxc.net.0.ipv4.address", f"{address}/{prefix}")
    network = ipaddress.ip_network(f"{address}/{prefix}", strict=False)
    assert conf.nets[0]["ipv4.address"] == [(str(address), prefix, str(network.broadcast_address))]


@given(st.ip_addresses(v=6), st.integers(0, 128))
def test_ipv6_reads_back(address: ipaddress.IPv6Address, prefix: int) -> None:
    conf = Config()
    conf.set("lxc.net.0.ipv6.address", f"{address.exploded.upper()}/{prefix}")
    shown = conf.text("lxc.net.0.ipv6.address")
    conf.clear("lxc.net.0.ipv6.address")
    conf.set("lxc.net.0.ipv6.address", shown)
    assert conf.text("lxc.net.0.ipv6.address") == shown
    assert ipaddress.ip_interface(shown) == ipaddress.ip_interface((address, prefix))


@given(st.text(alphabet="0123456789abcdefxX:", max_size=20))
def test_hardware_addresses(template: str) -> None:
    result = net.expand_hwaddr(template)
    assert len(result) == len(template)
    for at, (before, after) in enumerate(zip(template, result, strict=True)):
        if before in "xX":
            assert after in "0123456789abcdef"
            assert at != 1 or int(after, 16) % 2 == 0
        else:
            assert after == before


def test_two_random_addresses_differ() -> None:
    assert net.expand_hwaddr("xx:xx:xx:xx:xx:xx") != net.expand_hwaddr("xx:xx:xx:xx:xx:xx")


def test_a_random_address_is_kept_in_the_text() -> None:
    conf = conf_of("lxc.net.0.type = veth\n lxc.net.0.hwaddr\t= '00:16:3e:xx:xx:Xx'\n#lxc.net.0.hwaddr = xx\n")
    address = conf.text("lxc.net.0.hwaddr")
    assert conf.write_text() == f"lxc.net.0.type = veth\n lxc.net.0.hwaddr\t= '{address}'\n#lxc.net.0.hwaddr = xx\n"


def test_long_names_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    conf = conf_of("lxc.net.0.type = veth\nlxc.net.0.name = " + "a" * 16 + "\nlxc.net.0.link = " + "é" * 8 + "\n")
    assert conf.text("lxc.net.0.name") == "a" * 15
    assert conf.text("lxc.net.0.link").encode("utf-8", "surrogateescape") == ("é" * 8).encode()[:15]


def test_a_link_by_prefix() -> None:
    conf = conf_of("lxc.net.0.type = phys\nlxc.net.0.link = l+\nlxc.net.1.type = phys\nlxc.net.1.link = nothing+\n")
    assert conf.text("lxc.net.0.link").startswith("l")
    assert conf.text("lxc.net.1.link") == ""
    assert conf_of("lxc.net.0.type = veth\nlxc.net.0.link = l+\n").text("lxc.net.0.link") == "l+"


def test_what_the_start_chose_is_read() -> None:
    conf = conf_of("lxc.net.0.type = veth\nlxc.net.0.ipv4.gateway = auto\n")
    conf.nets[0].runtime.update(pair="vethABCDEF", name="eth0", ifindex=7)
    conf.nets[0].runtime["ipv4.gateway"] = "10.0.0.1"
    assert conf.text("lxc.net.0.veth.pair") == "vethABCDEF"
    assert conf.text("lxc.net.0.name") == "eth0"
    assert conf.text("lxc.net.0.ipv4.gateway") == "auto"
    assert conf.nets[0]["veth.pair"] == ""
    assert not conf.nets[0].is_set("name")


def test_a_mode_is_its_default_again() -> None:
    conf = conf_of("lxc.net.0.type = veth\nlxc.net.0.veth.mode = router\nlxc.net.0.veth.mode =\n")
    assert conf.nets[0]["veth.mode"] == "bridge"
    assert conf_of("lxc.net.0.type = ipvlan\n").nets[0]["ipvlan.mode"] == "l2"


def test_the_loopback_network() -> None:
    assert conf_of("lxc.net.0.type = empty\n").nets[0]["name"] == "lo"


def test_flags() -> None:
    device = conf_of("lxc.net.0.type = veth\nlxc.net.0.flags = up\n").nets[0]
    assert device["flags"] is True
    device = conf_of("lxc.net.0.type = veth\nlxc.net.0.flags = down\n").nets[0]
    assert device["flags"] is False
