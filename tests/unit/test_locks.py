# SPDX-License-Identifier: LGPL-2.1-or-later
"""The locks that liblxc takes too: where they are, that they exclude, and that nobody waits for ever."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lxctools import locks, paths
from lxctools.errors import LxcError, TimedOut

# What liblxc does, written out anew: F_OFD_SETLK with struct flock.
SETLK, WRLCK, UNLCK = 37, 1, 2


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "runtime_dir", lambda: str(tmp_path / "run"))
    return tmp_path / "run"


def lock_file(run: Path) -> Path:
    return run / "lxc/lock/var/lib/lxc/.c1"


def liblxc_lock(path: Path, kind: int = WRLCK) -> int:
    fd = os.open(path, os.O_RDWR)
    fcntl.fcntl(fd, SETLK, struct.pack("hhqqi4x", kind, 0, 0, 0, 0))
    return fd


def is_free(path: Path) -> bool:
    try:
        os.close(liblxc_lock(path))
    except BlockingIOError:
        return False
    return True


@contextmanager
def elsewhere(body: Callable[[], object]) -> Iterator[int]:
    """Another process that holds what body took, until the end of the block."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(60)
            held = body()
            os.write(writer, b"x")
            signal.pause()
            del held
        finally:
            os._exit(1)
    os.close(writer)
    assert os.read(reader, 1) == b"x"
    os.close(reader)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def hold() -> object:
    return locks.ContainerLock("/var/lib/lxc", "c1").__enter__()


def test_where_it_is_and_how_it_is_made(run: Path) -> None:
    before = os.umask(0o022)
    try:
        with locks.ContainerLock("/var/lib/lxc", "c1"):
            file = lock_file(run)
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert stat.S_IMODE(file.parent.stat().st_mode) == 0o755
            assert not is_free(file)
    finally:
        os.umask(before)
    assert file.read_bytes() == b""
    assert is_free(file)  # the file stays, the lock does not


def test_it_is_given_back_by_an_exception_and_its_descriptor_not_inherited(run: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    lock = locks.ContainerLock("/var/lib/lxc", "c1")
    with pytest.raises(ZeroDivisionError), lock:
        assert not os.get_inheritable(lock._fd)
        raise ZeroDivisionError
    assert is_free(lock_file(run))
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_it_excludes_within_a_process_too(run: Path) -> None:
    with locks.ContainerLock("/var/lib/lxc", "c1"):
        with pytest.raises(TimedOut), locks.ContainerLock("/var/lib/lxc", "c1", 0.05):
            pass
        with locks.ContainerLock("/var/lib/lxc", "c2", 0.05):  # another container's is another lock
            assert (run / "lxc/lock/var/lib/lxc/.c2").exists()


def test_liblxc_keeps_us_out_and_we_go_on_when_it_is_done(run: Path) -> None:
    with locks.ContainerLock("/var/lib/lxc", "c1"):
        pass

    def short() -> int:
        fd = liblxc_lock(lock_file(run))
        signal.signal(signal.SIGUSR1, lambda *_: os.close(fd))
        return fd

    with elsewhere(short) as pid:
        with pytest.raises(TimedOut), locks.ContainerLock("/var/lib/lxc", "c1", 0.1):
            pass
        os.kill(pid, signal.SIGUSR1)
        with locks.ContainerLock("/var/lib/lxc", "c1", 5):
            pass


def test_a_dead_holder_holds_nothing() -> None:
    with elsewhere(hold):
        pass
    with locks.ContainerLock("/var/lib/lxc", "c1", 0.5):
        pass


def test_the_time_limit_names_the_holder(run: Path) -> None:
    with elsewhere(hold) as pid:
        begun = time.monotonic()
        with pytest.raises(TimedOut) as caught, locks.ContainerLock("/var/lib/lxc", "c1", 0.2):
            pass
        assert 0.19 < time.monotonic() - begun < 2
        assert f"process {pid} has held the container's lock" in str(caught.value)
        assert f"ps {pid}" in caught.value.remedy
        assert locks.processes_with(str(lock_file(run))) == [pid]
    assert locks.processes_with(str(run / "nothing")) == []


def test_a_lock_that_cannot_be_made(run: Path) -> None:
    folder = lock_file(run).parent
    folder.mkdir(parents=True)
    lock_file(run).symlink_to("/etc/hostname")  # never followed
    with pytest.raises(LxcError, match="cannot lock the container"), locks.ContainerLock("/var/lib/lxc", "c1"):
        pass
    lock_file(run).unlink()
    folder.rmdir()
    folder.write_text("in the way")
    with pytest.raises(LxcError, match="cannot lock the container"), locks.ContainerLock("/var/lib/lxc", "c1"):
        pass


# -- partial


def test_partial_absent(tmp_path: Path) -> None:
    assert locks.partial_state(str(tmp_path), "c1") == locks.ABSENT
    (tmp_path / "c1").mkdir()
    assert locks.partial_state(str(tmp_path), "c1") == locks.ABSENT
    (tmp_path / "c2").write_text("no folder")
    assert locks.partial_state(str(tmp_path), "c2") == locks.ABSENT


def test_partial_ongoing_and_abandoned(tmp_path: Path) -> None:
    folder = tmp_path / "c1"
    folder.mkdir()
    with elsewhere(lambda: locks.PartialLock(str(folder))):
        assert locks.partial_state(str(tmp_path), "c1") == locks.ONGOING
        assert stat.S_IMODE((folder / "partial").stat().st_mode) == 0
        assert (folder / "partial").stat().st_size == 0
        with pytest.raises(FileExistsError):
            locks.PartialLock(str(folder))
    assert locks.partial_state(str(tmp_path), "c1") == locks.ABANDONED


def test_partial_of_liblxc(tmp_path: Path) -> None:
    (tmp_path / "c1").mkdir()
    mark = tmp_path / "c1" / "partial"
    mark.touch()
    with elsewhere(lambda: liblxc_lock(mark)):
        assert locks.partial_state(str(tmp_path), "c1") == locks.ONGOING
    assert locks.partial_state(str(tmp_path), "c1") == locks.ABANDONED


def test_partial_release(tmp_path: Path) -> None:
    lock = locks.PartialLock(str(tmp_path))
    lock.release()
    lock.release()
    assert not (tmp_path / "partial").exists()
    lock = locks.PartialLock(str(tmp_path))
    (tmp_path / "partial").unlink()  # with its folder, by a failed creation
    lock.release()


def test_partial_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "c1").mkdir()
    (tmp_path / "c1" / "partial").symlink_to("/etc/hostname")
    with pytest.raises(LxcError, match="cannot look at the mark of a creation"):
        locks.partial_state(str(tmp_path), "c1")


@pytest.mark.root
def test_partial_of_somebody_else_is_taken_for_ongoing() -> None:
    with tempfile.TemporaryDirectory(prefix="lxcu.", dir="/tmp") as lxcpath:
        os.chmod(lxcpath, 0o755)
        os.mkdir(f"{lxcpath}/c1")
        os.close(os.open(f"{lxcpath}/c1/partial", os.O_CREAT, 0))
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setresuid(65534, 65534, 65534)
                status = 0 if locks.partial_state(lxcpath, "c1") == locks.ONGOING else 1
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        assert locks.partial_state(lxcpath, "c1") == locks.ABANDONED


@pytest.mark.root
def test_partial_of_a_user_who_is_not_root() -> None:
    """Its mode 0000 keeps him out, too; his own he may open all the same: a killed command would be "ongoing" for ever."""
    with tempfile.TemporaryDirectory(prefix="lxcu.", dir="/tmp") as lxcpath:
        os.chmod(lxcpath, 0o755)
        os.mkdir(f"{lxcpath}/c1")
        os.chown(f"{lxcpath}/c1", 65534, 65534)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setresuid(65534, 65534, 65534)
                mark = locks.PartialLock(f"{lxcpath}/c1")
                mark.note(f"{lxcpath}/c1")
                ongoing = locks.partial_state(lxcpath, "c1") == locks.ONGOING
                mark.abandon()
                abandoned = locks.partial_state(lxcpath, "c1") == locks.ABANDONED
                status = 0 if ongoing and abandoned and locks.noted(lxcpath, "c1") == [f"{lxcpath}/c1"] else 1
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
