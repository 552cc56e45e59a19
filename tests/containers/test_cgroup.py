# SPDX-License-Identifier: LGPL-2.1-or-later
"""A container's cgroups in the kernel: this host's hierarchies, and a mount namespace in which there is only version 2."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lxctools import log
from lxctools.cgroup import folders, hierarchy, session
from lxctools.cgroup.session import ContainerCgroups
from lxctools.config.conf import Config
from lxctools.errors import LxcError
from lxctools.idmap.ranges import IdMap
from lxctools.linux import mount, proc, sched
from tests.forked import forked

CGROUP = "/sys/fs/cgroup"


def _has_v1() -> bool:
    try:
        return any(h.version == 1 for h in hierarchy.detect(use="@all").hierarchies)
    except LxcError:
        return False


def _has_v2() -> bool:
    return any(line.startswith("0::") for line in Path("/proc/self/cgroup").read_text().splitlines())


def _v2_controllers() -> list[str]:
    found = [h.controllers for h in hierarchy.detect(use="@all").hierarchies if h.version == 2]
    return found[0] if found else []


with_v1 = pytest.mark.skipif(not _has_v1(), reason="this host has no cgroup version 1")
with_v2 = pytest.mark.skipif(not _has_v2(), reason="this kernel has no cgroup version 2")


@pytest.fixture
def name() -> Iterator[str]:
    """A container's name that nobody else has; what is left of it fails the test."""
    chosen = "t" + uuid.uuid4().hex[:12]
    yield chosen
    left = [str(path) for path in Path(CGROUP).rglob(f"*{chosen}*") if path.is_dir()]
    for path in left:
        base = folders.open_folder(os.path.dirname(path))
        folders.remove_tree(base, os.path.basename(path))
        os.close(base)
    assert not left, "left on the host"


@pytest.fixture(autouse=True)
def no_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "system_value", lambda key: None)


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(log, "warn", found.append)
    return found


def conf(*lines: str) -> Config:
    made = Config()
    for line in lines:
        made.load_line(line)
    return made


def cgroups_of(pid: int | str = "self") -> dict[str, str]:
    return {",".join(controllers): place for _number, controllers, place in proc.cgroup(f"/proc/{pid}/cgroup")}


def sleeper() -> int:
    pid = os.fork()
    if pid == 0:
        try:
            time.sleep(60)
        finally:
            os._exit(0)
    return pid


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def there(name: str) -> list[str]:
    return sorted(str(path.relative_to(CGROUP)) for path in Path(CGROUP).rglob(f"*{name}*") if path.is_dir())


def _any(cgroups: ContainerCgroups) -> str:
    """Some controller that this host has."""
    return ([*cgroups.host.hierarchies[0].controllers, ""])[0]


@with_v1
def test_a_whole_life(name: str, warnings: list[str]) -> None:
    def life() -> list[Any]:
        host = hierarchy.detect()
        before = cgroups_of()
        cgroups = ContainerCgroups(conf(), name, host)
        cgroups.cleanup_stale()
        cgroups.create_monitor()
        cgroups.create_payload()
        pid = sleeper()
        cgroups.enter_monitor(os.getpid())
        cgroups.enter_payload(pid)
        inside, monitor = cgroups_of(pid), cgroups_of()
        end(pid)
        cgroups.remove_payload()
        cgroups.remove_monitor()
        cgroups.close()
        return [before, inside, monitor, cgroups_of(), there(name), {h.base for h in host.hierarchies}]

    before, inside, monitor, after, left, bases = forked(life)
    assert bases == {""}
    assert set(inside.values()) == {f"/lxc.payload.{name}"}
    moved = {key for key, place in monitor.items() if place == f"/lxc.monitor.{name}"}
    assert moved == {key for key, place in before.items() if place != "/" or not key}
    assert {monitor[key] for key in monitor.keys() - moved} <= {"/"}, "the others are in the base"
    assert set(after.values()) == {"/"}, "and that is where the monitor goes, not to lxc.pivot"
    assert left == [] and warnings == []


@with_v1
def test_limits_are_in_force(name: str) -> None:
    cgroups = ContainerCgroups(conf("lxc.cgroup.pids.max = 17", "lxc.cgroup.devices.deny = c 1:9 r"), name, hierarchy.detect())
    try:
        cgroups.create_payload()
        cgroups.setup_limits()
        cgroups.setup_device_limits()
        found = cgroups.fd("pids", limit=True)
        assert found is not None and folders.read(found[0], "pids.max") == "17"

        def opened() -> str:
            cgroups.enter_payload(os.getpid())
            try:
                os.close(os.open("/dev/zero", os.O_RDONLY))
                os.close(os.open("/dev/urandom", os.O_RDONLY))
            except OSError as error:
                return str(error.filename)
            return ""

        assert forked(opened) == "/dev/urandom"
    finally:
        cgroups.remove_payload()
        cgroups.close()


@with_v1
@pytest.mark.parametrize("line", ["lxc.cgroup.pids.max = many", "lxc.cgroup.pids.nothing = 1"])
def test_a_limit_that_the_kernel_refuses_names_key_value_and_file(name: str, line: str) -> None:
    cgroups = ContainerCgroups(conf(line), name, hierarchy.detect())
    try:
        cgroups.create_payload()
        with pytest.raises(LxcError) as caught:
            cgroups.setup_limits()
        file = line.split()[0].removeprefix("lxc.cgroup.")
        assert line in str(caught.value) and f"/lxc.payload.{name}/{file}" in str(caught.value)
    finally:
        cgroups.remove_payload()
        cgroups.close()


@with_v1
def test_freezing(name: str) -> None:
    cgroups = ContainerCgroups(conf(), name, hierarchy.detect())
    pid = sleeper()
    try:
        cgroups.create_payload()
        cgroups.enter_payload(pid)
        assert cgroups.freeze(5)
        found = cgroups.fd("freezer", limit=True)
        assert found is not None and folders.read(found[0], "freezer.state") == "FROZEN"
        assert cgroups.unfreeze(5)
        assert folders.read(found[0], "freezer.state") == "THAWED"
    finally:
        end(pid)
        cgroups.remove_payload()
        cgroups.close()


@with_v1
def test_a_place_of_its_own(name: str, warnings: list[str]) -> None:
    def life() -> list[Any]:
        cgroups = ContainerCgroups(conf(f"lxc.cgroup.dir = {name}/deep"), name, hierarchy.detect())
        cgroups.create_monitor()
        cgroups.create_payload()
        cgroups.enter_monitor(os.getpid())
        monitor = cgroups_of()
        cgroups.remove_payload()
        cgroups.remove_monitor()
        cgroups.close()
        return [monitor, there(name)]

    monitor, left = forked(life)
    assert set(monitor.values()) == {f"/{name}/deep/lxc.monitor.{name}"}
    assert left == [], "the folders that were made for it are gone, too"


def test_what_a_killed_monitor_left_is_removed(name: str) -> None:
    def killed() -> None:
        cgroups = ContainerCgroups(conf(), name, hierarchy.detect())
        cgroups.create_monitor()
        cgroups.create_payload()
        cgroups.enter_monitor(os.getpid())
        found = cgroups.ctx_fds()[-1]
        os.mkdir("system.slice", dir_fd=found)

    forked(killed)
    assert there(name)
    cgroups = ContainerCgroups(conf(), name, hierarchy.detect())
    try:
        cgroups.cleanup_stale()
        assert there(name) == []
        cgroups.create_payload()
        assert cgroups.path(_any(cgroups), limit=False) in (f"/lxc.payload.{name}", f"lxc.payload.{name}")
    finally:
        cgroups.remove_payload()
        cgroups.close()


def test_a_container_of_the_same_name_elsewhere_is_left_alone(name: str) -> None:
    host = hierarchy.detect()
    running, starting, ours = (ContainerCgroups(conf(), name, host) for _ in range(3))
    pid = sleeper()
    try:
        running.create_payload()
        running.enter_payload(pid)
        os.mkdir("empty.slice", dir_fd=running.ctx_fds()[-1])  # of the running one, and in use by nobody
        starting.create_payload()  # -1: nobody is in it yet
        ours.cleanup_stale()
        ours.create_payload()
        assert str(ours.path(_any(ours), limit=False)).endswith(f"lxc.payload.{name}-2")
        assert "empty.slice" in folders.below(running.ctx_fds()[-1])
    finally:
        end(pid)
        for one in (running, starting, ours):
            one.remove_payload()
            one.close()


def test_a_process_that_stays_is_named_and_loses_nothing(name: str, warnings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_PATIENCE", 0.05)
    cgroups = ContainerCgroups(conf(), name, hierarchy.detect())
    pid = sleeper()
    try:
        cgroups.create_payload()
        cgroups.enter_payload(pid)
        started = time.monotonic()
        cgroups.remove_payload()
        assert time.monotonic() - started < 2
        assert warnings and all(str(pid) in line for line in warnings)
        assert any(place.endswith(f"lxc.payload.{name}") for place in cgroups_of(pid).values())
    finally:
        end(pid)
        ContainerCgroups(conf(), name, hierarchy.detect()).cleanup_stale()
        cgroups.close()


def test_processes_that_are_ending_are_waited_for(name: str, warnings: list[str]) -> None:
    cgroups = ContainerCgroups(conf(), name, hierarchy.detect())
    pids = [sleeper() for _ in range(3)]
    try:
        cgroups.create_payload()
        for pid in pids:
            cgroups.enter_payload(pid)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        cgroups.remove_payload()  # before anybody has reaped them
        assert warnings == [] and there(name) == []
    finally:
        for pid in pids:
            os.waitpid(pid, 0)
        cgroups.close()


@pytest.mark.parametrize(("first", "line"), [(0, "lxc.init.gid = 7"), (5, "lxc.init.gid = 5")])
def test_the_containers_root_may_manage_its_cgroup(name: str, first: int, line: str) -> None:
    """Without an id 0 inside it is the init's group."""
    maps = [IdMap("u", 0, 100000, 65536), IdMap("g", first, 200000, 65536)]
    cgroups = ContainerCgroups(conf(line), name, hierarchy.detect())
    try:
        cgroups.create_payload()
        cgroups.chown_payload(maps)
        for fd in cgroups.ctx_fds():
            folder = os.stat(".", dir_fd=fd)
            procs = os.stat("cgroup.procs", dir_fd=fd)
            assert (folder.st_uid, folder.st_gid, folder.st_mode & 0o777) == (0, 200000, 0o775)
            assert (procs.st_uid, procs.st_gid, procs.st_mode & 0o777) == (0, 200000, 0o664)
    finally:
        cgroups.remove_payload()
        cgroups.close()


# -- only version 2


def unified_only(function: Callable[[], Any]) -> Any:
    """Run it where /sys/fs/cgroup is version 2 and nothing else."""

    def child() -> Any:
        for point in sorted((row.point for row in proc.mountinfo() if row.point.startswith(CGROUP)), reverse=True):
            mount.umount2(point, mount.MNT_DETACH)
        mount.mount("cgroup2", CGROUP, "cgroup2", 0, None)
        enabled = Path(CGROUP, "cgroup.subtree_control").read_text().split()
        try:
            return function()
        finally:
            now = Path(CGROUP, "cgroup.subtree_control").read_text().split()
            added = [f"-{controller}" for controller in now if controller not in enabled]
            Path(CGROUP, "cgroup.subtree_control").write_text(" ".join(added))

    return forked(child, unshare=sched.CLONE_NEWNS)


@with_v2
def test_unified_life(name: str) -> None:
    def life() -> list[Any]:
        host = hierarchy.detect()
        cgroups = ContainerCgroups(conf("lxc.cgroup2.cgroup.max.depth = 5"), name, host)
        cgroups.create_monitor()
        cgroups.enter_monitor(os.getpid())
        cgroups.create_payload()
        cgroups.setup_limits()
        pid, pidfd = sched.clone3(sched.CLONE_NEWCGROUP, cgroup_fd=cgroups.clone_fd())
        if pid == 0:
            time.sleep(60)
            os._exit(0)
        os.close(pidfd)
        inside = Path(f"/proc/{pid}/cgroup").read_text().splitlines()[-1]
        frozen = cgroups.freeze(5)
        events = folders.read(cgroups.unified_fd(limit=True), "cgroup.events")
        thawed = cgroups.unfreeze(5)
        depth = folders.read(cgroups.unified_fd(limit=True), "cgroup.max.depth")
        available = Path(CGROUP, "cgroup.controllers").read_text().split()
        given = folders.read(cgroups.unified_fd(limit=True), "cgroup.controllers").split()
        monitor = cgroups_of()[""]
        end(pid)
        cgroups.remove_payload()
        cgroups.remove_monitor()
        cgroups.close()
        after = cgroups_of()[""]
        return [host.layout, inside, frozen, events, thawed, depth, sorted(available) == sorted(given), monitor, after, there(name)]

    layout, inside, frozen, events, thawed, depth, given, monitor, after, left = unified_only(life)
    assert layout == hierarchy.UNIFIED
    assert inside == f"0::/lxc.payload.{name}"
    assert frozen and "frozen 1" in events and thawed
    assert depth == "5" and given
    assert (monitor, after, left) == (f"/lxc.monitor.{name}", "/", [])


def opened(cgroups: ContainerCgroups, *paths: str) -> list[str]:
    """Which of them a process in the container's cgroup may open for reading."""
    reader, writer = os.pipe()
    pid, pidfd = sched.clone3(0, cgroup_fd=cgroups.clone_fd())
    if pid == 0:
        for path in paths:
            try:
                os.close(os.open(path, os.O_RDONLY))
                os.write(writer, path.encode() + b"\n")
            except OSError:
                pass
        os._exit(0)
    os.close(pidfd)
    os.close(writer)
    os.waitpid(pid, 0)
    text = os.read(reader, 4096).decode()
    os.close(reader)
    return text.split()


NODES = ("/dev/null", "/dev/zero", "/dev/urandom")


@with_v2
@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ((), NODES),
        (("deny = a", "allow = c 1:3 rwm"), ("/dev/null",)),
        (("deny = a",), ()),
        (("allow = a", "deny = /dev/zero r"), ("/dev/null", "/dev/urandom")),
        (("deny = a", "allow = c 1:* rwm", "deny = c 1:9 r"), ("/dev/null", "/dev/zero")),
    ],
)
def test_unified_device_rules(name: str, lines: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    def life() -> list[str]:
        cgroups = ContainerCgroups(conf(*(f"lxc.cgroup2.devices.{line}" for line in lines)), name, hierarchy.detect())
        cgroups.create_payload()
        cgroups.setup_device_limits()
        found = opened(cgroups, *NODES)
        cgroups.remove_payload()
        cgroups.close()
        return found

    assert unified_only(life) == list(wanted)


@with_v2
def test_unified_device_rules_change_at_run_time(name: str) -> None:
    def life() -> list[Any]:
        cgroups = ContainerCgroups(conf(), name, hierarchy.detect())
        cgroups.create_payload()
        cgroups.setup_device_limits()
        steps: list[Any] = []
        for kind, major, minor, access, allow in (
            ("c", 1, 5, "r", True),  # allowing one does not forbid the others
            ("c", 1, 5, "r", False),
            ("a", -1, -1, "", False),
            ("c", 1, 9, "rwm", True),
            ("a", -1, -1, "", True),
        ):
            cgroups.change_device_rule(kind, major, minor, access, allow)
            steps.append(opened(cgroups, *NODES))
        try:
            cgroups.change_device_rule("x", 1, 9, "r", True)
        except LxcError as error:
            steps.append(str(error))
        cgroups.remove_payload()
        cgroups.close()
        return steps

    assert unified_only(life) == [
        list(NODES),
        ["/dev/null", "/dev/urandom"],
        [],
        ["/dev/urandom"],
        list(NODES),
        'x 1:9 r: the type is a, b or c, not "x"',
    ]


@with_v2
@pytest.mark.skipif(not _v2_controllers(), reason="no controller is left to version 2 on this host")
def test_unified_base_that_takes_no_processes(name: str) -> None:
    """Below a folder that gives controllers away a monitor goes to lxc.pivot, which the next start removes."""

    def life() -> list[Any]:
        outer = f"{CGROUP}/{name}"
        os.mkdir(outer)
        Path(CGROUP, "cgroup.subtree_control").write_text(" ".join(f"+{c}" for c in Path(CGROUP, "cgroup.controllers").read_text().split()))
        Path(outer, "cgroup.procs").write_text("0")
        cgroups = ContainerCgroups(conf("lxc.cgroup.relative = 1"), "c1", hierarchy.detect(relative=True))
        cgroups.create_monitor()
        cgroups.create_payload()  # moves the only process of the base out of the way
        monitor = cgroups_of()[""]
        cgroups.enter_monitor(os.getpid())
        cgroups.remove_payload()
        cgroups.remove_monitor()
        cgroups.close()
        pivot = cgroups_of()[""]
        Path(CGROUP, "cgroup.procs").write_text("0")
        left = sorted(os.listdir(outer))
        host = hierarchy.detect()
        host.hierarchies[0].base = name
        again = ContainerCgroups(conf(), "c1", host)
        again.cleanup_stale()
        again.close()
        gone = not os.path.exists(f"{outer}/lxc.pivot")
        os.rmdir(outer)
        return [monitor, pivot, [entry for entry in left if entry.startswith("lxc.")], gone]

    monitor, pivot, left, gone = unified_only(life)
    assert monitor == f"/{name}/lxc.monitor.c1"
    assert (pivot, left, gone) == (f"/{name}/lxc.pivot", ["lxc.pivot"], True)
