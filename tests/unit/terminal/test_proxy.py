# SPDX-License-Identifier: LGPL-2.1-or-later
"""The client's side: a child process plays lxc-console or lxc-attach on a terminal of the test's."""

from __future__ import annotations

import errno
import os
import pickle
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lxctools.errors import LxcError
from lxctools.linux import prctl, tty
from lxctools.protocol import client
from lxctools.terminal import proxy as module
from lxctools.terminal.proxy import ENDING, Proxy

EVERY_BYTE = bytes(range(256))
CTRL_A = 1


class Session:
    """A proxy in a child whose terminal we are; `far` is the container's side of the pty that it copies to."""

    def __init__(
        self,
        *,
        stdin: str = "terminal",
        stdout: str = "terminal",
        size: bytes = struct.pack("4H", 24, 80, 0, 0),
        body: Callable[[Proxy, int], object] | None = None,
        keep_master: bool = False,
        **options: object,
    ) -> None:
        self.keyboard, self._inside = tty.openpty()
        tty.set_window_size(self.keyboard, size)
        os.set_blocking(self.keyboard, False)
        self.before = termios.tcgetattr(self._inside)
        master, self.far = tty.openpty()
        tty.make_raw(self.far)
        os.set_blocking(self.far, False)
        self.stdin, theirs_in = os.pipe2(os.O_CLOEXEC)[::-1]
        self.stdout, theirs_out = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(theirs_out, True)
        self.ended, theirs_ended = os.pipe2(os.O_CLOEXEC)[::-1]
        self._answer, theirs_answer = os.pipe2(os.O_CLOEXEC)
        self._fds = [self.keyboard, self._inside, self.far, self.stdin, self.stdout, self.ended, self._answer]
        self._status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            try:
                # Those of other sessions, too, whose ends we would keep open.
                mine = {self._inside, master, theirs_in, theirs_out, theirs_ended, theirs_answer}
                for fd in range(3, 256):
                    if fd not in mine:
                        _close(fd)
                os.setsid()
                tty.set_controlling(self._inside)
                prctl.set_pdeathsig(signal.SIGKILL)
                streams = {"terminal": self._inside, "pipe": theirs_in}
                outputs = {"terminal": self._inside, "pipe": theirs_out}
                proxied = Proxy(
                    master, stdin=streams.get(stdin, -1), stdout=outputs[stdout], **options  # type: ignore[arg-type]
                )
                handlers = [signal.getsignal(n) for n in (*ENDING, signal.SIGWINCH)]
                proxied.prepare()
                result = body(proxied, theirs_ended) if body else proxied.run(theirs_ended)
                same = handlers == [signal.getsignal(n) for n in (*ENDING, signal.SIGWINCH)]
                os.write(theirs_answer, pickle.dumps((result, same)))
            finally:
                os._exit(0)
        if keep_master:  # as the monitor does, so that the end of the client is no hangup
            self._fds.append(master)
        else:
            os.close(master)
        for fd in (theirs_in, theirs_out, theirs_ended, theirs_answer):
            os.close(fd)
        if stdin == "terminal":
            assert wait_until(self.raw)
        else:
            assert wait_until(lambda: signal.SIGWINCH in self.caught())

    def raw(self) -> bool:
        return termios.tcgetattr(self._inside) != self.before

    def caught(self) -> set[int]:
        fields = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines() if ":\t" in line
        )
        bits = int(fields.get("SigCgt", "0"), 16)
        return {n for n in range(1, 65) if bits >> (n - 1) & 1}

    def hang_up_far(self) -> None:
        os.close(self.far)
        self._fds.remove(self.far)

    def end(self) -> None:
        os.close(self.ended)
        self._fds.remove(self.ended)

    def result(self, seconds: float = 10.0) -> object:
        """run()'s value, once it has ended; the signal handlers are back."""
        assert select.select([self._answer], [], [], seconds)[0], "the proxy does not end"
        data = os.read(self._answer, 4096)
        assert data, "the proxy died"
        value, same = pickle.loads(data)
        assert same, "signal handlers were left"
        return value

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        for fd in self._fds:
            os.close(fd)


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        pass


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return bool(condition())


def read(fd: int, count: int, seconds: float = 10.0) -> bytes:
    """This many bytes, or what came in the time."""
    data = b""
    deadline = time.monotonic() + seconds
    while len(data) < count and time.monotonic() < deadline:
        if select.select([fd], [], [], 0.05)[0]:
            try:
                chunk = os.read(fd, count - len(data))
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno == errno.EIO:
                    break
                raise
            if not chunk:
                break
            data += chunk
    return data


@pytest.fixture
def start() -> Iterator[Callable[..., Session]]:
    sessions = []

    def build(**options: object) -> Session:
        session = Session(**options)  # type: ignore[arg-type]
        sessions.append(session)
        return session

    yield build
    for session in sessions:
        session.close()


# -- bytes


def test_every_byte_both_ways(start: Callable[..., Session], tmp_path: Path) -> None:
    session = start(log_path=str(tmp_path / "log"))
    os.write(session.keyboard, EVERY_BYTE)
    assert read(session.far, 256) == EVERY_BYTE
    os.write(session.far, EVERY_BYTE)
    assert read(session.keyboard, 256) == EVERY_BYTE
    session.end()
    assert session.result() == 0
    assert not session.raw()
    assert (tmp_path / "log").read_bytes() == EVERY_BYTE
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("streams", ["terminal", "pipe"])
def test_megabytes_both_ways_at_once(start: Callable[..., Session], streams: str) -> None:
    session = start(stdin=streams, stdout=streams)
    here, there = (session.keyboard,) * 2 if streams == "terminal" else (session.stdin, session.stdout)
    os.set_blocking(here, False)
    up, down = os.urandom(400_000), os.urandom(1_000_000)
    sent_up = sent_down = 0
    got_up, got_down = b"", b""
    deadline = time.monotonic() + 60
    while (len(got_up), len(got_down)) != (len(up), len(down)) and time.monotonic() < deadline:
        try:
            sent_up += os.write(here, up[sent_up : sent_up + 3000])
        except BlockingIOError:
            pass
        try:
            sent_down += os.write(session.far, down[sent_down : sent_down + 3000])
        except BlockingIOError:
            pass
        for fd in (session.far, there):
            if select.select([fd], [], [], 0)[0]:
                data = os.read(fd, 65536)
                if fd == there:
                    got_down += data
                else:
                    got_up += data
    assert got_up == up
    assert got_down == down


def test_a_stopped_reader_does_not_stop_the_keyboard(start: Callable[..., Session]) -> None:
    session = start()
    with pytest.raises(BlockingIOError):
        for _ in range(1000):
            os.write(session.far, b"x" * 4000)
            time.sleep(0.001)
    os.write(session.keyboard, b"typed")
    assert read(session.far, 5) == b"typed"
    os.kill(session.pid, signal.SIGTERM)
    assert session.result() == signal.SIGTERM  # although nobody reads what it wants to show
    assert not session.raw()


def test_what_was_typed_early_is_not_lost(start: Callable[..., Session]) -> None:
    def body(proxied: Proxy, ended: int) -> object:
        time.sleep(0.3)
        return proxied.run(ended)

    session = start(body=body)
    os.write(session.keyboard, b"early\r")
    assert read(session.far, 6) == b"early\r"


# -- ends


def test_the_end_of_the_other_side_shows_its_last_words(start: Callable[..., Session]) -> None:
    words = os.urandom(3000)

    def body(proxied: Proxy, ended: int) -> object:
        select.select([ended], [], [])  # both are there before the loop looks
        return proxied.run(ended)

    session = start(body=body)
    os.write(session.far, words)
    session.end()
    assert read(session.keyboard, 3000) == words
    assert session.result() == 0


def test_the_end_is_not_delayed_by_what_goes_on_writing(start: Callable[..., Session]) -> None:
    session = start()
    writer = os.fork()
    if writer == 0:
        try:
            prctl.set_pdeathsig(signal.SIGKILL)
            os.close(session.ended)
            os.set_blocking(session.far, True)
            while True:
                os.write(session.far, b"yes\n" * 1000)
        finally:
            os._exit(0)  # hung up on
    try:
        assert read(session.keyboard, 10000)
        session.end()
        deadline = time.monotonic() + 20
        while not select.select([session._answer], [], [], 0)[0] and time.monotonic() < deadline:
            read(session.keyboard, 65536, 0.05)
        assert session.result() == 0
    finally:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)


def test_hangup(start: Callable[..., Session]) -> None:
    session = start()
    os.write(session.far, b"bye")
    session.hang_up_far()
    assert read(session.keyboard, 3) == b"bye"
    assert session.result() == 0
    assert not session.raw()


def test_end_of_input(start: Callable[..., Session]) -> None:
    going_on = start(stdin="pipe", stdout="pipe")
    ending = start(stdin="pipe", stdout="pipe", ends_with_input=True, keep_master=True)
    for session in (going_on, ending):
        os.write(session.stdin, b"last")
        os.close(session.stdin)
        session._fds.remove(session.stdin)
        assert read(session.far, 4) == b"last"
    assert ending.result() == 0
    os.write(going_on.far, b"and more")
    assert read(going_on.stdout, 8) == b"and more"


def test_output_that_nobody_takes(start: Callable[..., Session]) -> None:
    session = start(stdin="none", stdout="pipe")
    os.close(session.stdout)
    session._fds.remove(session.stdout)
    os.write(session.far, b"x")
    assert session.result() == 0


def test_a_terminal_that_hangs_up(start: Callable[..., Session]) -> None:
    """Closing the window sends SIGHUP to the session's leader, which is the proxy here."""
    session = start()
    for fd in (session.keyboard, session._inside):
        os.close(fd)
        session._fds.remove(fd)
    assert session.result() in (0, signal.SIGHUP)


# -- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_an_attach(start: Callable[..., Session], number: int) -> None:
    session = start()
    os.kill(session.pid, number)
    assert session.result() == number
    assert not session.raw()
    with pytest.raises(OSError, match=r".") as caught:  # the program on the pty is hung up on
        os.write(session.far, b"x")
    assert caught.value.errno == errno.EIO


def test_interrupts_do_not_end_an_attach(start: Callable[..., Session]) -> None:
    session = start()
    for number in (signal.SIGINT, signal.SIGQUIT):
        os.kill(session.pid, number)
    os.write(session.keyboard, b"\x03\x1c\x1a")  # typed, they are bytes
    assert read(session.far, 3) == b"\x03\x1c\x1a"
    session.end()
    assert session.result() == 0


@pytest.mark.parametrize("number", ENDING)
def test_signals_end_a_console(start: Callable[..., Session], number: int) -> None:
    session = start(leave=ENDING)
    os.kill(session.pid, number)
    assert session.result() == number
    assert not session.raw()


def test_window_size(start: Callable[..., Session]) -> None:
    session = start(size=struct.pack("4H", 31, 111, 5, 6))
    assert wait_until(lambda: tty.window_size(session.far) == struct.pack("4H", 31, 111, 5, 6))
    tty.set_window_size(session.keyboard, struct.pack("4H", 7, 8, 0, 0))  # the kernel sends SIGWINCH
    assert wait_until(lambda: tty.window_size(session.far) == struct.pack("4H", 7, 8, 0, 0))


def test_continued_after_a_stop(start: Callable[..., Session]) -> None:
    """The shell takes the terminal back while we are stopped; then it is made raw again, and given back as it was."""
    session = start()
    os.kill(session.pid, signal.SIGSTOP)
    termios.tcsetattr(session._inside, termios.TCSANOW, session.before)
    os.kill(session.pid, signal.SIGCONT)
    assert wait_until(session.raw)
    os.write(session.keyboard, b"\x03")
    assert read(session.far, 1) == b"\x03"
    session.end()
    assert session.result() == 0
    assert not session.raw()


def test_restored_after_an_exception(start: Callable[..., Session]) -> None:
    def body(proxied: Proxy, _ended: int) -> object:
        time.sleep(0.3)
        proxied._input = None  # type: ignore[assignment]
        try:
            proxied.run(_ended)
        except (TypeError, AttributeError):
            proxied.close()
            return "closed"
        return "no exception"

    session = start(body=body)
    assert session.result() == "closed"
    assert not session.raw()


def test_the_masters_flags_are_put_back(start: Callable[..., Session]) -> None:
    """lxc-console's master is the monitor's own description: the next client finds it as it was."""

    def body(proxied: Proxy, ended: int) -> object:
        copy = os.dup(proxied._master)
        during = os.get_blocking(copy)
        proxied.run(ended)
        return during, os.get_blocking(copy)

    session = start(body=body)
    session.end()
    assert session.result() == (False, True)


# -- the escape


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ([b"abc\x01qdef"], b"abc"),
        ([b"a\x01", b"q"], b"a"),
        ([b"\x01\x01b\x01q"], b"\x01b"),
        ([b"\x01\x01\x01\x01\x01q"], b"\x01\x01"),
        ([b"\x01xq\x01q"], b"xq"),  # the character is lost, as in C LXC
        ([b"\x01\x01q\x01q"], b"\x01q"),
    ],
)
def test_escape(start: Callable[..., Session], typed: list[bytes], sent: bytes) -> None:
    session = start(escape=CTRL_A, keep_master=True)
    for part in typed:
        os.write(session.keyboard, part)
        time.sleep(0.05)
    assert session.result() == 0
    assert not session.raw()
    assert read(session.far, 100, 0.1) == sent


def test_without_an_escape_it_is_a_byte(start: Callable[..., Session]) -> None:
    session = start()
    os.write(session.keyboard, b"\x01q\x01\x01")
    assert read(session.far, 4) == b"\x01q\x01\x01"


def test_leaving_does_not_wait_for_a_deaf_container(start: Callable[..., Session]) -> None:
    session = start(escape=CTRL_A)
    with pytest.raises(BlockingIOError):  # nobody reads `far`
        for _ in range(1000):
            os.write(session.keyboard, b"x" * 500)
            time.sleep(0.002)
    # Its buffers are full, so that the escape itself cannot be typed: a signal still ends it.
    os.kill(session.pid, signal.SIGTERM)
    assert session.result() == signal.SIGTERM


def test_a_log_that_cannot_be_opened() -> None:
    master, slave = tty.openpty()
    os.close(slave)
    with pytest.raises(LxcError, match="cannot open the log of the terminal /nonexistent/log"):
        Proxy(master, log_path="/nonexistent/log")
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(master)


# -- lxc-console


class Connection:
    """What client.tty() returns as the connection."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC)

    def fileno(self) -> int:
        return self.reader

    def close(self) -> None:
        for fd in (self.reader, self.writer):
            if fd >= 0:
                os.close(fd)
        self.reader = self.writer = -1


def lxc_console(monkeypatch: pytest.MonkeyPatch, streams: dict[int, int], escape: int = CTRL_A) -> tuple[int, Connection]:
    """console() in a child with these standard streams; (pid, connection)."""
    connection = Connection()
    master, slave = tty.openpty()
    monkeypatch.setattr(client, "tty", lambda _name, _lxcpath, number: (connection, master, number if number >= 0 else 1))
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            prctl.set_pdeathsig(signal.SIGKILL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            for number in ENDING:
                signal.signal(number, signal.SIG_DFL)
            for fd, source in streams.items():
                os.dup2(source, fd)
            for fd in range(3, 256):
                if fd not in (master, slave, connection.reader):
                    _close(fd)
            connection.writer = -1
            code = module.console("c1", "/lxc", -1, escape=escape)
            code += 10 * (connection.reader >= 0)
        except LxcError as error:
            os.write(2, str(error).encode())
            code = 1
        finally:
            os._exit(code)
    os.close(master)
    os.close(slave)
    return pid, connection


def test_console_banner_and_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    keyboard, inside = tty.openpty()
    out, errors = os.pipe2(os.O_CLOEXEC)
    try:
        pid, connection = lxc_console(monkeypatch, {0: inside, 1: inside, 2: errors})
        banner = b"\nConnected to tty 1\nType <Ctrl+a q> to exit the console, <Ctrl+a Ctrl+a> to enter Ctrl+a itself\n"
        assert read(out, len(banner)) == banner
        os.write(keyboard, b"\x01q")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        connection.close()
    finally:
        for fd in (keyboard, inside, out, errors):
            os.close(fd)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, -2), (signal.SIGHUP, -1), (signal.SIGQUIT, -3)]
)
def test_console_ended_by_a_signal(monkeypatch: pytest.MonkeyPatch, number: int, code: int) -> None:
    keyboard, inside = tty.openpty()
    before = termios.tcgetattr(inside)
    null = os.open("/dev/null", os.O_RDWR)
    try:
        pid, connection = lxc_console(monkeypatch, {0: inside, 1: inside, 2: null})
        assert wait_until(lambda: termios.tcgetattr(inside) != before)
        os.kill(pid, number)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code
        assert termios.tcgetattr(inside) == before
        connection.close()
    finally:
        for fd in (keyboard, inside, null):
            os.close(fd)


def test_console_without_escape_has_no_banner(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin, keyboard = os.pipe2(os.O_CLOEXEC)
    out, errors = os.pipe2(os.O_CLOEXEC)
    try:
        pid, connection = lxc_console(monkeypatch, {0: stdin, 1: errors, 2: errors}, escape=-1)
        os.close(errors)
        os.close(keyboard)  # the end of input
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert os.read(out, 100) == b""
        connection.close()
    finally:
        os.close(stdin)
        os.close(out)


@pytest.mark.parametrize("what", ["/dev/null", "FILE"])
def test_console_refuses_what_cannot_be_polled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str) -> None:
    (tmp_path / "FILE").write_text("text")
    stdin = os.open(what.replace("FILE", str(tmp_path / "FILE")), os.O_RDONLY)
    out, errors = os.pipe2(os.O_CLOEXEC)
    try:
        pid, connection = lxc_console(monkeypatch, {0: stdin, 1: errors, 2: errors})
        os.close(errors)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
        assert b"Failed to add stdin handler" in os.read(out, 1000)
        connection.close()
    finally:
        os.close(stdin)
        os.close(out)


def test_a_terminal_that_is_gone_before_raw_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_fd: int) -> object:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    keyboard, inside = tty.openpty()
    master, slave = tty.openpty()
    monkeypatch.setattr(tty, "make_raw", gone)
    handlers = [signal.getsignal(n) for n in ENDING]
    proxied = Proxy(master, stdin=inside, stdout=inside)
    with pytest.raises(LxcError, match="cannot connect this terminal to the container's: Input/output error"):
        proxied.prepare()
    proxied.close()
    assert handlers == [signal.getsignal(n) for n in ENDING]
    for fd in (keyboard, inside, slave):
        os.close(fd)
