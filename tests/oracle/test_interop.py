# SPDX-License-Identifier: LGPL-2.1-or-later
"""Either implementation's tools on the other's running containers."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import host

PAIRS = {"theirs-on-ours": (host.OURS, host.THEIRS), "ours-on-theirs": (host.THEIRS, host.OURS)}


@pytest.fixture(params=PAIRS, ids=list(PAIRS))
def running_pair(request: pytest.FixtureRequest, lxcpath: Path) -> Iterator[tuple[Path, Path, Path]]:
    """(tools that started it, tools to drive it, lxcpath) of a running container c1."""
    starter, driver = PAIRS[request.param]
    host.make_container(lxcpath, "c1")
    host.run(starter / "lxc-start", "-P", lxcpath, "-n", "c1", check=True)
    yield starter, driver, lxcpath
    host.forget(lxcpath)
    host.remove_empty_cgroups("c1")


def numbers(data: bytes) -> bytes:
    """Figures change between two looks; columns are as wide as their widest entry."""
    return re.sub(rb" +", b" ", re.sub(rb"[0-9.]+ ?(bytes|[KM]iB|seconds)?", b"N", data))


def test_info(running_pair: tuple[Path, Path, Path]) -> None:
    starter, driver, lxcpath = running_pair
    mine = host.run(starter / "lxc-info", "-P", lxcpath, "-n", "c1")
    other = host.run(driver / "lxc-info", "-P", lxcpath, "-n", "c1")
    assert other.returncode == 0
    assert numbers(mine.stdout) == numbers(other.stdout)
    assert b"RUNNING" in other.stdout


def test_list(running_pair: tuple[Path, Path, Path]) -> None:
    starter, driver, lxcpath = running_pair
    tables = [host.run(tools / "lxc-ls", "-P", lxcpath, "-f").stdout for tools in (starter, driver)]
    assert tables[0] == tables[1]
    assert b"RUNNING" in tables[0]


def test_attach(running_pair: tuple[Path, Path, Path]) -> None:
    _starter, driver, lxcpath = running_pair
    blob = os.urandom(1 << 20)
    done = host.run(driver / "lxc-attach", "-P", lxcpath, "-n", "c1", "--", "sh", "-c", "hostname >&2; cat; exit 5", input=blob)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (5, blob, b"c1")
    groups = host.run(driver / "lxc-attach", "-P", lxcpath, "-n", "c1", "--", "cat", "/proc/self/cgroup").stdout
    init = host.run(driver / "lxc-attach", "-P", lxcpath, "-n", "c1", "--", "cat", "/proc/1/cgroup").stdout
    assert [line.replace(b"/.lxc", b"/") for line in groups.splitlines()] == init.splitlines()


def test_freeze(running_pair: tuple[Path, Path, Path]) -> None:
    starter, driver, lxcpath = running_pair
    host.run(driver / "lxc-freeze", "-P", lxcpath, "-n", "c1", check=True)
    for tools in (starter, driver):
        assert host.run(tools / "lxc-info", "-P", lxcpath, "-n", "c1", "-sH").stdout.strip() == b"FROZEN"
    host.run(driver / "lxc-unfreeze", "-P", lxcpath, "-n", "c1", check=True)
    assert host.run(starter / "lxc-info", "-P", lxcpath, "-n", "c1", "-sH").stdout.strip() == b"RUNNING"


def test_wait_and_stop(running_pair: tuple[Path, Path, Path]) -> None:
    _starter, driver, lxcpath = running_pair
    host.run(driver / "lxc-wait", "-P", lxcpath, "-n", "c1", "-s", "RUNNING", check=True)
    waiting = subprocess.Popen([driver / "lxc-wait", "-P", lxcpath, "-n", "c1", "-s", "STOPPED", "-t", "20"])
    time.sleep(0.3)
    host.run(driver / "lxc-stop", "-P", lxcpath, "-n", "c1", check=True, timeout=30)
    assert waiting.wait(20) == 0


def test_kill(running_pair: tuple[Path, Path, Path]) -> None:
    _starter, driver, lxcpath = running_pair
    host.run(driver / "lxc-stop", "-P", lxcpath, "-n", "c1", "-k", check=True, timeout=30)
    assert host.run(driver / "lxc-info", "-P", lxcpath, "-n", "c1", "-sH").stdout.strip() == b"STOPPED"


def test_reboot(running_pair: tuple[Path, Path, Path]) -> None:
    """Rebooted from outside: lxc.signal.reboot to an init that then calls reboot(2) would need a real one; ask the kernel."""
    _starter, driver, lxcpath = running_pair
    before = host.run(driver / "lxc-info", "-P", lxcpath, "-n", "c1", "-pH").stdout
    host.run(driver / "lxc-attach", "-P", lxcpath, "-n", "c1", "--", "reboot", "-f")

    def again() -> bool:
        shown = host.run(driver / "lxc-info", "-P", lxcpath, "-n", "c1")
        return b"RUNNING" in shown.stdout and before not in shown.stdout

    assert host.wait_until(again, 10)


def test_monitor(running_pair: tuple[Path, Path, Path]) -> None:
    starter, driver, lxcpath = running_pair
    watching = subprocess.Popen([driver / "lxc-monitor", "-P", lxcpath, "-n", "c1"], stdout=subprocess.PIPE)
    time.sleep(0.6)
    try:
        for tool, *words in (("freeze",), ("unfreeze",), ("stop", "-k"), ("start",), ("stop", "-k")):
            host.run(starter / f"lxc-{tool}", "-P", lxcpath, "-n", "c1", *words, check=True)
        time.sleep(0.5)
    finally:
        watching.terminate()
        seen = watching.communicate(timeout=10)[0].decode()
        host.run(driver / "lxc-monitor", "-P", lxcpath, "-Q")
    states = re.findall(r"changed state to \[(\w+)\]", seen)
    assert states == (
        "FREEZING FROZEN FROZEN THAWED THAWED RUNNING STOPPING STOPPED STARTING RUNNING STOPPING STOPPED".split()
    ), seen
    assert seen.count("'c1' exited with status [0]") == 2


@pytest.mark.parametrize("tty", ["0", "1"])
def test_console(running_pair: tuple[Path, Path, Path], tty: str) -> None:
    _starter, driver, lxcpath = running_pair
    device = "/dev/console" if tty == "0" else "/dev/tty1"
    master, slave = pty.openpty()
    client = subprocess.Popen(
        [driver / "lxc-console", "-P", lxcpath, "-n", "c1", "-t", tty], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    text = b""
    try:
        deadline = time.monotonic() + 10
        said = escaped = False
        while time.monotonic() < deadline and client.poll() is None:
            if select.select([master], [], [], 0.2)[0]:
                try:
                    text += os.read(master, 4096)
                except OSError:
                    break
            if b"Connected to tty" in text and not said:
                said = True
                host.run(driver / "lxc-attach", "-P", lxcpath, "-n", "c1", "--", "sh", "-c", f"echo from the inside >{device}")
            if b"from the inside" in text and not escaped:
                escaped = True
                os.write(master, b"\x01q")
        assert client.wait(5) == 0, text
    finally:
        client.kill()
        client.wait()
        os.close(master)
    assert b"from the inside" in text


def test_python_binding(lxcpath: Path) -> None:
    """python3-lxc, in the interpreter that Debian has it for, on a container of ours."""
    host.make_container(lxcpath, "c1")
    host.run(host.OURS / "lxc-start", "-P", lxcpath, "-n", "c1", check=True)
    code = (
        "import lxc, sys\n"
        f"c = lxc.Container('c1', {str(lxcpath)!r})\n"
        "assert c.defined and c.running and c.state == 'RUNNING', c.state\n"
        "assert c.init_pid > 1\n"
        "assert c.get_running_config_item('lxc.uts.name') == 'c1'\n"
        "assert c.attach_wait(lxc.attach_run_command, ['/bin/true']) == 0\n"
        "assert c.freeze() and c.state == 'FROZEN' and c.unfreeze()\n"
        "assert c.wait('RUNNING', 5)\n"
        "assert c.stop() and not c.running\n"
    )
    done = host.run("/usr/bin/python3", "-c", code)
    assert done.returncode == 0, done.stderr
