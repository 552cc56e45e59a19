# SPDX-License-Identifier: LGPL-2.1-or-later
"""Limits that were written for the other cgroup version: what they are called on this host, and in which terms; pure.

What a configuration says for the version that this host does not have is said again in the words of the one it has, by the
two tables below; limits.py says when. A limit that has no counterpart is an error: dropped in silence it would look as if it held.

Sources: Documentation/admin-guide/cgroup-v1/ and cgroup-v2.rst of the kernel; the ratio of cpu.shares to cpu.weight is the
kernel's own (1024 to 100, sched/core.c), that of blkio.weight to io.weight follows from the defaults (500 to 100).
"""

from __future__ import annotations

from .limits import DEVICE_FILES, V1, V2, Plan, Setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .limits import Write

    Convert = Callable[[str, Mapping[str, str]], list[Write]]

_MEMORY, _MEMSW = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
_QUOTA, _PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50, "E": 1 << 60}


class NoCounterpart(ValueError):
    """A value that cannot be said in the other version; the text says why."""


class Row:
    """target: the file or files in the other version, for the manual. how: what happens to the value."""

    __slots__ = ("convert", "how", "target")

    def __init__(self, target: str, convert: Convert, how: str = "") -> None:
        self.target = target
        self.convert = convert
        self.how = how


# -- values ------------------------------------------------------------------------------------------------------------


def _number(text: str, low: int = 0, high: int = 2**63 - 1) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.removeprefix("-").isdecimal() and len(digits) < 24 and low <= int(digits) <= high):
        raise NoCounterpart(f'"{text}" is not a number of {low} to {high}')
    return int(digits)


def _bytes(text: str) -> int:
    """A number of bytes with K, M, G ... as the kernel reads it; -1 for -1 and max."""
    word = text.strip()
    if word in ("-1", "max"):
        return -1
    unit = _UNITS.get(word[-1:].upper(), 1)
    return _number(word[:-1] if unit > 1 else word) * unit


def _between(number: int, low: int, high: int) -> str:
    return str(min(max(number, low), high))


def _device(text: str) -> tuple[str, str]:
    device, value = _place("", text)[1], text.strip().partition(" ")[2]
    if not (device and value.strip()):
        raise NoCounterpart(f'"{text}" is not MAJOR:MINOR VALUE')
    return device, value.strip()


# -- one direction -----------------------------------------------------------------------------------------------------


def _same(file: str) -> Row:
    return Row(file, lambda text, _all: [[(file, text)]])


def _limit(file: str, none: str) -> Convert:
    """A size or count whose word for "no limit" is `none`."""

    def convert(text: str, _all: Mapping[str, str]) -> list[Write]:
        return [[(file, none if _bytes(text) < 0 else text.strip())]]

    return convert


def _only(*values: str, why: str) -> Row:
    """A file whose only translatable values are what the other version does anyway."""

    def convert(text: str, _all: Mapping[str, str]) -> list[Write]:
        if text.strip() not in values:
            raise NoCounterpart(why)
        return []

    return Row("", convert, f"{' or '.join(values)} is what is done anyway; otherwise: {why}" if values else f"none: {why}")


def _swap_max(text: str, others: Mapping[str, str]) -> list[Write]:
    both = _bytes(text)
    if both < 0:
        return [[("memory.swap.max", "max")]]
    memory = _bytes(others.get(_MEMORY, "-1"))
    if memory < 0:
        raise NoCounterpart(f"it limits memory and swap together, and without {V1}{_MEMORY} there is no limit of swap to take from it")
    if both < memory:
        raise NoCounterpart(f"it is less than {V1}{_MEMORY} = {others[_MEMORY]}")
    return [[("memory.swap.max", str(both - memory))]]


def _memsw(text: str, others: Mapping[str, str]) -> list[Write]:
    swap = _bytes(text)
    if swap < 0:
        return [[(_MEMSW, "-1")]]
    memory = _bytes(others.get("memory.max", "-1"))
    if memory < 0:
        raise NoCounterpart(f"version 1 limits memory and swap together only, and there is no {V2}memory.max to add it to")
    return [[(_MEMSW, str(memory + swap))]]


def _low(text: str, _all: Mapping[str, str]) -> list[Write]:
    return [[("memory.low", _between(_bytes(text), 0, 2**63 - 1))]]


def _soft(text: str, _all: Mapping[str, str]) -> list[Write]:
    size = _bytes(text)
    return [[("memory.soft_limit_in_bytes", str(size if size else -1))]]


def _weight(text: str, _all: Mapping[str, str]) -> list[Write]:
    return [[("cpu.weight", _between(round(_number(text) * 100 / 1024), 1, 10000))]]


def _shares(text: str, _all: Mapping[str, str]) -> list[Write]:
    return [[("cpu.shares", _between(round(_number(text, 1, 10000) * 1024 / 100), 2, 262144))]]


def _quota(text: str, others: Mapping[str, str]) -> list[Write]:
    quota = _number(text, -1)
    return [[("cpu.max", f"{'max' if quota < 0 else quota} {_number(others.get(_PERIOD, '100000'))}")]]


def _period(text: str, others: Mapping[str, str]) -> list[Write]:
    return [] if _QUOTA in others else [[("cpu.max", f"max {_number(text)}")]]  # a quota takes its period along


def _cfs(text: str, _all: Mapping[str, str]) -> list[Write]:
    quota, _, period = text.strip().partition(" ")
    writes = [[(_PERIOD, str(_number(period)))]] if period.strip() else []
    return [*writes, [(_QUOTA, "-1" if quota == "max" else str(_number(quota)))]]


def _io_weight(text: str, _all: Mapping[str, str]) -> list[Write]:
    weight = _number(text, 10, 1000)
    return [[("io.weight", _between(round(weight / 5), 1, 10000)), ("io.bfq.weight", _between(round(weight / 5), 1, 1000))]]


def _io_weight_device(text: str, _all: Mapping[str, str]) -> list[Write]:
    device, value = _device(text)
    return [[(file, f"{device} {choice}") for file, choice in _io_weight(value, {})[0]]]


def _blkio_weight(text: str, _all: Mapping[str, str]) -> list[Write]:
    word = text.strip().removeprefix("default ")
    device, value = _device(word) if ":" in word else ("", word)
    weight = _number(value, 1, 10000)
    old, bfq = _between(weight * 5, 10, 1000), _between(weight, 1, 1000)
    if device:
        return [[("blkio.weight_device", f"{device} {old}"), ("blkio.bfq.weight_device", f"{device} {bfq}")]]
    return [[("blkio.weight", old), ("blkio.bfq.weight", bfq)]]


_THROTTLES = {
    "rbps": "blkio.throttle.read_bps_device",
    "wbps": "blkio.throttle.write_bps_device",
    "riops": "blkio.throttle.read_iops_device",
    "wiops": "blkio.throttle.write_iops_device",
}


def _throttle(word: str) -> Row:
    def convert(text: str, _all: Mapping[str, str]) -> list[Write]:
        device, value = _device(text)
        number = _number(value)
        return [[("io.max", f"{device} {word}={number or 'max'}")]]

    return Row("io.max", convert, f"MAJOR:MINOR N becomes MAJOR:MINOR {word}=N")


def _io_max(text: str, _all: Mapping[str, str]) -> list[Write]:
    device, words = _device(text)
    writes: list[Write] = []
    for word in words.split():
        name, _, value = word.partition("=")
        if name not in _THROTTLES:
            raise NoCounterpart(f'"{word}" is none of {", ".join(f"{name}=" for name in _THROTTLES)}')
        number = 0 if value == "max" else _number(value)
        writes.append([(_THROTTLES[name], f"{device} {number}")])
    return writes


def _freeze(text: str, _all: Mapping[str, str]) -> list[Write]:
    words = {"FROZEN": "1", "THAWED": "0"}
    if text.strip() not in words:
        raise NoCounterpart(f'"{text}" is neither FROZEN nor THAWED')
    return [[("cgroup.freeze", words[text.strip()])]]


def _freezer(text: str, _all: Mapping[str, str]) -> list[Write]:
    return [[("freezer.state", "FROZEN" if _number(text, 0, 1) else "THAWED")]]


_SIZES = "-1 becomes max"
_SIZES_BACK = "max becomes -1"
_IDENTICAL = ("pids.max", "cpuset.cpus", "cpuset.mems", "cpu.idle", "cpu.uclamp.min", "cpu.uclamp.max", "rdma.max", "misc.max")
_KMEM = "version 2 counts the kernel's memory in memory.max and has no limit of its own for it"
_TAGS = "version 2 has no such controller: nftables matches a container's packets by its cgroup (socket cgroupv2)"
_REALTIME = "version 2 has no real-time bandwidth control"
_PARTITION = "version 2 makes sets exclusive by cpuset.cpus.partition, which the folders above must allow"

TO_V2: dict[str, Row] = {
    **{file: _same(file) for file in _IDENTICAL},
    _MEMORY: Row("memory.max", _limit("memory.max", "max"), _SIZES),
    _MEMSW: Row("memory.swap.max", _swap_max, "memory.limit_in_bytes is subtracted: version 2 limits swap alone; -1 becomes max"),
    "memory.soft_limit_in_bytes": Row("memory.low", _low, "-1, no such limit, becomes 0"),
    "memory.kmem.limit_in_bytes": _only("-1", why=_KMEM),
    "memory.kmem.tcp.limit_in_bytes": _only("-1", why=_KMEM),
    "memory.swappiness": _only("60", why="version 2 has vm.swappiness of the host only; memory.swap.max = 0 forbids swapping"),
    "memory.oom_control": _only("0", why="version 2 cannot make processes wait instead of being killed"),
    "memory.use_hierarchy": _only("1", why="version 2 always counts what is below a group as the group's own"),
    "memory.move_charge_at_immigrate": _only("0", why="version 2 leaves memory charged where it was used first"),
    "cpu.shares": Row("cpu.weight", _weight, "N becomes N * 100 / 1024, of 1 to 10000"),
    _QUOTA: Row("cpu.max", _quota, "QUOTA PERIOD, with -1 as max and the period of cpu.cfs_period_us or 100000"),
    _PERIOD: Row("cpu.max", _period, "see cpu.cfs_quota_us"),
    "cpu.cfs_burst_us": Row("cpu.max.burst", lambda text, _all: [[("cpu.max.burst", text)]]),
    "cpu.rt_runtime_us": _only("0", why=_REALTIME),
    "cpu.rt_period_us": _only("1000000", why=_REALTIME),
    "cpuset.cpu_exclusive": _only("0", why=_PARTITION),
    "cpuset.mem_exclusive": _only("0", why="version 2 has no exclusive memory nodes"),
    "cpuset.mem_hardwall": _only("0", why="version 2 has no hardwalls of memory nodes"),
    "cpuset.memory_migrate": _only("1", "0", why="version 2 always moves the pages"),
    "cpuset.memory_spread_page": _only("0", why="version 2 does not spread the page cache"),
    "cpuset.memory_spread_slab": _only("0", why="version 2 does not spread the kernel's caches"),
    "cpuset.sched_load_balance": _only("1", why=_PARTITION),
    "blkio.weight": Row("io.weight, else io.bfq.weight", _io_weight, "N becomes N / 5"),
    "blkio.weight_device": Row("io.weight, else io.bfq.weight", _io_weight_device, "MAJOR:MINOR N becomes MAJOR:MINOR N / 5"),
    "blkio.bfq.weight": Row("io.bfq.weight", lambda text, _all: [[("io.bfq.weight", text)]]),
    "blkio.bfq.weight_device": Row("io.bfq.weight", lambda text, _all: [[("io.bfq.weight", text)]]),
    **{file: _throttle(word) for word, file in _THROTTLES.items()},
    "freezer.state": Row("cgroup.freeze", _freeze, "FROZEN becomes 1, THAWED 0"),
    "hugetlb.*.limit_in_bytes": Row("hugetlb.*.max", _limit("hugetlb.*.max", "max"), _SIZES),
    "hugetlb.*.rsvd.limit_in_bytes": Row("hugetlb.*.rsvd.max", _limit("hugetlb.*.rsvd.max", "max"), _SIZES),
    "net_cls.classid": _only("0", why=_TAGS),
    "net_prio.ifpriomap": _only(why=_TAGS),
    "notify_on_release": _only("0", why="version 2 runs no release agent"),
    "cgroup.clone_children": _only("0", "1", why="version 2 inherits cpusets by itself"),
    "devices.allow": Row("a BPF program", lambda _text, _all: []),
    "devices.deny": Row("a BPF program", lambda _text, _all: []),
}

TO_V1: dict[str, Row] = {
    **{file: _same(file) for file in _IDENTICAL},
    "memory.max": Row(_MEMORY, _limit(_MEMORY, "-1"), _SIZES_BACK),
    "memory.swap.max": Row(_MEMSW, _memsw, "memory.max is added: version 1 limits both together; max becomes -1"),
    "memory.low": Row("memory.soft_limit_in_bytes", _soft, "0, no protection, becomes -1"),
    "memory.high": _only("max", why="version 1 does not slow a container down that uses much memory, it has memory.limit_in_bytes only"),
    "memory.min": _only("0", why="version 1 protects no memory from being reclaimed"),
    "memory.oom.group": _only("0", why="version 1 kills one process, not the group"),
    "memory.zswap.max": _only("max", why="version 1 does not limit compressed swap"),
    "cpu.weight": Row("cpu.shares", _shares, "N becomes N * 1024 / 100"),
    "cpu.max": Row(f"{_QUOTA} and {_PERIOD}", _cfs, "QUOTA [PERIOD], with max as -1"),
    "cpu.max.burst": Row("cpu.cfs_burst_us", lambda text, _all: [[("cpu.cfs_burst_us", text)]]),
    "cpuset.cpus.partition": _only("member", why="version 1 has no partitions"),
    "io.weight": Row("blkio.weight, else blkio.bfq.weight", _blkio_weight, "N becomes N * 5; with MAJOR:MINOR blkio.weight_device"),
    "io.bfq.weight": Row("blkio.bfq.weight", lambda text, _all: [[("blkio.bfq.weight", text)]]),
    "io.max": Row("blkio.throttle.*_device", _io_max, "each of rbps, wbps, riops and wiops is a file; max becomes 0"),
    "io.latency": _only(why="version 1 has no target of latency"),
    "cgroup.freeze": Row("freezer.state", _freezer, "1 becomes FROZEN, 0 THAWED"),
    "hugetlb.*.max": Row("hugetlb.*.limit_in_bytes", _limit("hugetlb.*.limit_in_bytes", "-1"), _SIZES_BACK),
    "hugetlb.*.rsvd.max": Row("hugetlb.*.rsvd.limit_in_bytes", _limit("hugetlb.*.rsvd.limit_in_bytes", "-1"), _SIZES_BACK),
    "devices.allow": Row("devices.allow", lambda _text, _all: []),
    "devices.deny": Row("devices.deny", lambda _text, _all: []),
}


# -- a whole configuration ---------------------------------------------------------------------------------------------


def add(result: Plan, native: Sequence[tuple[str, str]], foreign: Sequence[tuple[str, str]], *, unified: bool, core: bool) -> None:
    """Add what this host is to write for the lines of the other version, and what is to be told of them."""
    prefix, other = (V2, V1) if unified else (V1, V2)
    said = {_place(file, value): value.strip() for file, value in native}
    controllers = {file.partition(".")[0] for file, _value in native}
    others = dict(foreign)
    for file, value in foreign:
        if file in DEVICE_FILES:
            continue
        try:
            writes = _translated(file, value, others, unified=unified, core=core)
        except NoCounterpart as error:
            if _counterpart(file.partition(".")[0], unified=unified) in controllers:
                result.notes.append((other + file, value, f"is passed over, {prefix}* says what counts here: {error}"))
            else:
                remedy = f"remove it, or say with {prefix}* what is to hold on this host"
                result.problems.append((other + file, value, _cannot(unified, str(error)), remedy))
            continue
        kept = [choices for choices in writes if not any(_place(*choice) in said for choice in choices)]
        result.settings += [Setting(other + file, value, choices) for choices in kept]
        for name, text in (choice for choices in writes for choice in choices):
            counts = said.get(_place(name, text), text)
            if counts != text and _place(name, text)[1]:
                result.notes.append((other + file, value, f"is passed over, {prefix}{name} = {counts} counts here: not set is {text}"))
        if kept:
            shown = ", ".join(f"{choices[0][0]} = {choices[0][1]}" for choices in kept)
            result.notes.append((other + file, value, f"is of cgroup version {1 if unified else 2}: set as {shown}"))


def _place(file: str, value: str) -> tuple[str, str]:
    """What a line is about: the file, and in it the device, "" where the value begins with none."""
    device = value.strip().partition(" ")[0]
    major, colon, minor = device.partition(":")
    return file, device if colon and major.isdecimal() and minor.isdecimal() else ""


def _cannot(unified: bool, why: str) -> str:
    has = "cgroup version 2" if unified else "controllers of cgroup version 1"
    return f"this host has {has}, where it has no counterpart: {why}"


def _counterpart(controller: str, *, unified: bool) -> str:
    renamed = {"blkio": "io"} if unified else {"io": "blkio"}
    return renamed.get(controller, controller)


def _translated(file: str, value: str, others: Mapping[str, str], *, unified: bool, core: bool) -> list[Write]:
    rows, back = (TO_V2, TO_V1) if unified else (TO_V1, TO_V2)
    if core and file.startswith("cgroup."):
        return [[(file, value)]]
    pattern, size = _pattern(file)
    row = rows.get(pattern)
    if row is not None:
        return [[(name.replace("*", size), text) for name, text in choices] for choices in row.convert(value, others)]
    if pattern in back or (unified and file.startswith("cgroup.")):
        return [[(file, value)]]  # a name of this host's version under the other's key
    raise NoCounterpart("it is not known what it means there")


def _pattern(file: str) -> tuple[str, str]:
    """The name in the tables, which have a star for a size of huge pages, and that size."""
    words = file.split(".")
    if words[0] == "hugetlb" and len(words) > 2:
        return ".".join(["hugetlb", "*", *words[2:]]), words[1]
    return file, ""
