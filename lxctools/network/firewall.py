# SPDX-License-Identifier: LGPL-2.1-or-later
"""The packet filter of lxc-net: DHCP and DNS reach the host, containers are forwarded and leave by the host's address.

nftables has tables of our own (inet lxc, ip lxc, ip6 lxc), filled and removed in one transaction, so nobody else's rules
are touched. Where nftables does not work, the same is said to iptables rule by rule.
"""

from __future__ import annotations

import os

from .. import process
from ..errors import LxcError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .settings import Settings

_LIMIT = 60.0  # seconds for one call: iptables may wait for its lock
_INSTALL = "install the package nftables"


def choose(settings: Settings) -> str:
    """The one that works here, "nft" or "iptables". Raises LxcError when neither does."""
    reasons = []
    if settings.use_nft:
        why = _why_not(["nft", "list", "ruleset"])
        if not why:
            return "nft"
        reasons.append(f"nft: {why}")
    why = _why_not(["iptables", "-w", "-S", "INPUT"])
    if not why:
        return "iptables"
    reasons.append(f"iptables: {why}")
    raise LxcError(f"the packet filter cannot be set: {'; '.join(reasons)}", remedy=_INSTALL)


def _why_not(argv: Sequence[str]) -> str:
    if process.find(argv[0]) is None:
        return "not installed"
    result = process.run(argv, timeout=_LIMIT)
    return "" if result.status == 0 else result.why()


def setup(tool: str, settings: Settings) -> None:
    """Put the rules in place by one of choose()'s tools. Raises LxcError with the tool's words."""
    if tool == "nft":
        _nft(nft_setup(settings))
        return
    for argv in iptables_rules(settings, add=True):
        process.run(argv, timeout=_LIMIT, check=True)


def remove(tool: str, settings: Settings) -> None:
    """Remove the rules; those that are not there are no error. Raises LxcError with the tool's words."""
    if tool == "nft":
        if process.find("nft") is not None:
            _nft(nft_remove())
        return
    for argv in iptables_rules(settings, add=False):
        # The absence of a rule and any other failure look the same; removing what is not there is what we want to allow.
        if process.find(argv[0]) is not None:
            process.run(argv, timeout=_LIMIT)


def nft_setup(settings: Settings) -> str:
    """The transaction that makes our tables, whatever was in them."""
    bridge = settings.bridge
    lines = [
        "add table inet lxc",
        "flush table inet lxc",
        "add chain inet lxc input { type filter hook input priority 0; }",
        f'add rule inet lxc input iifname "{bridge}" udp dport {{ 53, 67 }} accept',
        f'add rule inet lxc input iifname "{bridge}" tcp dport {{ 53, 67 }} accept',
        "add chain inet lxc forward { type filter hook forward priority 0; }",
        f'add rule inet lxc forward iifname "{bridge}" accept',
        f'add rule inet lxc forward oifname "{bridge}" accept',
        *_nft_masquerade("ip", str(settings.network)),
    ]
    if settings.ipv6_nat:
        lines += _nft_masquerade("ip6", str(settings.ipv6_network))
    return "\n".join(lines) + "\n"


def _nft_masquerade(family: str, network: str) -> list[str]:
    return [
        f"add table {family} lxc",
        f"flush table {family} lxc",
        f"add chain {family} lxc postrouting {{ type nat hook postrouting priority 100; }}",
        f"add rule {family} lxc postrouting {family} saddr {network} {family} daddr != {network} counter masquerade",
    ]


def nft_remove() -> str:
    """The transaction that removes our tables; each is added first, since a missing one would be an error."""
    tables = ("inet lxc", "ip lxc", "ip6 lxc")
    return "".join(f"add table {table}\ndelete table {table}\n" for table in tables)


def _nft(text: str) -> None:
    fd = os.memfd_create("lxc-net.nft", os.MFD_CLOEXEC)
    try:
        os.write(fd, text.encode())
        os.lseek(fd, 0, os.SEEK_SET)
        result = process.run(["nft", "-f", "-"], stdin=fd, timeout=_LIMIT)
    finally:
        os.close(fd)
    if result.status != 0:
        raise LxcError(
            f"nft -f - {result.why()}", remedy="does this kernel have nf_tables, masquerading and the families inet and ip?"
        )


def iptables_rules(settings: Settings, *, add: bool) -> list[list[str]]:
    """The command lines that add, or remove, our rules."""
    bridge = ["-i", settings.bridge]
    insert, append = ("-I", "-A") if add else ("-D", "-D")
    rules = [
        ["iptables", "-w", insert, "INPUT", *bridge, "-p", protocol, "--dport", port, "-j", "ACCEPT"]
        for port in ("67", "53")
        for protocol in ("udp", "tcp")
    ]
    rules += [
        ["iptables", "-w", insert, "FORWARD", *bridge, "-j", "ACCEPT"],
        ["iptables", "-w", insert, "FORWARD", "-o", settings.bridge, "-j", "ACCEPT"],
        _iptables_masquerade("iptables", append, str(settings.network)),
        # Answers of dnsmasq carry no checksum yet when they reach a container, and old DHCP clients drop them.
        ["iptables", "-w", "-t", "mangle", append, "POSTROUTING", "-o", settings.bridge, "-p", "udp", "-m", "udp"]
        + ["--dport", "68", "-j", "CHECKSUM", "--checksum-fill"],
    ]
    if settings.ipv6_nat:
        rules.append(_iptables_masquerade("ip6tables", append, str(settings.ipv6_network)))
    return rules


def _iptables_masquerade(tool: str, action: str, network: str) -> list[str]:
    return [tool, "-w", "-t", "nat", action, "POSTROUTING", "-s", network, "!", "-d", network, "-j", "MASQUERADE"]
