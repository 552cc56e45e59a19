# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands as processes against a monitor that the test plays; outputs as C LXC 5.0.2 prints them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from . import fake_monitor
from .fake_monitor import FakeMonitor

BIN = Path(__file__).parents[3] / "bin"
STOPPING = 3


def lxc(command: str, *words: object, **more: object) -> subprocess.CompletedProcess[str]:
    keywords: dict[str, object] = {"stdin": subprocess.DEVNULL, "timeout": 20, "env": {"PATH": os.environ["PATH"]}}
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [BIN / f"lxc-{command}", *map(str, words)], capture_output=True, text=True, check=False, **keywords | more
    )


def until(reached: Callable[[], object]) -> None:
    """Wait for it, at most 10 s."""
    deadline = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def lxcpath() -> Iterator[Path]:
    """Short, so that the socket's name is the plain one."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="lxcu.", dir="/tmp") as folder:
        yield Path(folder)


def define(lxcpath: Path, name: str, text: str = "") -> None:
    (lxcpath / name).mkdir()
    (lxcpath / name / "config").write_text(text)


# -- lxc-info ----------------------------------------------------------------------------------------------------------


def test_info_undefined(lxcpath: Path) -> None:
    done = lxc("info", "-P", lxcpath, "-n", "nope")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nope doesn't exist" in done.stderr and done.stderr.count("\n") == 1


def test_info_stopped(lxcpath: Path) -> None:
    define(lxcpath, "c1", "lxc.uts.name = c1\n")
    assert lxc("info", "-P", lxcpath, "c1").stdout == "Name:           c1\nState:          STOPPED\n"
    assert lxc("info", "-P", lxcpath, "c1", "-sH").stdout == "STOPPED\n"
    assert lxc("info", "-P", lxcpath, "c1", "-p").stdout == ""
    assert lxc("info", "-P", lxcpath, "c1", "-c", "lxc.uts.name").stdout == "lxc.uts.name = c1\n"
    assert lxc("info", "-P", lxcpath, "c1", "-H", "-c", "lxc.uts.name").stdout == "c1\n"
    done = lxc("info", "-P", lxcpath, "c1", "-c", "lxc.hook.start", "-c", "lxc.nosuch", "-H")
    assert (done.returncode, done.stdout) == (0, "lxc.hook.start =\n")
    assert "lxc.nosuch invalid" in done.stderr


def test_info_of_a_stopped_container_with_a_bad_config(lxcpath: Path) -> None:
    define(lxcpath, "c1", "lxc.bogus = 1\n")
    done = lxc("info", "-P", lxcpath, "c1")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{lxcpath}/c1/config" in done.stderr


def test_info_running(lxcpath: Path, tmp_path: Path) -> None:
    for file, text in {
        "cpuacct.usage": "11124759\n",
        "blkio.throttle.io_service_bytes": "8:0 Read 5\nTotal 2048\n",
        "memory.usage_in_bytes": "1028096\n",
        "memory.kmem.usage_in_bytes": "294912\n",
    }.items():
        (tmp_path / file).write_text(text)
    cgroups = dict.fromkeys(("cpuacct", "blkio", "memory"), str(tmp_path))
    config = {"lxc.net.0.type": "veth", "lxc.net.0.veth.pair": "vethNONE", "lxc.net.1.type": "empty"}
    with FakeMonitor(str(lxcpath), "e2", config=config, cgroups=cgroups) as monitor:
        done = lxc("info", "-P", lxcpath, "e2", "-S", "-p")
        assert done.stdout == (
            f"PID:            {monitor.pid}\n"
            "CPU use:        0.01 seconds\nBlkIO use:      2.00 KiB\n"
            "Memory use:     1004.00 KiB\nKMem use:       288.00 KiB\n"
            "Link:           vethNONE\n Total bytes:   0 bytes\n"
        )
        assert lxc("info", "-P", lxcpath, "e2", "-S", "-H").stdout == (
            "CPU use:        11124759\nBlkIO use:      2048\nMemory use:     1028096\nKMem use:       294912\n"
            "Link:           vethNONE\n Total bytes:   0\n"
        )
        assert lxc("info", "-P", lxcpath, "e2", "-p", "-H").stdout == f"{monitor.pid}\n"
        assert lxc("info", "-P", lxcpath, "e2", "-s", "-s", "-H").stdout == "State:          RUNNING\n" * 1
        monitor.asked.clear()
        assert lxc("info", "-P", lxcpath, "e2", "-s").stdout == "State:          RUNNING\n"
        assert monitor.asked == [fake_monitor.GET_STATE]


def test_info_denied(lxcpath: Path) -> None:
    define(lxcpath, "c1")
    with FakeMonitor(str(lxcpath), "c1", denied=True):
        done = lxc("info", "-P", lxcpath, "c1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Insufficent privileges to control c1" in done.stderr


def test_info_of_a_silent_monitor(lxcpath: Path) -> None:
    begun = time.monotonic()
    with FakeMonitor(str(lxcpath), "c1", silent=True):
        done = lxc("info", "-P", lxcpath, "c1")
    assert time.monotonic() - begun < 5
    assert (done.returncode, done.stdout) == (1, "")
    assert "the monitor of c1 did not answer within 2 s" in done.stderr


# -- lxc-ls ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def three(lxcpath: Path) -> Iterator[Path]:
    define(lxcpath, "e3", "lxc.group = web\nlxc.group = onboot\nlxc.idmap = u 0 100000 65536\n")
    define(lxcpath, "e1", "lxc.start.auto = 1\n")
    define(lxcpath, ".hidden")
    (lxcpath / "noconfig").mkdir()
    with FakeMonitor(str(lxcpath), "e2", config={"lxc.group": "web,onboot\n", "lxc.start.auto": "1"}):
        yield lxcpath


def test_ls_plain(three: Path) -> None:
    assert lxc("ls", "-P", three).stdout == "e1  \ne2  \ne3  \n"
    assert lxc("ls", "-P", three, "-1").stdout == "e1\ne2\ne3\n"
    assert lxc("ls", "-P", three, "-1", "--defined").stdout == "e1\ne3\n"
    assert lxc("ls", "-P", three, "-1", "--active").stdout == "e2\n"
    assert lxc("ls", "-P", three, "-1", "--running").stdout == "e2\n"
    assert lxc("ls", "-P", three, "-1", "--stopped").stdout == "e1\ne3\n"
    assert lxc("ls", "-P", three, "-1", "--frozen").stdout == ""
    assert lxc("ls", "-P", three, "-1", "-g", "onboot, web").stdout == "e2\ne3\n"
    assert lxc("ls", "-P", three, "-1", "-g", "nope").stdout == ""
    assert lxc("ls", "-P", three, "-1", "[13]").stdout == "e1\ne3\n"
    assert lxc("ls", "-P", three, "-1", "--filter", "^e[[:digit:]]$", "x").stdout == "e1\ne2\ne3\n"
    assert lxc("ls", "-P", three, "-1", "a", "b").stdout == "e1\ne2\ne3\n"
    done = lxc("ls", "-P", three, "-1", "a(")
    assert (done.returncode, done.stdout) == (0, "") and "no regular expression" in done.stderr
    done = lxc("ls", "-P", three / "nowhere")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_ls_table(three: Path) -> None:
    assert lxc("ls", "-P", three, "-f", "-F", "name, State,groups,AUTOSTART,unprivileged").stdout == (
        "NAME STATE   GROUPS      AUTOSTART UNPRIVILEGED \n"
        "e1   STOPPED -           1         false        \n"
        "e2   RUNNING web,onboot  1         false        \n"
        "e3   STOPPED web, onboot 0         true         \n"
    )
    done = lxc("ls", "-P", three, "-f", "-F", "NAME,BOGUS")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "Invalid key: BOGUS\n")
    assert lxc("ls", "-P", three, "-f", "-F", "").stdout == "\n\n\n\n"
    assert lxc("ls", "-P", three, "-f", "-F", "RAM,NAME", "--stopped").stdout == (
        "RAM    NAME \n-      e1   \n-      e3   \n"
    )
    assert lxc("ls", "-P", three, "-f", "nothing").stdout == ""


def test_ls_marks_what_does_not_answer(three: Path) -> None:
    begun = time.monotonic()
    with FakeMonitor(str(three), "e4", silent=True), FakeMonitor(str(three), "e5", denied=True):
        done = lxc("ls", "-P", three, "-f", "-F", "NAME,STATE,PID")
        assert "e4   UNRESPONSIVE -" in done.stdout
        assert "e5   -            -" in done.stdout
        assert "e2   RUNNING      " in done.stdout
        assert lxc("ls", "-P", three, "-1").stdout == "e1\ne2\ne3\ne4\ne5\n"
    assert time.monotonic() - begun < 3


def test_ls_lists_all_but_the_one_answer_that_is_too_long(three: Path) -> None:
    with FakeMonitor(str(three), "e4", config={"lxc.group": "g" * 9000}):
        done = lxc("ls", "-P", three, "-f", "-F", "NAME,STATE,GROUPS")
    assert done.returncode == 0
    assert [line.split() for line in done.stdout.splitlines()[1:]] == [
        ["e1", "STOPPED", "-"], ["e2", "RUNNING", "web,onboot"], ["e3", "STOPPED", "web,", "onboot"], ["e4", "RUNNING", "-"],
    ]  # fmt: skip
    assert done.stderr.startswith("e4: ") and "more than the protocol allows" in done.stderr


def test_ls_with_many_silent_monitors_ends_in_time(lxcpath: Path) -> None:
    monitors = [FakeMonitor(str(lxcpath), f"s{n}", silent=True) for n in range(10)]
    begun = time.monotonic()
    try:
        done = lxc("ls", "-P", lxcpath, "-f", "-F", "STATE")
    finally:
        for monitor in monitors:
            monitor.close()
    assert time.monotonic() - begun < 3
    assert done.stdout.count("UNRESPONSIVE") == 10


def test_ls_lists_a_container_whose_config_cannot_be_read(three: Path) -> None:
    (three / "e1" / "config").write_text("lxc.bogus = 1\nlxc.group = g\n")
    (three / "e4" / "config").mkdir(parents=True)
    done = lxc("ls", "-P", three, "-f", "-F", "NAME,GROUPS")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1::3] == ["e1   g           ", "e4   -           "]
    assert done.stderr.startswith(f'Failed to load config for e4: the configuration "{three}/e4/config" is a folder')


def test_ls_reads_what_configurations_include(three: Path) -> None:
    shared = three / "shared.conf"
    shared.write_text(f"lxc.group = s\nlxc.include = {shared}\nlxc.include = {three}/nowhere\n")
    (three / "d").mkdir()
    (three / "d" / "1.conf").write_text("lxc.start.auto = 1\n")
    (three / "d" / "no").write_text("lxc.group = no\n")
    (three / "e1" / "config").write_text(f"lxc.group = x\nlxc.group =\nlxc.include = {shared}\n")
    (three / "e3" / "config").write_text(f"lxc.include = {shared}\nlxc.include = {three}/d\nlxc.group = y z\n")
    assert lxc("ls", "-P", three, "-f", "-F", "NAME,GROUPS,AUTOSTART", "--stopped").stdout == (
        "NAME GROUPS  AUTOSTART \ne1   s       0         \ne3   s, y, z 1         \n"
    )


def test_ls_names_that_are_no_text(lxcpath: Path) -> None:
    folder = bytes(lxcpath) + b"/a\xff"
    os.mkdir(folder)
    with open(folder + b"/config", "w"):
        pass
    done = lxc("ls", "-P", lxcpath, "-1", errors="surrogateescape")
    assert done.stdout == "a\udcff\n"


# -- lxc-stop ----------------------------------------------------------------------------------------------------------


def test_stop_not_running(lxcpath: Path) -> None:
    define(lxcpath, "c1")
    for name in ("c1", "undefined"):
        done = lxc("stop", "-P", lxcpath, name)
        assert done.returncode == 2
        assert f"{name} is not running" in done.stderr
    assert lxc("stop", "-P", lxcpath, "-n", "a/b").returncode == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-t", "-2"], "Invalid timeout"),
        (["-k", "--nokill"], "-k can't be used with --nokill"),
        (["-k", "-r"], "-k can't be used with -r"),
        (["-k", "-t", "5"], "-k doesn't allow timeouts"),
        (["-k", "-t", "-1"], "-k doesn't allow timeouts"),
        (["--nolock"], "--nolock may only be used with -k"),
        (["-t", "x"], "could not parse command line"),
    ],
)
def test_stop_checks(lxcpath: Path, words: list[str], message: str) -> None:
    done = lxc("stop", "-P", lxcpath, "c1", *words)
    assert done.returncode == 1
    assert message in done.stderr


def test_stop_kill_waits_for_the_monitor(lxcpath: Path) -> None:
    monitor = FakeMonitor(str(lxcpath), "c1")
    process = subprocess.Popen([BIN / "lxc-stop", "-P", lxcpath, "-k", "c1"])
    until(lambda: fake_monitor.STOP in monitor.asked)
    time.sleep(0.1)
    assert process.poll() is None
    monitor.close()
    assert process.wait(10) == 0


def test_stop_sends_the_halt_signal_and_waits(lxcpath: Path) -> None:
    define(lxcpath, "c1", "lxc.signal.halt = SIGTERM\n")
    init = subprocess.Popen(["sleep", "60"])
    monitor = FakeMonitor(str(lxcpath), "c1", pid=init.pid)
    process = subprocess.Popen([BIN / "lxc-stop", "-P", lxcpath, "c1"])
    assert init.wait(10) == -15
    monitor.close()
    assert process.wait(10) == 0


def test_stop_nokill_fails_at_the_timeout(lxcpath: Path) -> None:
    define(lxcpath, "c1", "lxc.signal.halt = SIGCONT\n")
    with FakeMonitor(str(lxcpath), "c1") as monitor:
        done = lxc("stop", "-P", lxcpath, "c1", "--nokill", "-t", "1")
        assert done.returncode == 1
        assert fake_monitor.STOP not in monitor.asked
        assert lxc("stop", "-P", lxcpath, "c1", "-W").returncode == 0


def test_stop_reboot_waits_for_the_new_init(lxcpath: Path) -> None:
    define(lxcpath, "c1", "lxc.signal.reboot = SIGCONT\n")
    with FakeMonitor(str(lxcpath), "c1") as monitor:
        process = subprocess.Popen([BIN / "lxc-stop", "-P", lxcpath, "-r", "c1"])
        until(lambda: monitor.waiting)
        monitor.tell(fake_monitor.RUNNING)
        assert process.wait(10) == 0
        assert lxc("stop", "-P", lxcpath, "c1", "-r", "-t", "1").returncode == 1
        assert lxc("stop", "-P", lxcpath, "c1", "-r", "-W").returncode == 0


# -- lxc-wait ----------------------------------------------------------------------------------------------------------


def test_wait_without_a_monitor(lxcpath: Path) -> None:
    assert lxc("wait", "-P", lxcpath, "c1", "-s", "STOPPED").returncode == 0
    assert lxc("wait", "-P", lxcpath, "c1", "-s", "RUNNING|STOPPED").returncode == 0
    done = lxc("wait", "-P", lxcpath, "c1", "-s", "RUNNING", "-t", "0")
    assert (done.returncode, done.stdout) == (1, "")
    begun = time.monotonic()
    assert lxc("wait", "-P", lxcpath, "c1", "-s", "RUNNING", "-t", "1").returncode == 1
    assert 1 <= time.monotonic() - begun < 2


def test_wait_checks(lxcpath: Path) -> None:
    done = lxc("wait", "-P", lxcpath, "c1", "-s", "running")
    assert done.returncode == 1 and "invalid state 'running'" in done.stderr
    done = lxc("wait", "-P", lxcpath, "c1")
    assert done.returncode == 1 and "could not parse command line" in done.stderr


def test_wait_with_a_monitor(lxcpath: Path) -> None:
    with FakeMonitor(str(lxcpath), "c1") as monitor:
        assert lxc("wait", "-P", lxcpath, "c1", "-s", "RUNNING").returncode == 0
        assert lxc("wait", "-P", lxcpath, "c1", "-s", "FROZEN", "-t", "0").returncode == 1
        assert lxc("wait", "-P", lxcpath, "c1", "-s", "FROZEN", "-t", "1").returncode == 1
        monitor.waiting.clear()
        process = subprocess.Popen([BIN / "lxc-wait", "-P", lxcpath, "-s", "FROZEN|STOPPING", "c1"])
        until(lambda: monitor.waiting)
        monitor.tell(STOPPING)
        assert process.wait(10) == 0


def test_wait_is_over_in_time_when_the_monitor_is_silent(lxcpath: Path) -> None:
    with FakeMonitor(str(lxcpath), "c1", silent=True):
        begun = time.monotonic()
        done = lxc("wait", "-P", lxcpath, "c1", "-s", "STOPPED", "-t", "1")
        assert time.monotonic() - begun < 5
    assert done.returncode == 1 and "did not answer within 1 s" in done.stderr


def test_wait_ends_with_the_container(lxcpath: Path) -> None:
    for wanted, code in (("STOPPED", 0), ("FROZEN", 1)):
        monitor = FakeMonitor(str(lxcpath), "c1")
        process = subprocess.Popen([BIN / "lxc-wait", "-P", lxcpath, "-s", wanted, "c1"])
        until(lambda monitor=monitor: monitor.waiting)  # type: ignore[misc]
        monitor.close()
        assert process.wait(10) == code


# -- lxc-freeze, lxc-unfreeze ------------------------------------------------------------------------------------------


def test_freeze_on_v1(lxcpath: Path, tmp_path: Path) -> None:
    define(lxcpath, "c1")
    state = tmp_path / "freezer.state"
    state.write_text("THAWED\n")
    with FakeMonitor(str(lxcpath), "c1", cgroups={"freezer": str(tmp_path)}) as monitor:
        assert lxc("unfreeze", "-P", lxcpath, "c1").returncode == 0
        assert monitor.served == []
        assert lxc("freeze", "-P", lxcpath, "c1").returncode == 0
        assert (state.read_text().strip(), monitor.served) == ("FROZEN", [5, 6, 6])
        assert lxc("freeze", "-P", lxcpath, "c1").returncode == 0
        assert monitor.served == [5, 6, 6]
        monitor.served.clear()
        monitor.state = fake_monitor.FROZEN
        assert lxc("unfreeze", "-P", lxcpath, "c1").returncode == 0
        assert (state.read_text().strip(), monitor.served) == ("THAWED", [7, 7, 2])


def test_freeze_of_what_does_not_run(lxcpath: Path) -> None:
    define(lxcpath, "c1")
    done = lxc("freeze", "-P", lxcpath, "c1")
    assert done.returncode == 1
    assert f"Failed to freeze {lxcpath}:c1" in done.stderr
    assert lxc("unfreeze", "-P", lxcpath, "c1").returncode == 0
    done = lxc("unfreeze", "-P", lxcpath, "nope")
    assert done.returncode == 1
    assert f"Failed to unfreeze {lxcpath}:nope" in done.stderr


# -- lxc-config --------------------------------------------------------------------------------------------------------


def test_config(tmp_path: Path) -> None:
    done = lxc("config", "-l")
    assert done.stdout.splitlines()[:2] == ["lxc.default_config", "lxc.lxcpath"]
    assert len(done.stdout.splitlines()) == 7
    usage = lxc("config")
    assert (usage.returncode, usage.stderr) == (0, "")
    assert usage.stdout.startswith("Usage: ") and lxc("config", "--he").stdout == usage.stdout
    done = lxc("config", "bogus")
    assert (done.returncode, done.stdout, done.stderr) == (1, "Unknown configuration item: bogus\n", "")
    assert lxc("config", "lxc.l").stdout == lxc("config", "lxc.lxcpath").stdout != ""


def test_ls_with_few_descriptors(lxcpath: Path) -> None:
    """The questions sent ahead leave some for what else must be opened."""
    define(lxcpath, "a0")
    with ExitStack() as stack:
        for number in range(12):
            define(lxcpath, f"c{number}")
            stack.enter_context(FakeMonitor(str(lxcpath), f"c{number}"))
        many = lxc("ls", "-P", lxcpath, "-f")
        few, too_few = (
            subprocess.run(
                ["/bin/sh", "-c", f'ulimit -n {most}; exec "$0" "$@"', BIN / "lxc-ls", "-P", lxcpath, "-f"],
                capture_output=True, text=True, timeout=20,
            )
            for most in (12, 5)
        )  # fmt: skip
    assert (few.returncode, few.stderr) == (0, "")
    assert few.stdout == many.stdout and few.stdout.count("RUNNING") == 12
    assert (too_few.returncode, too_few.stdout) == (1, "") and "`ulimit -n` shows and raises it" in too_few.stderr
