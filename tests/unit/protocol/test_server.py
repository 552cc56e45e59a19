# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command socket's server, byte by byte as clients of liblxc see it."""

from __future__ import annotations

import array
import os
import signal
import socket
import struct
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lxctools import states
from lxctools.errors import AlreadyRunning
from lxctools.protocol import commands, server
from lxctools.protocol.server import Reply
from tests.host import wait_until

from .served import (
    CONSOLE,
    Container,
    Served,
    address,
    everything,
    exchange,
    new_place,
    raw_connect,
    request,
    serving,
    step,
)

STATE_STOPPED = struct.pack("<8i", 1, 0, 0, 0, 0, 0, 0, 0)
STATE_RUNNING = struct.pack("<8i", 0, 0, 1, 0, 0, 0, 0, 0)
ENOENT, EINVAL, ENOSYS, EBADF, EFAULT, ENODATA = (struct.pack("<i", -n).hex() for n in (2, 22, 38, 9, 14, 61))
NONE = " 00000000 00000000 00000000"


def paths(container: Container) -> None:
    container.paths = {"memory": ("/lxc.payload.w1", "/lxc.payload.w1"), "": ("/inner", "/limit")}
    container.console = b"\r\nPlease press"


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (request("03000000 00000000 00000000 00000000"), "00000000 00000000 02000000 00000000"),
        (request("05000000 00000000 00000000 00000000"), "00000000 00000000 0000026e 00000000"),
        (request("03000000 ffffffff 00000000 00000000"), "00000000 00000000 02000000 00000000"),  # negative: no payload
        (request("01000000 00000000 00000000 00000000"), ""),  # retired
        (request("1b000000 00000000 00000000 00000000"), ENOSYS + NONE),
        (request("ffffffff 00000000 00000000 00000000"), ENOSYS + NONE),
        (request(6, b"memory\0"), "00000000 10000000 00000000 00000000" + b"/lxc.payload.w1\0".hex()),
        (request(6, b"nope\0"), ""),
        (request(6, b"memory"), EINVAL + NONE),
        (request(6), "00000000 07000000 00000000 00000000" + b"/inner\0".hex()),
        (request(19), "00000000 07000000 00000000 00000000" + b"/limit\0".hex()),
        (request(7, b"lxc.uts.name\0"), "00000000 03000000 00000000 00000000 773100"),
        (request(7, b"lxc.net\0"), "00000000 06000000 00000000 00000000 76657468 0a00"),
        (request(7, b"lxc.bogus\0"), ENOENT + NONE),
        (request(8), "00000000 03000000 00000000 00000000 773100"),
        (request(10, STATE_RUNNING), "02000000 00000000 02000000 00000000"),
        (request(10, STATE_RUNNING[:-1]), EINVAL + NONE),
        (request(10), EINVAL + NONE),
        (request(11, bytes.fromhex("00010000000000000a000000000000000000000000000000")),
         "00000000 0a000000 00000000 00000000" + b"\r\nPlease p".hex()),
        (request(11, bytes(23)), EINVAL + NONE),
        (request(0, value=99), EBADF + NONE),
        (request("00000000 00000000 63000000 00000000"), EBADF + NONE),
        (request(15, value=-1), ENOENT + NONE),
        (request(22), EBADF + NONE),
        (request(26), EINVAL + NONE),
        (request(24, bytes(80)), EINVAL + NONE),
        (request(24, bytes(16) + b"memory".ljust(64, b"\0")), ENOENT + NONE),
        (request(14, bytes(40)), "ffffffff" + NONE),
        (struct.pack("<iiq", 7, 8193, 0), ""),  # more than any payload: closed without a reply
        (request(3) + request(7, b"lxc.uts.name\0") + request(3),  # in one message
         "00000000 00000000 02000000 00000000 00000000 03000000 00000000 00000000 773100 00000000 00000000 02000000 00000000"),
        (request(3) * 33, "00000000 00000000 02000000 00000000" * 32),  # then others have their turn
        (request(3) + request(7)[:5], "00000000 00000000 02000000 00000000"),  # no request: closed as if it were not there
        (b"\3\0\0", None),  # half a header, then nothing: dropped in time
    ],
)  # fmt: skip
def test_transcript(asked: bytes, answered: str | None) -> None:
    with serving(paths) as served:
        if answered is None:
            with raw_connect(served) as sock:
                sock.sendall(asked)
                sock.shutdown(socket.SHUT_WR)
                assert everything(sock) == b""
            return
        assert exchange(served, asked).hex() == answered.replace(" ", "")


def test_a_slow_reader_gets_all_answers() -> None:
    def prepare(container: Container) -> None:
        rows = container.table()
        rows[commands.GET_CONFIG_ITEM] = lambda _r: Reply(payload=bytes(8001))
        container.table = lambda: rows  # type: ignore[method-assign]

    with serving(prepare) as served, raw_connect(served) as sock:
        sock.sendall(request(7, b"lxc.group\0") * 32)
        time.sleep(0.2)  # until the buffer is full
        assert len(everything(sock)) == 32 * (16 + 8001)


def test_a_wait_that_does_not_fit_behind_other_answers_is_closed() -> None:
    """It would miss what is announced until it fits."""

    def prepare(container: Container) -> None:
        rows = container.table()
        rows[commands.CONSOLE_LOG] = lambda r: Reply(payload=bytes(r.value))
        container.table = lambda: rows  # type: ignore[method-assign]

    with serving(prepare) as served:
        for last in range(200, 60000, 2000):  # in some, the buffer is full just then
            served.order("state", states.RUNNING)
            with raw_connect(served) as sock:
                asked = [request(11, value=size) for size in (60000, 60000, 60000, last)]
                sock.sendall(b"".join(asked) + request(10, STATE_STOPPED))
                time.sleep(0.01)
                served.order("state", states.STOPPED)
                served.order("announce", states.STOPPED)
                assert everything(sock), "up to the end, which comes in any case"


def test_name_and_place_of_a_hashed_address() -> None:
    name, lxcpath = "c" * 12, f"{new_place()[1]}/{'x' * 100}"
    with serving(place=(name, lxcpath)) as served:
        assert len(address(served)) == 1 + len("lxc/3234795031590b35/command")
        assert exchange(served, request(9))[16:] == lxcpath.encode() + b"\0"
        assert exchange(served, request(8))[16:] == name.encode() + b"\0"


def test_console_log_is_consumed_and_cleared() -> None:
    def ask(clear: bool, read: bool, most: int) -> bytes:
        return exchange(served, request(11, commands.CONSOLE_LOG_REQUEST.pack(clear, read, most, 0)))

    with serving() as served:
        assert ask(False, True, 6)[16:] == CONSOLE[:6]
        assert ask(True, True, 6)[16:] == CONSOLE[6:12]
        assert ask(False, True, 0)[:4].hex() == ENODATA
        assert ask(True, False, 0) == bytes(16)


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    data, control, _flags, _peer = sock.recvmsg(16, 4096)
    numbers = array.array("i")
    for _level, kind, raw in control:
        if kind == socket.SCM_RIGHTS:
            numbers.frombytes(raw)
    return data, list(numbers)


def test_descriptors_ride_on_the_header_and_the_payload_follows() -> None:
    def prepare(container: Container) -> None:
        container.folders = {"memory": ("/", "/"), "freezer": ("/tmp", "/tmp")}

    with serving(prepare) as served, raw_connect(served) as sock:
        sock.sendall(request(23, bytes(96)))
        header, fds = receive(sock)
        assert header.hex() == "00000000600000000000000000000000"
        assert [os.readlink(f"/proc/self/fd/{fd}") for fd in fds] == ["/", "/tmp"]
        for fd in fds:
            os.close(fd)
        assert sock.recv(4096)[:12].hex() == "010000000000000002000000"  # in one piece; hybrid, two descriptors
        assert sock.recv(1) == b""


def test_shorter_structures_are_answered_as_short() -> None:
    def prepare(container: Container) -> None:
        container.folders = {"memory": ("/", "/")}

    with serving(prepare) as served:
        assert len(exchange(served, request(23, bytes(12)))) == 16 + 12
        assert len(exchange(served, request(24, bytes(16) + b"memory\0\0"))) == 16 + 24


def test_handlers_that_fail_are_a_refusal() -> None:
    def prepare(container: Container) -> None:
        container.folders = {"memory": ("/nowhere", "/")}  # its open(2) raises ENOENT
        container.paths = {"memory": (1, 2)}  # type: ignore[dict-item]

    with serving(prepare) as served:
        assert exchange(served, request(24, bytes(16) + b"memory".ljust(64, b"\0")))[:4].hex() == ENOENT
        assert exchange(served, request(6, b"memory\0"))[:4].hex() == EINVAL


# -- kept connections


def test_ttys_are_busy_as_long_as_their_connection_lives() -> None:
    with serving() as served:
        first, second = raw_connect(served), raw_connect(served)
        first.sendall(request(0, value=-1))
        header, fds = receive(first)
        assert header.hex() == "00000000000000000100000000000000"
        second.sendall(request(0, value=2))
        header, more = receive(second)
        assert (header[8], len(more)) == (2, 1)
        assert exchange(served, request(0, value=-1))[:4].hex() == EBADF
        assert exchange(served, request(0, value=1))[:4].hex() == EBADF
        first.close()
        assert wait_until(lambda: served.order("ttys") == "01")
        second.sendall(request(3))  # anything more frees it, too
        assert everything(second) == b""
        assert wait_until(lambda: served.order("ttys") == "00")
        second.close()
        for fd in fds + more:
            os.close(fd)


def test_a_killed_client_gives_its_tty_back() -> None:
    with serving() as served:
        pid = os.fork()
        if pid == 0:
            sock = raw_connect(served)
            sock.sendall(request(0, value=1))
            sock.recv(16)
            signal.pause()
            os._exit(0)
        assert wait_until(lambda: served.order("ttys") == "10")
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert wait_until(lambda: served.order("ttys") == "00")


@pytest.mark.parametrize("end", ["close", "reboot"])
def test_ttys_and_stop_end_with_the_container_and_with_a_reboot(end: str) -> None:
    with serving() as served, raw_connect(served) as tty, raw_connect(served) as stop:
        tty.sendall(request(0, value=1))
        stop.sendall(request(2))
        _header, fds = receive(tty)
        os.close(fds[0])
        assert wait_until(lambda: served.order("connections") == "2")
        stop.setblocking(False)
        with pytest.raises(BlockingIOError):
            stop.recv(1)  # no reply, and held
        stop.settimeout(5)
        served.order(end)
        assert (everything(tty), everything(stop), served.order("ttys")) == (b"", b"", "00")


# What a client that waits for these states is told in a reboot; None: nothing but the end of the connection.
REBOOT = [
    ({states.STOPPING: 1}, states.STOPPING),
    ({states.STOPPED: 1}, states.STOPPED),
    ({states.STARTING: 1}, None),
    ({states.FROZEN: 1}, None),
    ({states.RUNNING: 1, states.STARTING: 1}, None),
    ({states.STARTING: 1, states.RUNNING: 2}, states.STARTING),
    ({states.RUNNING: 2}, states.RUNNING),
]


@pytest.mark.parametrize(("wanted", "told"), REBOOT)
def test_state_clients_in_a_reboot(wanted: dict[int, int], told: int | None) -> None:
    def prepare(container: Container) -> None:
        container.state = states.FREEZING  # so that RUNNING=1 has to wait

    payload = struct.pack("<8i", *(wanted.get(n, 0) for n in range(8)))
    with serving(prepare) as served, raw_connect(served) as sock:
        sock.sendall(request(10, payload))
        assert sock.recv(16).hex() == "08000000000000000800000000000000"
        for order in ("announce 3", "announce 0", "reboot", "announce 1", "announce 2", "close"):
            served.order(*order.split())
        expected = b"" if told is None else struct.pack("<i256si", 0, b"w1", told)
        assert everything(sock) == expected


def test_the_final_stop_is_the_end_of_the_connection() -> None:
    with serving() as served, raw_connect(served) as sock:
        sock.sendall(request(10, STATE_STOPPED))
        sock.recv(16)
        served.order("unlisten")
        served.order("close")
        assert everything(sock) == b""
        with pytest.raises(ConnectionRefusedError):
            raw_connect(served)


def test_only_exactly_one_means_now() -> None:
    with serving() as served, raw_connect(served) as sock:
        sock.sendall(request(10, struct.pack("<8i", 0, 0, 2, 0, 0, 0, 0, 0)))
        assert sock.recv(16)[0] == states.MUST_WAIT
        served.order("announce", states.RUNNING)
        assert len(everything(sock)) == 264


def test_another_client_tells_the_state() -> None:
    with serving() as served, raw_connect(served) as sock:
        sock.sendall(request(10, struct.pack("<8i", 0, 0, 0, 0, 0, 0, 1, 0)))
        sock.recv(16)
        assert exchange(served, request("0c000000 00000000 06000000 00000000")) == bytes(16)
        assert everything(sock)[-4:] == struct.pack("<i", states.FROZEN)
        assert exchange(served, request(3))[8] == states.FROZEN


def test_requests_that_wait_during_a_reboot_are_answered_by_the_next_boot() -> None:
    place = new_place()
    listening = server.bind(*place)
    container = Container(*place)
    served = server.Server(listening, container.table())
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(commands.address(place[0].encode(), place[1].encode()))
        step(served)
        sock.sendall(request(3)[:7])
        step(served)
        served.close_all(keep_reboot_waiters=True)
        sock.sendall(request(3)[7:])
        served.handle(sock.fileno(), 1)  # an event of somebody else changes nothing
        step(served)
        assert everything(sock)[8] == states.RUNNING
    served.stop_listening()
    served.close_all(keep_reboot_waiters=False)


def test_an_event_for_an_earlier_connection_of_the_same_number() -> None:
    place = new_place()
    listening = server.bind(*place)
    served = server.Server(listening, Container(*place).table())
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(commands.address(place[0].encode(), place[1].encode()))
        sock.sendall(request(10, STATE_STOPPED))
        step(served)
        (fd,) = served._connections
        served.handle(fd, 1)
        assert served._connections
        served.announce(states.STOPPED)
        assert len(everything(sock)) == 16 + 264
    served.stop_listening()
    served.close_all(keep_reboot_waiters=False)


def test_the_socket_is_the_start_lock() -> None:
    with serving() as served, pytest.raises(AlreadyRunning, match='Container "w1" appears to be already running'):
        server.bind(served.name, served.lxcpath)


# -- who may


def ask_as(served: Served, uid: int, gid: int, data: bytes, *, real_root: bool = False) -> bytes:
    """What this user gets for a request."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(0 if real_root else uid, uid, 0 if real_root else uid)
            with raw_connect(served) as sock:
                sock.sendall(data)
                os.write(writer, everything(sock))
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    answer = os.read(reader, 4096)
    os.close(reader)
    return answer


REFUSED = "ffffffff000000000000000000000000"


@pytest.mark.root
@pytest.mark.parametrize("data", [request(3), request(7, b"lxc.uts.name\0"), request(2), request(99)])
def test_a_foreign_user_is_refused_whatever_he_asks(data: bytes) -> None:
    with serving() as served:
        assert ask_as(served, 65534, 65534, data).hex() == REFUSED
        assert wait_until(lambda: served.order("connections") == "0")


@pytest.mark.root
def test_the_monitors_user_needs_its_group_too() -> None:
    def become() -> None:
        os.setgroups([])
        os.setresgid(4321, 4321, 4321)
        os.setresuid(4321, 4321, 4321)

    with serving(become=become) as served:
        assert ask_as(served, 4321, 4321, request(3))[8] == states.RUNNING
        assert ask_as(served, 4321, 4322, request(3)).hex() == REFUSED
        assert ask_as(served, 0, 4322, request(3))[8] == states.RUNNING


@pytest.mark.root
def test_the_real_user_counts() -> None:
    with serving() as served:
        assert ask_as(served, 65534, 65534, request(3), real_root=True)[8] == states.RUNNING


# -- hardening: whatever a client does, others are answered within a second, and the monitor lives


def assert_answers(served: Served) -> None:
    begun = time.monotonic()
    assert exchange(served, request(3))[8] == states.RUNNING
    assert time.monotonic() - begun < 1


def test_header_without_its_payload() -> None:
    with serving() as served, raw_connect(served) as sock:
        sock.sendall(struct.pack("<iiq", 7, 100, 0))
        for _ in range(3):
            assert_answers(served)


def test_listener_that_never_comes_and_one_that_does() -> None:
    with serving() as served, raw_connect(served) as sock:
        sock.sendall(request(13, value=5))
        assert_answers(served)
        reader, writer = os.pipe()
        socket.send_fds(sock, [b"\0"], [writer])
        os.close(writer)
        assert everything(sock) == bytes(16)
        assert os.read(reader, 10) == b"mine"
        os.close(reader)
        assert exchange(served, request(13) + b"\0")[:4].hex() == EBADF  # the byte without a descriptor


def test_reader_that_never_reads() -> None:
    def prepare(container: Container) -> None:
        container.console = bytes(range(256)) * 40960  # 10 MiB

    with serving(prepare) as served, raw_connect(served) as sock:
        sock.sendall(request(11, commands.CONSOLE_LOG_REQUEST.pack(0, 1, 0, 0)))
        for _ in range(3):
            assert_answers(served)
        assert len(everything(sock)) == 16 + 256 * 40960  # nothing is lost once it reads


def test_byte_by_byte_and_in_two_pieces() -> None:
    with serving() as served, raw_connect(served) as slow, raw_connect(served) as halves:
        for byte in request(3):
            slow.sendall(bytes([byte]))
            assert_answers(served)
        assert everything(slow)[8] == states.RUNNING
        halves.sendall(request(7, b"lxc.uts.name\0")[:20])
        assert_answers(served)
        halves.sendall(b".uts.name\0"[1:])
        assert everything(halves)[16:] == b"w1\0"


def test_descriptors_that_nobody_asked_for_are_not_kept() -> None:
    with serving() as served, raw_connect(served) as header, raw_connect(served) as payload:
        before = served.order("fds")
        many = [os.open("/dev/null", os.O_RDWR) for _ in range(50)]
        socket.send_fds(header, [b"\3"], many)
        payload.sendall(struct.pack("<iiq", 7, 100, 0))
        socket.send_fds(payload, [b"lxc"], many)
        assert_answers(served)
        assert served.order("fds") == before
        with raw_connect(served) as listener:
            socket.send_fds(listener, [request(13)], many)
            socket.send_fds(listener, [b"\0"], many)
            assert everything(listener) == bytes(16)
        assert served.order("fds") == before
        for fd in many:
            os.close(fd)


def test_slow_clients_are_dropped_in_time() -> None:
    place = new_place()
    served = server.Server(server.bind(*place), Container(*place).table())
    begun = time.monotonic()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(commands.address(place[0].encode(), place[1].encode()))
        step(served)
        deadline = served.next_deadline()
        assert deadline is not None
        assert begun < deadline < begun + 15
        served.expire(deadline - 0.1)
        assert served._connections
        served.expire(deadline)
        assert not served._connections
        assert served.next_deadline() is None
        assert everything(sock) == b""
    served.stop_listening()
    served.close_all(keep_reboot_waiters=False)


def few_descriptors() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))


def test_no_descriptor_left_does_not_end_the_monitor() -> None:
    with serving(become=few_descriptors) as served:
        idle = [raw_connect(served) for _ in range(60)]
        time.sleep(0.1)
        for sock in idle[:30]:
            sock.close()
        assert wait_until(lambda: exchange(served, request(3))[8:9] == b"\2", 2)
        for sock in idle:
            sock.close()


@pytest.mark.root
@pytest.mark.parametrize("limit", [None, few_descriptors], ids=["1024", "40"])
def test_two_thousand_idle_connections_of_a_foreign_user(limit: Callable[[], None] | None) -> None:
    with serving(become=limit or (lambda: None)) as served:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reader)
                flood(served, writer, 2000)
            finally:
                os._exit(0)
        os.close(writer)  # so that the end of the child is the end of the file
        try:
            assert os.read(reader, 5) == b"begun"
            for _ in range(20):
                assert_answers(served)  # while it goes on
            assert os.read(reader, 5) == b"ended"
            for _ in range(5):
                assert_answers(served)
            assert int(served.order("connections")) <= 64
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(reader)


def flood(served: Served, writer: int, count: int) -> None:
    """Open so many connections as nobody and keep them until killed."""
    import resource

    signal.alarm(60)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    kept = []
    for number in range(count):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(address(served))  # blocking: waits where the backlog is full
        kept.append(sock)
        if number == 50:
            os.write(writer, b"begun")
    os.write(writer, b"ended")
    signal.pause()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.binary(max_size=60), max_size=3),
    st.one_of(st.none(), st.integers(-3, 30)),
    st.integers(-5, 200),
)
def test_anything_at_all(pieces: list[bytes], number: int | None, length: int) -> None:
    place = new_place()
    container = Container(*place)
    container.server = served = server.Server(server.bind(*place), container.table())
    where = commands.address(place[0].encode(), place[1].encode())
    with socket.socket(socket.AF_UNIX) as wild, socket.socket(socket.AF_UNIX) as tame:
        wild.connect(where)
        if number is not None:
            wild.sendall(struct.pack("<iiq", number, length, 0))
        for piece in pieces:
            try:
                wild.sendall(piece)
            except BrokenPipeError:
                break
            step(served, most=0)
        tame.settimeout(5)
        tame.connect(where)
        tame.sendall(request(4))
        for _ in range(3):
            step(served, most=0)
        assert struct.unpack("<iiq", tame.recv(64)) == (0, 0, os.getpid())
    served.stop_listening()
    served.close_all(keep_reboot_waiters=False)
    assert not served.poll_list()


def test_a_client_that_is_gone_before_its_reply() -> None:
    place = new_place()
    served = server.Server(server.bind(*place), Container(*place).table())
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(commands.address(place[0].encode(), place[1].encode()))
    sock.sendall(request(0, value=1))
    sock.close()
    step(served)
    assert not served._connections
    served.stop_listening()
    served.close_all(keep_reboot_waiters=False)


def test_kept_connections_may_fill_the_server_but_not_idle_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_MOST_CONNECTIONS", 3)
    place = new_place()
    served = server.Server(server.bind(*place), Container(*place).table())
    socks = [socket.socket(socket.AF_UNIX) for _ in range(6)]
    for sock in socks:
        sock.settimeout(5)
        sock.connect(commands.address(place[0].encode(), place[1].encode()))
    for _ in range(3):
        step(served, most=0)
    assert len(served._connections) == 3  # the oldest idle ones went
    for sock in socks[3:]:
        sock.sendall(request(10, STATE_STOPPED))
    step(served, most=0)
    with socket.socket(socket.AF_UNIX) as late:
        late.settimeout(5)
        late.connect(commands.address(place[0].encode(), place[1].encode()))
        late.sendall(request(3))
        assert all(fd in served._connections for fd, _mask in served.poll_list())  # it has to wait for one to end
        socks[3].close()
        step(served, most=0)
        step(served, most=0)
        assert everything(late)[8] == states.RUNNING
    for sock in socks:
        sock.close()
    served.stop_listening()
    served.close_all(keep_reboot_waiters=False)
