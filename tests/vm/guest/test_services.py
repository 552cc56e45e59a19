# SPDX-License-Identifier: LGPL-2.1-or-later
"""The services on a host that systemd runs: what follows its boot, a service for each container, and the bridge's."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import host

from .installation import BOOTED, LXCPATH, installed, shows, systemctl

__all__ = ["installed"]
pytestmark = pytest.mark.usefixtures("installed")

ENDING = 6  # seconds that a container takes for its shutdown
INIT = f"""#!/bin/sh
trap 'cut -d" " -f1 /proc/uptime >/asked; sleep {ENDING}; cut -d" " -f1 /proc/uptime >/answered; echo clean >>/ended; exit 0' PWR
trap 'exit 0' TERM
echo started >>/ended
while :; do sleep 1000 & wait $!; done
"""
SETTINGS = 'LXC_AUTO="true"\nBOOTGROUPS="onboot,"\nSHUTDOWNDELAY=40\nSTOPOPTS="-a -A -s"\n. /etc/default/lxc-net\n'
# name -> lxc.start.auto, lxc.start.order, lxc.group
FOLLOWING = {"late": (1, 5, "onboot"), "early": (1, 1, "onboot"), "free": (1, 1, ""), "other": (1, 0, "elsewhere"), "idle": (0, 0, "onboot")}
WANTED = ["early", "late", "free"]  # the group onboot in its order, then what is in no group


def make(name: str, more: str = "") -> Path:
    folder = host.make_container(LXCPATH, name, more)
    (folder / "rootfs/sbin/init").write_text(INIT)
    return folder


def make_following() -> None:
    """The containers of test_after_boot(), and the settings."""
    Path("/etc/default/lxc").write_text(SETTINGS)
    for name, (auto, order, group) in FOLLOWING.items():
        make(name, f"lxc.start.auto = {auto}\nlxc.start.order = {order}\n" + (f"lxc.group = {group}\n" if group else ""))


def init_of(name: str) -> int:
    done = host.run("lxc-info", "-n", name, "-pH")
    return int(done.stdout or b"0")


def state(name: str) -> str:
    return host.run("lxc-info", "-n", name, "-sH").stdout.decode().strip()


def ended(name: str) -> list[str]:
    return (LXCPATH / name / "rootfs/ended").read_text().split()


def when(name: str, what: str) -> float:
    """When a container's shutdown was asked or answered, in seconds since the host's boot."""
    return float((LXCPATH / name / "rootfs" / what).read_text())


def began(pid: int) -> int:
    """When a process was started, in ticks since boot."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def said(unit: str, by: str) -> list[str]:
    """The messages of a unit in this boot, each with the name of who said it. Bytes that journald takes for no text are a list."""
    entries = [json.loads(line) for line in journal(unit, "-o", "json", "-b").splitlines()]
    return [entry["MESSAGE"] for entry in entries if entry.get("SYSLOG_IDENTIFIER") == by]


def journal(unit: str, *words: str) -> str:
    host.run("journalctl", "--sync")
    return host.run("journalctl", "--no-pager", "-u", unit, *words).stdout.decode()


@pytest.fixture(scope="module")
def following(installed: None) -> Iterator[None]:
    """The containers after the host's boot, or, without a boot of its own, after what pulls the services in at one."""
    if not BOOTED.exists():
        make_following()
        systemctl("start", "multi-user.target")
    assert host.wait_until(lambda: shows("lxc.service", "ActiveState") in (["active"], ["failed"]), 120, 0.5)
    yield
    systemctl("stop", "lxc.service")
    for name in FOLLOWING:
        host.run("lxc-destroy", "-f", "-n", name)
    assert not [name for name in FOLLOWING if (LXCPATH / name).exists()]


@pytest.fixture
def one(installed: None) -> Iterator[str]:
    """The name of a container that does not follow the host."""
    make("one-by-one")
    yield "one-by-one"
    systemctl("stop", "lxc@one-by-one.service")
    systemctl("reset-failed", "lxc@one-by-one.service", check=False)
    host.run("lxc-destroy", "-f", "-n", "one-by-one")


def test_after_boot(following: None) -> None:
    assert shows("lxc.service", "ActiveState", "SubState", "Result") == ["active", "exited", "success"]
    assert shows("lxc-net.service", "ActiveState", "Result") == ["active", "success"], journal("lxc-net.service")
    assert {name: state(name) for name in FOLLOWING} == {name: "RUNNING" if name in WANTED else "STOPPED" for name in FOLLOWING}
    assert sorted(WANTED, key=lambda name: began(init_of(name))) == WANTED
    if BOOTED.exists():
        assert [ended(name) for name in WANTED] == [["started", "clean", "started"]] * 3, "shut down with the host"
    bridge = Path("/sys/class/net/lxcbr0/flags").read_text()
    assert int(bridge, 16) & 1, "up, and was so before the first container"


def test_reload_keeps_and_restart_renews(following: None) -> None:
    before = {name: init_of(name) for name in WANTED}
    systemctl("reload", "lxc.service")
    assert {name: init_of(name) for name in WANTED} == before
    systemctl("restart", "lxc.service")
    after = {name: init_of(name) for name in WANTED}
    assert all(after.values()) and not set(after.values()) & set(before.values())
    assert [ended(name)[-3:] for name in WANTED] == [["started", "clean", "started"]] * 3


def test_a_stop_that_ends_nothing_leaves_them_alone(following: None) -> None:
    """Nothing but lxc-autostart ends a container: no signal of systemd's does, whatever becomes of ExecStop."""
    before = {name: init_of(name) for name in WANTED}
    Path("/etc/default/lxc").write_text(SETTINGS.replace("-a -A -s", "--no-such-option"))
    try:
        systemctl("stop", "lxc.service", check=False)
        assert shows("lxc.service", "ActiveState") != ["active"]
        time.sleep(1)
        assert {name: init_of(name) for name in WANTED} == before
    finally:
        Path("/etc/default/lxc").write_text(SETTINGS)
    systemctl("reset-failed", "lxc.service", check=False)
    systemctl("start", "lxc.service")
    assert {name: init_of(name) for name in WANTED} == before


def test_stop_is_clean_and_parallel(following: None) -> None:
    systemctl("start", "lxc.service")
    assert [state(name) for name in WANTED] == ["RUNNING"] * 3
    systemctl("stop", "lxc.service")
    assert [state(name) for name in WANTED] == ["STOPPED"] * 3
    assert [ended(name)[-1] for name in WANTED] == ["clean"] * 3
    assert shows("lxc.service", "ActiveState", "Result") == ["inactive", "success"]
    # The order backwards, whatever the groups, and those of one order at the same time.
    assert when("late", "answered") <= min(when(name, "asked") for name in ("early", "free"))
    assert max(when(name, "asked") for name in ("early", "free")) < min(when(name, "answered") for name in ("early", "free"))
    whole = max(when(name, "answered") for name in WANTED) - min(when(name, "asked") for name in WANTED)
    parts = sum(when(name, "answered") - when(name, "asked") for name in WANTED)
    assert whole < parts, f"{whole:.1f} s for shutdowns of together {parts:.1f} s"


def test_one_broken_among_them(following: None) -> None:
    config = LXCPATH / "late/config"
    text = config.read_text()
    config.write_text(text.replace("/rootfs\n", "/nowhere\n"))
    try:
        systemctl("start", "lxc.service")
        assert [state(name) for name in WANTED] == ["RUNNING", "STOPPED", "RUNNING"]
        assert shows("lxc.service", "ActiveState") == ["active"]
        told = "\n".join(said("lxc.service", "lxc-containers"))
        assert "1 of 3 containers failed: late" in told and "nowhere" in told, told
    finally:
        config.write_text(text)
    systemctl("stop", "lxc.service")


def test_the_service_of_a_container(one: str) -> None:
    unit = f"lxc@{one}.service"
    systemctl("start", unit)
    assert host.wait_until(lambda: "started" in (LXCPATH / one / "rootfs/ended").read_text() if (LXCPATH / one / "rootfs/ended").exists() else False, 30)
    assert state(one) == "RUNNING"
    main = int(shows(unit, "MainPID")[0])
    parent = Path(f"/proc/{init_of(one)}/status").read_text().partition("PPid:\t")[2].split()[0]
    assert main == int(parent), "the main process is the container's monitor"
    status = systemctl("status", unit)
    assert "Active: active (running)" in status and re.search(rf"Main PID: {main} \(", status), status
    assert f"LXC container {one}" in status

    reboots = init_of(one)
    host.run("lxc-attach", "-n", one, "--", "reboot", "-f")
    assert host.wait_until(lambda: init_of(one) not in (0, reboots), 30, 0.2)
    assert shows(unit, "ActiveState", "MainPID") == ["active", str(main)], "a reboot inside is none of the service"

    systemctl("stop", unit)
    assert shows(unit, "ActiveState", "Result") == ["inactive", "success"]
    assert (state(one), ended(one)[-1]) == ("STOPPED", "clean")


def test_a_container_that_ends_by_itself_is_no_failure(one: str) -> None:
    unit = f"lxc@{one}.service"
    systemctl("start", unit)
    assert host.wait_until(lambda: state(one) == "RUNNING", 30, 0.2)
    assert host.wait_until(lambda: (LXCPATH / one / "rootfs/ended").exists(), 30, 0.2)
    os.kill(init_of(one), 15)
    assert host.wait_until(lambda: shows(unit, "ActiveState") == ["inactive"], 30, 0.2), systemctl("status", unit, check=False)
    assert shows(unit, "Result") == ["success"]


def test_a_container_that_cannot_start_is_one_with_its_reason(one: str) -> None:
    unit = f"lxc@{one}.service"
    config = LXCPATH / one / "config"
    config.write_text(config.read_text().replace("/rootfs\n", "/nowhere-déjà\n"))
    systemctl("start", unit)
    assert host.wait_until(lambda: shows(unit, "ActiveState") == ["failed"], 30, 0.2)
    assert shows(unit, "Result", "ExecMainStatus") == ["exit-code", "1"]
    told = said(unit, f"lxc@{one}")
    assert any(text.startswith(f"lxc-start: {one}: ") and "nowhere-déjà" in text for text in told), told


def test_the_bridge_comes_and_goes_under_running_containers(one: str) -> None:
    config = LXCPATH / one / "config"
    veth = "lxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\nlxc.net.0.flags = up\nlxc.net.0.ipv4.address = 10.0.3.77/24\n"
    config.write_text(config.read_text().replace("lxc.net.0.type = empty\n", veth))
    systemctl("start", "lxc-net.service")
    host.run("lxc-start", "-n", one, check=True)
    init = init_of(one)
    try:
        for _round in range(2):
            assert host.wait_until(lambda: host.run("lxc-attach", "-n", one, "--", "ping", "-c", "1", "-W", "2", "10.0.3.1").returncode == 0, 20, 0.5)
            systemctl("restart", "lxc-net.service")
            assert shows("lxc-net.service", "ActiveState", "Result") == ["active", "success"]
        assert (init_of(one), state(one)) == (init, "RUNNING")
    finally:
        host.run("lxc-stop", "-k", "-n", one)
    systemctl("stop", "lxc-net.service")
    assert host.wait_until(lambda: not Path("/sys/class/net/lxcbr0").exists(), 10)


@pytest.mark.parametrize("tool", ["/usr/sbin/dnsmasq"])
def test_the_bridge_without_its_tools(tool: str) -> None:
    away = Path(tool + ".away")
    Path(tool).rename(away)
    try:
        assert host.run("systemctl", "start", "lxc-net.service").returncode == 1
        assert shows("lxc-net.service", "ActiveState", "Result", "ExecMainStatus") == ["failed", "exit-code", "1"]
        told = journal("lxc-net.service", "-o", "cat", "-n", "20")
        assert "Failed to setup lxc-net." in told and Path(tool).name in told and "install" in told and "Traceback" not in told, told
        assert not Path("/sys/class/net/lxcbr0").exists() and not Path("/run/lxc/network_up").exists()
    finally:
        away.rename(tool)
        systemctl("reset-failed", "lxc-net.service", check=False)


def test_init_scripts(following: None, one: str) -> None:
    """As a host without systemd calls them."""
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMCTL_SKIP_REDIRECT": "1", "_SYSTEMCTL_SKIP_REDIRECT": "1"}

    def act(name: str, word: str) -> tuple[int, str]:
        done = host.run(f"/etc/init.d/{name}", word, env=env)
        return done.returncode, (done.stdout + done.stderr).decode()

    systemctl("stop", "lxc.service", "lxc-net.service")
    Path("/etc/default/lxc").write_text(SETTINGS)
    (LXCPATH / one / "config").write_text((LXCPATH / one / "config").read_text() + "lxc.start.auto = 1\n")
    assert act("lxc-net", "status")[0] == act("lxc", "status")[0] == 3
    assert act("lxc-net", "start")[0] == 0 and act("lxc-net", "status")[0] == 0
    status, text = act("lxc", "start")
    assert status == 0 and "Starting LXC autoboot containers" in text, text
    assert act("lxc", "status") == (0, f"running LXC containers: {' '.join(sorted([*WANTED, one]))}\n")
    assert act("lxc", "stop")[0] == 0 and state(one) == "STOPPED"
    assert act("lxc-net", "stop")[0] == 0


def test_files_at_boot_and_of_the_log(installed: None) -> None:
    for path in ("/run/lxc", "/run/lxc/lock", "/var/log/lxc"):
        assert Path(path).stat().st_mode & 0o777 == 0o755
    host.run("sysctl", "-q", "-p", "/etc/sysctl.d/30-lxc-inotify.conf", check=True)
    assert Path("/proc/sys/fs/inotify/max_user_instances").read_text() == "1024\n"
    verified = host.run("systemd-analyze", "--man=no", "verify", "lxc.service", "lxc@c1.service", "lxc-net.service", "lxc-monitord.service")
    assert b"lxc" not in verified.stderr, verified.stderr
    users = host.run("systemd-analyze", "--man=no", "--user", "verify", "lxc.service", "lxc@c1.service", env={"XDG_RUNTIME_DIR": "/run", **os.environ})
    assert b"lxc" not in users.stderr, users.stderr
