# SPDX-License-Identifier: LGPL-2.1-or-later
"""Limits written for the cgroup version that this host does not have, on whole containers: this hybrid host, and a mount
namespace in which /sys/fs/cgroup is version 2 and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import host

from . import test_cgroup
from .test_cgroup import unified_only, with_v1, with_v2
from .test_start import ours, start

PAYLOAD = "lxc.payload.c1"


def found(pattern: str) -> list[str]:
    """The contents of a file of the container's cgroups, wherever it is."""
    root = Path("/sys/fs/cgroup")
    return [path.read_text().strip() for place in (PAYLOAD, f"*/{PAYLOAD}") for path in root.glob(f"{place}/{pattern}")]


@with_v1
def test_version_2_limits_on_this_host(unchanged_host: None, lxcpath: Path) -> None:
    lines = (
        "lxc.cgroup2.pids.max = 77",
        "lxc.cgroup2.memory.max = 256M",
        "lxc.cgroup2.cpu.weight = 50",
        "lxc.cgroup2.cpu.max = 50000 100000",
        "lxc.cgroup2.memory.high = max",
        "lxc.cgroup2.devices.deny = c 1:9 rwm",
    )
    start(lxcpath, "".join(f"{line}\n" for line in lines), "-l", "WARN", "-o", lxcpath / "log")
    assert found("pids.max") == ["77"]
    assert found("memory.limit_in_bytes") == [str(256 << 20)]
    assert set(found("cpu.shares")) == {"512"}
    assert set(found("cpu.cfs_quota_us")) == {"50000"}
    done = ours("attach", lxcpath, "--", "sh", "-c", "head -c 1 /dev/urandom >/dev/null || echo no; head -c 1 /dev/zero >/dev/null && echo yes")
    assert done.stdout == b"no\nyes\n", done
    ours("stop", lxcpath, "-k", check=True)
    log = (lxcpath / "log").read_text()
    assert f"lxc.cgroup2.cpu.weight = 50 ({lxcpath}/c1/config" in log and "set as cpu.shares = 512" in log


@with_v1
def test_a_limit_that_cannot_be_said_here_stops_the_start(unchanged_host: None, lxcpath: Path) -> None:
    folder = host.make_container(lxcpath, "c1", "lxc.cgroup2.memory.high = 1G\n")
    done = ours("start", lxcpath)
    assert done.returncode == 1 and b"lxc.cgroup2.memory.high = 1G" in done.stderr and b"no counterpart" in done.stderr
    # Written for both versions it is no limit of this host's.
    with (folder / "config").open("a") as config:
        config.write("lxc.cgroup.memory.limit_in_bytes = 256M\n")
    ours("start", lxcpath, check=True)
    ours("stop", lxcpath, "-k", check=True)


@with_v2
def test_version_1_limits_where_there_is_only_version_2(lxcpath: Path) -> None:
    def life() -> list[Any]:
        start(
            lxcpath,
            "lxc.cgroup.devices.deny = a\nlxc.cgroup.devices.allow = c 1:3 rwm\nlxc.cgroup.devices.allow = c 1:5 rwm\n"
            "lxc.cgroup.devices.allow = c 5:* rwm\nlxc.cgroup.devices.allow = c 136:* rwm\nlxc.cgroup.cgroup.max.depth = 7\n"
            "lxc.cgroup.memory.use_hierarchy = 1\nlxc.cgroup.freezer.state = THAWED\n",
        )
        script = "for f in zero urandom; do head -c 1 /dev/$f >/dev/null 2>&1 && echo $f; done"
        seen = ours("attach", lxcpath, "--", "sh", "-c", script).stdout.decode()
        depth = found("cgroup.max.depth")
        ours("stop", lxcpath, "-k", check=True)
        refused = ours("start", lxcpath, "-s", "lxc.cgroup.memory.swappiness = 5").stderr.decode()
        return [seen, depth, refused, found("cgroup.procs")]

    seen, depth, refused, left = unified_only(life)
    assert seen == "zero\n"
    assert depth == ["7"]
    assert "lxc.cgroup.memory.swappiness = 5" in refused and "memory.swap.max" in refused
    assert left == []


@with_v2
@pytest.mark.skipif("hugetlb" not in test_cgroup._v2_controllers(), reason="no hugetlb controller is left to version 2 here")
def test_a_size_that_becomes_another_files(lxcpath: Path) -> None:
    def life() -> list[str]:
        start(lxcpath, "lxc.cgroup.hugetlb.2MB.limit_in_bytes = 4M\n")
        limit = found("hugetlb.2MB.max")
        ours("stop", lxcpath, "-k", check=True)
        return limit

    assert unified_only(life) == [str(4 << 20)]
