# SPDX-License-Identifier: LGPL-2.1-or-later
"""The monitor's side of the console: what goes where, and that nobody stops anybody."""

from __future__ import annotations

import errno
import os
import select
import struct
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lxctools.errors import LxcError
from lxctools.linux import tty
from lxctools.terminal import console as module
from lxctools.terminal.console import Console, TtySlots

from ..linux.forked import in_child

EVERY_BYTE = bytes(range(256))


def conf(**keys: object) -> dict[str, object]:
    base: dict[str, object] = {
        "lxc.console.path": "",
        "lxc.console.logfile": "",
        "lxc.console.size": 0,
        "lxc.console.rotate": 0,
        "lxc.console.buffer.size": 0,
    }
    return base | {f"lxc.console.{name.replace('_', '.')}": value for name, value in keys.items()}


@pytest.fixture
def make() -> Iterator[Callable[..., Console]]:
    """A console on a pty of the host whose slave, the container's side, is raw."""
    made = []

    def build(**keys: object) -> Console:
        console = Console(conf(**keys))  # type: ignore[arg-type]
        made.append(console)
        console.open_host_pty()
        tty.make_raw(console.slave)
        os.set_blocking(console.slave, False)
        return console

    yield build
    for console in made:
        console.close()


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A pty that plays the terminal of an administrator: (the administrator's side, the terminal)."""
    master, slave = tty.openpty()
    os.set_blocking(master, False)
    yield master, slave
    os.close(master)
    os.close(slave)


def serve(console: Console, until: Callable[[], object], seconds: float = 10.0) -> bool:
    """The monitor's loop; whether it came so far."""
    deadline = time.monotonic() + seconds
    while not until():
        poller = select.poll()
        for fd, mask in console.poll_list():
            poller.register(fd, mask)
        events = poller.poll(50)
        for fd, event in events:
            console.handle(fd, event)
        if time.monotonic() > deadline:
            return False
    return True


def quiet(console: Console) -> bool:
    """Nothing happens without a cause: the loop would spin."""
    poller = select.poll()
    for fd, mask in console.poll_list():
        poller.register(fd, mask)
    return not poller.poll(0)


class Reader:
    """Collects what a non-blocking descriptor has."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.data = b""

    def has(self, count: int) -> bool:
        try:
            self.data += os.read(self.fd, 65536)
        except BlockingIOError:
            pass
        return len(self.data) >= count


class Writer:
    """Writes to a non-blocking descriptor, and counts."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.count = 0

    def takes(self) -> bool:
        try:
            self.count += os.write(self.fd, b"x" * 4000)
        except BlockingIOError:
            return False
        return True


def test_without_a_peer_output_goes_to_log_and_ring(make: Callable[..., Console], tmp_path: Path) -> None:
    console = make(logfile=str(tmp_path / "log"), buffer_size=100)
    assert quiet(console)
    os.write(console.slave, EVERY_BYTE)
    ring = console.ring
    assert ring is not None
    assert serve(console, lambda: len(ring) == 100 and (tmp_path / "log").stat().st_size == 256)
    assert ring.read() == EVERY_BYTE[-100:]
    assert (tmp_path / "log").read_bytes() == EVERY_BYTE
    assert quiet(console)


def test_a_terminal(make: Callable[..., Console], terminal: tuple[int, int]) -> None:
    outside, inside = terminal
    before = termios.tcgetattr(inside)
    tty.set_window_size(outside, struct.pack("4H", 33, 77, 0, 0))
    console = make(path=os.ttyname(inside))
    assert termios.tcgetattr(inside) == before  # raw only once the container runs
    console.attach_peer(foreground=False)
    assert termios.tcgetattr(inside) != before
    assert tty.window_size(console.slave) == struct.pack("4H", 33, 77, 0, 0)
    reader = Reader(outside)
    os.write(console.slave, EVERY_BYTE)
    assert serve(console, lambda: reader.has(256))
    assert reader.data == EVERY_BYTE
    typed = Reader(console.slave)
    os.write(outside, EVERY_BYTE)
    assert serve(console, lambda: typed.has(256))
    assert typed.data == EVERY_BYTE
    tty.set_window_size(outside, struct.pack("4H", 9, 8, 0, 0))
    console.window_changed()
    assert tty.window_size(console.slave) == struct.pack("4H", 9, 8, 0, 0)
    with pytest.raises(OSError, match=r".") as caught:
        console.open_proxy()
    assert caught.value.errno == errno.EBUSY
    assert quiet(console)
    console.close()
    assert termios.tcgetattr(inside) == before


def test_megabytes_through_a_slow_terminal(make: Callable[..., Console], terminal: tuple[int, int]) -> None:
    """Both directions at once, each side writing more than any buffer holds."""
    outside, inside = terminal
    console = make(path=os.ttyname(inside))
    console.attach_peer(foreground=False)
    out, into = os.urandom(700_000), os.urandom(300_000)
    at = {"out": 0, "in": 0}
    shown, typed = Reader(outside), Reader(console.slave)

    def turn() -> bool:
        for name, fd, data in (("out", console.slave, out), ("in", outside, into)):
            try:
                at[name] += os.write(fd, data[at[name] : at[name] + 5000])
            except BlockingIOError:
                pass
        return shown.has(len(out)) & typed.has(len(into))

    assert serve(console, turn, 30)
    assert shown.data == out
    assert typed.data == into


def test_a_terminal_that_goes_away(make: Callable[..., Console], tmp_path: Path) -> None:
    outside, inside = tty.openpty()
    console = make(path=os.ttyname(inside), logfile=str(tmp_path / "log"))
    console.attach_peer(foreground=False)
    os.close(inside)
    os.close(outside)
    assert serve(console, lambda: len(console.poll_list()) == 1)
    os.write(console.slave, b"still here")
    assert serve(console, lambda: (tmp_path / "log").read_bytes() == b"still here")
    os.close(console.open_proxy())  # the place is free now


def test_a_peer_that_takes_nothing(
    make: Callable[..., Console], terminal: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    outside, inside = terminal
    console = make(path=os.ttyname(inside), logfile=str(tmp_path / "log"))
    console.attach_peer(foreground=False)
    writer = Writer(console.slave)

    def logged() -> int:
        return (tmp_path / "log").stat().st_size

    begun = time.monotonic()
    assert serve(console, lambda: (writer.takes(), writer.count)[1] > 1_000_000 and logged() > 900_000)  # the container was not stopped
    assert time.monotonic() - begun > 0.15  # but was held up before anything was dropped
    shown = Reader(outside)
    serve(console, lambda: shown.has(1 << 30), 0.3)  # it reads again
    shown.data = b""
    os.write(console.slave, b"after")
    assert serve(console, lambda: shown.has(5) and shown.data.endswith(b"after"))
    assert quiet(console)


def test_a_slow_peer_loses_nothing(
    make: Callable[..., Console], terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that takes a little before each time limit gets everything, also after a pause that was long but not full."""
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    outside, inside = terminal
    console = make(path=os.ttyname(inside))
    console.attach_peer(foreground=False)
    data = os.urandom(200_000)
    at = 0
    shown = Reader(outside)
    last = 0.0

    def turn() -> bool:
        nonlocal at, last
        try:
            at += os.write(console.slave, data[at : at + 4000])
        except BlockingIOError:
            pass
        if time.monotonic() - last > 0.02:
            last = time.monotonic()
            return shown.has(len(data))
        return False

    assert serve(console, turn, 30)
    assert shown.data == data


def test_a_proxy(make: Callable[..., Console], tmp_path: Path) -> None:
    console = make(logfile=str(tmp_path / "log"))
    client = console.open_proxy()
    with pytest.raises(OSError, match=r".") as caught:
        console.open_proxy()
    assert caught.value.errno == errno.EBUSY
    os.set_blocking(client, False)
    tty.set_window_size(client, struct.pack("4H", 12, 34, 0, 0))
    shown, typed = Reader(client), Reader(console.slave)
    os.write(console.slave, EVERY_BYTE)
    assert serve(console, lambda: shown.has(256))
    os.write(client, EVERY_BYTE)
    assert serve(console, lambda: typed.has(256))
    assert (shown.data, typed.data) == (EVERY_BYTE, EVERY_BYTE)
    assert tty.window_size(console.slave) == struct.pack("4H", 12, 34, 0, 0)
    os.close(client)
    assert quiet(console)
    console.close_proxy()
    console.close_proxy()
    os.write(console.slave, b" nobody looks")
    assert serve(console, lambda: (tmp_path / "log").read_bytes() == EVERY_BYTE + b" nobody looks")
    again = console.open_proxy()
    os.close(again)


def test_no_pty_no_proxy() -> None:
    console = Console(conf())  # type: ignore[arg-type]
    with pytest.raises(OSError, match=r".") as caught:
        console.open_proxy()
    assert caught.value.errno == errno.EBADF
    assert console.poll_list() == []
    console.attach_peer(foreground=False)
    console.window_changed()
    console.drain()
    console.close()
    console.close()


@pytest.mark.parametrize("path", ["/dev/null", "FILE", "/nonexistent/tty"])
def test_a_path_that_is_no_terminal(path: str, tmp_path: Path) -> None:
    (tmp_path / "FILE").write_text("")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(LxcError, match=r"lxc\.console\.path: .*(not a terminal|No such file)"):
        Console(conf(path=path.replace("FILE", str(tmp_path / "FILE"))))  # type: ignore[arg-type]
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_log_that_cannot_be_opened(terminal: tuple[int, int]) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(LxcError, match=r"lxc\.console\.logfile"):
        Console(conf(path=os.ttyname(terminal[1]), logfile="/nonexistent/log"))  # type: ignore[arg-type]
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_the_last_words(make: Callable[..., Console], terminal: tuple[int, int], tmp_path: Path) -> None:
    """What the container wrote before its end reaches log and terminal without another turn of the loop."""
    outside, inside = terminal
    console = make(path=os.ttyname(inside), logfile=str(tmp_path / "log"))
    console.attach_peer(foreground=False)
    words = os.urandom(3000)
    os.write(console.slave, words)
    console.drain()
    assert (tmp_path / "log").read_bytes() == words
    shown = Reader(outside)
    assert shown.has(3000)
    assert shown.data == words


def test_the_last_words_to_one_who_does_not_listen(
    make: Callable[..., Console], terminal: tuple[int, int], tmp_path: Path
) -> None:
    _outside, inside = terminal
    console = make(path=os.ttyname(inside), logfile=str(tmp_path / "log"))
    console.attach_peer(foreground=False)
    writer = Writer(console.slave)
    assert serve(console, lambda: not writer.takes())
    begun = time.monotonic()
    console.drain()
    assert time.monotonic() - begun < 4
    assert (tmp_path / "log").stat().st_size == writer.count


@pytest.mark.parametrize("background", [False, True])
def test_the_monitors_own_terminal(background: bool) -> None:
    def body() -> list[object]:
        outside, inside = tty.openpty()
        os.setsid()
        tty.set_controlling(inside)
        if background:
            # The session's foreground is another group: a shell that has started us with &.
            pid = os.fork()
            if pid == 0:
                os.setpgid(0, 0)
                os._exit(_peer_of_dev_tty(outside, inside, expect_raw=False))
            return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]
        return [_peer_of_dev_tty(outside, inside, expect_raw=True)]

    assert in_child(body) == [0]


def _peer_of_dev_tty(outside: int, inside: int, *, expect_raw: bool) -> int:
    import _signal

    _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGTTIN, _signal.SIGTTOU))  # as the monitor does
    before = termios.tcgetattr(inside)
    os.set_blocking(outside, False)
    console = Console(conf())  # type: ignore[arg-type]
    console.open_host_pty()
    tty.make_raw(console.slave)
    console.attach_peer(foreground=True)
    raw = termios.tcgetattr(inside) != before
    shown = Reader(outside)
    os.write(console.slave, b"output")
    good = serve(console, lambda: shown.has(6)) and shown.data == b"output"
    if not expect_raw:
        os.write(outside, b"for the shell\n")
        serve(console, lambda: False, 0.2)
        good = good and len(console.poll_list()) == 2 and quiet(console)
    console.close()
    return 0 if good and raw == expect_raw and termios.tcgetattr(inside) == before else 1


def test_slots() -> None:
    pairs = [tty.openpty() for _ in range(3)]
    slots = TtySlots(pairs)
    assert slots.take(2) == (2, pairs[1][0])
    assert slots.take(-1) == (1, pairs[0][0])
    assert slots.take(-5) == (3, pairs[2][0])
    for number in (-1, 0, 1, 2, 4, 99):
        with pytest.raises(OSError, match=r".") as caught:
            slots.take(number)
        assert caught.value.errno == errno.EBADF
    slots.release(1)
    slots.release(1)
    assert slots.take(-1)[0] == 1
    slots.close()
    slots.close()
    slots.release(2)
    for pair in pairs:
        for fd in pair:
            with pytest.raises(OSError, match="Bad file"):
                os.fstat(fd)
