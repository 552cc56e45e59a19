# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finding the hierarchies, on hosts that are played by folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lxctools.cgroup.hierarchy import HYBRID, LEGACY, UNIFIED, V1_MAGIC, V2_MAGIC, Hierarchy, delegated_files, detect
from lxctools.errors import LxcError

from .fake_host import FakeHost, hybrid, unified

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="the base of root is that of pid 1")


def names(hierarchies: list[Hierarchy]) -> list[str]:
    return [",".join(h.controllers) for h in hierarchies]


@as_root
def test_hybrid(tmp_path: Path) -> None:
    host = hybrid(tmp_path).detect()
    assert host.layout == HYBRID
    assert names(host.hierarchies) == ["name=systemd", "memory", "cpu,cpuacct", "devices", ""]
    assert [h.version for h in host.hierarchies] == [1, 1, 1, 1, 2]
    assert {h.base for h in host.hierarchies} == {""}, "init.scope is not part of the base"
    assert host.hierarchies[0].own == "user.slice/session-1.scope"
    assert host.hierarchies[0].magic == V1_MAGIC
    assert host.unified is host.hierarchies[-1] and host.unified.magic == V2_MAGIC
    assert host.unified.where("a/b") == f"{tmp_path}/cgroup/unified/a/b"


def test_legacy(tmp_path: Path) -> None:
    fake = FakeHost(tmp_path)
    fake.v1(2, "memory")
    fake.v1(1, "freezer")
    host = fake.detect()
    assert (host.layout, names(host.hierarchies), host.unified) == (LEGACY, ["memory", "freezer"], None)


@as_root
def test_unified(tmp_path: Path) -> None:
    host = unified(tmp_path).detect()
    assert host.layout == UNIFIED
    assert names(host.hierarchies) == ["cpuset,cpu,io,memory,pids"]
    assert host.hierarchies[0].folder == str(tmp_path / "cgroup")


def test_a_later_mount_on_the_root_hides_those_below(tmp_path: Path) -> None:
    fake = FakeHost(tmp_path)
    fake.tmpfs()
    fake.v1(5, "cpuset")
    fake.v2(at="", controllers="memory")
    host = fake.detect()
    assert (host.layout, names(host.hierarchies)) == (UNIFIED, ["memory"])
    # ... and one that is mounted over that again shows version 1 again.
    fake.tmpfs()
    fake.v1(9, "pids")
    host = fake.detect()
    assert (host.layout, names(host.hierarchies)) == (LEGACY, ["pids"])


def test_mounts_elsewhere_are_not_ours(tmp_path: Path) -> None:
    fake = FakeHost(tmp_path)
    fake.v1(2, "memory")
    fake.mounts.append("80 22 0:80 / /mnt/cgroup rw - cgroup cgroup rw,pids")
    fake.own.append("1:pids:/")
    fake.init.append("1:pids:/")
    assert names(fake.detect().hierarchies) == ["memory"]


def test_the_unified_one_comes_last_wherever_it_is_listed(tmp_path: Path) -> None:
    fake = FakeHost(tmp_path)
    fake.tmpfs()
    fake.v2()
    fake.v1(2, "memory")
    assert [h.version for h in fake.detect().hierarchies] == [1, 2]


@as_root
def test_relative_starts_from_the_caller(tmp_path: Path) -> None:
    fake = FakeHost(tmp_path)
    fake.v2(at="", base="/init.scope", own="/user.slice/session-1.scope", controllers="memory")
    (fake.root / "user.slice" / "session-1.scope").mkdir(parents=True)
    assert fake.detect().hierarchies[0].base == ""
    assert fake.detect(relative=True).hierarchies[0].base == "user.slice/session-1.scope"


@as_root
def test_inside_a_container_that_sees_only_its_part(tmp_path: Path) -> None:
    fake = FakeHost(tmp_path)
    fake.v1(2, "memory", base="/lxc.payload.outer/init.scope", own="/lxc.payload.outer/x", root="/lxc.payload.outer")
    (hierarchy,) = fake.detect().hierarchies
    assert hierarchy.base == "lxc.payload.outer", "what the kernel calls it"
    assert hierarchy.where("new") == f"{tmp_path}/cgroup/memory/new"
    assert hierarchy.absolute("/lxc.payload.outer/x") == f"{tmp_path}/cgroup/memory/x"


@as_root
def test_pid_1_outside_of_our_cgroup_namespace(tmp_path: Path) -> None:
    fake = FakeHost(tmp_path)
    fake.v1(2, "memory", base="/", own="/mine")
    (fake.root / "memory" / "mine").mkdir()
    fake.init = ["2:memory:/../../system.slice"]
    assert fake.detect().hierarchies[0].base == "mine"


def test_what_is_not_there_is_passed_over(tmp_path: Path) -> None:
    fake = hybrid(tmp_path)
    (fake.root / "memory").rmdir()
    assert "memory" not in names(fake.detect(relative=False).hierarchies)


def test_nothing_usable_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    fake = FakeHost(tmp_path)
    with pytest.raises(LxcError, match="no cgroup hierarchy can be written to") as caught:
        fake.detect()
    assert caught.value.remedy


@as_root
def test_use_restricts_version_1_and_demands_what_it_lists(tmp_path: Path) -> None:
    fake = hybrid(tmp_path)
    assert names(fake.detect(use="memory, cpuacct").hierarchies) == ["memory", "cpu,cpuacct", ""]
    assert len(fake.detect(use="memory,@all").hierarchies) == len(fake.detect().hierarchies)
    with pytest.raises(LxcError, match=r"lxc\.cgroup\.use asks for blkio"):
        fake.detect(use="memory,blkio")


def test_no_proc_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LxcError, match="cannot find this host's cgroups: No such file"):
        detect(proc_root=str(tmp_path))


def test_delegated_files_have_a_fallback(tmp_path: Path) -> None:
    listed = tmp_path / "delegate"
    listed.write_text("cgroup.procs\nmemory.oom.group\n")
    assert delegated_files(str(listed)) == ["cgroup.procs", "memory.oom.group"]
    assert "cgroup.procs" in delegated_files(str(tmp_path / "none"))
