# SPDX-License-Identifier: LGPL-2.1-or-later
"""A container's cgroups on a played host: names, places, limits, answers. Entering and removing need the real thing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lxctools import log
from lxctools.cgroup import session
from lxctools.cgroup.hierarchy import V1_MAGIC, V2_MAGIC
from lxctools.cgroup.session import ContainerCgroups
from lxctools.config.conf import Config
from lxctools.errors import LxcError

from .fake_host import FakeHost, hybrid, unified

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the base of root is that of pid 1")


@pytest.fixture
def made() -> Iterator[list[ContainerCgroups]]:
    """Closes what a test has made, and looks that nothing else stays open."""
    before = set(os.listdir("/proc/self/fd"))
    things: list[ContainerCgroups] = []
    yield things
    for thing in things:
        thing.close()
    assert set(os.listdir("/proc/self/fd")) <= before


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


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("lxc*") if path.is_dir())


def test_every_hierarchy_gets_the_same_name(tmp_path: Path, made: list[ContainerCgroups]) -> None:
    fake = hybrid(tmp_path)
    made.append(ContainerCgroups(conf(), "c1", fake.detect()))
    made[0].create_monitor()
    made[0].create_payload()
    payload = {f"{place}/lxc.payload.c1" for place in ("systemd", "memory", "cpu,cpuacct", "devices", "unified")}
    # Where the caller is in the base already its monitor stays there.
    monitor = {f"{place}/lxc.monitor.c1" for place in ("systemd", "memory", "unified")}
    assert set(tree(fake.root)) == payload | monitor


def test_a_name_that_is_taken_anywhere_is_taken_everywhere(tmp_path: Path, made: list[ContainerCgroups]) -> None:
    fake = hybrid(tmp_path)
    (fake.root / "unified" / "lxc.payload.c1").mkdir()
    (fake.root / "devices" / "lxc.payload.c1-1").mkdir()
    made.append(ContainerCgroups(conf(), "c1", fake.detect()))
    made[0].create_payload()
    assert made[0].path("memory", limit=False) == "/lxc.payload.c1-2"
    assert tree(fake.root / "memory") == ["lxc.payload.c1-2"]
    assert tree(fake.root / "devices") == ["lxc.payload.c1-1", "lxc.payload.c1-2"]


def test_explicit_names_get_no_suffix(tmp_path: Path, made: list[ContainerCgroups]) -> None:
    fake = hybrid(tmp_path)
    lines = ("lxc.cgroup.dir.monitor = lxcm/m", "lxc.cgroup.dir.container = lxcp", "lxc.cgroup.dir.container.inner = lxci")
    made.append(ContainerCgroups(conf(*lines), "c1", fake.detect()))
    made[0].create_monitor()
    made[0].create_payload()
    assert made[0].path("memory", limit=True) == "/lxcp"
    assert made[0].path("memory", limit=False) == "/lxcp/lxci"
    assert (fake.root / "cpu,cpuacct" / "lxcm" / "m").is_dir(), "a chosen place is used in every hierarchy"
    again = ContainerCgroups(conf(*lines), "c2", fake.detect())
    made.append(again)
    with pytest.raises(LxcError, match="exists already"):
        again.create_payload()
    assert tree(fake.root / "memory") == ["lxcm", "lxcp", "lxcp/lxci"], "what was there stays"


def test_a_failure_in_the_last_hierarchy_undoes_the_others(
    tmp_path: Path, made: list[ContainerCgroups], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = hybrid(tmp_path)
    made.append(ContainerCgroups(conf("lxc.cgroup.dir = lxcd"), "c1", fake.detect()))
    real, failing = os.mkdir, os.open(fake.root / "unified", os.O_PATH)
    inode = os.fstat(failing).st_ino
    os.close(failing)

    def mkdir(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        if dir_fd is not None and os.fstat(dir_fd).st_ino == inode:
            raise OSError(11, "Resource temporarily unavailable", path)
        real(path, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(LxcError, match=r"cannot make the cgroup .*/unified/lxcd/lxc\.payload\.c1: Resource") as caught:
        made[0].create_payload()
    assert "max.descendants" in caught.value.remedy
    assert tree(fake.root) == []


def test_a_folder_that_cannot_be_opened_leaks_nothing(tmp_path: Path, made: list[ContainerCgroups]) -> None:
    fake = hybrid(tmp_path)
    host = fake.detect()
    (fake.root / "devices").rmdir()
    with pytest.raises(LxcError, match="cannot use the cgroup hierarchy v1 devices"):
        ContainerCgroups(conf(), "c1", host)


def test_limits_of_version_1(tmp_path: Path, made: list[ContainerCgroups], warnings: list[str]) -> None:
    fake = hybrid(tmp_path)
    lines = (
        "lxc.cgroup.memory.memsw.limit_in_bytes = 2G",
        "lxc.cgroup.memory.limit_in_bytes = 1G",
        "lxc.cgroup.devices.deny = a",
        "lxc.cgroup.devices.allow = /dev/null rw",
        "lxc.cgroup2.memory.max = 5G",
        "lxc.cgroup2.memory.high = 1G",
    )
    made.append(ContainerCgroups(conf(*lines), "c1", fake.detect()))
    made[0].create_payload()
    folder = fake.root / "memory" / "lxc.payload.c1"
    (folder / "memory.limit_in_bytes").touch()
    with pytest.raises(LxcError) as caught:
        made[0].setup_limits()
    assert "lxc.cgroup.memory.memsw.limit_in_bytes = 2G" in str(caught.value)
    assert f"{folder}/memory.memsw.limit_in_bytes: No such file" in str(caught.value)
    assert (folder / "memory.limit_in_bytes").read_text() == "1G", "written first, and without a newline"
    (folder / "memory.memsw.limit_in_bytes").touch()
    warnings.clear()
    made[0].setup_limits()
    assert (folder / "memory.memsw.limit_in_bytes").read_text() == "2G"
    assert (folder / "memory.limit_in_bytes").read_text() == "1G", "the native line counts"
    assert len(warnings) == 1 and "lxc.cgroup2.memory.high = 1G is passed over" in warnings[0]
    devices = fake.root / "devices" / "lxc.payload.c1"
    for name in ("devices.deny", "devices.allow"):
        (devices / name).touch()
    made[0].setup_device_limits()
    assert (devices / "devices.deny").read_text() == "a"
    assert (devices / "devices.allow").read_text() == "c 1:3 rw"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("lxc.cgroup.blkio.weight = 5", "the blkio controller is not usable on this host"),
        ("lxc.cgroup.memory./../x = 5", "it is no file's name"),
        ("lxc.cgroup.devices.allow = /nonexistent rw", "No such file"),
    ],
)
def test_limits_that_cannot_be_set(tmp_path: Path, made: list[ContainerCgroups], line: str, why: str) -> None:
    made.append(ContainerCgroups(conf(line), "c1", hybrid(tmp_path).detect()))
    made[0].create_payload()
    with pytest.raises(LxcError) as caught:
        made[0].setup_limits()
        made[0].setup_device_limits()
    assert line in str(caught.value) and why in str(caught.value)


def test_an_error_names_the_line_of_the_configuration(tmp_path: Path, made: list[ContainerCgroups]) -> None:
    file = tmp_path / "config"
    file.write_text("# a comment\nlxc.cgroup.memory.limit_in_bytes = 5x\n")
    made.append(ContainerCgroups(Config.read(str(file)), "c1", hybrid(tmp_path).detect()))
    made[0].create_payload()
    with pytest.raises(LxcError, match=f"{file}:2"):
        made[0].setup_limits()


def unified_with_files(tmp_path: Path, fake: FakeHost, cgroups: ContainerCgroups) -> Path:
    cgroups.create_payload()
    return fake.root / "lxc.payload.c1"


def test_limits_of_version_2(tmp_path: Path, made: list[ContainerCgroups], warnings: list[str]) -> None:
    fake = unified(tmp_path)
    lines = ("lxc.cgroup2.memory.max = 1G", "lxc.cgroup2.pids.max = 7", "lxc.cgroup.memory.limit_in_bytes = 2G")
    made.append(ContainerCgroups(conf(*lines), "c1", fake.detect()))
    folder = unified_with_files(tmp_path, fake, made[0])
    for name in ("memory.max", "pids.max"):
        (folder / name).touch()
    made[0].setup_limits()
    assert [(folder / name).read_text() for name in ("memory.max", "pids.max")] == ["1G", "7"]
    assert warnings == [], "it was written for both versions"
    assert (fake.root / "cgroup.subtree_control").read_text() == "+cpuset +cpu +io +memory +pids"


def test_limits_of_version_1_on_a_unified_host(tmp_path: Path, made: list[ContainerCgroups], warnings: list[str]) -> None:
    fake = unified(tmp_path)
    lines = (
        "lxc.cgroup.memory.limit_in_bytes = 1G",
        "lxc.cgroup.memory.memsw.limit_in_bytes = 3G",
        "lxc.cgroup.cpu.shares = 512",
        "lxc.cgroup.blkio.weight = 100",
    )
    made.append(ContainerCgroups(conf(*lines), "c1", fake.detect()))
    folder = unified_with_files(tmp_path, fake, made[0])
    for name in ("memory.max", "memory.swap.max", "cpu.weight", "io.bfq.weight"):
        (folder / name).touch()
    made[0].setup_limits()
    found = {file.name: file.read_text() for file in folder.iterdir()}
    assert found == {"memory.max": "1G", "memory.swap.max": str(2 << 30), "cpu.weight": "50", "io.bfq.weight": "20"}
    assert len(warnings) == len(lines)
    assert "lxc.cgroup.cpu.shares = 512 is of cgroup version 1: set as cpu.weight = 50" in warnings


def test_limits_of_version_2_on_a_hybrid_host(tmp_path: Path, made: list[ContainerCgroups], warnings: list[str]) -> None:
    fake = hybrid(tmp_path)
    made.append(ContainerCgroups(conf("lxc.cgroup2.memory.max = 1G", "lxc.cgroup2.cgroup.max.depth = 4"), "c1", fake.detect()))
    made[0].create_payload()
    memory = fake.root / "memory" / "lxc.payload.c1" / "memory.limit_in_bytes"
    depth = fake.root / "unified" / "lxc.payload.c1" / "cgroup.max.depth"
    for file in (memory, depth):
        file.touch()
    made[0].setup_limits()
    assert (memory.read_text(), depth.read_text()) == ("1G", "4")


@pytest.mark.parametrize(
    ("host", "line"),
    [(hybrid, "lxc.cgroup2.memory.high = 1G"), (unified, "lxc.cgroup.memory.swappiness = 5"), (unified, "lxc.cgroup.foo.bar = 1")],
)
def test_a_limit_without_a_counterpart_is_refused(
    tmp_path: Path, made: list[ContainerCgroups], host: Callable[[Path], FakeHost], line: str
) -> None:
    made.append(ContainerCgroups(conf(line), "c1", host(tmp_path).detect()))
    made[0].create_payload()
    with pytest.raises(LxcError) as caught:
        made[0].setup_limits()
    assert f"cannot set {line}" in str(caught.value) and "no counterpart" in str(caught.value)


def test_answers_on_a_hybrid_host(tmp_path: Path, made: list[ContainerCgroups]) -> None:
    made.append(ContainerCgroups(conf(), "c1", hybrid(tmp_path).detect()))
    cgroups = made[0]
    assert cgroups.ctx_fds() == [] and cgroups.path("memory", limit=False) is None and cgroups.fd("memory", limit=True) is None
    cgroups.create_payload()
    assert (cgroups.layout, cgroups.utilities, cgroups.has_v1) == (1, 0, True)
    assert cgroups.path("cpuacct", limit=False) == "/lxc.payload.c1"
    assert cgroups.path("", limit=False) == "/lxc.payload.c1", "the one without controllers"
    assert cgroups.path("name=systemd", limit=False) == "/lxc.payload.c1"
    assert cgroups.path("blkio", limit=False) is None
    assert cgroups.path("freezer", limit=False) is None, "version 2 does not stand in on a hybrid host"
    assert cgroups.unified_fd(limit=True) == -1
    found = cgroups.fd("memory", limit=False)
    assert found is not None and found[1] == V1_MAGIC
    assert len(cgroups.ctx_fds()) == 5 and cgroups.ctx_fds()[-1] == cgroups.clone_fd()
    assert cgroups.mount_data()[2] == (f"{tmp_path}/cgroup/cpu,cpuacct", ["cpu", "cpuacct"], 1, "lxc.payload.c1")
    with pytest.raises(LxcError):
        cgroups.change_device_rule("c", 1, 3, "r", True)
    with pytest.raises(OSError, match="no freezer"):
        cgroups.freeze()


def test_answers_on_a_unified_host(tmp_path: Path, made: list[ContainerCgroups]) -> None:
    lines = ("lxc.cgroup.dir.monitor = m", "lxc.cgroup.dir.container = p", "lxc.cgroup.dir.container.inner = i")
    fake = unified(tmp_path)
    made.append(ContainerCgroups(conf(*lines), "c1", fake.detect()))
    cgroups = made[0]
    # On a real host the kernel makes these files with the folder.
    real = os.mkdir

    def mkdir(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        real(path, mode, dir_fd=dir_fd)
        for name, text in (("cgroup.controllers", "memory\n"), ("cgroup.subtree_control", "")):
            fd = os.open(f"{path}/{name}", os.O_WRONLY | os.O_CREAT, dir_fd=dir_fd)
            os.write(fd, text.encode())
            os.close(fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "mkdir", mkdir)
        cgroups.create_payload()
    assert (cgroups.layout, cgroups.has_v1) == (2, False)
    assert cgroups.utilities & 2
    assert cgroups.path("memory", limit=False) == "p/i", "no slash before it"
    assert cgroups.path("", limit=False) is None, "it has controllers"
    assert cgroups.path("memory", limit=True) == "p"
    assert cgroups.path("freezer", limit=True) == "p"
    assert cgroups.path("hugetlb", limit=True) is None
    assert cgroups.unified_fd(limit=True) != cgroups.unified_fd(limit=False) == cgroups.clone_fd()
    found = cgroups.fd("freezer", limit=True)
    assert found is not None and found[1] == V2_MAGIC
    assert (fake.root / "p" / "cgroup.subtree_control").read_text() == "+memory", "the limit's folder gives controllers on"
    assert (fake.root / "p" / "i" / "cgroup.subtree_control").read_text() == "", "the leaf does not"


def test_a_pattern_of_lxc_conf(tmp_path: Path, made: list[ContainerCgroups], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "system_value", lambda key: "lxc/%n" if key == "lxc.cgroup.pattern" else None)
    fake = hybrid(tmp_path)
    made.append(ContainerCgroups(conf(), "c1", fake.detect()))
    made[0].create_payload()
    assert made[0].path("memory", limit=False) == "/lxc/c1/payload"
