# SPDX-License-Identifier: LGPL-2.1-or-later
"""The client's questions: to a monitor of today, to old ones, to none, to silent, wrong and hostile ones."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools import states
from lxctools.errors import Denied, LxcError, TimedOut
from lxctools.protocol import client, commands, question, server
from lxctools.protocol.server import HOLD, Reply
from tests.host import wait_until

from .served import CLONE_FLAGS, CONSOLE, Container, Served, new_place, serving


@pytest.fixture(autouse=True)
def no_descriptor_is_lost() -> Iterator[None]:
    before = sorted(os.listdir("/proc/self/fd"))
    yield
    assert sorted(os.listdir("/proc/self/fd")) == before


def place(served: Served) -> tuple[str, str]:
    return served.name, served.lxcpath


def path_of(fd: int | None) -> str:
    """Where a descriptor leads; it is closed."""
    assert fd is not None
    assert not os.get_inheritable(fd)
    path = os.readlink(f"/proc/self/fd/{fd}")
    os.close(fd)
    return path


# -- every question, to one that knows the answer


def test_numbers_and_texts() -> None:
    with serving() as served:
        here = place(served)
        assert client.state(*here) == states.RUNNING
        assert client.init_pid(*here) == served.pid
        assert client.clone_flags(*here) == CLONE_FLAGS
        assert client.config_item(*here, "lxc.uts.name") == "w1"
        assert client.config_item(*here, "lxc.net") == "veth\n"
        assert client.config_item(*here, "lxc.bogus") is None
        assert client.systemd_scope(*here) is None
        client.may_control(*here)


def test_questions_that_were_sent_ahead() -> None:
    """The answers are those of then, each for one reader; the next question is asked again."""
    with serving() as served:
        here = place(served)
        sent = client.ahead(*here, state=True, init_pid=True, clone_flags=True, keys=("lxc.uts.name", "lxc.bogus"))
        client.may_control(*here)  # served in order: those before have their answers
        served.order("state", states.FROZEN)
        assert client.state(*here, ahead=sent) == states.RUNNING
        assert client.state(*here, ahead=sent) == states.FROZEN
        assert client.init_pid(*here, ahead=sent) == served.pid
        assert client.clone_flags(*here, ahead=sent) == CLONE_FLAGS
        assert client.config_item(*here, "lxc.uts.name", ahead=sent) == "w1"
        assert client.config_item(*here, "lxc.net", ahead=sent) == "veth\n"
        sent.close()
        assert client.config_item(*here, "lxc.bogus", ahead=sent) is None
        sent.close()


def test_questions_sent_ahead_to_a_monitor_that_answers_one_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """liblxc's: it closes with the others unread."""
    monkeypatch.setattr(server, "_MOST_REQUESTS", 1)
    with serving() as served:
        here = place(served)
        sent = client.ahead(*here, state=True, init_pid=True, keys=("lxc.uts.name",))
        assert client.config_item(*here, "lxc.uts.name", ahead=sent) == "w1"
        assert client.state(*here, ahead=sent) == states.RUNNING
        assert client.init_pid(*here, ahead=sent) == served.pid
        sent.close()


def test_answers_sent_ahead_do_not_get_old() -> None:
    """One that came before another that is late is not what is true when it is asked for again."""

    def prepare(container: Container) -> None:
        rows = container.table()
        rows[commands.GET_INIT_PID] = lambda _r: (time.sleep(0.3), Reply(value=1))[1]
        container.table = lambda: rows  # type: ignore[method-assign]

    with serving(prepare) as served:
        here = place(served)
        sent = client.ahead(*here, state=True, init_pid=True)
        with pytest.raises(TimedOut):
            client.state(*here, timeout=0.1, ahead=sent)
        served.order("state", states.FROZEN)
        assert client.state(*here, ahead=sent) == states.FROZEN


def test_descriptors_that_nobody_wants_stay_out() -> None:
    def prepare(container: Container) -> None:
        rows = container.table()
        rows[commands.GET_STATE] = lambda _r: Reply(value=states.RUNNING, fds=[0] * 200)
        container.table = lambda: rows  # type: ignore[method-assign]

    with serving(prepare) as served:
        here = place(served)
        before = len(os.listdir("/proc/self/fd"))
        assert client.state(*here) == states.RUNNING
        sent = client.ahead(*here, state=True)
        assert client.state(*here, ahead=sent) == states.RUNNING
        assert len(os.listdir("/proc/self/fd")) == before


def test_sending_ahead_waits_for_nobody() -> None:
    name, lxcpath = new_place()
    assert client.state(name, lxcpath, ahead=client.ahead(name, lxcpath, state=True)) is None
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(commands.address(os.fsencode(name), os.fsencode(lxcpath)))
        silent.listen(1)
        begun = time.monotonic()
        sent = client.ahead(name, lxcpath, state=True, init_pid=True, clone_flags=True, keys=map(str, range(9)))
        assert time.monotonic() - begun < 0.2, "more than may wait for a listener that does not serve"
        for timeout in (0.1, 0.0):
            with pytest.raises(TimedOut):
                client.state(name, lxcpath, timeout=timeout, ahead=sent)
        sent.close()


def test_a_systemd_scope() -> None:
    def prepare(container: Container) -> None:
        rows = container.table()
        rows[commands.GET_SYSTEMD_SCOPE] = lambda _r: Reply(payload=b"lxc-w1-0.scope\0")
        container.table = lambda: rows  # type: ignore[method-assign]

    with serving(prepare) as served:
        assert client.systemd_scope(*place(served)) == "lxc-w1-0.scope"


def test_high_clone_flags_and_a_negative_state_are_read_right() -> None:
    assert commands.low32(0x6E020000) == 0x6E020000
    assert commands.low32(0xFFFFFFFF) == -1
    assert commands.low32(-1) == -1
    assert commands.low32(0xCA55_107B_0000_0002) == 2  # a leaked pointer's upper half


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_low32_is_what_an_int_of_the_other_side_holds(value: int) -> None:
    assert commands.low32(value) == struct.unpack("<i", struct.pack("<q", value)[:4])[0]


def test_descriptors() -> None:
    with serving() as served:
        here = place(served)
        assert path_of(client.devpts_fd(*here)) == "/dev/pts"
        pidfd = client.init_pidfd(*here)
        assert pidfd is not None
        assert f"Pid:\t{served.pid}\n" in Path(f"/proc/self/fdinfo/{pidfd}").read_text()
        os.close(pidfd)
        assert client.seccomp_notify_fd(*here) is None
        assert client.cgroup2_fd(*here) is None


def test_a_tty_is_taken_until_its_connection_is_closed() -> None:
    with serving() as served:
        found = client.tty(*place(served))
        assert found is not None
        connection, master, number = found
        assert number == 1
        assert path_of(master) == "/dev/null"
        again = client.tty(*place(served), 2)
        assert again is not None
        os.close(again[1])
        with pytest.raises(LxcError, match=r"Denied access to tty: .* any tty .*lxc\.tty\.max"):
            client.tty(*place(served))
        with pytest.raises(LxcError, match=r"Denied access to tty: .* tty 99"):
            client.tty(*place(served), 99)
        with pytest.raises(LxcError, match=r"Denied access to tty: .* the console"):
            client.tty(*place(served), 0)
        connection.close()
        again[0].close()
        assert wait_until(lambda: served.order("ttys") == "00")


def test_console_log() -> None:
    with serving() as served:
        here = place(served)
        assert client.console_log(*here, clear=False, read=True, most=6) == CONSOLE[:6]
        assert client.console_log(*here, clear=False, read=True) == CONSOLE[6:]
        assert client.console_log(*here, clear=False, read=True) == b""
        assert client.console_log(*here, clear=True, read=False) == b""


def test_a_console_log_of_megabytes() -> None:
    def prepare(container: Container) -> None:
        container.console = os.urandom(1 << 12) * 1024

    with serving(prepare) as served:
        data = client.console_log(*place(served), clear=False, read=True)
        assert data is not None
        assert len(data) == 1 << 22
        assert data[: 1 << 12] * 1024 == data


def test_no_console_log() -> None:
    def prepare(container: Container) -> None:
        rows = container.table()
        rows[commands.CONSOLE_LOG] = lambda _r: Reply(ret=-errno.EFAULT)
        container.table = lambda: rows  # type: ignore[method-assign]

    with serving(prepare) as served, pytest.raises(LxcError, match=r"w1 keeps no console log.*lxc\.console\.buffer\.size"):
        client.console_log(*place(served), clear=False, read=True)


def test_a_seccomp_listener() -> None:
    with serving() as served:
        reader, writer = os.pipe()
        client.add_seccomp_listener(*place(served), writer)
        os.close(writer)
        assert os.read(reader, 10) == b"mine"
        with pytest.raises(LxcError, match="seccomp_notify_add_listener"):
            client.add_seccomp_listener(*place(served), reader)  # cannot be written to
        os.close(reader)


def test_orders_of_the_unified_hierarchy(tmp_path: Path) -> None:
    def prepare(container: Container) -> None:
        container.unified = str(tmp_path)

    with serving(prepare) as served:
        here = place(served)
        assert client.monitor_freeze(*here, frozen=True, limit=-1) is True
        assert client.monitor_freeze(*here, frozen=False, limit=5) is True
        assert client.add_device_rule(*here, "c", 1, 3, "rwm", allow=True)
        assert path_of(client.cgroup2_fd(*here)) == str(tmp_path)
    with serving() as served:
        assert client.monitor_freeze(*place(served), frozen=True) is False
        assert not client.add_device_rule(*place(served), "c", 1, 3, "rwm", allow=True)


def test_a_state_client_is_told() -> None:
    with serving() as served:
        here = place(served)
        assert client.add_state_client(*here, {states.RUNNING: 1, states.STOPPED: 1}) == states.RUNNING
        waiting = client.add_state_client(*here, {states.FROZEN: 1})
        assert isinstance(waiting, question._socket.socket)
        client.serve_state_clients(*here, states.FROZEN)
        assert waiting.recv(264) == commands.STATE_MESSAGE.pack(0, b"w1", states.FROZEN)
        waiting.close()
        assert client.state(*here) == states.FROZEN


# -- cgroups


@contextmanager
def with_cgroups(tmp_path: Path, **facts: object) -> Iterator[tuple[Served, str]]:
    """A monitor with an inner directory; facts are set on its Container."""
    limit = tmp_path / "memory" / "wc"
    (limit / "in").mkdir(parents=True)

    def prepare(container: Container) -> None:
        container.folders = {"memory": (f"{limit}/in", str(limit))}
        container.paths = {"memory": ("/wc/in", "/wc"), "freezer": ("/lxc.payload.w1", "/lxc.payload.w1")}
        for name, value in facts.items():
            setattr(container, name, value)

    with serving(prepare) as served:
        yield served, str(limit)


@pytest.mark.parametrize("swapped", [False, True], ids=["ours", "liblxc"])
def test_the_limit_directory_is_the_limit_directory(tmp_path: Path, swapped: bool) -> None:
    with with_cgroups(tmp_path, swapped=swapped) as (served, limit):
        here = place(served)
        assert path_of(client.cgroup_fd(*here, "memory", limit=True)) == limit
        assert path_of(client.cgroup_fd(*here, "memory")) == f"{limit}/in"
        assert client.cgroup(*here, "memory") == "/wc/in"
        assert client.cgroup(*here, "memory", limit=True) == "/wc"
        assert client.cgroup(*here, "nope") is None
        assert client.cgroup_fd(*here, "nope") is None


def test_all_directories_at_once(tmp_path: Path) -> None:
    with with_cgroups(tmp_path) as (served, limit):
        found = client.cgroup_ctx(*place(served))
        assert found is not None
        layout, utilities, fds = found
        assert (layout, utilities, [path_of(fd) for fd in fds]) == (1, 0, [f"{limit}/in"])
    with serving() as served:
        assert client.cgroup_ctx(*place(served)) is None  # ENOENT: nothing to join


def test_a_count_that_does_not_fit_the_descriptors() -> None:
    def prepare(container: Container) -> None:
        rows = container.table()
        payload = commands.CGROUP_CTX.pack(1, 0, 3, *[-9] * 20)
        rows[commands.GET_CGROUP_CTX] = lambda _r: Reply(payload=payload, fds=[1])
        container.table = lambda: rows  # type: ignore[method-assign]

    with serving(prepare) as served, pytest.raises(LxcError, match="get_cgroup_ctx"):
        client.cgroup_ctx(*place(served))


OLD = [
    pytest.param(18, Reply(close=True), id="4.0.0-eof"),
    pytest.param(22, Reply(close=True), id="4.0.5-eof"),
    pytest.param(22, Reply(ret=-errno.ENOSYS), id="enosys"),
    pytest.param(22, Reply(ret=-errno.EOPNOTSUPP), id="eopnotsupp"),
]


@pytest.mark.parametrize(("newest", "not_known"), OLD)
def test_old_monitor_with_a_unified_hierarchy(tmp_path: Path, newest: int, not_known: Reply) -> None:
    facts = {"newest": newest, "not_known": not_known, "unified": str(tmp_path)}
    with with_cgroups(tmp_path, **facts) as (served, _limit):
        here = place(served)
        assert path_of(client.cgroup2_fd(*here, limit=True)) == str(tmp_path)
        assert path_of(client.cgroup_fd(*here, "memory", limit=True)) == str(tmp_path)
        found = client.cgroup_ctx(*here)
        assert found is not None
        assert (found[0], path_of(found[2][0])) == (2, str(tmp_path))
        assert client.cgroup(*here, "memory", limit=True) == ("/wc" if newest > 18 else "/wc/in")


@pytest.mark.parametrize(("newest", "not_known"), OLD)
def test_old_monitor_with_v1_hierarchies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, newest: int, not_known: Reply) -> None:
    monkeypatch.setattr(client, "_hierarchy", lambda controller: str(tmp_path / controller))
    with with_cgroups(tmp_path, newest=newest, not_known=not_known) as (served, limit):
        here = place(served)
        wanted = limit if newest > 18 else f"{limit}/in"
        assert path_of(client.cgroup_fd(*here, "memory", limit=True)) == wanted
        assert client.cgroup_fd(*here, "freezer") is None  # a path that is not there
        assert client.cgroup_fd(*here, "nope") is None


def test_hierarchies_by_the_mount_table(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "30 22 0:25 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
        "31 22 0:26 / /sys/fs/cgroup/with\\040blank rw - cgroup systemd rw,xattr,name=systemd\n"
        "32 22 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n"
    )
    assert client._hierarchy("cpuacct", str(table)) == "/sys/fs/cgroup/cpu,cpuacct"
    assert client._hierarchy("name=systemd", str(table)) == "/sys/fs/cgroup/with blank"
    assert client._hierarchy("", str(table)) == "/sys/fs/cgroup/unified"
    assert client._hierarchy("memory", str(table)) is None


# -- nobody, silence, nonsense, refusal


QUESTIONS: list[Callable[[str, str], object]] = [
    client.state,
    client.init_pid,
    client.clone_flags,
    client.init_pidfd,
    client.devpts_fd,
    client.seccomp_notify_fd,
    client.cgroup2_fd,
    client.cgroup_ctx,
    client.tty,
    client.systemd_scope,
    client.may_control,
    client.stop,
    lambda *here: client.cgroup(*here, "memory", limit=True),
    lambda *here: client.cgroup_fd(*here, "memory", limit=True),
    lambda *here: client.config_item(*here, "lxc.uts.name"),
    lambda *here: client.add_state_client(*here, {0: 1}),
    lambda *here: client.console_log(*here, clear=False, read=True),
    lambda *here: client.monitor_freeze(*here, frozen=True),
    lambda *here: client.serve_state_clients(*here, 2),
    lambda *here: client.add_seccomp_listener(*here, 0),
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_monitor_is_none(question: Callable[[str, str], object]) -> None:
    assert question(*new_place()) is None


@contextmanager
def pretending(answer: Callable[[socket.socket], object], backlog: int = 10) -> Iterator[tuple[str, str]]:
    """A socket where a monitor's should be; answer() gets every connection."""
    here = new_place()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(commands.address(*map(os.fsencode, here)))
        listening.listen(backlog)

        def serve() -> None:
            while True:
                try:
                    client, _address = listening.accept()
                except OSError:
                    return
                with client:
                    client.settimeout(5)
                    try:
                        answer(client)
                    except OSError:
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield here
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(20)


@contextmanager
def listening(backlog: int) -> Iterator[tuple[str, str]]:
    """A monitor that does not serve: starting, stopping, or stopped by SIGSTOP."""
    here = new_place()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(commands.address(*map(os.fsencode, here)))
        sock.listen(backlog)
        yield here


def test_silence_has_a_limit() -> None:
    with listening(10) as here:
        begun = time.monotonic()
        with pytest.raises(TimedOut, match=r"the monitor of w1 did not answer within 0\.2 s"):
            client.state(*here, timeout=0.2)
        assert 0.19 < time.monotonic() - begun < 2


def test_a_full_backlog_is_silence_and_not_an_answer() -> None:
    with listening(0) as here:
        filler = question.connect(*here)
        assert filler is not None
        begun = time.monotonic()
        with pytest.raises(TimedOut):
            client.state(*here, timeout=0.2)
        assert 0.19 < time.monotonic() - begun < 2
        filler.close()


def test_a_full_backlog_is_waited_for() -> None:
    def slowly(sock: socket.socket) -> None:
        asked = sock.recv(16)
        if asked:
            sock.sendall(struct.pack("<iiq", 0, 0, states.RUNNING))

    with pretending(slowly, backlog=0) as here:
        served = question.connect(*here)  # occupies the thread until it is closed
        waiting = question.connect(*here)
        assert served is not None
        assert waiting is not None
        thread = later(0.2, served.close, waiting.close)
        begun = time.monotonic()
        assert client.state(*here, timeout=5) == states.RUNNING
        assert time.monotonic() - begun > 0.1
        thread.join()


def test_the_limit_is_of_the_whole_answer() -> None:
    def trickle(sock: socket.socket) -> None:
        sock.recv(16)
        for _ in range(40):
            sock.send(b"\0")
            time.sleep(0.05)

    with pretending(trickle) as here:
        begun = time.monotonic()
        with pytest.raises(TimedOut):
            client.state(*here, timeout=0.3)
        assert time.monotonic() - begun < 1


def answering(*pieces: bytes) -> Callable[[socket.socket], None]:
    def answer(sock: socket.socket) -> None:
        sock.recv(4096)
        for piece in pieces:
            sock.sendall(piece)
            time.sleep(0.02)

    return answer


def test_half_an_answer_is_none() -> None:
    with pretending(answering(bytes(7))) as here:
        assert client.state(*here) is None
    with pretending(answering(struct.pack("<iiq", 0, 10, 0), b"short")) as here:
        assert client.cgroup(*here, "memory") is None


def test_an_answer_in_pieces() -> None:
    reply = struct.pack("<iiq", 0, 3, 0xDEADBEEF00) + b"w1\0"
    with pretending(answering(reply[:5], reply[5:17], reply[17:])) as here:
        assert client.config_item(*here, "lxc.uts.name") == "w1"


def test_more_than_the_protocol_allows() -> None:
    with pretending(answering(struct.pack("<iiq", 0, 8193, 0))) as here, pytest.raises(LxcError, match="8193 bytes"):
        client.cgroup(*here, "memory")


def test_a_failure_is_not_a_state() -> None:
    with pretending(answering(struct.pack("<iiq", -errno.EINVAL, 0, 0))) as here:
        with pytest.raises(LxcError, match="answers get_state with: Invalid argument"):
            client.state(*here)
        with pytest.raises(LxcError, match="answers add_state_client"):
            client.add_state_client(*here, {0: 1})


@pytest.mark.parametrize("question", QUESTIONS[:12])
def test_refusal(question: Callable[[str, str], object]) -> None:
    with pretending(answering(struct.pack("<iiq", -errno.EPERM, 0, 0))) as here, pytest.raises(Denied):
        question(*here)


def test_descriptors_of_a_failed_answer_are_closed() -> None:
    def answer(sock: socket.socket) -> None:
        sock.recv(4096)
        socket.send_fds(sock, [struct.pack("<iiq", -errno.EINVAL, 0, 0)], [0, 1, 2])

    with pretending(answer) as here:
        with pytest.raises(LxcError):
            client.tty(*here)
        with pytest.raises(LxcError):
            client.cgroup_ctx(*here)
        fd = client.devpts_fd(*here)  # the first of three
        assert fd is not None
        os.close(fd)


def as_nobody() -> None:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)


@pytest.mark.root
def test_a_stranger_cannot_pose_as_the_monitor(tmp_path: Path) -> None:
    lxcpath = str(tmp_path)
    with serving(become=as_nobody, place=("w1", lxcpath)):
        with pytest.raises(Denied, match=f"held by user 65534, to whom {lxcpath} does not belong"):
            client.init_pid("w1", lxcpath)
        with pytest.raises(Denied):
            client.stop("w1", lxcpath)
        sent = client.ahead("w1", lxcpath, state=True, init_pid=True)
        with pytest.raises(Denied):
            client.state("w1", lxcpath, ahead=sent)
        sent.close()
        (tmp_path / "w1").mkdir()
        config = tmp_path / "w1" / "config"
        config.touch()
        os.chown(config, 65534, -1)  # his container in a shared lxcpath
        assert client.state("w1", lxcpath) == states.RUNNING
        config.unlink()
        os.chown(tmp_path, 65534, -1)
        assert client.state("w1", lxcpath) == states.RUNNING
        os.chown(tmp_path, 0, -1)


@pytest.mark.root
def test_a_foreign_user_is_denied() -> None:
    with serving() as served:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                as_nobody()
                client.may_control(*place(served))
            except Denied:
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0


# -- stop


def child(body: Callable[[], object] = signal.pause) -> int:
    """A process that plays init."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        body()
        os._exit(0)
    return pid


@contextmanager
def stopping(init: int, **facts: object) -> Iterator[Served]:
    def prepare(container: Container) -> None:
        container.init_pid = init
        for name, value in facts.items():
            setattr(container, name, value)

    try:
        with serving(prepare) as served:
            yield served
    finally:
        os.kill(init, 9)
        os.waitpid(init, 0)


def later(seconds: float, *steps: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        for step in steps:
            time.sleep(seconds)
            step()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_stop_waits_for_the_end_of_the_connection() -> None:
    init = child()
    with stopping(init) as served:
        steps = (lambda: os.kill(init, 9), lambda: served.order("unlisten"), lambda: served.order("close"))
        begun = time.monotonic()
        thread = later(0.1, *steps)
        client.stop(*place(served), timeout=5)
        assert time.monotonic() - begun > 0.28
        thread.join()


def test_stop_without_waiting() -> None:
    init = child()
    with stopping(init) as served:
        client.stop(*place(served), wait=False)
        assert wait_until(lambda: served.order("connections") == "0")


def test_init_that_does_not_obey() -> None:
    init = child()
    with stopping(init) as served, pytest.raises(TimedOut, match=r"init of w1 did not end within 0\.2 s.*lxc\.signal\.stop"):
        client.stop(*place(served), timeout=0.2)


def test_hook_that_hangs() -> None:
    init = child()
    with stopping(init) as served:
        thread = later(0.05, lambda: os.kill(init, 9))
        with pytest.raises(TimedOut, match=r"has not ended 0\.2 s after its init"):
            client.stop(*place(served), timeout=5, cleanup=0.2)
        thread.join()


def test_monitor_inside_a_longer_lived_program() -> None:
    init = child()
    with stopping(init) as served:
        thread = later(0.05, lambda: os.kill(init, 9), lambda: served.order("unlisten"))
        client.stop(*place(served), timeout=5, cleanup=0.3)
        thread.join()


def test_reboot_instead_of_stop() -> None:
    init = child()
    with stopping(init) as served:
        thread = later(0.05, lambda: os.kill(init, 9), lambda: served.order("reboot"))
        with pytest.raises(LxcError, match="was rebooted instead of stopped"):
            client.stop(*place(served), timeout=5)
        thread.join()


def test_init_that_cannot_be_signalled() -> None:
    init = child()
    with stopping(init, stop=Reply(ret=-errno.ESRCH)) as served, pytest.raises(LxcError, match="No such process"):
        client.stop(*place(served))


def test_stop_without_a_pidfd() -> None:
    init = child()
    with stopping(init, newest=commands.GET_CGROUP2_FD, not_known=Reply(close=True), stop=HOLD) as served:
        thread = later(0.1, lambda: served.order("unlisten"), lambda: served.order("close"))
        client.stop(*place(served), timeout=5)
        thread.join()


# -- who runs


def test_active_by_the_table(tmp_path: Path) -> None:
    table = tmp_path / "unix"
    row = "0000000000000000: 00000002 00000000 00010000 0001 01 1{} @{}\n"
    names = [
        "/var/lib/lxc/a/command",
        "/var/lib/lxc/a/command",  # a connection of it
        "/var/lib/lxc/with blank/command",
        "/var/lib/lxc/x @y/command",
        "/var/lib/lxc/a/snaps/b/command",
        "/var/lib/lxc2/c/command",
        "/var/lib/lxc/d/command-x",
        "/var/lib/lxc//command",
        "lxc/0123456789abcdef/command",  # nobody answers
        "lxc/ad055575fe28ddd5//var/lib/lxc",
    ]
    rows = "".join(row.format(number, name) for number, name in enumerate(names))
    table.write_text(f"Num RefCount\n{rows}1: 2 3 /var/lib/lxc/e/command\n")  # the last is no abstract address
    assert client.active("/var/lib/lxc", str(table)) == ["a", "with blank", "x @y"]
    assert client.active("/var/lib/lxc/", str(table)) == ["a", "with blank", "x @y"]
    assert client.active("/var/lib/lxc2", str(table)) == ["c"]
    assert client.active("/var/lib", str(table)) == []


def test_active_with_a_hashed_address_and_another_that_is_silent() -> None:
    long = f"{new_place()[1]}/{'x' * 100}"
    liar = ("other", f"{new_place()[1]}/{'y' * 100}")
    silent = socket.socket(socket.AF_UNIX)
    silent.bind(commands.address(b"silent", f"{long}/z".encode()))
    silent.listen(1)

    def lie(container: Container) -> None:
        container.name, container.lxcpath = "w1", long

    with serving(place=("c1", long)), serving(place=("c2", long)), serving(lie, place=liar):
        assert sorted(client.active(long)) == ["c1", "c2"]
        assert client.whose(commands.address(b"c1", long.encode())) == ("c1", long)
    silent.close()
    assert client.whose(commands.address(b"c1", long.encode())) is None


@pytest.mark.parametrize(
    ("lxcpath", "name", "address"),
    [
        ("/var/lib/lxc", "w1", "/var/lib/lxc/w1/command"),
        ("/var/lib/lxc//", "w1", "/var/lib/lxc/w1/command"),
        ("/a//b", "w1", "/a//b/w1/command"),
        ("/srv/" + "x" * 80, "c" * 11, "/srv/" + "x" * 80 + "/" + "c" * 11 + "/command"),
        ("/srv/" + "x" * 80, "c" * 12, "lxc/3234795031590b35/command"),
    ],
)
def test_addresses(lxcpath: str, name: str, address: str) -> None:
    assert commands.address(name.encode(), lxcpath.encode()) == b"\0" + address.encode()


def test_hash() -> None:
    assert commands.fnv1a(b"") == 0xCBF29CE484222325
    assert commands.fnv1a(b"a") == 0xAF63DC4C8601EC8C


def test_sizes_of_the_structures() -> None:
    sizes = {
        commands.HEADER: 16,
        commands.STATE_SET: 32,
        commands.STATE_MESSAGE: 264,
        commands.CONSOLE_LOG_REQUEST: 24,
        commands.DEVICE_RULE: 40,
        commands.CGROUP_FD: 80,
        commands.CGROUP_CTX: 96,
    }
    assert {layout: layout.size for layout in sizes} == sizes
    assert commands.NAMES[commands.GET_SYSTEMD_SCOPE] == "get_systemd_scope"
    assert commands.NAMES.index("get_cgroup_ctx") == commands.GET_CGROUP_CTX
    assert commands.COUNT == 27
