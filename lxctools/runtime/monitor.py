# SPDX-License-Identifier: LGPL-2.1-or-later
"""The monitor's loop between RUNNING and the death of init.

One thread, one poll(2) over: the signal descriptor, init's pidfd, the command socket and its connections, the console.
A failure of any one source is logged and never ends the loop: only the end of init does.
"""

from __future__ import annotations

import _signal
import os
import select
import time

from .. import log
from ..errors import describe
from ..linux import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .instance import Instance

# Read by the loop from the signal descriptor; these four are left alone as LXC leaves them.
NOT_BLOCKED = frozenset((_signal.SIGBUS, _signal.SIGILL, _signal.SIGSEGV, _signal.SIGWINCH))


def watch(run: Instance) -> int:
    """Serve until init has ended; returns its wait status."""
    server = run.server
    assert server is not None
    while True:
        poller = select.poll()
        poller.register(run.signal_fd, select.POLLIN)
        poller.register(run.init_pidfd, select.POLLIN)
        for fd, mask in server.poll_list():
            poller.register(fd, mask)
        console_fds = set()
        if run.console is not None:
            for fd, mask in run.console.poll_list():
                poller.register(fd, mask)
                console_fds.add(fd)
        deadline = server.next_deadline()
        wait = None if deadline is None else max(0, int((deadline - time.monotonic()) * 1000) + 1)
        ended = False
        for fd, events in poller.poll(wait):
            if fd == run.init_pidfd:
                ended = True
            elif fd == run.signal_fd:
                _signals(run)
            else:
                _serve(run, fd, events, fd in console_fds)
        server.expire(time.monotonic())
        if ended:
            if run.console is not None:
                run.console.drain()
            return os.waitpid(run.init_pid, 0)[1]


def _serve(run: Instance, fd: int, events: int, is_console: bool) -> None:
    try:
        if is_console:
            assert run.console is not None
            run.console.handle(fd, events)
        else:
            assert run.server is not None
            run.server.handle(fd, events)
    except Exception as error:
        log.error(f"serving descriptor {fd} failed: {describe(error)}")


def _signals(run: Instance) -> None:
    """SIGHUP becomes SIGTERM for init, SIGCHLD and SIGWINCH are ours, everything else is passed on as it is."""
    for number, sender in signals.read(run.signal_fd):
        if number == _signal.SIGCHLD:
            _reap_others(run)
        elif number == _signal.SIGWINCH:
            if run.console is not None:
                run.console.window_changed()
        elif number == _signal.SIGTERM and sender == run.report.command:
            log.info("the start was cancelled after the container was running: not passed on to init")
        else:
            forward = _signal.SIGTERM if number == _signal.SIGHUP else number
            log.notice(f"passing signal {forward} on to init")
            try:
                _signal.pidfd_send_signal(run.init_pidfd, forward)
            except ProcessLookupError:
                pass  # init has just ended; its pidfd says so next


def _reap_others(run: Instance) -> None:
    """Collect children other than init (a helper that outlived its call); init is left for waitpid by pid."""
    while True:
        try:
            info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if info is None or info.si_pid == run.init_pid:
            return
        os.waitpid(info.si_pid, 0)
