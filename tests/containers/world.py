# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host of the test's own: network, mount and pid namespaces in which lxc-net and containers run for real."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.host import OURS

ADDRESS = "10.0.3.1"

_SETUP = """
set -e
for folder in /run /var/lib/misc /etc/default; do mount -t tmpfs none $folder; done
# A new /sys shows this network namespace; the cgroups stay.
mkdir /run/cgroup
mount --rbind /sys/fs/cgroup /run/cgroup
mount -t sysfs none /sys
mount --move /run/cgroup /sys/fs/cgroup
rmdir /run/cgroup
ip link set lo up
echo 'USE_LXC_BRIDGE="true"' >/etc/default/lxc-net
cp /etc/default/lxc-net /etc/default/lxc
echo ready
sleep 1000  # the shell stays: as pid 1 it reaps the daemons
"""

# What udhcpc calls: put the address on the interface, nothing else.
_LEASE = """#!/bin/sh
[ "$1" = bound ] && ip addr add "$ip/$mask" dev "$interface" && ip route add default via "$router" || :
"""


class World:
    """A host of its own: commands run in its namespaces; everything in it ends with it."""

    def __init__(self) -> None:
        argv = "unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private sh -c".split()
        self._unshare = subprocess.Popen([*argv, _SETUP], stdout=subprocess.PIPE, text=True)
        assert self._unshare.stdout is not None
        assert self._unshare.stdout.readline() == "ready\n"
        pid = self._unshare.pid
        self.pid = Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()
        self._enter = ["nsenter", "--target", self.pid, "--net", "--mount", "--pid", "--wd=/"]

    def close(self) -> None:
        self._unshare.kill()
        self._unshare.wait()
        assert self._unshare.stdout is not None
        self._unshare.stdout.close()

    def popen(self, *argv: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._enter, *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *argv: object) -> tuple[int, str, str]:
        with self.popen(*argv) as process:
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def get(self, command: str) -> str:
        status, out, err = self.run("sh", "-c", command)
        assert status == 0, f"{command}: {out}{err}"
        return out

    def net(self, action: str) -> tuple[int, str, str]:
        return self.run(OURS / "lxc-net", action)

    def write(self, path: str, text: str) -> None:
        Path(f"/proc/{self.pid}/root{path}").write_text(text)

    def state(self) -> str:
        """Everything that lxc-net makes; the empty world's is the same before and after."""
        return self.get(
            "ls /sys/class/net; ip -br addr show scope global | tr -s ' ' | cut -d ' ' -f 1,3-; nft -s list ruleset;"
            "ps -ww -eo args | grep [d]nsmasq || :; ls /run/lxc 2>/dev/null || :"
        )

    def client(self, name: str) -> None:
        """A network namespace whose eth0 is a port of the bridge, as a container's is."""
        self.get(
            f"ip netns add {name} && ip link add v{name} type veth peer name eth0 netns {name} &&"
            f"ip link set v{name} master lxcbr0 up && ip netns exec {name} ip link set eth0 up &&"
            f"ip netns exec {name} ip link set lo up"
        )

    def lease(self, name: str) -> str:
        """The address that a client called name gets by DHCP."""
        self.write("/run/lease", _LEASE)
        self.get(
            f"chmod 755 /run/lease; ip netns exec {name} busybox udhcpc -i eth0 -n -q -t 8 -T 1 -x hostname:{name} -s /run/lease"
        )
        return self.get(f"ip -n {name} -o -4 addr show eth0 | tr -s ' ' | cut -d ' ' -f 4").partition("/")[0]

    def resolve(self, name: str, within: str = "") -> str:
        enter = f"ip netns exec {within} " if within else ""
        return self.get(f"{enter}dig +short +time=2 +tries=2 @{ADDRESS} {name}").strip()
