# SPDX-License-Identifier: LGPL-2.1-or-later
"""Value types: what each takes, what it makes of it, and how it reads back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.config import kernel, mount, values
from lxctools.config.conf import Config
from lxctools.config.values import BadValue, c_number, nearest, simplify
from lxctools.errors import ConfigError

# Text of a configuration -> key -> what get_config_item gives.
READS = [
    ("lxc.uts.name = x # c", "lxc.uts.name", "x # c"),
    ('lxc.uts.name = " x "', "lxc.uts.name", " x "),
    ('lxc.uts.name = "x', "lxc.uts.name", '"x'),
    ("lxc.uts.name==x", "lxc.uts.name", "=x"),
    ("lxc.arch = armhf", "lxc.arch", "i686"),
    ("lxc.arch = arm64", "lxc.arch", "x86_64"),
    ("lxc.init.cwd = a//b/../c/./", "lxc.init.cwd", "a/b/../c"),
    ("lxc.init.uid = 4294967295", "lxc.init.uid", "-1"),
    ("lxc.init.groups = 1,2, 3", "lxc.init.groups", "1,2,3"),
    ("lxc.cap.drop = sys_module mknod\nlxc.cap.drop=setuid", "lxc.cap.drop", "sys_module\nmknod\nsetuid\n"),
    ("lxc.cap.keep = sys_module none mknod", "lxc.cap.keep", "mknod\n"),
    ("lxc.cap.drop = kill\nlxc.cap.drop =\nlxc.cap.keep = mknod", "lxc.cap.keep", "mknod\n"),
    ("lxc.idmap = g   0\t100000 65536\nlxc.idmap = u 65536 0x10 1", "lxc.idmap", "g 0 100000 65536\nu 65536 16 1"),
    ("lxc.cgroup.dir = a//b/./c/", "lxc.cgroup.dir", "a/b/c"),
    ("lxc.prlimit.nofile = 1024:4096\nlxc.prlimit.core = unlimited\nlxc.prlimit.nofile = 7", "lxc.prlimit",
     "lxc.prlimit.nofile = 7\nlxc.prlimit.core = unlimited\n"),
    ("lxc.prlimit.as = 3 : 4", "lxc.prlimit.as", "3:4"),
    ("lxc.sysctl.net.ipv4.ip_forward = 1", "lxc.sysctl", "lxc.sysctl.net.ipv4.ip_forward = 1\n"),
    ("lxc.proc.oom_score_adj = 10\nlxc.proc.oom_score_adj = 11", "lxc.proc.oom_score_adj", "10\n11"),
    ("lxc.namespace.clone = mnt NET  ipc", "lxc.namespace.clone", "mnt\nipc\nnet\n"),
    ("lxc.group = a b\tc\nlxc.group=d", "lxc.group", "a\nb\nc\nd\n"),
    ("lxc.environment = B=x y =z", "lxc.environment", "B=x y =z\n"),
    ("lxc.mount.auto = proc sys:ro\nlxc.mount.auto = sys:rw", "lxc.mount.auto", "proc:mixed sys:rw"),
    ("lxc.mount.auto = cgroup-full:ro:force", "lxc.mount.auto", "cgroup-full:ro:force"),
    ("lxc.mount.auto = cgroup2:force\nlxc.mount.auto = shmounts:/a", "lxc.mount.auto", "cgroup2 shmounts:/a:/dev/.lxc-mounts"),
    ("lxc.hook.pre-start = /a\nlxc.hook =", "lxc.hook.pre-start", ""),
    ("lxc.console.buffer.size = 10 MB", "lxc.console.buffer.size", "16777216"),
    ("lxc.console.buffer.size = 1M", "lxc.console.buffer.size", "1048576"),
    ("lxc.console.buffer.size = 5000", "lxc.console.buffer.size", "8192"),
    ("lxc.console.size = auto", "lxc.console.size", "131072"),
    ("lxc.autodev.tmpfs.size = 4MB", "lxc.autodev.tmpfs.size", "4194304"),
    ("lxc.autodev.tmpfs.size =", "lxc.autodev.tmpfs.size", "500000"),
    ("lxc.signal.halt = sigrtmin+3", "lxc.signal.halt", "37"),
    ("lxc.signal.halt = SIGIO", "lxc.signal.halt", "29"),
    ("lxc.signal.halt = 65", "lxc.signal.halt", "65"),
    ("lxc.monitor.signal.pdeath =", "lxc.monitor.signal.pdeath", "0"),
    ("lxc.log.level = 0", "lxc.log.level", "TRACE"),
    ("lxc.log.level = notice", "lxc.log.level", "NOTICE"),
    ("lxc.log.syslog = LOCAL7", "lxc.log.syslog", "LOCAL7"),
    ("lxc.autodev =", "lxc.autodev", "0"),
    ("lxc.rootfs.managed =", "lxc.rootfs.managed", "1"),
    ("lxc.rootfs.path = overlay:/l:/u", "lxc.rootfs.path", "/l:/u"),
    ("lxc.rootfs.path = /a:b", "lxc.rootfs.path", "/a:b"),
    ("lxc.seccomp.notify.proxy = unix:/run/x", "lxc.seccomp.notify.proxy", "/run/x"),
    ("lxc.time.offset.boot = 2h", "lxc.time.offset.boot", "7200s"),
    ("lxc.time.offset.boot = -1500ms", "lxc.time.offset.boot", "-1500000000ns"),
    ("lxc.time.offset.boot = 1h\nlxc.time.offset.boot = 5 ms", "lxc.time.offset.boot", "5000000ns"),
    ("lxc.namespace.share.net = c1\nlxc.namespace.share.net = c2", "lxc.namespace.share.net", "c2"),
    ("lxc.cgroup2.memory.max = 1G\nlxc.cgroup2.memory.max = 2G", "lxc.cgroup2.memory.max", "1G\n2G\n"),
    ("lxc.cgroup.dir.foo = x", "lxc.cgroup", "lxc.cgroup.dir.foo = x\n"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "key", "expected"), READS)
def test_reads_back(text: str, key: str, expected: str) -> None:
    conf = Config()
    conf.load_text(text, "c")
    assert conf.text(key) == expected


# A line -> a part of what is said about it.
REFUSED = [
    ("lxc.uts.name foo = x", "Unsupported config key"),
    ("lxc.uts.name", "Invalid configuration line"),
    ("lxc.uts.name = " + "a" * 65, "65 bytes are too long"),
    ("lxc.arch = pdp11", "Unsupported personality"),
    ("lxc.arch =", "empty value"),
    ("lxc.mount.fstab =", "empty value"),
    ("lxc.init.uid = x", "is not a number"),
    ("lxc.init.groups = ,", "names no group"),
    ("lxc.ephemeral = yes", "0 or 1"),
    ("lxc.start.order = 2147483648", "is not a number"),
    ("lxc.tty.max = -1", "is not a number"),
    ("lxc.tty.max = 1_0", "is not a number"),
    ("lxc.idmap = u 0 0", "four words"),
    ("lxc.idmap = U 0 0 1", "id map type"),
    ("lxc.idmap = u -1 0 1", "first id inside"),
    ("lxc.idmap = u 0 18446744073709551616 1", "first id on the host"),
    ("lxc.cgroup.dir = a..b", "walk upwards"),
    ("lxc.cgroup.dir = /a", "absolute"),
    ("lxc.cgroup.dir.container.inner = a/b", "single directory name"),
    ("lxc.cgroup2 = x", "must not have a value"),
    ("lxc.prlimit = 5", "must not have a value"),
    ("lxc.prlimit.as = 1K", "is not a limit"),
    ("lxc.prlimit.as = 5:6:7", "is not a limit"),
    ("lxc.namespace.clone = mount", "did you mean mnt?"),
    ("lxc.namespace.share.mount = x", "did you mean mnt?"),
    ("lxc.cap.drop = CAP_KILL", "did you mean kill?"),
    ("lxc.cap.drop = none", "only valid when keeping"),
    ("lxc.mount.auto = proc:ro", "Invalid filesystem to automount"),
    ("lxc.mount.auto = shmounts:", "names no folder"),
    ("lxc.rootfs.options = ro,optional", "remove optional"),
    ("lxc.rootfs.options = idmap=", "idmap=<path>"),
    ("lxc.signal.halt = TERM", "did you mean SIGTERM?"),
    ("lxc.signal.halt = SIGRTMIN+31", "beyond the real-time"),
    ("lxc.signal.halt = SIGRTMIN", "is not a signal"),
    ("lxc.log.level = loud", "is not a log level"),
    ("lxc.log.syslog = kern", "is not a syslog facility"),
    ("lxc.console.size = 1TB", "is not a size"),
    ("lxc.console.size = -1", "is not a size"),
    ("lxc.autodev.tmpfs.size = some", "is not a size"),
    ("lxc.time.offset.boot = 5", "units h m s"),
    ("lxc.time.offset.boot = 9223372036854775808ns", "too large"),
    ("lxc.seccomp.notify.proxy = /run/x", "unix:/PATH"),
    ("lxc.init.cwd = " + "x" * 4096, "too long"),
    ("lxc.hook = x", "must not have a value"),
]


@pytest.mark.parametrize(("line", "part"), REFUSED)
def test_refused_with_place_and_reason(line: str, part: str) -> None:
    conf = Config()
    with pytest.raises(ConfigError) as caught:
        conf.load_text(f"# first\n\n{line}\n", "/c/config")
    assert str(caught.value).startswith("/c/config:3: ")
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("+5", 5), (" \t7", 7), ("0x1F", 31), ("017", 15), ("-3", -3), ("-0x10", -16), ("0" * 40 + "1", 1)],
)
def test_c_number(text: str, expected: int) -> None:
    assert c_number(text, -100, 100, "x") == expected


@pytest.mark.parametrize("text", ["", " ", "+", "-", "0x", "08", "1 ", "1_0", "0b1", "0o7", "٣", "1.0", "--1", "9" * 5000])
def test_no_c_number(text: str) -> None:
    with pytest.raises(BadValue):
        c_number(text, -(2**63), 2**63, "x")


@given(st.integers(-(2**40), 2**40))
def test_c_number_of_any_number(number: int) -> None:
    for text in (str(number), f"{'-' if number < 0 else ''}0x{abs(number):x}", f"{'-' if number < 0 else ''}0{abs(number):o}"):
        assert c_number(text, -(2**40), 2**40, "x") == number


@given(st.text(alphabet="ab./", max_size=12))
def test_simplified_paths_stay_and_mean_the_same(text: str) -> None:
    path = simplify(text)
    assert simplify(path) == path
    assert [part for part in path.split("/") if part not in ("", ".")] == [p for p in text.split("/") if p not in ("", ".")]
    assert path.startswith("/") == text.startswith("/")
    assert "//" not in path
    assert bool(path) == bool(text)


NAMES = st.text(alphabet="abcxyz_-0123456789", min_size=1, max_size=10)
# Type -> texts; reading what a value prints as gives the value again.
ROUND_TRIPS: list[tuple[values.Type, st.SearchStrategy[str]]] = [
    (values.BOOL, st.sampled_from(["0", "1"])),
    (values.UINT, st.integers(0, values.UINT_MAX).map(str)),
    (values.INT, st.integers(values.INT_MIN, values.INT_MAX).map(str)),
    (values.POSITIVE, st.integers(1, values.INT_MAX).map(str)),
    (values.VLAN, st.integers(0, 4094).map(str)),
    (values.PATH, st.text(alphabet="ab./", min_size=1, max_size=30)),
    (values.GROUPS, st.lists(st.integers(0, values.INT_MAX), min_size=1).map(lambda ids: ", ".join(map(str, ids)))),
    (values.LOG_LEVEL, st.integers(0, 8).map(str)),
    (values.BUFFER_SIZE, st.integers(0, 2**40).map(str)),
    (values.DURATION, st.tuples(st.integers(-(2**40), 2**40), st.sampled_from("h m s ms us ns".split())).map(
        lambda pair: f"{pair[0]} {pair[1]}")),
    (values.RLIMIT, st.tuples(st.integers(0, 2**64 - 1), st.one_of(st.integers(0, 2**64 - 1), st.just("unlimited"))).map(
        lambda pair: f"{pair[0]}:{pair[1]}")),
    (values.IDMAP, st.tuples(*[st.integers(0, 2**64 - 1)] * 3).map(lambda n: f"u {n[0]}\t0x{n[1]:x}  {n[2]}")),
    (kernel.SIGNAL, st.one_of(st.integers(0, 64).map(str), st.integers(0, 30).map(lambda n: f"SIGRTMAX-{n}"))),
    (kernel.NAMESPACE_LIST, st.lists(st.sampled_from(kernel.NAMESPACES), min_size=1).map(" ".join)),
    (mount.AUTOMOUNT, st.lists(st.sampled_from([*mount.AUTO_WORDS, "shmounts:/a", "shmounts:/a:/b"]), min_size=1).map(" ".join)),
    (mount.ROOTFS, NAMES.map(lambda name: f"/{name}")),
]  # fmt: skip


def taken(kind: values.Type, text: str) -> Any:
    value = kind.parse(text)
    return value if kind.join is None else kind.join([] if kind.default == () else kind.default, value)


@pytest.mark.parametrize("kind,texts", ROUND_TRIPS, ids=lambda arg: getattr(arg, "name", ""))
def test_what_it_prints_reads_back(kind: values.Type, texts: st.SearchStrategy[str]) -> None:
    @given(texts)
    def check(text: str) -> None:
        value = taken(kind, text)
        printed = kind.format(value)
        again = taken(kind, printed.replace("\n", " ").strip() if kind.join is not None else printed)
        assert again == value
        assert kind.format(again) == printed

    check()


def test_a_duration_in_nanoseconds() -> None:
    conf = Config()
    conf.load_text("lxc.time.offset.boot = 2m\nlxc.time.offset.monotonic = -7us\n", "c")
    assert conf["lxc.time.offset.boot"] == 120 * 10**9
    assert conf["lxc.time.offset.monotonic"] == -7000


def test_an_environment_variable_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LXCT_HERE", "a b")
    monkeypatch.delenv("LXCT_GONE", raising=False)
    conf = Config()
    conf.load_text("lxc.environment = LXCT_GONE\nlxc.environment = LXCT_HERE\nlxc.environment = X=\n", "c")
    assert conf["lxc.environment"] == ["LXCT_HERE=a b", "X="]


def test_the_words_of_mount_auto() -> None:
    conf = Config()
    assert not conf["lxc.mount.auto"]
    conf.load_text("lxc.mount.auto = proc:rw cgroup shmounts:/h:/c\n", "c")
    auto = conf["lxc.mount.auto"]
    assert (auto.proc, auto.sys, auto.cgroup, auto.cgroup_kind, auto.force) == ("rw", "", "noSpec", "cgroup", False)
    assert auto.shmounts == ("/h", "/c")
    conf.load_text("lxc.mount.auto = cgroup2:ro\n", "c")
    assert (auto.cgroup_kind, conf["lxc.mount.auto"].cgroup_kind) == ("cgroup", "cgroup2")
    assert conf["lxc.mount.auto"].force
    assert conf["lxc.mount.auto"].proc == "rw"


def test_the_type_of_a_rootfs() -> None:
    conf = Config()
    for text, kind, path in (("dir:/a//b/", "dir", "/a/b"), ("/a", "", "/a"), ("zfs:pool/x", "zfs", "pool/x")):
        conf.set("lxc.rootfs.path", text)
        assert (conf.rootfs_type, conf["lxc.rootfs.path"]) == (kind, path)
    conf.clear("lxc.rootfs.path")
    assert (conf.rootfs_type, conf["lxc.rootfs.path"]) == ("", "")


@pytest.mark.parametrize(
    ("word", "expected"),
    [("lxc.tty.mx", "lxc.tty.max"), ("lxc.tyt.max", "lxc.tty.max"), ("lxc.uts.nmae", "lxc.uts.name"), ("zzz", ""), ("", "")],
)
def test_nearest(word: str, expected: str) -> None:
    assert nearest(word, ("lxc.uts.name", "lxc.tty.max", "lxc.pty.max")) == expected
