# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import subprocess
from pathlib import Path

from .hook import HOOKS, Box, one_line

LEASE = {
    "reason": "BOUND",
    "interface": "eth0",
    "new_ip_address": "10.0.3.9",
    "new_subnet_mask": "255.255.255.0",
    "new_broadcast_address": "10.0.3.255",
    "new_routers": "10.0.3.1",
    "new_dhcp_lease_time": "3600",
    "new_domain_name": "lan",
    "new_domain_search": "lan. example.org",
    "new_domain_name_servers": "10.0.3.1 9.9.9.9",
}


def change(box: Box, **variables: str) -> tuple[list[str], subprocess.CompletedProcess[str]]:
    """The calls of ip, a line each."""
    record = box.fake("ip")
    environment = {"PATH": f"{box.bin}:/usr/bin:/bin", "ROOTFS": str(box.rootfs), **variables}
    done = subprocess.run([HOOKS / "dhclient-script"], env=environment, capture_output=True, text=True, timeout=60, check=False)
    calls = record.read_text().split("\n\n")[:-1] if record.exists() else []
    return [call.replace("\n", " ") for call in calls], done


def test_a_lease(box: Box) -> None:
    calls, done = change(box, **LEASE, new_interface_mtu="1400")
    assert (done.returncode, done.stderr) == (0, "")
    assert calls == [
        "-4 addr replace 10.0.3.9/24 broadcast 10.0.3.255 valid_lft 3600 preferred_lft 3600 dev eth0",
        "link set mtu 1400 dev eth0",
        "-4 route replace default via 10.0.3.1 dev eth0",
    ]
    text = "domain lan\nsearch lan example.org\nnameserver 10.0.3.1\nnameserver 9.9.9.9\n"
    assert (box.rootfs / "etc/resolv.conf").read_text() == text


def test_a_router_outside_and_a_tiny_mtu(box: Box) -> None:
    calls, _ = change(box, **LEASE | {"new_subnet_mask": "255.255.255.255", "new_interface_mtu": "68"})
    assert calls[1:] == ["-4 route replace 10.0.3.1/32 dev eth0", "-4 route replace default via 10.0.3.1 dev eth0"]


def test_what_is_no_address_is_dropped(box: Box) -> None:
    calls, done = change(box, **LEASE | {"new_routers": "-x", "new_domain_name_servers": "$(id) 1.1.1.1"})
    assert done.returncode == 0 and not any("route" in call for call in calls)
    assert (box.rootfs / "etc/resolv.conf").read_text().endswith("example.org\nnameserver 1.1.1.1\n")
    _, done = change(box, **LEASE | {"new_ip_address": "x"})
    assert done.returncode == 1 and one_line(done.stderr)


def test_a_changed_and_a_lost_lease(box: Box) -> None:
    assert change(box, **LEASE, old_ip_address="10.0.3.8")[0][0] == "-4 addr flush dev eth0"
    (box.bin / "ip.log").unlink()
    assert change(box, reason="EXPIRE", interface="eth0")[0] == ["-4 addr flush dev eth0"]
    (box.bin / "ip.log").unlink()
    assert change(box, reason="PREINIT", interface="eth0")[0] == ["link set up dev eth0"]


def test_version_6(box: Box) -> None:
    lease = {"interface": "eth0", "new_ip6_address": "fd00::9", "new_ip6_prefixlen": "64", "new_max_life": "60", "new_preferred_life": "30"}
    assert change(box, reason="BOUND6", **lease)[0] == ["-6 addr replace fd00::9/64 scope global valid_lft 60 preferred_lft 30 dev eth0"]
    (box.bin / "ip.log").unlink()
    assert change(box, reason="RELEASE6", interface="eth0", old_ip6_address="fd00::9", old_ip6_prefixlen="64")[0] == [
        "-6 addr del fd00::9/64 dev eth0"
    ]


def test_no_link_leads_out(box: Box, tmp_path: Path) -> None:
    victim = tmp_path / "resolv.conf"
    victim.write_text("mine")
    (box.rootfs / "etc").mkdir()
    (box.rootfs / "etc/resolv.conf").symlink_to(victim)
    assert change(box, **LEASE)[1].returncode == 0
    assert victim.read_text() == "mine" and "nameserver" in (box.rootfs / "etc/resolv.conf").read_text()


def test_called_by_nobody(box: Box) -> None:
    calls, done = change(box)
    assert done.returncode == 1 and one_line(done.stderr) and calls == []
