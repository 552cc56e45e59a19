# SPDX-License-Identifier: LGPL-2.1-or-later
"""The public API where it needs no monitor, or one that the test plays."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxctools import container, states
from lxctools.cli import _figures
from lxctools.config.check import Misconfigured
from lxctools.container import Container, list_containers
from lxctools.errors import ConfigError, Denied, LxcError, NotRunning, TimedOut
from lxctools.runtime import networks, start

from .cli.fake_monitor import FROZEN, FakeMonitor

BIN = Path(__file__).parents[2] / "bin"
CGROUP_PROCS = [*Path("/sys/fs/cgroup").glob("cgroup.procs"), *Path("/sys/fs/cgroup").glob("*/cgroup.procs")]


@pytest.fixture
def lxcpath() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="lxcu.", dir="/tmp") as folder:
        yield folder


def define(lxcpath: str, name: str, text: str = "") -> None:
    os.mkdir(f"{lxcpath}/{name}")
    Path(f"{lxcpath}/{name}/config").write_text(text)


def test_listing(lxcpath: str) -> None:
    for name in ("b", "a", "é", ".c"):
        define(lxcpath, name)
    os.mkdir(f"{lxcpath}/d")
    with FakeMonitor(lxcpath, "x"), FakeMonitor(lxcpath, "b"):
        assert list_containers(config_path=lxcpath) == ("a", "b", "x", "é")
        assert list_containers(active=True, defined=False, config_path=lxcpath) == ("b", "x")
        assert list_containers(active=False, defined=True, config_path=lxcpath) == ("a", "b", "é")
        assert list_containers(False, False, lxcpath) == ()
    assert list_containers(config_path=lxcpath + "/nowhere") == ()


def test_undefined(lxcpath: str) -> None:
    it = Container("c1", lxcpath)
    assert (it.defined, it.running, it.state, it.init_pid, it.controllable) == (False, False, "STOPPED", -1, True)
    assert it.config_file_name == f"{lxcpath}/c1/config"
    assert (it.get_ips(), it.get_interfaces(), it.get_cgroup_item("memory.max")) == ((), (), None)
    assert it.get_running_config_item("lxc.uts.name") is None
    with pytest.raises(NotRunning, match="is not defined"):
        it.require_running()
    with pytest.raises(NotRunning):
        it.freeze()
    it.unfreeze()
    assert it.wait([states.STOPPED], 0)


def test_running(lxcpath: str) -> None:
    define(lxcpath, "c1", "lxc.uts.name = disk\n")
    with FakeMonitor(lxcpath, "c1", state=FROZEN, config={"lxc.uts.name": "running"}):
        it = Container("c1", lxcpath)
        assert (it.running, it.state, it.init_pid, it.controllable) == (True, "FROZEN", os.getpid(), True)
        assert it.get_config_item("lxc.uts.name") == "disk"
        assert it.get_running_config_item("lxc.uts.name") == "running"
        assert it.get_running_config_item("lxc.nothing") is None
        it.require_running()


def test_a_monitor_that_refuses_or_is_silent(lxcpath: str) -> None:
    with FakeMonitor(lxcpath, "c1", denied=True), FakeMonitor(lxcpath, "c2", silent=True):
        assert not Container("c1", lxcpath).controllable
        with pytest.raises(Denied):
            _ = Container("c1", lxcpath).state
        with pytest.raises(TimedOut):
            _ = Container("c2", lxcpath, timeout=0.1).state


def test_configuration(lxcpath: str) -> None:
    define(lxcpath, "c1", "# mine\nlxc.group = a\nlxc.group = b\nlxc.uts.name = x\n")
    it = Container("c1", lxcpath)
    it.set_config_item("lxc.uts.name", "y")
    it.set_config_item("lxc.group", ["c", "d"])
    it.append_config_item("lxc.group", "e")
    assert it.get_config_item("lxc.group") == "c\nd\ne\n"
    it.clear_config_item("lxc.uts.name")
    assert it.get_config_item("lxc.uts.name") == ""
    for bad in (lambda: it.get_config_item("lxc.bogus"), lambda: it.set_config_item("lxc.tty.max", "x")):
        with pytest.raises(ConfigError):
            bad()
    it.save_config(f"{lxcpath}/copy")
    assert Path(f"{lxcpath}/copy").read_text().splitlines() == [
        "# mine", "lxc.group = c", "lxc.group = d", "lxc.group = e",
    ]  # fmt: skip
    assert Path(it.config_file_name).read_text().startswith("# mine\nlxc.group = a\n")


def test_rcfile(lxcpath: str) -> None:
    Path(f"{lxcpath}/rc").write_text("lxc.uts.name = z\n")
    it = Container("c1", lxcpath)
    it.load_config(f"{lxcpath}/rc")
    assert it.defined
    assert (it.config_file_name, it.get_config_item("lxc.uts.name")) == (f"{lxcpath}/rc", "z")
    with pytest.raises(ConfigError, match=r'^Failed to load rcfile ".*/nope"'):
        it.load_config(f"{lxcpath}/nope")


def test_cgroup_items(lxcpath: str, tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    with FakeMonitor(lxcpath, "c1", cgroups={"memory": str(tmp_path)}):
        it = Container("c1", lxcpath)
        assert it.get_cgroup_item("memory.max") == "max\n"
        assert it.get_cgroup_item("memory.nope") is None
        assert it.get_cgroup_item("nope.max") is None
        it.set_cgroup_item("memory.max", "100")
        assert (tmp_path / "memory.max").read_text() == "100\n"
        with pytest.raises(OSError, match="No such file"):
            it.set_cgroup_item("memory.nope", "1")


def test_a_cgroup_item_that_cannot_be_read(lxcpath: str, tmp_path: Path) -> None:
    (tmp_path / "memory.folder").mkdir()
    with FakeMonitor(lxcpath, "c1", cgroups={"memory": str(tmp_path)}):
        with pytest.raises(OSError, match="Is a directory"):
            Container("c1", lxcpath).get_cgroup_item("memory.folder")
        (tmp_path / "memory.current").mkdir()
        (tmp_path / "memory.swap.current").write_text("5\n")
        assert _figures.number(Container("c1", lxcpath), "memory.current", "memory.swap.current") == 5
        done = subprocess.run([BIN / "lxc-cgroup", "-P", lxcpath, "c1", "memory.folder"], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and "Failed to retrieve value of 'memory.folder'" in done.stderr
        assert "Is a directory" in done.stderr and "no such file" not in done.stderr


def test_a_container_that_ends_while_its_cgroup_is_read(lxcpath: str, monkeypatch: pytest.MonkeyPatch) -> None:
    top = next((str(path.parent) for path in CGROUP_PROCS if os.access(path, os.W_OK)), "")
    if not top:
        pytest.skip("needs a cgroup of its own")
    group = f"{top}/lxct.{os.getpid()}"
    os.mkdir(group)
    real = os.open

    def ended_after(path: object, *words: int, **more: int) -> int:
        fd = real(path, *words, **more)  # type: ignore[arg-type]
        if path == "cgroup.procs":
            os.rmdir(group)
        return fd

    try:
        with FakeMonitor(lxcpath, "c1", cgroups={"cgroup": group}):
            it = Container("c1", lxcpath)
            assert it.get_cgroup_item("cgroup.procs") == ""
            monkeypatch.setattr(os, "open", ended_after)
            assert it.get_cgroup_item("cgroup.procs") is None
            assert not os.path.exists(group)
    finally:
        monkeypatch.undo()
        if os.path.exists(group):
            os.rmdir(group)


def test_which_addresses_are_listed() -> None:
    addresses = [
        ("lo", "inet", "127.0.0.1"),
        ("lo", "inet", "10.8.8.8"),
        ("eth0", "inet", "10.0.3.9"),
        ("eth0", "inet", "10.0.3.77"),
        ("eth0", "inet6", "fe80::1"),
        ("eth0", "inet6", "febf::1"),
        ("eth0", "inet6", "fec0::1"),
        ("eth1", "inet6", "2001:db8::5"),
    ]
    network = networks.Network(addresses, ())
    assert network.ips() == ("10.0.3.77", "10.0.3.9", "2001:db8::5", "fec0::1")
    assert network.ips(family="inet6") == ("2001:db8::5", "fec0::1")
    assert network.ips(interface="lo") == ("10.8.8.8", "127.0.0.1")


@pytest.mark.root
def test_our_own_network() -> None:
    ended = subprocess.Popen(["/bin/true"])
    ended.wait()
    found = container.look_into_networks({1: os.getpid(), 2: ended.pid, 3: -1})
    assert list(found) == [1]
    network = found[1]
    assert set(network.interfaces) == {name for _index, name in socket.if_nameindex()}
    assert ("lo", "inet", "127.0.0.1") in network.addresses


class Passed(Exception):
    """A start came so far; nothing has been made."""


@pytest.fixture
def stop_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop_here(conf: object) -> None:
        raise Passed

    monkeypatch.setattr(start, "_preload", stop_here)


@pytest.fixture
def no_whole_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing it fails."""
    monkeypatch.setitem(sys.modules, "lxctools.runtime.check", None)


@pytest.mark.usefixtures("stop_before_it_starts", "no_whole_check")
@pytest.mark.parametrize("path", ["dir:{0}", "{0}", "overlay:{0}/low:{0}/upper", "overlayfs:{0}/low:{0}/low2:{0}/upper"])
def test_a_root_that_is_there_loads_no_check(lxcpath: str, path: str) -> None:
    for name in ("low", "low2"):
        os.mkdir(f"{lxcpath}/{name}")
    define(lxcpath, "c1", f"lxc.rootfs.path = {path.format(lxcpath)}\n")
    with pytest.raises(Passed):
        Container("c1", lxcpath).start()


@pytest.mark.usefixtures("stop_before_it_starts", "no_whole_check")
def test_a_configuration_that_came_through_a_pipe_is_not_read_again(lxcpath: str) -> None:
    reader, writer = os.pipe()
    os.write(writer, f"lxc.rootfs.path = dir:{lxcpath}/none\n".encode())
    os.close(writer)
    it = Container("c1", lxcpath)
    it.load_config(f"/dev/fd/{reader}")
    os.close(reader)
    with pytest.raises(Passed):
        it.start()


@pytest.mark.parametrize("path", ["dir:{0}/none", "{0}/none", "overlay:{0}/none:{0}/upper"])
def test_a_root_that_is_missing_is_refused(lxcpath: str, path: str) -> None:
    define(lxcpath, "c1", f"lxc.rootfs.path = {path.format(lxcpath)}\n")
    with pytest.raises(Misconfigured, match="none"):
        Container("c1", lxcpath).start()


def test_a_refusal_can_be_printed(lxcpath: str) -> None:
    define(lxcpath, "c1", f"lxc.rootfs.path = dir:{lxcpath}/\x1b[2Jnone\nlxc.console.logfile = /nonexistent/log\n")
    with pytest.raises(Misconfigured) as caught:
        Container("c1", lxcpath).start()
    assert str(caught.value).isprintable() and r"\x1b[2Jnone" in str(caught.value)


ROOT = "lxc.rootfs.path = dir:{0}/root\n"
LINK = "lxc.net.0.type = veth\nlxc.net.0.link = lxcnosuch0\n"


@pytest.mark.usefixtures("stop_before_it_starts")
@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("lxc.rootfs.path = dir:{0}/none\n", {"lxc.rootfs.path": "dir:{0}/root"}),
        (ROOT + LINK, {"lxc.net.0.link": ""}),
        (ROOT + LINK, {"lxc.net.0.type": "none"}),
        (ROOT + LINK + "lxc.net.0.veth.mode = router\n", {}),
        (ROOT + "lxc.net.0.type = empty\nlxc.net.0.link = lxcnosuch0\n", {}),
    ],
)
def test_what_is_not_asked_of_the_host_stops_no_start(lxcpath: str, text: str, changes: dict[str, str]) -> None:
    os.mkdir(f"{lxcpath}/root")
    define(lxcpath, "c1", text.format(lxcpath))
    it = Container("c1", lxcpath)
    for key, value in changes.items():
        it.set_config_item(key, value.format(lxcpath))
    with pytest.raises(Passed):
        it.start()


def test_a_start_is_refused_for_the_configuration_in_use(lxcpath: str) -> None:
    """What the file says and an option has replaced does not count; what an option says has no line."""
    os.mkdir(f"{lxcpath}/root")
    text = "lxc.cgroup2.nosuch.a = 1\nlxc.console.logfile = /nonexistent/log\nlxc.namespace.share.net = 4194305\n"
    define(lxcpath, "c1", ROOT.format(lxcpath) + text)
    it = Container("c1", lxcpath)
    it.set_config_item("lxc.rootfs.path", f"dir:{lxcpath}/none")
    it.set_config_item("lxc.console.logfile", "")
    it.set_config_item("lxc.namespace.share.net", str(os.getpid()))
    with pytest.raises(Misconfigured) as caught:
        it.start()
    found = [(one.key, one.path, one.line) for one in caught.value.problems]
    assert found == [("lxc.cgroup2.nosuch.a", f"{lxcpath}/c1/config", 2), ("lxc.rootfs.path", "", 0)]
    assert str(caught.value).endswith(f"and 1 more: lxc-config check -P {lxcpath} c1)")


@pytest.mark.parametrize(
    ("config", "command", "allowed"),
    [
        ("", (), False),
        ("", ("/bin/true",), False),
        ("lxc.autodev = 0\n", (), False),
        ("lxc.autodev = 0\nlxc.init.cmd = /sbin/init\n", (), False),
        ("lxc.rootfs.path = dir:/\n", ("/bin/true",), False),
        ("lxc.rootfs.path = dir:/../.\nlxc.autodev = 0\n", ("/bin/true",), False),
        ("lxc.autodev = 0\n", ("/usr/../sbin/init",), False),
        ("lxc.autodev = 0\n", ("init",), False),
        ("lxc.autodev = 0\n", ("/bin/true",), True),
        ("lxc.rootfs.path = dir:/tmp\n", (), True),
    ],
)
@pytest.mark.usefixtures("stop_before_it_starts")
def test_the_hosts_init_is_never_booted(lxcpath: str, config: str, command: tuple[str, ...], allowed: bool) -> None:
    """What comes after the guard is replaced: nothing can start here, whatever the guard does."""

    define(lxcpath, "c1", config)
    it = Container("c1", lxcpath)
    if allowed:
        with pytest.raises(Passed):
            it.start(command)
    else:
        with pytest.raises(LxcError, match="host's own"):
            it.start(command)
