# SPDX-License-Identifier: LGPL-2.1-or-later
"""The protocol against C LXC, both ways: our client asks C's monitor, C's tools ask our server, locks and broadcasts meet."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lxctools import locks, states
from lxctools.errors import Denied, LxcError, TimedOut
from lxctools.protocol import client, commands, monitor
from lxctools.protocol.server import Reply
from tests import host
from tests.unit.protocol.served import CLONE_FLAGS, Container, Served, everything, request, serving
from tests.unit.protocol.test_monitor import connected
from tests.unit.protocol.test_server import REBOOT

NAME = "p1"


def c(*words: object, timeout: float = 30, check: bool = False) -> subprocess.CompletedProcess[bytes]:
    """A command of C LXC: name without lxc-, the rest; -P and -n are the caller's."""
    return host.run(host.THEIRS / f"lxc-{words[0]}", *words[1:], timeout=timeout, check=check)


@contextmanager
def c_container(lxcpath: Path, config: str = "") -> Iterator[tuple[str, str]]:
    """A running container of C LXC; (name, lxcpath)."""
    host.make_container(lxcpath, NAME, config)
    c("start", "-P", lxcpath, "-n", NAME, check=True)
    try:
        yield NAME, str(lxcpath)
    finally:
        c("stop", "-P", lxcpath, "-n", NAME, "-k")
        host.remove_empty_cgroups(NAME)
        forget_lock(lxcpath)


def path_of(fd: int | None) -> str:
    assert fd is not None
    path = os.readlink(f"/proc/self/fd/{fd}")
    os.close(fd)
    return path


# -- our client, C's monitor


def test_every_question(lxcpath: Path) -> None:
    hierarchies = Path("/proc/self/cgroup").read_text().splitlines()
    with c_container(lxcpath, "lxc.console.buffer.size = auto\n") as here:
        pid = client.init_pid(*here)
        assert str(pid) == c("info", "-P", lxcpath, "-n", NAME, "-pH").stdout.decode().strip()
        assert client.state(*here) == states.RUNNING
        client.may_control(*here)
        flags = client.clone_flags(*here)
        assert flags is not None
        assert flags & ~0x80 == CLONE_FLAGS
        assert client.config_item(*here, "lxc.uts.name") == NAME
        assert client.config_item(*here, "lxc.tty.max") == "2"
        assert client.config_item(*here, "lxc.net") == "empty\n"
        assert client.config_item(*here, "lxc.bogus") is None
        assert client.systemd_scope(*here) is None
        pidfd = client.init_pidfd(*here)
        assert f"Pid:\t{pid}\n" in Path(f"/proc/self/fdinfo/{pidfd}").read_text()
        assert path_of(pidfd) in ("anon_inode:[pidfd]", path_of(os.pidfd_open(pid or 0)))
        devpts = client.devpts_fd(*here)
        assert devpts is not None
        assert "ptmx" in os.listdir(f"/proc/self/fd/{devpts}")
        os.close(devpts)
        assert client.seccomp_notify_fd(*here) is None
        assert client.cgroup(*here, "memory") == client.cgroup(*here, "memory", limit=True) == f"/lxc.payload.{NAME}"
        assert client.cgroup(*here, "nope") is None
        assert path_of(client.cgroup_fd(*here, "memory", limit=True)) == f"/sys/fs/cgroup/memory/lxc.payload.{NAME}"
        assert path_of(client.cgroup_fd(*here, "freezer")) == f"/sys/fs/cgroup/freezer/lxc.payload.{NAME}"
        assert client.cgroup_fd(*here, "nope") is None
        context = client.cgroup_ctx(*here)
        assert context is not None
        assert context[0] == 1
        assert len(context[2]) == len(hierarchies)
        assert all(path_of(fd).endswith(f"/lxc.payload.{NAME}") for fd in context[2])
        assert client.cgroup2_fd(*here) is None
        assert client.cgroup2_fd(*here, limit=True) is None
        assert client.monitor_freeze(*here, frozen=True) is False
        assert client.add_device_rule(*here, "c", 1, 3, "rwm", allow=True) is False
        with pytest.raises(LxcError, match="seccomp_notify_add_listener"):
            client.add_seccomp_listener(*here, 0)
        assert client.console_log(*here, clear=False, read=True) is not None
        assert client.console_log(*here, clear=True, read=False) == b""
        assert client.active(str(lxcpath)) == [NAME]


def test_ttys(lxcpath: Path) -> None:
    with c_container(lxcpath) as here:
        first = client.tty(*here)
        second = client.tty(*here, 2)
        console = client.tty(*here, 0)
        assert first is not None
        assert second is not None
        assert console is not None
        assert (first[2], second[2], console[2]) == (1, 2, 0)
        for number in (-1, 1, 0, 99):
            with pytest.raises(LxcError, match="Denied access to tty"):
                client.tty(*here, number)
        first[0].close()
        again = None

        def taken() -> bool:
            nonlocal again
            try:
                again = client.tty(*here, 1)
            except LxcError:
                return False
            return True

        assert host.wait_until(taken)
        assert again is not None
        client.stop(*here, timeout=10)
        assert again[0].recv(1) == b""
        for connection, master, _number in (first, second, console, again):
            connection.close()
            os.close(master)


def test_no_console_log(lxcpath: Path) -> None:
    with c_container(lxcpath) as here, pytest.raises(LxcError, match="keeps no console log"):
        client.console_log(*here, clear=False, read=True)


def test_the_swapped_directories(lxcpath: Path) -> None:
    config = (
        "lxc.cgroup.dir.monitor = lxctmon\nlxc.cgroup.dir.monitor.pivot = lxctpivot\n"
        "lxc.cgroup.dir.container = lxct/c\nlxc.cgroup.dir.container.inner = in\n"
    )
    try:
        with c_container(lxcpath, config) as here:
            assert client.cgroup(*here, "memory", limit=True) == "/lxct/c"
            assert client.cgroup(*here, "memory") == "/lxct/c/in"
            assert path_of(client.cgroup_fd(*here, "memory", limit=True)) == "/sys/fs/cgroup/memory/lxct/c"
            assert path_of(client.cgroup_fd(*here, "memory")) == "/sys/fs/cgroup/memory/lxct/c/in"
    finally:
        for pattern in ("lxctmon", "lxct/c", "lxct", "lxctpivot/*", "lxctpivot"):
            for folder in [*Path("/sys/fs/cgroup").glob(f"*/{pattern}")]:
                if folder.is_dir():
                    host.wait_until(lambda folder=folder: try_rmdir(folder), 2)


def try_rmdir(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def test_stop_waits_for_the_hooks(lxcpath: Path) -> None:
    mark = lxcpath / "mark"
    hook = lxcpath / "hook"
    hook.write_text(f"#!/bin/sh\nsleep 0.5\ntouch {mark}\n")
    hook.chmod(0o755)
    with c_container(lxcpath, f"lxc.hook.post-stop = {hook}\n") as here:
        client.stop(*here, timeout=10)
        assert mark.exists()
        assert client.state(*here) is None
        assert client.active(str(lxcpath)) == []


def test_stop_of_an_init_that_does_not_obey(lxcpath: Path) -> None:
    with c_container(lxcpath, "lxc.signal.stop = SIGUSR2\n") as here:
        pid = client.init_pid(*here)
        assert pid is not None
        with pytest.raises(TimedOut, match=r"did not end within 0\.3 s"):
            client.stop(*here, timeout=0.3)
        os.kill(pid, 9)
        assert host.wait_until(lambda: client.state(*here) is None)


def test_a_foreign_user_is_denied(lxcpath: Path) -> None:
    os.chmod(lxcpath, 0o755)
    with c_container(lxcpath) as here:
        assert in_child(lambda: client.may_control(*here), Denied)
        assert in_child(lambda: client.state(*here), Denied)
        assert in_child(lambda: client.stop(*here), Denied)
        assert client.state(*here) == states.RUNNING


def in_child(body: Callable[[], object], expected: type[BaseException]) -> bool:
    """Whether body raises this as nobody."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            body()
        except expected:
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


def test_states_of_freezing_are_told(lxcpath: Path) -> None:
    with c_container(lxcpath) as here:
        waiting = client.add_state_client(*here, {states.FROZEN: 1, states.FREEZING: 1})
        assert waiting is not None
        assert not isinstance(waiting, int)
        c("freeze", "-P", lxcpath, "-n", NAME, check=True)
        assert waiting.recv(264) == commands.STATE_MESSAGE.pack(0, NAME.encode(), states.FREEZING)
        waiting.close()
        assert client.state(*here) == states.FROZEN
        assert client.add_state_client(*here, {states.FROZEN: 1}) == states.FROZEN
        client.stop(*here, timeout=10)


@pytest.mark.parametrize(("wanted", "told"), REBOOT)
def test_what_c_tells_in_a_reboot_is_what_our_server_tells(lxcpath: Path, wanted: dict[int, int], told: int | None) -> None:
    """The table that tests/unit/protocol/test_server.py holds our server to."""
    with c_container(lxcpath) as here:
        if wanted == {states.RUNNING: 1, states.STARTING: 1}:
            client.serve_state_clients(*here, states.FREEZING)  # so that it has to wait
        waiting = client.add_state_client(*here, wanted)
        assert waiting is not None
        assert not isinstance(waiting, int)
        pid = client.init_pid(*here)
        assert pid is not None
        c("attach", "-P", lxcpath, "-n", NAME, "--", "/bin/reboot", "-f")  # reboot(2): the kernel ends its init by SIGHUP
        waiting.settimeout(10)
        message = b"".join(iter(lambda: waiting.recv(4096), b""))
        waiting.close()
        assert message == (b"" if told is None else struct.pack("<i256si", 0, NAME.encode(), told))
        assert host.wait_until(lambda: client.init_pid(*here) not in (None, pid))


def test_addresses_of_105_and_106_bytes() -> None:
    base = Path("/var/tmp") / f"lxct-{os.getpid()}-".ljust(105 - len(f"/{NAME}/command") - len("/var/tmp/"), "x")
    for lxcpath in (base, base.with_name(base.name + "x")):
        lxcpath.mkdir()
        try:
            with c_container(lxcpath) as here:
                assert client.state(*here) == states.RUNNING
                assert client.active(str(lxcpath)) == [NAME]
                length = len(commands.address(NAME.encode(), os.fsencode(lxcpath)))
                assert length == (106 if lxcpath == base else len("@lxc/0123456789abcdef/command"))
                assert client.whose(commands.address(NAME.encode(), os.fsencode(lxcpath))) == here
        finally:
            host.forget(lxcpath)


def test_a_container_that_starts_answers_later(lxcpath: Path) -> None:
    hook = lxcpath / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {lxcpath}/begun\nsleep 1\n")
    hook.chmod(0o755)
    host.make_container(lxcpath, NAME, f"lxc.hook.pre-start = {hook}\n")
    here = (NAME, str(lxcpath))
    words = [host.THEIRS / "lxc-start", "-P", lxcpath, "-n", NAME]
    starting = subprocess.Popen(list(map(str, words)), stdin=subprocess.DEVNULL)
    try:
        assert host.wait_until((lxcpath / "begun").exists)
        with pytest.raises(TimedOut):
            client.state(*here, timeout=0.2)
        assert client.active(str(lxcpath)) == [NAME]
        assert client.add_state_client(*here, {states.RUNNING: 1}, timeout=None) == states.RUNNING
        assert starting.wait(10) == 0
    finally:
        c("stop", "-P", lxcpath, "-n", NAME, "-k")
        host.remove_empty_cgroups(NAME)
        forget_lock(lxcpath)


def test_pure_unified_hierarchy(lxcpath: Path) -> None:
    """In a mount namespace of its own, where nothing but cgroup2 is mounted."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); from tests.oracle.test_protocol import on_unified as f; f(sys.argv[2])"
    mounts = "umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup"
    script = f'{mounts} && exec "$@"'
    words = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
    try:
        done = host.run(*words, sys.executable, "-c", code, host.CHECKOUT, lxcpath)
        assert done.stdout == b"done\n", done
    finally:
        host.remove_empty_cgroups(NAME)


def on_unified(place: str) -> None:
    with c_container(Path(place)) as here:
        folder = f"/sys/fs/cgroup/lxc.payload.{NAME}"
        assert client.cgroup(*here, "freezer") == f"lxc.payload.{NAME}"  # without a leading slash here
        assert client.cgroup(*here, "freezer", limit=True) == f"lxc.payload.{NAME}"
        assert path_of(client.cgroup2_fd(*here)) == folder
        assert path_of(client.cgroup2_fd(*here, limit=True)) == folder
        assert path_of(client.cgroup_fd(*here, "freezer", limit=True)) == folder
        context = client.cgroup_ctx(*here)
        assert context is not None
        assert (context[0], context[1] & 2) == (2, 2)
        assert [path_of(fd) for fd in context[2]] == [folder]
        assert client.monitor_freeze(*here, frozen=True, limit=-1) is True
        assert Path(folder, "cgroup.events").read_text().splitlines()[1] == "frozen 1"
        assert client.state(*here) == states.RUNNING
        assert client.monitor_freeze(*here, frozen=False, limit=-1) is True
        if context[1] & 1:
            assert client.add_device_rule(*here, "c", 1, 3, "rwm", allow=True)
        print("done")


# What our server answers, as tests/unit/protocol/test_server.py has it; C's replies are the same but for the third field of those
# with a payload, where C leaks a pointer.
RAW = [
    (request(3), "00000000 00000000 02000000 00000000"),
    (request("03000000 ffffffff 00000000 00000000"), "00000000 00000000 02000000 00000000"),
    (request("01000000 00000000 00000000 00000000"), ""),
    (request("1b000000 00000000 00000000 00000000"), "daffffff 00000000 00000000 00000000"),
    (request("ffffffff 00000000 00000000 00000000"), "daffffff 00000000 00000000 00000000"),
    (request(6, b"nope\0"), ""),
    (request(6, b"memory"), "eaffffff 00000000 00000000 00000000"),
    (request(6, b"memory\0"), "00000000 10000000 ........ ........ 2f6c78632e7061796c6f61642e703100"),
    (request(7, b"lxc.uts.name\0"), "00000000 03000000 ........ ........ 703100"),
    (request(8), "00000000 03000000 ........ ........ 703100"),
    (request(10, bytes(31)), "eaffffff 00000000 00000000 00000000"),
    (request(10, struct.pack("<8i", 0, 0, 1, 0, 0, 0, 0, 0))[:48], "02000000 00000000 02000000 00000000"),
    (request(11, bytes.fromhex("000100000000000000000000000000000000000000000000")), "f2ffffff 00000000 00000000 00000000"),
    (request(0, value=99), "f7ffffff 00000000 00000000 00000000"),
    (request(15, value=0), "feffffff 00000000 00000000 00000000"),
    (request(17), "eaffffff 00000000 00000000 00000000"),
    (request(22), "f7ffffff 00000000 00000000 00000000"),
    (request(24, bytes(80)), "eaffffff 00000000 00000000 00000000"),
    (request(24, bytes(16) + b"nope".ljust(64, b"\0")), "feffffff 00000000 00000000 00000000"),
    (request(26), "eaffffff 00000000 00000000 00000000"),
    (struct.pack("<iiq", 7, 8193, 0), ""),
    (request(12, value=2), "00000000 00000000 00000000 00000000"),
]


def test_bytes_on_the_wire(lxcpath: Path) -> None:
    with c_container(lxcpath) as (name, place):
        for asked, answered in RAW:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(10)
                sock.connect(commands.address(name.encode(), place.encode()))
                sock.sendall(asked)
                wanted = answered.replace(" ", "")
                # C leaves the connection of a state client open.
                data = sock.recv(4096) if asked[0] == 10 else everything(sock)
                shown = data.hex()
                if "." in wanted:
                    shown = shown[:16] + "." * 16 + shown[32:]
                assert shown == wanted, asked


# -- C's tools, our server


@contextmanager
def our_monitor(lxcpath: Path, prepare: Callable[[Container], object] = lambda _c: None) -> Iterator[Served]:
    host.make_container(lxcpath, NAME)
    try:
        with serving(prepare, place=(NAME, str(lxcpath))) as served:
            yield served
    finally:
        forget_lock(lxcpath)


def test_info_ls_wait_and_start(lxcpath: Path) -> None:
    with our_monitor(lxcpath) as served:
        shown = c("info", "-P", lxcpath, "-n", NAME, "-s", "-p", check=True).stdout.decode()
        assert [line.split() for line in shown.splitlines()] == [["State:", "RUNNING"], ["PID:", str(served.pid)]]
        assert c("ls", "-P", lxcpath, "--active", "-1").stdout == b"p1\n"
        assert c("ls", "-P", lxcpath, "--running", "-1").stdout == b"p1\n"
        assert c("ls", "-P", lxcpath, "--stopped", "-1").stdout == b""
        assert c("wait", "-P", lxcpath, "-n", NAME, "-s", "RUNNING", "-t", "5").returncode == 0
        assert b"Container is already running" in c("start", "-P", lxcpath, "-n", NAME).stderr
        served.order("state", states.STOPPED)  # so that only the socket's address keeps it out
        refused = c("start", "-F", "-P", lxcpath, "-n", NAME)
        assert refused.returncode == 1
        assert b"appears to be already running" in refused.stderr
        served.order("state", states.FROZEN)
        assert b"FROZEN" in c("info", "-P", lxcpath, "-n", NAME, "-s").stdout
        assert c("ls", "-P", lxcpath, "--frozen", "-1").stdout == b"p1\n"


def test_ls_finds_a_hashed_address() -> None:
    lxcpath = Path("/var/tmp") / f"lxct-{os.getpid()}-".ljust(105, "y")
    lxcpath.mkdir()
    try:
        with our_monitor(lxcpath):
            assert c("ls", "-P", lxcpath, "--active", "-1").stdout == b"p1\n"
            assert b"RUNNING" in c("info", "-P", lxcpath, "-n", NAME, "-s").stdout
    finally:
        host.run("rm", "-rf", lxcpath)


def test_wait_is_told_and_stopped_is_the_end(lxcpath: Path) -> None:
    with our_monitor(lxcpath) as served:
        for state, order in ((states.FROZEN, "announce 6"), (states.STOPPED, "close")):
            words = [host.THEIRS / "lxc-wait", "-P", lxcpath, "-n", NAME, "-s", states.name(state), "-t", "10"]
            waiting = subprocess.Popen(list(map(str, words)), stdin=subprocess.DEVNULL)
            assert host.wait_until(lambda: served.order("connections") == "1")
            time.sleep(0.05)
            assert waiting.poll() is None
            served.order(*order.split())
            assert waiting.wait(5) == 0


def test_stop_kill(lxcpath: Path) -> None:
    with our_monitor(lxcpath) as served:
        words = [host.THEIRS / "lxc-stop", "-P", lxcpath, "-n", NAME, "-k"]
        stopping = subprocess.Popen(list(map(str, words)), stdin=subprocess.DEVNULL)
        assert host.wait_until(lambda: served.order("connections") == "1")
        time.sleep(0.1)
        assert stopping.poll() is None
        served.order("unlisten")
        served.order("close")
        assert stopping.wait(5) == 0


def test_freeze_and_unfreeze_announce(lxcpath: Path, tmp_path: Path) -> None:
    freezer = Path(f"/sys/fs/cgroup/freezer/lxct-{os.getpid()}")

    def prepare(container: Container) -> None:
        container.paths = {"freezer": (f"/{freezer.name}", f"/{freezer.name}")}

    if not freezer.parent.is_dir():
        pytest.skip("no v1 freezer on this host")
    freezer.mkdir()
    try:
        with our_monitor(lxcpath, prepare) as served:
            here = (served.name, served.lxcpath)
            c("freeze", "-P", lxcpath, "-n", NAME, check=True)
            assert client.state(*here) == states.FROZEN
            assert (freezer / "freezer.state").read_text() == "FROZEN\n"
            c("unfreeze", "-P", lxcpath, "-n", NAME, check=True)
            assert client.state(*here) in (states.THAWED, states.RUNNING)
            assert (freezer / "freezer.state").read_text() == "THAWED\n"
    finally:
        freezer.rmdir()


def test_running_configuration_and_limits(lxcpath: Path, tmp_path: Path) -> None:
    limit, inner = tmp_path / "limit", tmp_path / "limit" / "inner"
    inner.mkdir(parents=True)
    (limit / "memory.limit_in_bytes").write_text("4096\n")
    (inner / "memory.limit_in_bytes").write_text("1\n")

    def prepare(container: Container) -> None:
        container.folders = {"memory": (str(inner), str(limit))}

    with our_monitor(lxcpath, prepare):
        shown = c("cgroup", "-P", lxcpath, "-n", NAME, "memory.limit_in_bytes")
        assert shown.stdout.strip() == b"4096"  # 25 is the limit directory


def test_console_is_refused_and_given(lxcpath: Path) -> None:
    with our_monitor(lxcpath) as served:
        refused = c("console", "-P", lxcpath, "-n", NAME, "-t", "9")
        assert refused.returncode != 0
        assert b"Denied access to tty" in refused.stderr
        assert served.order("ttys") == "00"


def test_a_silent_client_does_not_keep_c_waiting(lxcpath: Path) -> None:
    with our_monitor(lxcpath), socket.socket(socket.AF_UNIX) as silent:
        silent.connect(commands.address(NAME.encode(), os.fsencode(lxcpath)))
        silent.sendall(struct.pack("<iiq", 7, 500, 0))
        begun = time.monotonic()
        assert b"RUNNING" in c("info", "-P", lxcpath, "-n", NAME, "-s").stdout
        assert time.monotonic() - begun < 1


def test_a_refusal_is_a_refusal_to_c(lxcpath: Path) -> None:
    def prepare(container: Container) -> None:
        rows = container.table()
        rows[commands.GET_INIT_PID] = lambda _r: Reply(ret=-1)
        container.table = lambda: rows  # type: ignore[method-assign]

    with our_monitor(lxcpath, prepare):
        assert (
            b"Insufficent privileges"
            in c("info", "-P", lxcpath, "-n", NAME, "-s").stderr + c("info", "-P", lxcpath, "-n", NAME, "-s").stdout
        )


# -- locks


def test_c_waits_for_our_lock(lxcpath: Path) -> None:
    host.make_container(lxcpath, NAME)
    words = [host.THEIRS / "lxc-info", "-P", lxcpath, "-n", NAME, "-s"]
    with locks.ContainerLock(str(lxcpath), NAME):
        info = subprocess.Popen(list(map(str, words)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        time.sleep(0.5)
        assert info.poll() is None
    assert b"STOPPED" in info.communicate(timeout=5)[0]
    forget_lock(lxcpath)


def test_we_wait_for_its_lock_and_name_it(lxcpath: Path) -> None:
    folder = host.make_container(lxcpath, NAME)
    hook = lxcpath / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {lxcpath}/begun\nsleep 1\n")
    hook.chmod(0o755)
    with (folder / "config").open("a") as file:
        file.write(f"lxc.hook.destroy = {hook}\n")
    words = [host.THEIRS / "lxc-destroy", "-P", lxcpath, "-n", NAME]
    destroying = subprocess.Popen(list(map(str, words)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert host.wait_until((lxcpath / "begun").exists)
    with pytest.raises(TimedOut, match=rf"process .*\b{destroying.pid}\b"), locks.ContainerLock(str(lxcpath), NAME, 0.1):
        pass
    with locks.ContainerLock(str(lxcpath), NAME, 10):
        assert not folder.exists()
    assert destroying.wait(5) == 0
    forget_lock(lxcpath)


def test_c_respects_our_mark_of_a_creation(lxcpath: Path) -> None:
    folder = host.make_container(lxcpath, NAME)
    partial = locks.PartialLock(str(folder))
    refused = c("start", "-P", lxcpath, "-n", NAME)
    partial.release()
    assert refused.returncode != 0
    assert b"Ongoing container creation detected" in refused.stderr
    forget_lock(lxcpath)


def forget_lock(lxcpath: Path) -> None:
    host.run("rm", "-rf", f"/run/lxc/lock{lxcpath}")


# -- broadcasts


@pytest.fixture
def listened(lxcpath: Path) -> Iterator[Path]:
    """A lxcpath whose lxc-monitord, of either kind, ends with the test."""
    yield lxcpath
    monitor.quit_monitord(str(lxcpath))
    host.wait_until(lambda: not Path(monitor.fifo_path(str(lxcpath))).exists())
    host.run("rm", "-rf", f"/run/lxc{lxcpath}")


class CMonitor:
    """C's lxc-monitor."""

    def __init__(self, lxcpath: Path) -> None:
        self.process = subprocess.Popen(
            [str(host.THEIRS / "lxc-monitor"), "-P", str(lxcpath), "-n", ".*"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert host.wait_until(lambda: connected(str(lxcpath)))
        time.sleep(0.2)

    def lines(self, count: int) -> list[str]:
        assert self.process.stdout is not None
        found: list[bytes] = []
        data = b""
        deadline = time.monotonic() + 10
        while len(found) < count and time.monotonic() < deadline:
            if select.select([self.process.stdout], [], [], 0.2)[0]:
                data += os.read(self.process.stdout.fileno(), 4096)
                found = data.split(b"\n")[:-1]
        return [line.decode() for line in found]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(5)
        assert self.process.stdout is not None
        self.process.stdout.close()


def ours_as_monitord(lxcpath: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([str(host.OURS / "lxc-monitord"), "--daemon", str(lxcpath)], stdin=subprocess.DEVNULL)
    assert host.wait_until(lambda: connected(str(lxcpath)))
    return process


LIFE = [
    f"'{NAME}' changed state to [STARTING]",
    f"'{NAME}' changed state to [RUNNING]",
    f"'{NAME}' exited with status [0]",
    f"'{NAME}' changed state to [STOPPING]",
    f"'{NAME}' changed state to [STOPPED]",
]


@pytest.mark.parametrize("daemon", ["theirs", "ours"])
def test_c_lxc_monitor_prints_what_we_publish(listened: Path, daemon: str) -> None:
    process = ours_as_monitord(listened) if daemon == "ours" else None
    shown = CMonitor(listened)
    try:
        place = str(listened)
        monitor.publish_state(place, NAME, states.STARTING)
        monitor.publish_state(place, NAME, states.RUNNING)
        monitor.publish_exit(place, NAME, 9)
        monitor.publish_state(place, NAME, states.STOPPING)
        monitor.publish_state(place, NAME, states.STOPPED)
        monitor.publish_exit(place, NAME, 3 << 8)
        monitor.publish_state(place, NAME, 77)
        assert shown.lines(7) == [*LIFE, f"'{NAME}' exited with status [3]", f"'{NAME}' changed state to [INVALID STATE]"]
    finally:
        shown.close()
        if process is not None:
            assert c("monitor", "-P", listened, "-Q").returncode == 0
            assert process.wait(5) == 0


@pytest.mark.parametrize("daemon", ["theirs", "ours"])
def test_we_hear_the_life_of_its_container(listened: Path, daemon: str) -> None:
    process = ours_as_monitord(listened) if daemon == "ours" else None
    shown = CMonitor(listened) if daemon == "theirs" else None  # starts C's lxc-monitord
    sock = monitor.connect(monitor.socket_address(str(listened)))
    assert sock is not None
    sock.settimeout(10)
    subscribed = monitor.Subscription(sock, str(listened))
    time.sleep(0.1)
    try:
        with c_container(listened) as here:
            client.stop(*here, timeout=10)
        found: list[tuple[int, str, int]] = []
        while len(found) < 5:
            found += [(event.kind, event.name, event.value) for event in subscribed.events()]
        assert found == [(0, NAME, 1), (0, NAME, 2), (2, NAME, 9), (0, NAME, 3), (0, NAME, 0)]
    finally:
        subscribed.close()
        if shown is not None:
            assert shown.lines(5) == LIFE
            shown.close()
        if process is not None:
            assert monitor.quit_monitord(str(listened))
            assert process.wait(5) == 0


def test_a_second_monitord_of_the_other_kind_refuses(listened: Path) -> None:
    shown = CMonitor(listened)
    second = host.run(host.OURS / "lxc-monitord", "--daemon", listened, timeout=5)
    assert second.returncode == 1
    monitor.publish_state(str(listened), NAME, states.RUNNING)
    assert shown.lines(1) == [f"'{NAME}' changed state to [RUNNING]"]
    shown.close()


def test_c_quits_ours_and_finds_none_after(listened: Path) -> None:
    process = ours_as_monitord(listened)
    assert c("monitor", "-P", listened, "-Q").returncode == 0
    assert process.wait(5) == 0
    assert c("monitor", "-P", listened, "-Q").returncode == 1


# -- the monitor dies


def test_the_monitor_is_killed(lxcpath: Path) -> None:
    with c_container(lxcpath) as here:
        waiting = client.add_state_client(*here, {states.STOPPED: 1})
        terminal = client.tty(*here)
        assert terminal is not None
        assert waiting is not None
        assert not isinstance(waiting, int)
        pid = client.init_pid(*here)
        assert pid is not None
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        thread = threading.Timer(0.2, os.kill, (int(stat[1]), signal.SIGKILL))
        thread.start()
        client.stop(*here, wait=False)
        assert waiting.recv(264) == b""
        assert terminal[0].recv(1) == b""
        assert host.wait_until(lambda: client.state(*here) is None)
        thread.join()
        waiting.close()
        terminal[0].close()
        os.close(terminal[1])
    host.remove_empty_cgroups(NAME)
