# SPDX-License-Identifier: LGPL-2.1-or-later
"""clone3 with fork's semantics, the process title, capabilities, signals."""

from __future__ import annotations

import _signal
import errno
import os
import select
import signal
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxctools.linux import caps, keyctl, prctl, proc, sched, signals

from .forked import in_child


def status_of(pid: int) -> dict[str, str]:
    return proc.status(pid)


def test_clone3_is_a_fork() -> None:
    """The child is a whole interpreter: it may start threads, and its exit status comes back."""
    reader, writer = os.pipe()
    pid, pidfd = sched.clone3(0)
    if pid == 0:
        try:
            said: list[bytes] = []
            thread = threading.Thread(target=lambda: said.append(b"thread"))
            thread.start()
            thread.join()
            os.write(writer, said[0] + str(pidfd).encode())
        finally:
            os._exit(7)
    os.close(writer)
    try:
        assert not os.get_inheritable(pidfd)
        assert select.select([pidfd], [], [], 10)[0] == [pidfd]
        assert os.read(reader, 100) == b"thread-1"
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    finally:
        os.close(reader)
        os.close(pidfd)


def test_clone3_runs_the_fork_handlers() -> None:
    def body() -> list[str]:
        said: list[str] = []
        os.register_at_fork(
            before=lambda: said.append("before"),
            after_in_parent=lambda: said.append("parent"),
            after_in_child=lambda: said.append("child"),
        )
        reader, writer = os.pipe()
        pid, pidfd = sched.clone3(0)
        if pid == 0:
            os.write(writer, " ".join(said).encode())
            os._exit(0)
        os.close(pidfd)
        os.waitpid(pid, 0)
        return [*said, os.read(reader, 100).decode()]

    assert in_child(body) == ["before", "parent", "before child"]


def test_a_failed_clone3_leaves_the_interpreter_usable() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        sched.clone3(sched.CLONE_NEWUSER | 0x200)  # CLONE_FS excludes CLONE_NEWUSER
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    pid = os.fork()
    if pid == 0:
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3


@pytest.mark.root
def test_clone3_into_namespaces() -> None:
    reader, writer = os.pipe()
    pid, pidfd = sched.clone3(sched.CLONE_NEWPID | sched.CLONE_NEWUTS | sched.CLONE_NEWNS)
    if pid == 0:
        os.write(writer, str(os.getpid()).encode())
        os.read(reader, 0)
        time.sleep(30)
        os._exit(0)
    try:
        assert os.read(reader, 10) == b"1"
        for name in ("pid", "uts", "mnt"):
            assert os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")
        assert os.readlink(f"/proc/{pid}/ns/ipc") == os.readlink("/proc/self/ns/ipc")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for fd in (reader, writer, pidfd):
            os.close(fd)


def test_clone_parent_gives_the_grandparent_a_child() -> None:
    """What attach does: the helper's child is ours to wait for, with the helper's own exit signal."""
    reader, writer = os.pipe()
    helper = os.fork()
    if helper == 0:
        pid, _pidfd = sched.clone3(sched.CLONE_PARENT, exit_signal=0)
        if pid == 0:
            os._exit(os.getppid() % 200)
        os.write(writer, str(pid).encode())
        os._exit(0)
    os.close(writer)
    assert os.waitpid(helper, 0)[1] == 0
    with open(reader) as file:
        pid = int(file.read())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == os.getpid() % 200


def test_clone_parent_refuses_an_exit_signal() -> None:
    with pytest.raises(OSError, match="Invalid argument") as caught:
        sched.clone3(sched.CLONE_PARENT)
    assert caught.value.errno == errno.EINVAL


def test_a_bad_cgroup_descriptor() -> None:
    fd = os.open("/", os.O_PATH)
    try:
        with pytest.raises(OSError, match=r".") as caught:
            sched.clone3(0, cgroup_fd=fd)
        assert caught.value.errno == errno.EBADF
        assert caught.value.__notes__ == ["clone3(2)"]
    finally:
        os.close(fd)


def test_personality() -> None:
    def body() -> str:
        sched.personality(sched.PER_LINUX32)
        return os.uname().machine

    assert in_child(body) != os.uname().machine or os.uname().machine not in ("x86_64", "aarch64")


# -- the title


@pytest.mark.parametrize("uid", [0, 65534])
@pytest.mark.parametrize(
    "title",
    ["", "x", "[lxc monitor] /var/lib/lxc web", "é \udcff " * 10, "long " * 5000, "p" * 4095, "p" * 4096],
    ids=lambda text: f"{len(text)}",
)
def test_title_from_outside(title: str, uid: int) -> None:
    if uid != os.getuid() and os.getuid() != 0:
        pytest.skip("needs root to become another user")
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if uid:
                os.setresuid(uid, uid, uid)
                prctl.set_dumpable(True)
            prctl.set_title("another one first")
            prctl.set_title(title)
            # The title survives what the interpreter does to its heap.
            junk = [bytes(100000) for _ in range(50)]
            os.write(ready[1], str(len(junk)).encode())
        finally:
            os.read(go[0], 1)
            os._exit(0)
    try:
        assert os.read(ready[0], 10) == b"50"
        assert Path(f"/proc/{pid}/cmdline").read_bytes() == os.fsencode(title) + b"\0"
    finally:
        os.write(go[1], b".")
        os.waitpid(pid, 0)
        for fd in (*ready, *go):
            os.close(fd)


def test_title_without_capabilities() -> None:
    def body() -> tuple[bytes, int]:
        prctl.capset(0, 0, 0)
        prctl.set_title("no powers")
        return Path("/proc/self/cmdline").read_bytes(), prctl.capget()[0]

    assert in_child(body) == (b"no powers\0", 0)


def test_title_keeps_the_environment_of_proc() -> None:
    def body() -> bool:
        before = Path("/proc/self/environ").read_bytes()
        prctl.set_title("t")
        return before == Path("/proc/self/environ").read_bytes()

    assert in_child(body) is True


def test_name() -> None:
    def body() -> str:
        prctl.set_name("a name of more than fifteen bytes")
        return Path("/proc/self/comm").read_text()

    assert in_child(body) == "a name of more \n"


def test_process_attributes() -> None:
    def body() -> list[object]:
        prctl.set_no_new_privs()
        prctl.set_child_subreaper(True)
        prctl.set_keepcaps(True)
        prctl.ambient_clear()
        prctl.set_dumpable(False)
        status = status_of(os.getpid())
        owner = os.stat("/proc/self").st_uid
        return [status["NoNewPrivs"], int(status["CapAmb"], 16), owner]

    assert in_child(body) == ["1", 0, 0]


def test_pdeathsig() -> None:
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        pid = os.fork()
        if pid == 0:
            prctl.set_pdeathsig(signal.SIGKILL)
            os.write(writer, str(os.getpid()).encode())
            time.sleep(30)
            os._exit(0)
        time.sleep(30)
        os._exit(0)
    with open(reader, "rb", buffering=0) as file:
        pid = int(file.read(20))
        pidfd = os.pidfd_open(pid)
        os.kill(middle, signal.SIGKILL)
        os.waitpid(middle, 0)
        try:
            assert select.select([pidfd], [], [], 10)[0] == [pidfd]
        finally:
            os.close(pidfd)
            os.close(writer)


@pytest.mark.root
def test_capabilities_above_32() -> None:
    high = 1 << caps.NUMBERS["bpf"]
    low = 1 << caps.NUMBERS["chown"]
    if caps.last_cap() < caps.NUMBERS["bpf"]:
        pytest.skip("this kernel has no capability above 32")

    def refused() -> int | None:
        effective, permitted, _inheritable = prctl.capget()
        with pytest.raises(OSError, match=r".") as caught:
            prctl.capset(effective, permitted & ~high, 0)  # an effective capability must be permitted
        assert caught.value.__notes__ == ["capset(2)"]
        return caught.value.errno

    def body() -> list[object]:
        effective, permitted, _inheritable = prctl.capget()
        prctl.capset(effective & ~(high | low), permitted & ~low, low | high)
        status = status_of(os.getpid())
        sets = prctl.capget()
        return [
            sets == (effective & ~(high | low), permitted & ~low, low | high),
            [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh")] == list(sets),
        ]

    assert in_child(refused) == errno.EPERM
    assert in_child(body) == [True, True]


@pytest.mark.root
def test_bounding_set() -> None:
    number = caps.NUMBERS["sys_module"]

    def body() -> list[object]:
        before = prctl.capbset_read(number)
        prctl.capbset_drop(number)
        return [before, prctl.capbset_read(number), bool(int(status_of(os.getpid())["CapBnd"], 16) >> number & 1)]

    assert in_child(body) == [prctl.capbset_read(number), False, False]


def test_capability_names_are_the_kernels() -> None:
    assert caps.NUMBERS["chown"] == 0
    assert caps.NUMBERS["sys_admin"] == 21
    assert caps.NUMBERS["setfcap"] == 31
    assert caps.NUMBERS["checkpoint_restore"] == 40
    assert caps.last_cap() == int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def test_join_session_keyring() -> None:
    assert in_child(keyctl.join_session_keyring) is None


# -- signals


def test_block_and_read() -> None:
    def body() -> list[object]:
        before = signals.block_all_but([signal.SIGSEGV])
        fd = signals.signalfd(signals.all_but([signal.SIGSEGV]))
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGRTMIN + 3)
        child = os.fork()
        if child == 0:
            os._exit(0)
        found = []
        while len(found) < 3:
            select.select([fd], [], [], 10)
            found += signals.read(fd)
        os.waitpid(child, 0)
        expected = {(int(signal.SIGTERM), os.getpid()), (int(signal.SIGRTMIN) + 3, os.getpid()), (int(signal.SIGCHLD), child)}
        blocked = set(_signal.pthread_sigmask(_signal.SIG_BLOCK, ()))
        signals.restore(before)
        after = set(_signal.pthread_sigmask(_signal.SIG_BLOCK, ()))
        return [
            set(found) == expected,
            signals.read(fd),
            os.get_inheritable(fd),
            signal.SIGSEGV in blocked or signal.SIGTERM not in blocked,
            after == before,
        ]

    assert in_child(body) == [True, [], False, False, True]


def _mask_and_handlers(numbers: tuple[int, ...]) -> tuple[set[int], list[object]]:
    return set(_signal.pthread_sigmask(_signal.SIG_BLOCK, ())), [_signal.getsignal(n) for n in numbers]


@pytest.mark.parametrize("moment", ["before", "inside", "never"])
def test_interruptible(moment: str) -> None:
    numbers = (int(signal.SIGTERM), int(signal.SIGHUP))

    def body() -> list[object]:
        signals.block_all_but(())
        before = _mask_and_handlers(numbers)
        if moment == "before":
            os.kill(os.getpid(), signal.SIGHUP)
        entered = False
        caught = 0
        try:
            with signals.interruptible(numbers):
                entered = True
                if moment == "inside":
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(10)
        except signals.Interrupted as interruption:
            caught = interruption.args[0]
        return [entered, caught, _mask_and_handlers(numbers) == before]

    expected = {"before": [False, int(signal.SIGHUP)], "inside": [True, int(signal.SIGTERM)], "never": [True, 0]}
    assert in_child(body) == [*expected[moment], True]


def test_interruptible_survives_a_storm() -> None:
    """Signals that strike at every instruction, __exit__'s first included: mask and handlers are always put back."""
    numbers = (int(signal.SIGTERM), int(signal.SIGUSR1))

    def body() -> list[object]:
        signals.block_all_but(())
        before = _mask_and_handlers(numbers)
        parent = os.getpid()
        storm = os.fork()
        if storm == 0:
            while os.getppid() == parent:
                for number in numbers:
                    os.kill(parent, number)
            os._exit(0)
        wrong = interrupted = 0
        for _ in range(2000):
            try:
                with signals.interruptible(numbers):
                    pass
            except signals.Interrupted:
                interrupted += 1
            wrong += _mask_and_handlers(numbers) != before
        os.kill(storm, signal.SIGKILL)
        os.waitpid(storm, 0)
        return [wrong, interrupted > 0]

    assert in_child(body) == [0, True]


@settings(max_examples=50)
@given(st.sets(st.integers(1, 64).filter(lambda n: n not in (9, 19, 32, 33))))
def test_all_but(exceptions: set[int]) -> None:
    left = signals.all_but(exceptions)
    assert not left & exceptions
    assert left | exceptions == {n for n in range(1, 65) if n not in (9, 19, 32, 33)}
