# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Debian with systemd as a container of a Debian with systemd, and the bridge service on a real host's network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import host
from tests.vm.image import CONTAINER

from .test_unified import CGROUP, SIDES, inside, tool

# Of Debian's profiles for containers only the generated one for nesting lets a systemd run that isolates its services.
CONFIG = f"""lxc.include = {host.CHECKOUT}/config/debian.common.conf
lxc.rootfs.path = dir:{CONTAINER}
lxc.uts.name = c1
lxc.net.0.type = empty
lxc.arch = amd64
lxc.apparmor.profile = unconfined
"""


@pytest.fixture
def debian(lxcpath: Path) -> Iterator[Path]:
    folder = lxcpath / "c1"
    folder.mkdir()
    (folder / "config").write_text(CONFIG)
    yield lxcpath
    host.forget(lxcpath)


def booted(lxcpath: Path, tools: Path = host.OURS) -> str:
    """What systemd says of itself at the end of its boot; it does not answer at all in the beginning."""
    ends = ("running", "degraded", "maintenance")
    host.wait_until(lambda: tool(tools, "attach", lxcpath, "--", "systemctl", "is-system-running", check=False) in ends, 120, 0.5)
    return tool(tools, "attach", lxcpath, "--", "systemctl", "is-system-running", check=False)


@pytest.mark.parametrize("tools", SIDES.values(), ids=SIDES)
def test_systemd_inside_is_running(unchanged_host: None, debian: Path, tools: Path) -> None:
    """Under either implementation; it is told to stop, and does."""
    tool(tools, "start", debian)
    state = booted(debian, tools)
    failed = tool(tools, "attach", debian, "--", "systemctl", "--failed", "--plain", "--no-legend", check=False)
    assert (state, failed) == ("running", "")
    assert inside(debian, "systemd-detect-virt; cat /proc/1/comm").split() == ["lxc", "systemd"]
    # It manages its own part of the hierarchy, and limits there work.
    inside(debian, "systemd-run --quiet --wait --collect -p MemoryMax=64M /bin/sh -c 'cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/memory.max >/root/max'")
    assert inside(debian, "cat /root/max; rm /root/max") == str(64 << 20)
    assert (CGROUP / "lxc.payload.c1" / "system.slice").is_dir() or (CGROUP / "lxc.payload.c1" / ".lxc").is_dir()
    tool(host.OURS, "stop", debian, "-t", "60", timeout=90)
    assert tool(host.OURS, "info", debian, "-sH") == "STOPPED"


def test_reboot_of_systemd(unchanged_host: None, debian: Path) -> None:
    tool(host.OURS, "start", debian)
    assert booted(debian) == "running"
    before = tool(host.OURS, "info", debian, "-pH")
    tool(host.OURS, "stop", debian, "-r", "-t", "90", timeout=120)
    assert host.wait_until(lambda: tool(host.OURS, "info", debian, "-pH", check=False) not in ("", before), 60)
    assert booted(debian) == "running"
    tool(host.OURS, "stop", debian, "-k")


def test_the_bridge_service_and_an_address(unchanged_host: None, lxcpath: Path) -> None:
    rules = host.run("nft", "list", "ruleset").stdout
    started = host.run(host.OURS / "lxc-net", "start")
    assert (started.returncode, started.stderr) == (0, b"")
    try:
        assert b"masquerade" in host.run("nft", "list", "ruleset").stdout
        config = lxcpath / "default.conf"
        config.write_text("lxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\nlxc.net.0.flags = up\n")
        tool(host.OURS, "create", lxcpath, "-t", "busybox", "-f", config)
        config.unlink()
        tool(host.OURS, "start", lxcpath)
        assert host.wait_until(lambda: tool(host.OURS, "info", lxcpath, "-iH").startswith("10.0.3."), 60, 0.5)
        address = tool(host.OURS, "info", lxcpath, "-iH").split()[0]
        assert host.run("ping", "-c", "1", "-W", "5", address).returncode == 0
        table = [host.run(tools / "lxc-ls", "-P", lxcpath, "-f").stdout.split() for tools in SIDES.values()]
        assert table[0] == table[1] and address.encode() in table[0]
        tool(host.OURS, "stop", lxcpath, "-k")
    finally:
        assert host.run(host.OURS / "lxc-net", "stop").returncode == 0
    assert host.run("nft", "list", "ruleset").stdout == rules


@pytest.mark.parametrize("kind", ["ipvlan", "vlan", "macvlan", "phys"])
def test_other_network_types_work_or_say_that_they_do_not(unchanged_host: None, lxcpath: Path, kind: str) -> None:
    """On a kernel that has them all: never a traceback, and nothing left behind."""
    host.run("ip", "link", "add", "lxct-d0", "type", "dummy", check=True)
    try:
        config = f"lxc.net.1.type = {kind}\nlxc.net.1.link = lxct-d0\nlxc.net.1.flags = up\n"
        host.make_container(lxcpath, "c1", config + ("lxc.net.1.vlan.id = 7\n" if kind == "vlan" else ""))
        done = host.run(host.OURS / "lxc-start", "-P", lxcpath, "-n", "c1")
        if done.returncode == 0:
            assert len(inside(lxcpath, "ls /sys/class/net").split()) == 3, "lo, the empty network's nothing, and this"
            tool(host.OURS, "stop", lxcpath, "-k")
        else:
            assert f"not supported yet: lxc.net.N.type = {kind}".encode() in done.stderr, done.stderr
            assert b"Traceback" not in done.stderr
            assert not host.running(lxcpath, "c1")
    finally:
        host.wait_until(lambda: host.run("ip", "link", "del", "lxct-d0").returncode == 0, 10, 0.2)
