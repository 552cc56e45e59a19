# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-net: the bridge that containers are attached to by default, with DHCP, DNS and a way out.

    lxc-net start|stop|restart|reload|force-reload

Settings come from /etc/default/lxc and /etc/default/lxc-net: shell assignments, read here without a shell. Links and addresses
are set by pyroute2: this is no hot path, and its encoding of every message is better tested than one of ours would be.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import pwd
import signal
import sys
import time

from pyroute2 import IPRoute, NetlinkError

from .. import process
from ..errors import LxcError, describe

DEFAULTS_FILE = "/etc/default/lxc"
NET_DEFAULTS_FILE = "/etc/default/lxc-net"
RUN = "/run/lxc"
UP_MARK = RUN + "/network_up"
PID_FILE = RUN + "/dnsmasq.pid"
ACTIONS = ("start", "stop", "restart", "reload", "force-reload")

_DEFAULTS = {
    "USE_LXC_BRIDGE": "true",
    "LXC_BRIDGE": "lxcbr0",
    "LXC_BRIDGE_MAC": "00:16:3e:00:00:00",
    "LXC_ADDR": "10.0.3.1",
    "LXC_NETMASK": "255.255.255.0",
    "LXC_NETWORK": "10.0.3.0/24",
    "LXC_DHCP_RANGE": "10.0.3.2,10.0.3.254",
    "LXC_DHCP_MAX": "253",
    "LXC_DHCP_CONFILE": "",
    "LXC_DHCP_PING": "true",
    "LXC_DOMAIN": "",
    "LXC_USE_NFT": "true",
    "LXC_IPV6_ADDR": "",
    "LXC_IPV6_MASK": "",
    "LXC_IPV6_NETWORK": "",
    "LXC_IPV6_NAT": "false",
}
_PATIENCE = 5.0


def settings(files: tuple[str, ...] = (DEFAULTS_FILE, NET_DEFAULTS_FILE)) -> dict[str, str]:
    """The variables: built-in defaults, then the files' assignments in order, then the environment's LXC_*.

    Assignments are NAME=VALUE with optional quotes; other shell lines (a test, a source) are passed over.
    """
    result = dict(_DEFAULTS)
    for path in files:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            continue
        for line in lines:
            name, equals, value = line.strip().partition("=")
            if equals and name in result:
                result[name] = _plain(value)
    return result


def _plain(value: str) -> str:
    """The value of an assignment: quotes removed, a trailing comment dropped."""
    value = value.strip()
    if value[:1] in ("'", '"'):
        return value[1:].partition(value[0])[0]
    return value.split("#")[0].strip()


def main(argv: list[str]) -> int:
    """The service's program; returns its exit status."""
    if len(argv) != 2 or argv[1] not in ACTIONS:
        sys.stderr.write(f"Usage: {os.path.basename(argv[0])} {{{'|'.join(ACTIONS)}}}\n")
        return 2
    try:
        network = Network(settings())
        if argv[1] == "start":
            return network.start()
        if argv[1] == "stop":
            return network.stop()
        network.stop()
        return network.start()
    except (LxcError, OSError) as error:
        sys.stderr.write(f"lxc-net: {error if isinstance(error, LxcError) else describe(error)}\n")
        return 1


class Network:
    """The bridge with what belongs to it, as the settings describe it."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values
        self.bridge = values["LXC_BRIDGE"]

    @property
    def wanted(self) -> bool:
        """Whether the administrator wants a bridge at all."""
        return self.values["USE_LXC_BRIDGE"] == "true"

    @property
    def has_ipv6(self) -> bool:
        """Whether an IPv6 network is configured."""
        return all(self.values[name] for name in ("LXC_IPV6_ADDR", "LXC_IPV6_MASK", "LXC_IPV6_NETWORK"))

    # -- start

    def start(self) -> int:
        """Set everything up; what was set up so far is taken down again when something fails."""
        if not self.wanted:
            return 0
        if os.path.exists(UP_MARK):
            print("lxc-net is already running")
            return 1
        if os.path.isdir(f"/sys/class/net/{self.bridge}"):
            self.stop(forced=True)
        try:
            self._set_up()
        except (LxcError, OSError, NetlinkError, KeyboardInterrupt) as error:
            sys.stderr.write(f"Failed to setup lxc-net.\nlxc-net: {_why(error)}\n")
            self.stop(forced=True)
            return 1
        return 0

    def _set_up(self) -> None:
        os.makedirs(RUN, 0o755, exist_ok=True)
        self._make_bridge()
        _sysctl("net/ipv4/ip_forward", "1")
        self._firewall(add=True)
        self._dnsmasq()
        with open(UP_MARK, "w", encoding="ascii"):
            pass

    def _make_bridge(self) -> None:
        values = self.values
        try:
            address = ipaddress.IPv4Interface(f"{values['LXC_ADDR']}/{values['LXC_NETMASK']}")
        except ValueError as error:
            raise LxcError(f"LXC_ADDR and LXC_NETMASK: {error}", remedy=f"correct {NET_DEFAULTS_FILE}") from None
        with IPRoute() as routes:
            if not routes.link_lookup(ifname=self.bridge):
                routes.link("add", ifname=self.bridge, kind="bridge")
            (index,) = routes.link_lookup(ifname=self.bridge)
            _sysctl(f"net/ipv6/conf/{self.bridge}/accept_dad", "0", optional=True)
            try:
                routes.addr(
                    "add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen,
                    broadcast=str(address.network.broadcast_address),
                )  # fmt: skip
            except NetlinkError as error:
                if error.code != errno.EEXIST:
                    raise
            routes.link("set", index=index, address=values["LXC_BRIDGE_MAC"])
            routes.link("set", index=index, state="up")
            if self.has_ipv6:
                _sysctl("net/ipv6/conf/all/forwarding", "1")
                _sysctl(f"net/ipv6/conf/{self.bridge}/autoconf", "0", optional=True)
                routes.addr("add", index=index, address=values["LXC_IPV6_ADDR"], prefixlen=int(values["LXC_IPV6_MASK"]))

    def _firewall(self, *, add: bool) -> None:
        if self.values["LXC_USE_NFT"] == "true" and _nft_works():
            self._nft(add=add)
        elif process.find("iptables"):
            self._iptables(add=add)
        elif add:
            raise LxcError("neither nft nor iptables can be used", remedy="apt-get install nftables")

    def _nft(self, *, add: bool) -> None:
        """Tables of our own, in one transaction: nobody else's rules are touched."""
        bridge, network, network6 = self.bridge, self.values["LXC_NETWORK"], self.values["LXC_IPV6_NETWORK"]
        nat6 = self.has_ipv6 and self.values["LXC_IPV6_NAT"] == "true"
        tables = ["inet lxc", "ip lxc", *(["ip6 lxc"] if nat6 else [])]
        lines = [f"add table {table}\nflush table {table}" for table in tables]
        if not add:
            lines += [f"delete table {table}" for table in tables]
        else:
            lines += [
                "add chain inet lxc input { type filter hook input priority 0; }",
                f'add rule inet lxc input iifname "{bridge}" udp dport {{ 53, 67 }} accept',
                f'add rule inet lxc input iifname "{bridge}" tcp dport {{ 53, 67 }} accept',
                "add chain inet lxc forward { type filter hook forward priority 0; }",
                f'add rule inet lxc forward iifname "{bridge}" accept',
                f'add rule inet lxc forward oifname "{bridge}" accept',
                "add chain ip lxc postrouting { type nat hook postrouting priority 100; }",
                f"add rule ip lxc postrouting ip saddr {network} ip daddr != {network} counter masquerade",
            ]
            if nat6:
                lines += [
                    "add chain ip6 lxc postrouting { type nat hook postrouting priority 100; }",
                    f"add rule ip6 lxc postrouting ip6 saddr {network6} ip6 daddr != {network6} counter masquerade",
                ]
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.write(writer, "\n".join(lines).encode() + b"\n")
        os.close(writer)
        try:
            process.run(["nft", "-f", "-"], stdin=reader, check=add)
        finally:
            os.close(reader)

    def _iptables(self, *, add: bool) -> None:
        network = self.values["LXC_NETWORK"]
        insert, append = ("-I", "-A") if add else ("-D", "-D")
        rules: list[list[str]] = [
            *(
                [insert, "INPUT", "-i", self.bridge, "-p", protocol, "--dport", port, "-j", "ACCEPT"]
                for port in ("67", "53")
                for protocol in ("udp", "tcp")
            ),
            [insert, "FORWARD", "-i", self.bridge, "-j", "ACCEPT"],
            [insert, "FORWARD", "-o", self.bridge, "-j", "ACCEPT"],
            ["-t", "nat", append, "POSTROUTING", "-s", network, "!", "-d", network, "-j", "MASQUERADE"],
            "-t mangle".split() + [append, "POSTROUTING", "-o", self.bridge] + "-p udp -m udp --dport 68 -j CHECKSUM --checksum-fill".split(),
        ]  # fmt: skip
        for rule in rules:
            process.run(["iptables", "-w", *rule], check=add)

    def _dnsmasq(self) -> None:
        values = self.values
        if process.find("dnsmasq") is None:
            raise LxcError("dnsmasq is not installed", remedy="apt-get install dnsmasq-base")
        os.makedirs("/var/lib/misc", 0o755, exist_ok=True)
        argv = ["dnsmasq", f"--conf-file={values['LXC_DHCP_CONFILE'] or '/dev/null'}"]
        if values["LXC_DOMAIN"]:
            argv += ["-s", values["LXC_DOMAIN"], "-S", f"/{values['LXC_DOMAIN']}/"]
        if values["LXC_DHCP_PING"] == "false":
            argv.append("--no-ping")
        argv += [
            "-u", _user(), "--strict-order", "--bind-interfaces", f"--pid-file={PID_FILE}",
            "--listen-address", values["LXC_ADDR"], "--dhcp-range", values["LXC_DHCP_RANGE"],
            f"--dhcp-lease-max={values['LXC_DHCP_MAX']}", "--dhcp-no-override", "--except-interface=lo",
            f"--interface={self.bridge}", f"--dhcp-leasefile=/var/lib/misc/dnsmasq.{self.bridge}.leases", "--dhcp-authoritative",
        ]  # fmt: skip
        if self.has_ipv6:
            argv += [f"--dhcp-range={values['LXC_IPV6_ADDR']},ra-only", "--listen-address", values["LXC_IPV6_ADDR"]]
        result = process.run(argv, timeout=30)
        if result.status != 0:
            raise LxcError(
                f"dnsmasq {result.why()}",
                remedy=f"is another DNS server listening on {values['LXC_ADDR']}, or the range wrong?",
            )

    # -- stop

    def stop(self, *, forced: bool = False) -> int:
        """Take everything down; a bridge with containers on it stays."""
        if not self.wanted:
            return 0
        if not os.path.exists(UP_MARK) and not forced:
            print("lxc-net isn't running")
            return 1
        if os.path.isdir(f"/sys/class/net/{self.bridge}"):
            self._firewall(add=False)
            _stop_dnsmasq()
            self._remove_bridge()
        try:
            os.unlink(UP_MARK)
        except FileNotFoundError:
            pass
        return 0

    def _remove_bridge(self) -> None:
        ports = os.listdir(f"/sys/class/net/{self.bridge}/brif") if os.path.isdir(f"/sys/class/net/{self.bridge}/brif") else []
        with IPRoute() as routes:
            (index,) = routes.link_lookup(ifname=self.bridge)
            routes.flush_addr(index=index)
            routes.link("set", index=index, state="down")
            if not ports:
                routes.link("del", index=index)


def _why(error: BaseException) -> str:
    if isinstance(error, NetlinkError):
        return f"the kernel refuses the bridge's set-up: {error.args[1] if len(error.args) > 1 else error}"
    return str(error) if isinstance(error, LxcError) else describe(error)


def _sysctl(name: str, value: str, *, optional: bool = False) -> None:
    try:
        with open(f"/proc/sys/{name}", "w", encoding="ascii") as file:
            file.write(value)
    except OSError as error:
        if not optional:
            raise LxcError(f"cannot set {name.replace('/', '.')} = {value}: {describe(error)}") from error


def _nft_works() -> bool:
    if process.find("nft") is None:
        return False
    return process.run(["nft", "list", "ruleset"], timeout=30).status == 0


def _user() -> str:
    """The user that dnsmasq runs as: the first of these that exists."""
    for name in ("lxc-dnsmasq", "dnsmasq"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    return "nobody"


def _stop_dnsmasq() -> None:
    """End the dnsmasq of the pid file, if the process is one, and wait for its end."""
    try:
        with open(PID_FILE, encoding="ascii") as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/comm", encoding="ascii") as file:
            if file.read().strip() != "dnsmasq":
                pid = 0
    except (OSError, ValueError):
        pid = 0
    if pid:
        try:
            pidfd = os.pidfd_open(pid)
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            deadline = time.monotonic() + _PATIENCE
            while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
                time.sleep(0.01)
            os.close(pidfd)
        except ProcessLookupError:
            pass
    try:
        os.unlink(PID_FILE)
    except FileNotFoundError:
        pass
