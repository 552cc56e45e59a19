# SPDX-License-Identifier: LGPL-2.1-or-later
"""Networks of running containers, on a host of the test's own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import host
from tests.host import OURS, THEIRS, wait_until

from .world import ADDRESS, World

_DHCP = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
ip route add default via "$router"
echo "nameserver $dns" >/etc/resolv.conf
"""


class Containers:
    """Containers in a World, removed with everything they leave."""

    def __init__(self, world: World, lxcpath: Path) -> None:
        self.world = world
        self.lxcpath = lxcpath

    def make(self, name: str, config: str) -> None:
        folder = host.make_container(self.lxcpath, name)
        text = (folder / "config").read_text().replace("lxc.net.0.type = empty\nlxc.net.0.flags = up\n", config)
        (folder / "config").write_text(text)
        lease = folder / "rootfs" / "etc" / "lease"
        lease.write_text(_DHCP)
        lease.chmod(0o755)

    def lxc(self, command: str, name: str, *argv: object, tools: Path = OURS) -> tuple[int, str, str]:
        return self.world.run(tools / f"lxc-{command}", "-P", self.lxcpath, "-n", name, *argv)

    def start(self, name: str) -> None:
        assert self.lxc("start", name) == (0, "", "")

    def inside(self, name: str, command: str) -> str:
        status, out, err = self.lxc("attach", name, "--", "sh", "-c", command)
        assert status == 0, f"{command}: {out}{err}"
        return out

    def script(self, name: str, text: str) -> Path:
        path = self.lxcpath / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def host_links(self) -> list[str]:
        return self.world.get("ls /sys/class/net").split()

    def close(self) -> None:
        for folder in self.lxcpath.iterdir():
            if folder.is_dir():
                self.lxc("stop", folder.name, "-k")
        self.world.close()
        # A killed monitor leaves its cgroups; those of processes that are still dying cannot be removed yet.
        for folder in self.lxcpath.iterdir():
            wait_until(lambda name=folder.name: not self._cgroups(name), 5)

    @staticmethod
    def _cgroups(name: str) -> list[Path]:
        host.remove_empty_cgroups(name)
        return [path for part in ("monitor", "payload") for path in Path("/sys/fs/cgroup").glob(f"*/lxc.{part}.{name}*")]


@pytest.fixture
def containers(world: World, lxcpath: Path) -> Iterator[Containers]:
    result = Containers(world, lxcpath)
    world.get("ip link add br0 type bridge && ip addr add 10.7.0.1/24 dev br0 && ip link set br0 up")
    world.get("ip addr add fd07::1/64 dev br0 nodad")
    yield result
    result.close()


_STATIC = """lxc.net.0.type = veth
lxc.net.0.link = br0
lxc.net.0.flags = up
lxc.net.0.name = lan
lxc.net.0.hwaddr = 00:16:3e:01:02:03
lxc.net.0.mtu = 1400
lxc.net.0.ipv4.address = 10.7.0.5/24
lxc.net.0.ipv4.gateway = 10.7.0.1
lxc.net.0.ipv6.address = fd07::5/64
lxc.net.0.ipv6.gateway = fd07::1
lxc.net.0.veth.pair = net-c1
"""


def test_static_addresses_and_the_way_to_the_host(containers: Containers) -> None:
    log = containers.lxcpath / "log"
    script = containers.script("net.sh", f'echo "$@ pid=${{LXC_PID:+set}} ns=${{LXC_NET_NS:+set}}" >>{log}')
    containers.make("lxn1", _STATIC + f"lxc.net.0.script.up = {script}\nlxc.net.0.script.down = {script}\n")
    containers.start("lxn1")
    seen = containers.inside("lxn1", "ip addr show lan")
    for part in ("mtu 1400", "00:16:3e:01:02:03", "inet 10.7.0.5/24 brd 10.7.0.255", "inet6 fd07::5/64", "UP"):
        assert part in seen
    assert "default via 10.7.0.1" in containers.inside("lxn1", "ip route")
    assert "default via fd07::1" in containers.inside("lxn1", "ip -6 route")
    containers.inside("lxn1", "ping -c 1 -W 2 10.7.0.1")
    assert containers.world.get("ls /sys/class/net/br0/brif") == "net-c1\n"
    assert wait_until(lambda: containers.world.run("ping", "-c", "1", "-W", "1", "fd07::5")[0] == 0)
    assert containers.lxc("info", "lxn1", "-i", "-H")[1].split() == ["10.7.0.5", "fd07::5"]
    assert containers.lxc("stop", "lxn1", "-k") == (0, "", "")
    assert "net-c1" not in containers.host_links()
    assert log.read_text().splitlines() == [
        "lxn1 net up veth br0 net-c1 pid=set ns=",
        "lxn1 net down veth br0 net-c1 pid=set ns=set",
    ]


def test_two_containers_get_addresses_by_dhcp_and_resolve_each_other(containers: Containers) -> None:
    assert containers.world.net("start")[0] == 0
    addresses = {}
    for name in ("lxd1", "lxd2"):
        containers.make(name, "lxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\nlxc.net.0.flags = up\n")
        containers.start(name)
        containers.inside(name, f"udhcpc -i eth0 -n -q -t 8 -T 1 -x hostname:{name} -s /etc/lease")
        (addresses[name],) = containers.lxc("info", name, "-i", "-H")[1].split()
    assert {name: containers.world.resolve(name) for name in addresses} == addresses
    assert addresses["lxd2"] in containers.inside("lxd1", "nslookup lxd2 || :")  # no upstream to ask for IPv6
    containers.inside("lxd2", f"ping -c 1 -W 2 {addresses['lxd1']} && ping -c 1 -W 2 {ADDRESS}")
    # The bridge stays while they run.
    assert containers.world.net("restart") == (0, "", "")
    containers.inside("lxd1", f"ping -c 1 -W 2 {ADDRESS}")
    for name in addresses:
        assert containers.lxc("stop", name, "-k")[0] == 0
    assert containers.world.net("stop")[0] == 0
    assert "lxcbr0" not in containers.host_links()


def test_several_devices_and_a_reboot(containers: Containers) -> None:
    config = "".join(f"lxc.net.{n}.type = veth\nlxc.net.{n}.link = br0\nlxc.net.{n}.flags = up\n" for n in (0, 3))
    containers.make("lxn1", config + "lxc.net.3.name = eth0\nlxc.net.3.veth.pair = net-c1\n")
    containers.start("lxn1")
    assert containers.inside("lxn1", "ls /sys/class/net").split() == ["eth0", "eth1", "lo"]
    ports = set(containers.world.get("ls /sys/class/net/br0/brif").split())
    assert "net-c1" in ports
    before = containers.lxc("info", "lxn1", "-p", "-H")[1]
    containers.lxc("attach", "lxn1", "--", "reboot", "-f")
    assert wait_until(lambda: containers.lxc("info", "lxn1", "-p", "-H")[1] not in ("", before))
    assert containers.inside("lxn1", "ls /sys/class/net").split() == ["eth0", "eth1", "lo"]
    again = set(containers.world.get("ls /sys/class/net/br0/brif").split())
    assert len(again) == 2
    assert again & ports == {"net-c1"}  # the other name is drawn anew
    assert containers.lxc("stop", "lxn1", "-k")[0] == 0
    assert containers.world.get("ls /sys/class/net/br0/brif") == ""


def test_host_network_with_none_only(containers: Containers) -> None:
    containers.make("lxn1", "lxc.net.0.type = none\n")
    containers.start("lxn1")
    assert "br0" in containers.inside("lxn1", "ip -o link")
    assert containers.lxc("stop", "lxn1", "-k")[0] == 0
    assert "br0" in containers.host_links()


def test_empty_network_has_lo_only(containers: Containers) -> None:
    containers.make("lxn1", "lxc.net.0.type = empty\nlxc.net.0.flags = up\n")
    containers.start("lxn1")
    assert [line.split(":")[1].strip() for line in containers.inside("lxn1", "ip -o link").splitlines()] == ["lo"]


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ("lxc.net.0.link = nobr", ('lxc.net.0.link = nobr: bridge "nobr" does not exist', "lxc-net start")),
        ("lxc.net.0.veth.pair = br0", ("lxc.net.0.veth.pair = br0: an interface of this name exists already",)),
        ("lxc.net.0.mtu = 12", ("lxc.net.0.mtu = 12",)),
        ("lxc.net.0.hwaddr = 00:16:3e", ("lxc.net.0.hwaddr = 00:16:3e",)),
        ("lxc.net.0.flags =", ("lxc.net.0.ipv4.gateway = 10.7.0.1: the device is not up", "lxc.net.0.flags = up")),
        ("lxc.net.0.script.up = /bin/false", ("/bin/false",)),
    ],
)
def test_a_start_that_fails_by_its_network_says_why_and_leaves_nothing(containers: Containers, change: str, parts: tuple[str, ...]) -> None:
    log = containers.lxcpath / "log"
    script = containers.script("net.sh", f'echo "$3" >>{log}')
    scripts = f"lxc.net.0.script.up = {script}\nlxc.net.0.script.down = {script}\n"
    containers.make("lxn1", _STATIC + scripts + change + "\n")
    before = containers.host_links()
    status, out, err = containers.lxc("start", "lxn1")
    assert (status, out) == (1, "")
    for part in parts:
        assert part in err
    assert wait_until(lambda: containers.host_links() == before)
    # A down script for each up script that ran, also when the failure came later.
    ran = log.read_text().split() if log.exists() else []
    assert ran in ([], ["up", "down"])
    assert ran or "hwaddr" not in change
    assert containers.lxc("info", "lxn1", "-s", "-H")[1] == "STOPPED\n"


@pytest.mark.parametrize("victim", ["monitor", "init"])
def test_a_killed_container_leaves_no_interface(containers: Containers, victim: str) -> None:
    containers.make("lxn1", _STATIC)
    containers.start("lxn1")
    init = int(containers.world.get(f"{OURS}/lxc-info -P {containers.lxcpath} -n lxn1 -p -H"))
    monitor = containers.world.get(f"cut -d ' ' -f 4 /proc/{init}/stat").strip()
    containers.world.get(f"kill -{signal.SIGKILL:d} {monitor if victim == 'monitor' else init}")
    # A start right behind it finds the name of the pair free again.
    assert wait_until(lambda: containers.lxc("info", "lxn1", "-s", "-H")[1] == "STOPPED\n")
    containers.start("lxn1")
    assert containers.world.get("ls /sys/class/net/br0/brif") == "net-c1\n"
    assert containers.lxc("stop", "lxn1", "-k")[0] == 0
    assert "net-c1" not in containers.host_links()


@pytest.mark.skipif(not os.access(THEIRS / "lxc-info", os.X_OK), reason="needs Debian's lxc")
def test_their_lxc_info_sees_the_pair(containers: Containers) -> None:
    containers.make("lxn1", _STATIC.replace("lxc.net.0.veth.pair = net-c1\n", ""))
    containers.start("lxn1")
    (port,) = containers.world.get("ls /sys/class/net/br0/brif").split()
    lines = {line.partition(":")[0]: line.split()[-1] for line in containers.lxc("info", "lxn1", tools=THEIRS)[1].splitlines()}
    assert lines["Link"] == port
    assert containers.lxc("stop", "lxn1", "-k", tools=THEIRS)[0] == 0
