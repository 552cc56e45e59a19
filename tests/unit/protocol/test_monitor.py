# SPDX-License-Identifier: LGPL-2.1-or-later
"""The broadcast of states: names, messages, publishers that never block, lxc-monitord and its subscribers."""

from __future__ import annotations

import os
import select
import signal
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools import log, paths, states
from lxctools.errors import LxcError
from lxctools.protocol import commands, monitor, monitord
from tests.host import wait_until

from .served import new_place


@pytest.fixture
def lxcpath(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A lxcpath of this test, with a runtime directory of this test."""
    monkeypatch.setattr(paths, "runtime_dir", lambda: str(tmp_path / "run"))
    return new_place()[1]


def fifo_of(lxcpath: str) -> Path:
    return Path(monitor.fifo_path(lxcpath))


@contextmanager
def running(lxcpath: str, *options: str, become: Callable[[], object] = lambda: None, idle: float = 30.0) -> Iterator[int]:
    """lxc-monitord --daemon in a process of its own, ready."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            signal.alarm(60)
            become()
            monitord._IDLE = idle
            _reader, writer = os.pipe()
            if options:
                status = monitord.main(["lxc-monitord", *options, lxcpath])
            else:
                status = monitord._Monitord(lxcpath, writer, stay=False).run()
        finally:
            os._exit(status)
    try:
        assert wait_until(lambda: connected(lxcpath), 5), "lxc-monitord is not ready"
        yield pid
    finally:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass  # the test has waited for it


def connected(lxcpath: str) -> bool:
    sock = monitor.connect(monitor.socket_address(lxcpath))
    if sock is not None:
        sock.close()
    return sock is not None


def subscription(lxcpath: str) -> monitor.Subscription:
    sock = monitor.connect(monitor.socket_address(lxcpath))
    assert sock is not None
    sock.settimeout(5)
    return monitor.Subscription(sock, lxcpath)


def ended(pid: int, seconds: float = 5) -> int:
    """The exit status of a process that ends in this time."""
    pidfd = os.pidfd_open(pid)
    try:
        assert select.select([pidfd], [], [], seconds)[0], "it has not ended"
    finally:
        os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def take(subscribed: monitor.Subscription, count: int) -> list[tuple[int, str, int]]:
    found: list[tuple[int, str, int]] = []
    while len(found) < count:
        found += [(event.kind, event.name, event.value) for event in subscribed.events()]
    return found


# -- names and messages


@pytest.mark.parametrize(
    ("lxcpath", "name"),
    [
        ("/var/lib/lxc", b"lxc/ad055575fe28ddd5//var/lib/lxc"),
        ("/home/u/.local/share/lxc", b"lxc/590669f52cb665ed//home/u/.local/share/lxc"),
    ],
)
def test_the_name_of_the_socket(lxcpath: str, name: bytes) -> None:
    assert monitor.socket_address(lxcpath) == b"\0" + name


def test_where_liblxc_has_no_name() -> None:
    assert monitor.socket_address("/" + "x" * 83).endswith(b"x" * 83)
    long = monitor.socket_address("/" + "x" * 84)
    assert len(long) <= 106
    assert long.endswith(b"/monitor-sock")
    assert long != monitor.socket_address("/" + "x" * 85)


def test_the_fifo_is_below_the_runtime_directory(lxcpath: str, tmp_path: Path) -> None:
    assert os.path.normpath(monitor.fifo_path(lxcpath)) == f"{tmp_path}/run/lxc{lxcpath}/monitor-fifo"


def test_message_bytes(lxcpath: str) -> None:
    reader = make_fifo(lxcpath)
    monitor.publish_state(lxcpath, "w1", states.RUNNING)
    monitor.publish_exit(lxcpath, "w1", 3 << 8)
    monitor.publish_exit(lxcpath, "w1", 9)
    monitor.publish_state(lxcpath, "n" * 300, 0)
    data = os.read(reader, 4096)
    os.close(reader)
    assert len(data) == 4 * 264
    assert data[:264] == b"\0\0\0\0w1" + bytes(254) + b"\2\0\0\0"
    assert data[264:528] == b"\2\0\0\0w1" + bytes(254) + b"\0\3\0\0"
    assert data[528:792] == b"\2\0\0\0w1" + bytes(254) + b"\t\0\0\0"
    assert data[792:] == bytes(4) + b"n" * 255 + bytes(5)


@given(st.lists(st.tuples(st.integers(0, 2), st.text("abc-.é", max_size=20), st.integers(0, 7)), max_size=5), st.data())
def test_events_come_out_as_they_went_in(sent: list[tuple[int, str, int]], data: st.DataObject) -> None:
    stream = b"".join(commands.STATE_MESSAGE.pack(kind, os.fsencode(name), value) for kind, name, value in sent)
    found = []
    ours, theirs = socket.socketpair()
    with ours, theirs:
        subscribed = monitor.Subscription(ours, "/x")
        while stream:
            size = data.draw(st.integers(1, len(stream)))
            theirs.sendall(stream[:size])
            stream = stream[size:]
            found += [(event.kind, event.name, event.value) for event in subscribed.events()]
        theirs.close()
        assert found == sent
        with pytest.raises(LxcError, match="lxc-monitord of /x has ended"):
            list(subscribed.events())


# -- publishers


def make_fifo(lxcpath: str) -> int:
    fifo_of(lxcpath).parent.mkdir(parents=True)
    os.mkfifo(fifo_of(lxcpath))
    return os.open(fifo_of(lxcpath), os.O_RDONLY | os.O_NONBLOCK)


@pytest.fixture
def warnings(tmp_path: Path) -> Iterator[Callable[[], str]]:
    log.setup("test", to_stderr=False, level=log.WARN)
    log.open_file(str(tmp_path / "log"))
    yield lambda: (tmp_path / "log").read_text()
    log.close_file()
    log.setup("lxc", to_stderr=False)


def test_nobody_listens(lxcpath: str, warnings: Callable[[], str]) -> None:
    monitor.publish_state(lxcpath, "w1", 2)  # no folder
    os.close(make_fifo(lxcpath))
    monitor.publish_state(lxcpath, "w1", 2)  # no reader
    assert warnings() == ""


def test_a_full_fifo_does_not_stop_a_container(lxcpath: str, warnings: Callable[[], str]) -> None:
    reader = make_fifo(lxcpath)
    begun = time.monotonic()
    for _ in range(400):
        monitor.publish_state(lxcpath, "w1", 2)
    assert time.monotonic() - begun < 2
    assert "lxc-monitord is not told of a change: Resource temporarily unavailable" in warnings()
    os.close(reader)


def test_what_is_no_fifo_is_not_followed(lxcpath: str, tmp_path: Path, warnings: Callable[[], str]) -> None:
    fifo_of(lxcpath).parent.mkdir(parents=True)
    target = tmp_path / "precious"
    target.write_text("as it was")
    fifo_of(lxcpath).symlink_to(target)
    monitor.publish_state(lxcpath, "w1", 2)
    assert target.read_text() == "as it was"
    assert "is not told" in warnings()


# -- lxc-monitord


def test_every_subscriber_hears_everything(lxcpath: str) -> None:
    with running(lxcpath):
        one, two = subscription(lxcpath), subscription(lxcpath)
        assert stat.S_IMODE(fifo_of(lxcpath).stat().st_mode) == 0o600
        time.sleep(0.05)
        for state in (1, 2, 3):
            monitor.publish_state(lxcpath, "w1", state)
        monitor.publish_exit(lxcpath, "w1", 9)
        expected = [(0, "w1", 1), (0, "w1", 2), (0, "w1", 3), (2, "w1", 9)]
        assert take(one, 4) == expected
        assert take(two, 4) == expected
        one.close()
        two.close()


def test_quit(lxcpath: str) -> None:
    assert not monitor.quit_monitord(lxcpath)
    with running(lxcpath) as pid:
        waiting = subscription(lxcpath)
        assert monitor.quit_monitord(lxcpath)
        assert ended(pid) == 0
        with pytest.raises(LxcError, match="has ended"):
            list(waiting.events())
        waiting.close()
        assert not fifo_of(lxcpath).exists()
        assert fifo_of(lxcpath).parent.is_dir()  # the folders stay, as liblxc leaves them
    assert not monitor.quit_monitord(lxcpath)


def test_sigterm_cleans_up_and_other_signals_do_nothing(lxcpath: str) -> None:
    with running(lxcpath, "--daemon") as pid:
        os.kill(pid, signal.SIGHUP)
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGUSR1)
        assert connected(lxcpath)
        os.kill(pid, signal.SIGTERM)
        assert ended(pid) == 0
        assert not fifo_of(lxcpath).exists()


def test_idle_without_subscribers(lxcpath: str) -> None:
    with running(lxcpath, idle=0.4) as pid:
        waiting = subscription(lxcpath)
        time.sleep(0.8)
        assert connected(lxcpath)  # somebody subscribes
        waiting.close()
        begun = time.monotonic()
        assert ended(pid) == 0
        assert time.monotonic() - begun > 0.3
        assert not fifo_of(lxcpath).exists()


def test_the_service_stays(lxcpath: str) -> None:
    with running(lxcpath, "--daemon", idle=0.2):
        time.sleep(0.6)
        assert connected(lxcpath)


def test_a_second_one_refuses(lxcpath: str) -> None:
    with running(lxcpath) as first:
        pid = os.fork()
        if pid == 0:
            os._exit(monitord.main(["lxc-monitord", "--daemon", lxcpath]))
        assert ended(pid) == 1
        assert fifo_of(lxcpath).exists()
        assert os.waitpid(first, os.WNOHANG) == (0, 0)
        assert connected(lxcpath)


def test_a_fifo_that_was_left_is_used_and_a_file_is_not(lxcpath: str, capfd: pytest.CaptureFixture[str]) -> None:
    os.close(make_fifo(lxcpath))
    with running(lxcpath) as pid:
        monitor.quit_monitord(lxcpath)
        assert ended(pid) == 0
    fifo_of(lxcpath).write_text("precious")
    pid = os.fork()
    if pid == 0:
        os._exit(monitord.main(["lxc-monitord", "--daemon", lxcpath]))
    assert ended(pid) == 1
    assert fifo_of(lxcpath).read_text() == "precious"
    assert "is not a FIFO" in capfd.readouterr().err


def test_a_slow_subscriber_does_not_stop_the_others(lxcpath: str) -> None:
    with running(lxcpath) as pid:
        slow, quick = subscription(lxcpath), subscription(lxcpath)
        time.sleep(0.05)
        for number in range(1000):
            monitor.publish_state(lxcpath, f"c{number}", 2)
            assert take(quick, 1) == [(0, f"c{number}", 2)]
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
        with pytest.raises(LxcError, match="has ended"):  # after what fitted
            while take(slow, 1):
                pass
        slow.close()
        quick.close()


def test_what_is_no_message_does_not_shift_the_next(lxcpath: str) -> None:
    with running(lxcpath):
        subscribed = subscription(lxcpath)
        time.sleep(0.05)
        for garbage in (b"x", b"y" * 100, b"z" * 300):
            fd = os.open(fifo_of(lxcpath), os.O_WRONLY | os.O_NONBLOCK)
            os.write(fd, garbage)
            os.close(fd)
            time.sleep(0.05)
            monitor.publish_state(lxcpath, "w1", 2)
            assert take(subscribed, 1) == [(0, "w1", 2)]
        subscribed.close()


@pytest.mark.root
def test_a_foreign_user_gets_nothing(lxcpath: str) -> None:
    with running(lxcpath):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setresuid(65534, 65534, 65534)
                sock = monitor.connect(monitor.socket_address(lxcpath))
                assert sock is not None
                sock.settimeout(5)
                try:
                    sock.send(b"quit")
                    status = 0 if sock.recv(1) == b"" else 1
                except OSError:
                    status = 0
            finally:
                os._exit(status)
        assert ended(pid) == 0
        assert connected(lxcpath)


def test_one_that_ends_just_now_does_not_make_the_next_deaf(lxcpath: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The FIFO is removed between the open and the lock: another one has to be made."""
    os.close(make_fifo(lxcpath))
    path = str(fifo_of(lxcpath))
    real = monitord._same_file
    removed: list[bool] = []

    def removing(place: str, fd: int) -> bool:
        if not removed:
            removed.append(True)
            os.unlink(place)
        return real(place, fd)

    monkeypatch.setattr(monitord, "_same_file", removing)
    fd = monitord._own_fifo(path)
    assert os.path.samestat(os.stat(path), os.fstat(fd))
    os.close(fd)


@pytest.mark.parametrize("argv", [[], ["/x"], ["/x", "five"], ["/x", "5", "6"], ["--daemon", "/x", "y"]])
def test_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert monitord.main(["lxc-monitord", *argv]) == 1
    assert capsys.readouterr().err.startswith("usage: lxc-monitord")


# -- subscribing starts it


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """lxc-monitord as a program, with the runtime directory of this test."""
    checkout = Path(paths.__file__).parents[1]
    script = tmp_path / "lxc-monitord"
    script.write_text(
        "#!/usr/bin/python3 -I\n"
        "import sys\n"
        f"sys.path.insert(0, {str(checkout)!r})\n"
        "from lxctools import paths\n"
        f"paths.runtime_dir = lambda: {str(tmp_path / 'run')!r}\n"
        "from lxctools.protocol import monitord\n"
        "sys.exit(monitord.main(sys.argv))\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(paths, "MONITORD", str(script))
    return script


@pytest.mark.usefixtures("program")
def test_the_first_subscriber_starts_it_and_the_second_finds_it(lxcpath: str) -> None:
    first = monitor.subscribe(lxcpath)
    try:
        raw = first._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid = struct.unpack("iII", raw)[0]
        second = monitor.subscribe(lxcpath)
        time.sleep(0.05)
        monitor.publish_state(lxcpath, "w1", 2)
        assert take(first, 1) == take(second, 1) == [(0, "w1", 2)]
        second.close()
        assert os.getsid(pid) != os.getsid(0)
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        kept = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)}
        assert kept == {"/dev/null"}
        # Standard streams, FIFO, two pipes' ends for SIGTERM, the listening socket, one subscriber.
        assert wait_until(lambda: len(os.listdir(f"/proc/{pid}/fd")) == 8)
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        assert parent != os.getpid()
    finally:
        assert monitor.quit_monitord(lxcpath)
        first.close()
    assert wait_until(lambda: not fifo_of(lxcpath).exists())


def test_one_that_does_not_start(lxcpath: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "broken"
    script.write_text("#!/bin/sh\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr(paths, "MONITORD", str(script))
    monkeypatch.setattr(monitor, "_RETRIES", (0.01,))
    with pytest.raises(LxcError, match="cannot connect to lxc-monitord of"):
        monitor.subscribe(lxcpath)
    script.unlink()
    with pytest.raises(LxcError, match="broken"):
        monitor.subscribe(lxcpath)
