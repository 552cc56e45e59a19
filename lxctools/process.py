# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run a program: the one place for its environment, signals, descriptors, output and time limit.

posix_spawn instead of subprocess (12 ms). Every program starts with default signal dispositions (the interpreter
ignores SIGPIPE and SIGXFSZ) and an empty signal mask, and inherits descriptors 0-2 only, since all others of ours are
close-on-exec.
"""

from __future__ import annotations

import os
import select
import time

from .errors import LxcError, TimedOut, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ALL_SIGNALS = tuple(n for n in range(1, 65) if n not in (9, 19, 32, 33))
_CHUNK = 65536
_MOST_SHOWN = 400  # bytes of it that an error message quotes
_MOST_KEPT = 1 << 20  # output kept in memory; the rest is drained and dropped


class Result:
    """How a program ended: status as os.waitstatus_to_exitcode() gives it, and what it printed."""

    __slots__ = ("argv", "output", "status")

    def __init__(self, argv: Sequence[str], status: int, output: bytes) -> None:
        self.argv = argv
        self.status = status
        self.output = output

    def text(self) -> str:
        """The output as text that can always be printed."""
        return self.output.decode("utf-8", "backslashreplace")

    def why(self) -> str:
        """The last line printed, and the exit status or signal, as one phrase."""
        end = self.output[-_MOST_SHOWN:].decode("utf-8", "backslashreplace")
        lines = [line for line in end.splitlines() if line.strip()]
        ended = f"exited with status {self.status}" if self.status >= 0 else f"terminated by signal {-self.status}"
        if not lines:
            return ended
        last = "".join(letter if letter.isprintable() else " " for letter in lines[-1])
        return f"{ended}: {last.strip()}"


def exit_status(wait_status: int) -> int:
    """The exit status to pass on for a wait status: the process's own, or 128 + n for signal n, as shells count."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


def callers_environment() -> dict[str, str]:
    """The environment with which this program was executed, bytes as surrogates.

    The interpreter may have put LC_CTYPE into os.environ (PEP 538) and would hand it on; the kernel keeps what it was at
    our own execve(2) in /proc/self/environ.
    """
    try:
        with open("/proc/self/environ", "rb", buffering=0) as file:
            raw = file.readall()
    except OSError:
        return dict(os.environ)
    result = {}
    for entry in raw.split(b"\0"):
        name, equals, value = entry.partition(b"=")
        if equals:
            result[os.fsdecode(name)] = os.fsdecode(value)
    return result


def find(name: str, path: str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") -> str | None:
    """The absolute path of a program of the host, or None."""
    for folder in path.split(":"):
        candidate = os.path.join(folder, name)
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
    return None


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    setsid: bool = False,
) -> int:
    """Start argv[0] (a path, or a name looked up in find()'s folders) and return its pid.

    None leaves a standard descriptor as it is; -1 gives /dev/null. Raises LxcError when it cannot be executed.
    """
    program: str | None = argv[0] if "/" in argv[0] else find(argv[0])
    if program is None:
        raise LxcError(f"cannot run {argv[0]}: no such program on this host", remedy=f"install {argv[0]}")
    actions: list[tuple[int, int, int] | tuple[int, int, str, int, int]] = []
    for number, fd in ((0, stdin), (1, stdout), (2, stderr)):
        if fd == -1:
            actions.append((os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0))
        elif fd is not None:
            actions.append((os.POSIX_SPAWN_DUP2, fd, number))
    try:
        return os.posix_spawn(
            program,
            list(argv),
            dict(os.environ if env is None else env),
            file_actions=actions,
            setsigdef=ALL_SIGNALS,
            setsigmask=(),
            setsid=setsid,
        )
    except OSError as error:
        raise LxcError(f"cannot run {program}: {describe(error)}") from error


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: int | None = -1,
    timeout: float | None = None,
    check: bool = False,
) -> Result:
    """Run a program to its end with stdout and stderr captured together.

    Output is drained until the *process* ends: a background child that keeps the pipe open does not delay us, and
    output of any length does not block the program. timeout in seconds: then it is killed and TimedOut raised.
    check: raise LxcError unless it exits with 0.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        pid = spawn(argv, env=env, stdin=stdin, stdout=writer, stderr=writer)
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    try:
        output, status = _drain(pid, reader, timeout, argv[0])
    except TimedOut:
        raise
    except BaseException:
        # A signal that cancels what we are doing must not leave the program running.
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(reader)
    result = Result(argv, os.waitstatus_to_exitcode(status), output)
    if check and result.status != 0:
        raise LxcError(f"{' '.join(argv)} {result.why()}")
    return result


def _drain(pid: int, reader: int, timeout: float | None, name: str) -> tuple[bytes, int]:
    """Collect output until pid ends; returns (output, wait status)."""
    os.set_blocking(reader, False)
    chunks: list[bytes] = []
    kept = 0
    pidfd = os.pidfd_open(pid)
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        poller = select.poll()
        poller.register(reader, select.POLLIN)
        poller.register(pidfd, select.POLLIN)
        open_pipe = True
        while True:
            left = None if deadline is None else max(0, int((deadline - time.monotonic()) * 1000))
            events = poller.poll(left)
            if not events and deadline is not None:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
                raise TimedOut(f"{name} did not end within {timeout:g} s and was killed")
            ended = any(fd == pidfd for fd, _ in events)
            while open_pipe:
                try:
                    data = os.read(reader, _CHUNK)
                except BlockingIOError:
                    break
                if not data:
                    open_pipe = False
                    poller.unregister(reader)
                    break
                if kept < _MOST_KEPT:
                    chunks.append(data)
                    kept += len(data)
            if ended:
                return b"".join(chunks), os.waitpid(pid, 0)[1]
    finally:
        os.close(pidfd)
