# SPDX-License-Identifier: LGPL-2.1-or-later
"""Call a function of ours inside a container, or inside a folder as root, and get its answer back.

For looking at what is there (lxc-ls --nesting), not for running programs: the process joins the user, mount and network
namespaces but not the pid namespace, so nothing in the container can see or trace it. It has a time limit, as what it
reads may never answer. Everything the function uses must be imported beforehand: the door is shut.
"""

from __future__ import annotations

import _signal
import marshal
import os
import select
import time

from .. import log
from ..errors import describe
from ..linux import sched
from ..protocol import client
from . import door

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MOST = 1 << 24  # bytes of an answer


def in_container(pidfd: int, flags: int, function: Callable[[], Any], timeout: float) -> object:
    """function() in those of the user, network and mount namespaces of a process that flags names.

    The answer must be plain data. None when it cannot be had within timeout seconds; the log says why.
    """

    def work() -> Any:
        sched.setns(pidfd, flags & (sched.CLONE_NEWUSER | sched.CLONE_NEWNET | sched.CLONE_NEWNS))
        if flags & sched.CLONE_NEWUSER:
            os.setgroups([])
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        os.chdir("/")
        return function()

    return _call(work, timeout)


def in_running(name: str, lxcpath: str, function: Callable[[], Any], timeout: float) -> object:
    """function() in a running container; None also for one without a mount namespace of its own, which sees our files."""
    flags = client.clone_flags(name, lxcpath)
    if not flags or not flags & sched.CLONE_NEWNS:
        return None
    pidfd = client.init_pidfd(name, lxcpath)
    if pidfd is None:
        return None
    try:
        return in_container(pidfd, flags, function, timeout)
    finally:
        os.close(pidfd)


def in_root(folder: int, function: Callable[[], Any], timeout: float) -> object:
    """function() with a folder (a descriptor) as root directory; otherwise as in_container()."""

    def work() -> Any:
        os.fchdir(folder)
        os.chroot(".")
        return function()

    return _call(work, timeout)


def _call(work: Callable[[], Any], timeout: float) -> object:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
                _signal.signal(number, _signal.SIG_DFL)
            door.shut()
            answer = marshal.dumps(work())
        except BaseException as error:
            answer = marshal.dumps(("failed", describe(error)))
        try:
            _write_all(writer, answer)
        finally:
            os._exit(0)
    os.close(writer)
    try:
        data = _read(reader, time.monotonic() + timeout)
    finally:
        os.close(reader)
        os.kill(pid, _signal.SIGKILL)
        os.waitpid(pid, 0)
    answered: object = marshal.loads(data) if data else ("failed", f"no answer within {timeout:g} s")
    if isinstance(answered, tuple) and answered[:1] == ("failed",):
        log.warn(f"cannot look inside: {answered[1]}")
        return None
    return answered


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _read(reader: int, deadline: float) -> bytes:
    """Everything until the end of file; b"" when the time is over first."""
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    data = b""
    while len(data) < _MOST:
        if not poller.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            return b""
        chunk = os.read(reader, 65536)
        if not chunk:
            return data
        data += chunk
    return b""
