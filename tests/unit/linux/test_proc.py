# SPDX-License-Identifier: LGPL-2.1-or-later
"""The files of /proc as records."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.linux import mount, proc, sched

from .forked import in_child

LINES = (
    b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\n"
    b"40 36 0:33 / /a\\040b\\011\\012\\134c rw - fuse.\xff\\040x src\\040e rw,user_id=0\n"
    b"41 36 0:34 / / rw - tmpfs  rw\n"
)


def test_mountinfo(tmp_path) -> None:
    (tmp_path / "mountinfo").write_bytes(LINES)
    first, second, third = proc.mountinfo(str(tmp_path / "mountinfo"))
    assert (first.number, first.parent, first.device, first.root, first.point) == (36, 35, "98:0", "/mnt1", "/mnt2")
    assert (first.options, first.optional) == (["rw", "noatime"], ["master:1", "shared:7"])
    assert (first.fstype, first.source, first.super_options) == ("ext3", "/dev/root", ["rw", "errors=continue"])
    assert (second.point, second.optional, second.fstype, second.source) == ("/a b\t\n\\c", [], "fuse.\udcff x", "src e")
    assert (third.source, third.super_options) == ("", ["rw"])


@pytest.mark.parametrize("line", [b"nonsense", b"1 2 0:1 / /x rw", b"1 2 0:1 / /x - tmpfs none rw", b"x 2 0:1 / / rw - t n rw"])
def test_what_is_not_mountinfo(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"mountinfo|invalid literal"):
        proc.Mount(line)


@given(st.binary().filter(lambda name: b"\0" not in name))
def test_unescape_undoes_the_kernels_escapes(name: bytes) -> None:
    escaped = b"".join(b"\\%03o" % byte if byte in b" \t\n\\#" else bytes([byte]) for byte in name)
    assert os.fsencode(proc.unescape(escaped)) == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"a\\b", "a\\b"), (b"a\\", "a\\"), (b"a\\\\040b", "a\\040b"), (b"\\04", "\\04"), (b"\\777", "\\777"), (b"\\089", "\\089")],
)
def test_unescape_of_what_people_write(text: bytes, expected: str) -> None:
    assert proc.unescape(text) == expected


@pytest.mark.root
def test_mountinfo_of_the_kernel(tmp_path) -> None:
    place = tmp_path / "a b\n\\c#\xe9"
    place.mkdir()

    def body() -> tuple[str, str, list[str]]:
        sched.unshare(sched.CLONE_NEWNS)
        mount.mount(None, "/", None, mount.MS_REC | mount.MS_PRIVATE)
        mount.mount("a source", str(place), "tmpfs", mount.MS_NOSUID)
        found = proc.mountinfo()[-1]
        return found.point, found.source, [option for option in found.options if option == "nosuid"]

    assert in_child(body) == (str(place), "a source", ["nosuid"])


def test_status() -> None:
    fields = proc.status(os.getpid())
    assert fields["Pid"] == str(os.getpid())
    assert int(fields["Uid"].split()[0]) == os.getuid()
    fd = os.open("/proc/self", os.O_PATH)
    try:
        assert proc.status(0, dir_fd=fd)["Pid"] == str(os.getpid())
    finally:
        os.close(fd)
    with pytest.raises(FileNotFoundError):
        proc.status(2**22 + 1)


def test_cgroup(tmp_path) -> None:
    (tmp_path / "cgroup").write_bytes(b"12:cpu,cpuacct:/a:b\n1:name=systemd:/x\\040y\n0::/\xff\x0b\n")
    assert proc.cgroup(str(tmp_path / "cgroup")) == [
        (12, ["cpu", "cpuacct"], "/a:b"),
        (1, ["name=systemd"], "/x\\040y"),
        (0, [], "/\udcff\x0b"),
    ]
    assert proc.cgroup() == proc.cgroup(f"/proc/{os.getpid()}/cgroup")


def test_id_map(tmp_path) -> None:
    (tmp_path / "uid_map").write_text("         0     100000      65536\n     65536 4294967294          1\n")
    assert proc.id_map(str(tmp_path / "uid_map")) == [(0, 100000, 65536), (65536, 4294967294, 1)]
    (tmp_path / "uid_map").write_text("")
    assert proc.id_map(str(tmp_path / "uid_map")) == []
    assert [list(map(int, line.split())) for line in Path("/proc/self/gid_map").read_text().splitlines()] == [
        list(row) for row in proc.id_map("/proc/self/gid_map")
    ]
