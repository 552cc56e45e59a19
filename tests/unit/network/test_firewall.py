# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rules of lxc-net as text."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from lxctools.errors import LxcError
from lxctools.network import firewall
from lxctools.network.settings import DEFAULTS, Settings

IPV6 = {"LXC_IPV6_ADDR": "fd00::1", "LXC_IPV6_MASK": "64", "LXC_IPV6_NETWORK": "fd00::/64", "LXC_IPV6_NAT": "true"}


@pytest.mark.root
@pytest.mark.skipif(not shutil.which("nft", path="/usr/sbin"), reason="needs nft")
@pytest.mark.parametrize("values", [{}, IPV6, {"LXC_BRIDGE": "a.b-c@d+e:f"}], ids=["ipv4", "ipv6", "odd name"])
def test_nft_accepts_the_transactions(values: dict[str, str]) -> None:
    settings = Settings(DEFAULTS | values)
    # Removal must work on tables that are there, twice over, and on none.
    script = firewall.nft_remove() + firewall.nft_setup(settings) * 2 + firewall.nft_remove() * 2
    result = subprocess.run(["unshare", "-n", "nft", "-f", "-"], input=script, text=True, capture_output=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_iptables_removes_exactly_what_it_adds() -> None:
    settings = Settings(DEFAULTS | IPV6)
    added = firewall.iptables_rules(settings, add=True)
    removed = firewall.iptables_rules(settings, add=False)
    assert [["-D" if word in ("-I", "-A") else word for word in rule] for rule in added] == removed
    assert len(added) == 9
    assert [rule[0] for rule in added].count("ip6tables") == 1
    assert added[0] == "iptables -w -I INPUT -i lxcbr0 -p udp --dport 67 -j ACCEPT".split()


def test_no_filter_at_all_is_an_error_with_both_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall.process, "find", lambda _name: None)
    with pytest.raises(LxcError) as caught:
        firewall.choose(Settings(dict(DEFAULTS)))
    assert caught.value.message == "the packet filter cannot be set: nft: not installed; iptables: not installed"
    assert "nftables" in caught.value.remedy
