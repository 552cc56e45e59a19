# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc.prlimit.*, lxc.proc.* and lxc.sysctl.*."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from lxctools.config.conf import Config
from lxctools.confine import limits
from lxctools.errors import LxcError
from lxctools.linux import mount, sched
from tests.forked import forked


def config(*lines: str) -> Config:
    conf = Config()
    for line in lines:
        conf.load_line(line)
    return conf


def message(conf: Config) -> str:
    """What apply_to() on a child of ours is refused with."""

    def child() -> str:
        try:
            limits.apply_to(os.getpid(), conf)
        except LxcError as error:
            return str(error)
        return ""

    return str(forked(child))


def test_soft_and_hard_limit() -> None:
    conf = config("lxc.prlimit.nofile = 20:30", "lxc.prlimit.core = 0")

    def child() -> list[tuple[int, int]]:
        limits.apply_to(os.getpid(), conf)
        return [resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE)]

    assert forked(child) == [(20, 30), (0, 0)]


def test_a_limit_by_number() -> None:
    conf = config(f"lxc.prlimit.{resource.RLIMIT_NOFILE} = 21")

    def child() -> tuple[int, int]:
        limits.apply_to(os.getpid(), conf)
        return resource.getrlimit(resource.RLIMIT_NOFILE)

    assert forked(child) == (21, 21)


def test_every_name_has_a_number() -> None:
    assert None not in limits._NUMBERS.values()
    assert len(set(limits._NUMBERS.values())) == 16


def test_an_unknown_resource_is_named() -> None:
    assert "lxc.prlimit.files = 3: Unknown resource files" in message(config("lxc.prlimit.files = 3"))


@pytest.mark.root
def test_raising_a_hard_limit_without_the_capability_says_so() -> None:
    conf = config("lxc.prlimit.nofile = 50:unlimited")

    def child() -> str:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        os.setresuid(65534, 65534, 65534)
        try:
            limits.apply_to(os.getpid(), conf)
        except LxcError as error:
            return str(error)
        return ""

    text = forked(child)
    assert "lxc.prlimit.nofile = 50:unlimited" in text
    assert "the hard limit is 40" in text
    assert "CAP_SYS_RESOURCE" in text


def test_proc_values_are_written() -> None:
    conf = config("lxc.proc.oom_score_adj = 321")

    def child() -> str:
        limits.apply_to(os.getpid(), conf)
        return Path("/proc/self/oom_score_adj").read_text()

    assert forked(child) == "321\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("lxc.proc.no_such_file = 1", "lxc.proc.no_such_file = 1: No such file"),
        ("lxc.proc.oom_score_adj = x", "lxc.proc.oom_score_adj = x: Invalid argument"),
        ("lxc.proc.../../tmp/x = 1", '".."'),
    ],
)
def test_proc_values_that_are_refused(line: str, words: str) -> None:
    assert words in message(config(line))


@pytest.mark.root
def test_sysctls_are_those_of_the_own_namespaces() -> None:
    before = Path("/proc/sys/kernel/shmmni").read_text()
    conf = config("lxc.sysctl.kernel.shmmni = 77", "lxc.sysctl.net.ipv4.ip_forward = 1")

    def child() -> tuple[str, str]:
        limits.apply_sysctls(conf)
        return Path("/proc/sys/kernel/shmmni").read_text(), Path("/proc/sys/net/ipv4/ip_forward").read_text()

    assert forked(child, unshare=sched.CLONE_NEWIPC | sched.CLONE_NEWNET) == ("77\n", "1\n")
    assert Path("/proc/sys/kernel/shmmni").read_text() == before


@pytest.mark.root
def test_sysctls_do_not_depend_on_what_lies_on_proc(tmp_path: Path) -> None:
    """A root whose /proc is a folder of its own with links in it: nothing is written there."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    fake = tmp_path / "proc"
    (fake / "sys" / "kernel").mkdir(parents=True)
    (fake / "sys" / "kernel" / "shmmni").symlink_to(victim)
    conf = config("lxc.sysctl.kernel.shmmni = 78")

    def child() -> None:
        mount.mount(str(fake), "/proc", None, mount.MS_BIND)
        limits.apply_sysctls(conf)

    forked(child, unshare=sched.CLONE_NEWIPC | sched.CLONE_NEWNS)
    assert victim.read_text() == "untouched"


@pytest.mark.root
def test_an_unknown_sysctl_is_named() -> None:
    conf = config("lxc.sysctl.kernel.no_such = 1")

    def child() -> str:
        try:
            limits.apply_sysctls(conf)
        except LxcError as error:
            return str(error)
        return ""

    assert "lxc.sysctl.kernel.no_such = 1: No such file" in forked(child)
