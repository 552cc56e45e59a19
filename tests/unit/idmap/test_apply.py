# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writing maps: into real new user namespaces where we may, and what is said about those that cannot be written."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lxctools import process
from lxctools.errors import LxcError
from lxctools.idmap import apply, userns
from lxctools.idmap.ranges import IdMap
from lxctools.linux import prctl, sched
from tests.forked import forked

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def _may_unshare() -> bool:
    pid = os.fork()
    if pid == 0:
        try:
            sched.unshare(sched.CLONE_NEWUSER)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


with_userns = pytest.mark.skipif(not _may_unshare(), reason="this user may not make user namespaces")


@pytest.fixture
def waiting() -> Iterator[Callable[[], int]]:
    """Makes a child that waits in a new user namespace; ends it afterwards."""
    pids = []

    def make() -> int:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                sched.unshare(sched.CLONE_NEWUSER)
                os.write(writer, b"+")
                os.close(writer)
                while True:
                    signal.pause()
            finally:
                os._exit(1)
        pids.append(pid)
        os.close(writer)
        assert os.read(reader, 1) == b"+"
        os.close(reader)
        return pid

    yield make
    for pid in pids:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


MAPS = [IdMap("u", 0, 100000, 1000), IdMap("u", 1000, 1000, 1), IdMap("g", 0, 200000, 65536)]


@as_root
@with_userns
def test_root_writes_directly(waiting: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "run", lambda *args, **kwargs: pytest.fail("a program was run"))
    pid = waiting()
    apply.write_maps(pid, MAPS)
    words = [line.split() for line in Path(f"/proc/{pid}/uid_map").read_text().splitlines()]
    assert words == [["0", "100000", "1000"], ["1000", "1000", "1"]]
    assert Path(f"/proc/{pid}/gid_map").read_text().split() == ["0", "200000", "65536"]
    assert Path(f"/proc/{pid}/setgroups").read_text() == "allow\n"


@as_root
@with_userns
def test_a_second_map_is_refused_with_the_lines(waiting: Callable[[], int]) -> None:
    pid = waiting()
    apply.write_maps(pid, MAPS)
    with pytest.raises(LxcError) as caught:
        apply.write_maps(pid, MAPS)
    assert f'/proc/{pid}/uid_map for "lxc.idmap = u 0 100000 1000", "lxc.idmap = u 1000 1000 1"' in str(caught.value)
    assert "Operation not permitted" in str(caught.value)


@pytest.mark.parametrize(
    ("maps", "why"),
    [
        ([IdMap("u", 0, 100000, 10)], "no g entry"),
        ([IdMap("u", 0, 100000, 0), IdMap("g", 0, 1, 1)], "maps no id"),
        ([IdMap("u", 0, 100000, 10), IdMap("u", 5, 200000, 1), IdMap("g", 0, 1, 1)], "overlap inside"),
    ],
)
def test_maps_that_the_kernel_would_refuse_are_explained(maps: list[IdMap], why: str) -> None:
    with pytest.raises(LxcError, match=f"lxc.idmap: .*{why}"):
        apply.write_maps(2**30, maps)


def test_too_many_lines() -> None:
    maps = [IdMap(kind, 10 * n, 1000000000 + 10 * n, 1) for n in range(300) for kind in "ug"]
    with pytest.raises(LxcError, match=r"300 lines of lxc\.idmap are \d+ bytes"):
        apply.write_maps(os.getpid(), maps) if os.geteuid() == 0 else apply._write_file(1, "uid_map", "x" * 5000, maps[::2])


@as_root
@with_userns
def test_another_user_maps_himself_without_help(tmp_path: Path) -> None:
    def child() -> list[str]:
        os.setgroups([])
        os.setresgid(4711, 4711, 4711)
        os.setresuid(4711, 4711, 4711)
        prctl.set_dumpable(True)  # as a program that this user has started is
        reader, writer = os.pipe()
        go, said = os.pipe()
        pid = os.fork()
        if pid == 0:
            sched.unshare(sched.CLONE_NEWUSER)
            os.close(said)
            os.write(writer, b"+")
            os.read(go, 1)
            os._exit(0)
        os.read(reader, 1)
        apply.write_maps(pid, [IdMap("g", 0, 4711, 1), IdMap("u", 0, 4711, 1)])
        found = [Path(f"/proc/{pid}/{file}").read_text().strip() for file in ("uid_map", "gid_map", "setgroups")]
        os.write(said, b"+")
        os.waitpid(pid, 0)
        return [" ".join(text.split()) for text in found]

    assert forked(child) == ["0 4711 1", "0 4711 1", "deny"]


@pytest.fixture
def another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(os, "getegid", lambda: 4711)


def test_helpers_are_missing(another_user: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "find", lambda name: None)
    with pytest.raises(LxcError, match=r'"lxc.idmap = u 0 100000 1000".*newuidmap is missing') as caught:
        apply.write_maps(2**30, MAPS)
    assert "uidmap" in caught.value.remedy


def test_helpers_get_the_map_and_say_why(another_user: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "newuidmap"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/said\necho uid range not allowed >&2\nexit 1\n')
    program.chmod(0o755)
    find = process.find
    monkeypatch.setattr(process, "find", lambda name: find(name, str(tmp_path)))
    with pytest.raises(LxcError, match="uid range not allowed") as caught:
        apply.write_maps(77, MAPS)
    assert (tmp_path / "said").read_text() == "77 0 100000 1000 1000 1000 1\n"
    assert "/etc/subuid" in caught.value.remedy


# -- acting as the container's root

ROOT_MAPS = [IdMap("u", 0, 300000, 65536), IdMap("g", 0, 400000, 65536)]


@as_root
@with_userns
def test_acting_as_the_containers_root(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o777)
    for parent in list(tmp_path.parents)[:2]:
        os.chmod(parent, 0o755)
    made = tmp_path / "made"
    userns.run_in_userns(ROOT_MAPS, os.mkdir, str(made), mode=0o700)
    status = made.stat()
    assert (status.st_uid, status.st_gid) == (300000, 400000)
    assert os.geteuid() == 0, "only the child has changed"


@as_root
@with_userns
def test_the_callers_own_files_can_be_reached(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    userns.run_in_userns(ROOT_MAPS, os.chown, str(file), 5, 5)
    assert (file.stat().st_uid, file.stat().st_gid) == (300005, 400005)


@with_userns
def test_what_it_raises_comes_back() -> None:
    own = [IdMap("u", 0, os.geteuid(), 1), IdMap("g", 0, os.getegid(), 1)]

    def fails(error: Exception) -> None:
        raise error

    with pytest.raises(FileNotFoundError, match="No such file"):
        userns.run_in_userns(own, os.rmdir, "/nonexistent/x")
    with pytest.raises(LxcError, match="the reason"):
        userns.run_in_userns(own, fails, LxcError("the reason"))
    with pytest.raises(LxcError, match="ümlaut"):
        userns.run_in_userns(own, fails, ValueError("ümlaut"))
    with pytest.raises(LxcError, match="was killed by signal 9"):
        userns.run_in_userns(own, lambda: os.kill(os.getpid(), 9))


@as_root
@with_userns
def test_maps_that_cannot_be_written_end_the_helper() -> None:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(LxcError, match="overlap"):
        userns.run_in_userns([*ROOT_MAPS, IdMap("u", 1, 1000000, 1)], lambda: None)
    assert set(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
