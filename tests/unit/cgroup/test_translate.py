# SPDX-License-Identifier: LGPL-2.1-or-later
"""Limits of one cgroup version in the words of the other, by table."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.cgroup import limits, translate
from lxctools.cgroup.limits import plan
from lxctools.cgroup.translate import NoCounterpart

TO_V2 = [
    ("memory.limit_in_bytes", "1G", "memory.max", "1G"),
    ("memory.limit_in_bytes", "-1", "memory.max", "max"),
    ("memory.soft_limit_in_bytes", "5", "memory.low", "5"),
    ("memory.soft_limit_in_bytes", "-1", "memory.low", "0"),
    ("memory.memsw.limit_in_bytes", "-1", "memory.swap.max", "max"),
    ("cpu.shares", "1024", "cpu.weight", "100"),
    ("cpu.shares", "2", "cpu.weight", "1"),
    ("cpu.shares", "262144", "cpu.weight", "10000"),
    ("cpu.cfs_quota_us", "50000", "cpu.max", "50000 100000"),
    ("cpu.cfs_quota_us", "-1", "cpu.max", "max 100000"),
    ("cpu.cfs_period_us", "20000", "cpu.max", "max 20000"),
    ("cpu.cfs_burst_us", "20000", "cpu.max.burst", "20000"),
    ("cpuset.cpus", "0-1", "cpuset.cpus", "0-1"),
    ("cpuset.mems", "0", "cpuset.mems", "0"),
    ("pids.max", "max", "pids.max", "max"),
    ("blkio.weight", "500", "io.weight", "100"),
    ("blkio.weight", "10", "io.weight", "2"),
    ("blkio.weight_device", "8:0 1000", "io.weight", "8:0 200"),
    ("blkio.bfq.weight", "7", "io.bfq.weight", "7"),
    ("blkio.throttle.read_bps_device", "8:16 1048576", "io.max", "8:16 rbps=1048576"),
    ("blkio.throttle.write_bps_device", "8:16 0", "io.max", "8:16 wbps=max"),
    ("blkio.throttle.read_iops_device", "8:16 3", "io.max", "8:16 riops=3"),
    ("blkio.throttle.write_iops_device", "8:16 4", "io.max", "8:16 wiops=4"),
    ("freezer.state", "FROZEN", "cgroup.freeze", "1"),
    ("hugetlb.2MB.limit_in_bytes", "4M", "hugetlb.2MB.max", "4M"),
    ("hugetlb.1GB.rsvd.limit_in_bytes", "-1", "hugetlb.1GB.rsvd.max", "max"),
    ("rdma.max", "mlx4_0 hca_handle=2", "rdma.max", "mlx4_0 hca_handle=2"),
    ("memory.max", "1G", "memory.max", "1G"),  # the other version's name under this key
    ("cgroup.max.depth", "3", "cgroup.max.depth", "3"),
]
TO_V1 = [
    ("memory.max", "1G", "memory.limit_in_bytes", "1G"),
    ("memory.max", "max", "memory.limit_in_bytes", "-1"),
    ("memory.low", "5", "memory.soft_limit_in_bytes", "5"),
    ("memory.low", "0", "memory.soft_limit_in_bytes", "-1"),
    ("memory.swap.max", "max", "memory.memsw.limit_in_bytes", "-1"),
    ("cpu.weight", "100", "cpu.shares", "1024"),
    ("cpu.weight", "10000", "cpu.shares", "102400"),
    ("cpu.max", "50000", "cpu.cfs_quota_us", "50000"),
    ("cpu.max", "max", "cpu.cfs_quota_us", "-1"),
    ("io.weight", "100", "blkio.weight", "500"),
    ("io.weight", "default 10000", "blkio.weight", "1000"),
    ("io.weight", "8:0 100", "blkio.weight_device", "8:0 500"),
    ("io.max", "8:16 wiops=max", "blkio.throttle.write_iops_device", "8:16 0"),
    ("cgroup.freeze", "0", "freezer.state", "THAWED"),
    ("hugetlb.2MB.max", "max", "hugetlb.2MB.limit_in_bytes", "-1"),
    ("pids.max", "5", "pids.max", "5"),
    ("memory.limit_in_bytes", "1G", "memory.limit_in_bytes", "1G"),
]
# Values that are what the other version does anyway.
NOTHING = [
    (True, "memory.use_hierarchy", "1"),
    (True, "memory.oom_control", "0"),
    (True, "memory.kmem.limit_in_bytes", "-1"),
    (True, "cgroup.clone_children", "1"),
    (True, "cpuset.cpu_exclusive", "0"),
    (False, "memory.high", "max"),
    (False, "memory.min", "0"),
    (False, "cpuset.cpus.partition", "member"),
]
REFUSED = [
    (True, "memory.swappiness", "10"),
    (True, "memory.oom_control", "1"),
    (True, "memory.kmem.limit_in_bytes", "1G"),
    (True, "memory.memsw.limit_in_bytes", "1G"),
    (True, "memory.limit_in_bytes", "lots"),
    (True, "cpu.shares", "many"),
    (True, "cpu.rt_runtime_us", "500"),
    (True, "blkio.weight", "5000"),
    (True, "blkio.throttle.read_bps_device", "sda 5"),
    (True, "net_cls.classid", "0x10001"),
    (True, "net_prio.ifpriomap", "eth0 5"),
    (True, "freezer.state", "COLD"),
    (True, "foo.bar", "1"),
    (True, "", "1"),
    (False, "memory.high", "1G"),
    (False, "memory.swap.max", "1G"),
    (False, "io.latency", "8:0 target=5"),
    (False, "io.max", "8:0 speed=5"),
    (False, "cgroup.max.depth", "3"),
    (False, "cpu.max", "lots"),
]


def one(file: str, value: str, *, unified: bool) -> limits.Plan:
    return plan([(file, value)], [], unified=True) if unified else plan([], [(file, value)], unified=False)


@pytest.mark.parametrize(
    ("unified", "file", "value", "target", "text"), [*((True, *row) for row in TO_V2), *((False, *row) for row in TO_V1)]
)
def test_rows(unified: bool, file: str, value: str, target: str, text: str) -> None:
    made = one(file, value, unified=unified)
    assert [setting.choices[0] for setting in made.settings] == [(target, text)]
    assert made.problems == []
    (key, _value, note), prefix = made.notes[0], "lxc.cgroup." if unified else "lxc.cgroup2."
    assert key == prefix + file and f"{target} = {text}" in note and "\n" not in note


@pytest.mark.parametrize(("unified", "file", "value"), NOTHING)
def test_what_is_done_anyway(unified: bool, file: str, value: str) -> None:
    made = one(file, value, unified=unified)
    assert (made.settings, made.notes, made.problems) == ([], [], [])


@pytest.mark.parametrize(("unified", "file", "value"), REFUSED)
def test_no_counterpart(unified: bool, file: str, value: str) -> None:
    made = one(file, value, unified=unified)
    assert made.settings == [] and len(made.problems) == 1
    key, shown, reason, remedy = made.problems[0]
    assert key.endswith(file) and shown == value and "no counterpart" in reason and remedy


def test_memory_and_swap_are_counted_apart() -> None:
    made = plan([("memory.memsw.limit_in_bytes", "3G"), ("memory.limit_in_bytes", "1G")], [], unified=True)
    assert [setting.choices[0] for setting in made.settings] == [("memory.swap.max", str(2 << 30)), ("memory.max", "1G")]
    back = plan([], [("memory.swap.max", "2G"), ("memory.max", "1G")], unified=False)
    assert [setting.choices[0] for setting in back.settings] == [
        ("memory.limit_in_bytes", "1G"),
        ("memory.memsw.limit_in_bytes", str(3 << 30)),
    ], "the kernel wants the larger one last"
    assert plan([("memory.memsw.limit_in_bytes", "1G"), ("memory.limit_in_bytes", "2G")], [], unified=True).problems


def test_native_memory_and_swap_comes_after_memory() -> None:
    entries = [("memory.memsw.limit_in_bytes", "2G"), ("cpu.shares", "5"), ("memory.limit_in_bytes", "1G"), ("cpu.shares", "6")]
    made = plan(entries, [], unified=False)
    assert [setting.choices[0] for setting in made.settings] == [*entries[1:], entries[0]]


def test_a_quota_takes_its_period_along() -> None:
    made = plan([("cpu.cfs_period_us", "20000"), ("cpu.cfs_quota_us", "10000")], [], unified=True)
    assert [setting.choices[0] for setting in made.settings] == [("cpu.max", "10000 20000")]
    back = plan([], [("cpu.max", "10000 20000")], unified=False)
    assert [setting.choices[0] for setting in back.settings] == [("cpu.cfs_period_us", "20000"), ("cpu.cfs_quota_us", "10000")]


def test_io_max_is_several_files() -> None:
    made = plan([], [("io.max", "8:0 rbps=5 wiops=max")], unified=False)
    assert [setting.choices[0] for setting in made.settings] == [
        ("blkio.throttle.read_bps_device", "8:0 5"),
        ("blkio.throttle.write_iops_device", "8:0 0"),
    ]


def test_what_is_written_for_both_versions_is_not_translated() -> None:
    made = plan([("memory.limit_in_bytes", "1G"), ("memory.swappiness", "5")], [("memory.max", "2G")], unified=True)
    assert [setting.choices[0] for setting in made.settings] == [("memory.max", "2G")]
    assert made.problems == [] and len(made.notes) == 1 and "passed over" in made.notes[0][2]
    blkio = plan([("blkio.leaf_weight", "5")], [("io.max", "8:0 rbps=5")], unified=True)
    assert blkio.problems == [] and blkio.notes


def test_devices_of_the_other_version_are_set_beside_the_native_ones() -> None:
    old = [("blkio.throttle.write_bps_device", "8:16 100"), ("blkio.throttle.write_bps_device", "8:0 100")]
    made = plan(old, [("io.max", "8:0 rbps=5")], unified=True)
    assert [setting.choices[0] for setting in made.settings] == [("io.max", "8:0 rbps=5"), ("io.max", "8:16 wbps=100")]
    notes = [(value, note) for _key, value, note in made.notes]
    assert notes[0][0] == "8:16 100" and "set as io.max = 8:16 wbps=100" in notes[0][1]
    assert notes[1][0] == "8:0 100" and "passed over" in notes[1][1] and "8:0 rbps=5" in notes[1][1]
    assert len(notes) == 2
    back = plan([("blkio.throttle.read_bps_device", "8:0 5")], [("io.max", "8:0 rbps=5 wbps=6")], unified=False)
    assert [setting.choices[0] for setting in back.settings][1:] == [("blkio.throttle.write_bps_device", "8:0 6")]
    assert len(back.notes) == 1, "what is the same needs no word"


def test_a_hybrid_hosts_version_2_has_its_own_files() -> None:
    made = plan([], [("cgroup.max.depth", "3")], unified=False, core=True)
    assert [setting.choices[0] for setting in made.settings] == [("cgroup.max.depth", "3")]


RULES = [("devices.deny", "a"), ("devices.allow", "c 1:3 rwm")]


@pytest.mark.parametrize("unified", [True, False])
def test_device_rules(unified: bool) -> None:
    mine, other = ("lxc.cgroup2.", "lxc.cgroup.") if unified else ("lxc.cgroup.", "lxc.cgroup2.")

    def devices(native: list[tuple[str, str]], foreign: list[tuple[str, str]]) -> list[tuple[str, str]]:
        old, new = (foreign, native) if unified else (native, foreign)
        return plan(old, new, unified=unified).devices

    native = [(mine + file, value) for file, value in RULES]
    foreign = [(other + file, value) for file, value in RULES]
    assert devices(RULES, []) == native
    assert devices([], RULES) == foreign, "each takes effect where only the other version is written"
    assert devices(RULES, RULES) == native, "as in common.conf, which says both"
    more = ("devices.deny", "c 10:229 rwm")
    assert devices(RULES, [*RULES, more]) == [*native, (other + more[0], more[1])]
    assert devices(RULES[1:], RULES[:1]) == [*foreign[:1], *native[1:]], "one that begins anew does not undo the native ones"


@pytest.mark.parametrize(
    ("native", "foreign", "expected", "word"),
    [
        ([("deny", "a"), ("allow", "c 1:3 rwm")], [("deny", "a *:* rwm"), ("allow", "c 1:3 rwm")], "NN", ""),
        ([("deny", "a"), ("allow", "c 1:3 rwm")], [("deny", "a *:* rwm"), ("allow", "c 5:1 rwm")], "NNF", "set with"),
        ([("deny", "a"), ("allow", "c 1:3 rwm")], [("allow", "a")], "NN", "deny = a begins anew"),
        ([("deny", " a ")], [("allow", "a *:* rwm"), ("deny", "b *:* m")], "N", "deny = a begins anew"),
        ([("allow", "c 1:3 rwm")], [("deny", "a *:* rwm"), ("allow", "c 5:1 rwm")], "FFN", "set with"),
    ],
)
def test_old_rules_that_begin_anew(native: list[tuple[str, str]], foreign: list[tuple[str, str]], expected: str, word: str) -> None:
    """The kernel's version 1 takes any rule whose first word is "a" for one of everything."""
    old, new = ([(f"devices.{file}", value) for file, value in rules] for rules in (foreign, native))
    made = plan(old, new, unified=True)
    assert "".join("N" if "cgroup2" in key else "F" for key, _value in made.devices) == expected
    assert not any(value.split() != ["a"] for _key, value in made.devices if value.strip().startswith("a"))
    assert all(word in note for _key, _value, note in made.notes) and bool(made.notes) == bool(word)


def test_no_file_of_devices_is_dropped() -> None:
    assert plan([], [("devices.lst", "a")], unified=True).problems


@given(st.text(max_size=12), st.sampled_from(sorted(translate.TO_V2)), st.booleans())
def test_any_value_is_translated_or_refused(value: str, file: str, unified: bool) -> None:
    made = one(file, value, unified=unified)
    assert made.settings or made.devices or made.problems or _is_default(file, value, unified)


def _is_default(file: str, value: str, unified: bool) -> bool:
    row = (translate.TO_V2 if unified else translate.TO_V1).get(file)
    if row is None:
        return False
    try:
        return row.convert(value, {}) == []
    except NoCounterpart:
        return False


REPOSITORY = str(Path(__file__).parents[3])
LOADED = """
import sys
sys.path.insert(0, sys.argv[1])
from lxctools.cgroup import limits
from lxctools.runtime import start
words = eval(sys.argv[2])
getattr(limits, sys.argv[3])(*words, **({"unified": False} if sys.argv[3] == "plan" else {}))
print("lxctools.cgroup.translate" in sys.modules)
"""


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ([], [], False),
        ([("memory.limit_in_bytes", "1G"), ("devices.deny", "a")], [("devices.deny", "a")], False),  # as in LXC's common.conf
        ([], [("memory.max", "1G")], True),
    ],
)
def test_a_start_loads_the_tables_only_for_lines_of_the_other_version(
    old: list[tuple[str, str]], new: list[tuple[str, str]], wanted: bool
) -> None:
    for function in ("plan", "preload"):
        both = [old, new] if function == "plan" or not os.path.exists("/sys/fs/cgroup/cgroup.controllers") else [new, old]
        done = subprocess.run(
            ["/usr/bin/python3", "-IS", "-c", LOADED, REPOSITORY, repr(both), function], capture_output=True, text=True, check=True
        )
        assert done.stdout == f"{wanted}\n", function
