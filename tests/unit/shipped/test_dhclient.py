# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxctools import paths

from .hook import Box, one_line

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def init() -> Iterator[int]:
    """The pid of a process that stands for the container's init, in a network and host name of its own."""
    process = subprocess.Popen(["unshare", "--net", "--uts", "sh", "-c", "echo ready; exec sleep 100"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    yield process.pid
    process.kill()
    process.wait()
    process.stdout.close()


def files(box: Box) -> list[str]:
    hook = box.folder / "hook"
    return [
        "-pf",
        f"{hook}/dhclient.pid",
        "-lf",
        f"{hook}/dhclient.leases",
        "-e",
        f"ROOTFS={box.rootfs}",
        "-sf",
        f"{paths.HOOKS}/dhclient-script",
        "-v",
    ]


def called(record: Path) -> list[str]:
    """The words from the action on; a configuration of the administrator is left out."""
    words = record.read_text().split("\n")[:-2]
    if "-cf" in words:
        del words[words.index("-cf") :][:2]
    return words


@pytest.mark.parametrize("version", [0, 1])
def test_start(box: Box, init: int, version: int) -> None:
    entered, record = box.fake("nsenter", 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"'), box.fake("dhclient", "echo bound to 10.0.3.9")
    result = box.run("dhclient", "start-host", version=version, LXC_PID=str(init), LXC_LOG_LEVEL="DEBUG")
    assert (result.returncode, result.stderr) == (0, "")
    assert called(record) == ["-1", *files(box)]
    assert entered.read_text().split("\n")[:5] == ["--uts", "--net", "--target", str(init), "--"]
    assert (box.folder / "hook/dhclient.log").read_text() == "bound to 10.0.3.9\n"


def test_no_lease_aborts_the_start(box: Box, init: int) -> None:
    box.fake("dhclient", "echo No DHCPOFFERS received. >&2; exit 2")
    result = box.run("dhclient", "start-host", LXC_PID=str(init))
    assert result.returncode == 1 and one_line(result.stderr)
    assert "status 2: No DHCPOFFERS received." in result.stderr and "lxc-net" in result.stderr
    assert not (box.folder / "hook/dhclient.log").exists()


def test_a_container_in_the_hosts_network_is_refused(box: Box) -> None:
    record = box.fake("dhclient")
    result = box.run("dhclient", "start-host", LXC_PID=str(os.getpid()))
    assert result.returncode == 1 and one_line(result.stderr) and "the host's own network" in result.stderr
    assert not record.exists()


def test_what_is_wrong_is_one_line(box: Box, init: int) -> None:
    for kind, variables, told in (
        ("start-host", {}, "LXC_PID is not set"),
        ("start-host", {"LXC_PID": "x"}, "no process x"),
        ("mount", {}, "lxc.hook.start-host and lxc.hook.stop"),
    ):
        result = box.run("dhclient", kind, **variables)
        assert result.returncode == 1 and one_line(result.stderr) and told in result.stderr
    if not any(os.path.exists(f"{folder}/dhclient") for folder in ("/sbin", "/usr/sbin")):
        result = box.run("dhclient", "start-host", LXC_PID=str(init))
        assert result.returncode == 1 and one_line(result.stderr) and "isc-dhcp-client" in result.stderr


@pytest.mark.parametrize("version", [0, 1])
def test_stop_gives_the_lease_back_and_leaves_no_process(box: Box, init: int, version: int) -> None:
    record = box.fake("dhclient")  # it does not stop the other one
    # A program called dhclient in the container's network.
    daemon_file = box.folder / "dhclient"
    shutil.copy("/bin/sleep", daemon_file)
    daemon = subprocess.Popen(["nsenter", f"--net=/proc/{init}/ns/net", daemon_file, "100"])
    try:
        while Path(f"/proc/{daemon.pid}/comm").read_text() != "dhclient\n":
            pass
        (box.folder / "hook").mkdir()
        (box.folder / "hook/dhclient.pid").write_text(f"{daemon.pid}\n")
        spaces = {kind: f"/proc/{init}/ns/{kind}" for kind in ("user", "uts", "net")}
        words = tuple(f"{kind}:{path}" for kind, path in spaces.items()) if version == 0 else ()
        variables = {f"LXC_{kind.upper()}_NS": path for kind, path in spaces.items()} if version == 1 else {}
        result = box.run("dhclient", "stop", version=version, extra=words, **variables)
        assert (result.returncode, result.stderr) == (0, "")
        assert called(record) == ["-r", *files(box)]
        assert daemon.wait(10) == -15
        assert not (box.folder / "hook/dhclient.pid").exists()
    finally:
        daemon.kill()
        daemon.wait()


def test_stop_kills_nobody_else(box: Box, init: int) -> None:
    record = box.fake("dhclient")
    other = subprocess.Popen(["sleep", "100"])
    try:
        (box.folder / "hook").mkdir()
        (box.folder / "hook/dhclient.pid").write_text(f"{other.pid}\n")
        result = box.run("dhclient", "stop", extra=(f"net:/proc/{init}/ns/net",))
        assert (result.returncode, result.stderr) == (0, "")
        assert other.poll() is None and not record.exists()
        assert not (box.folder / "hook/dhclient.pid").exists()
    finally:
        other.kill()
        other.wait()


def test_a_pid_file_of_before_a_crash_does_not_hinder_a_start(box: Box, init: int) -> None:
    record = box.fake("dhclient")
    (box.folder / "hook").mkdir()
    (box.folder / "hook/dhclient.pid").write_text(f"{os.getpid()}\n")
    assert box.run("dhclient", "start-host", LXC_PID=str(init)).returncode == 0
    assert record.exists()
