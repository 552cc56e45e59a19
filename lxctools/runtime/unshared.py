# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program in new namespaces, without a container: lxc-unshare and lxc-usernsexec.

    parent ── clone3 ─> child     waits for the word
       id maps, interfaces        then: ids, mounts, host name, exec
"""

from __future__ import annotations

import _signal
import errno
import os

from .. import log, process
from ..errors import LxcError, describe
from ..idmap import apply
from ..linux import mount, propagation, rtnetlink, sched, signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..idmap.ranges import IdMap

_READY = b"+"
_PASSED_ON = (_signal.SIGTERM, _signal.SIGHUP)
_TYPED = (_signal.SIGINT, _signal.SIGQUIT)
# What lxc-unshare -M mounts anew: where, type, mode of a folder to make.
_REMOUNTED = (("/proc", "proc", 0o555), ("/dev/shm", "tmpfs", 0o1777), ("/dev/mqueue", "mqueue", 0o1777))


def run(
    flags: int,
    argv: Sequence[str],
    inside: Callable[[], None],
    *,
    maps: Sequence[IdMap] = (),
    interfaces: Sequence[str] = (),
    wait: bool = True,
) -> int:
    """Run a program in the new namespaces of flags (CLONE_NEW*), after inside() has been called there.

    maps: for CLONE_NEWUSER; none leaves it without ids. interfaces: moved into its network namespace.
    Returns its exit status, 128 + n for signal n, or 0 without wait. Raises LxcError.
    """
    if not argv[0]:
        raise LxcError("the name of the program to run is empty", remedy="name a program after --")
    environment = process.callers_environment()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        pid, pidfd = sched.clone3(flags)
    except OSError as error:
        os.close(reader)
        os.close(writer)
        remedy = "only root may make namespaces without a user namespace" if error.errno == errno.EPERM else ""
        raise LxcError(f"Failed to clone: {describe(error)}", remedy=remedy) from error
    if pid == 0:
        os.close(writer)
        _child(reader, argv, environment, inside)
    os.close(pidfd)
    os.close(reader)
    told = False
    try:
        if maps:
            apply.write_maps(pid, maps)
        if interfaces:
            _move(interfaces, pid)
        os.write(writer, _READY)
        told = True
    finally:
        os.close(writer)  # without the word the child ends
        if not told:
            os.waitpid(pid, 0)
    return _wait(pid) if wait else 0


def _child(reader: int, argv: Sequence[str], environment: dict[str, str], inside: Callable[[], None]) -> None:
    """Never returns."""
    try:
        if os.read(reader, 1) == _READY:
            inside()
            signals.default_dispositions()
            _execute(argv, environment)
    except BaseException as error:
        log.error(str(error) if isinstance(error, LxcError) else describe(error))
    finally:
        os._exit(1)


def _execute(argv: Sequence[str], environment: dict[str, str]) -> None:
    try:
        os.execvpe(argv[0], list(argv), environment)
    except OSError as error:
        raise LxcError(f"Failed to exec: '{argv[0]}': {os.strerror(error.errno or 0)}") from error


def _move(interfaces: Sequence[str], pid: int) -> None:
    """LXC behaviour: an interface that cannot be moved is told, and the program runs all the same."""
    with rtnetlink.Rtnl() as rtnl:
        for name in interfaces:
            link = rtnl.link(name)
            try:
                if link is None:
                    raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
                rtnl.set_link(link.index, netns_pid=pid)
            except OSError as error:
                log.error(f'Could not move interface "{name}" into container {pid}: {describe(error)}')


def _wait(pid: int) -> int:
    """What is typed at the terminal reaches the program without us; a request to end is passed on."""
    for number in _TYPED:
        _signal.signal(number, _signal.SIG_IGN)
    for number in _PASSED_ON:
        _signal.signal(number, lambda received, _frame: os.kill(pid, received))
    return process.exit_status(os.waitpid(pid, 0)[1])


def private_mounts() -> None:
    """What is mounted from now on stays here. Raises OSError."""
    try:
        mount.mount_setattr(mount.AT_FDCWD, "/", mount.AT_RECURSIVE, propagation=mount.MS_PRIVATE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        propagation.slave_all()  # in a chroot


def own_user_mounts() -> None:
    """A mount namespace of the program's own, into which the host's later mounts still come. Raises OSError."""
    sched.unshare(sched.CLONE_NEWNS)
    propagation.slave_all()


def remount() -> None:
    """New /proc, /dev/shm and /dev/mqueue in place of the host's. Raises LxcError."""
    for target, fstype, mode in _REMOUNTED:
        try:
            os.makedirs(target, mode, exist_ok=True)
            try:
                mount.umount2(target, mount.MNT_DETACH)
            except OSError as error:
                if error.errno != errno.EINVAL:  # nothing was mounted there
                    raise
            mount.mount(fstype, target, fstype)
        except OSError as error:
            raise LxcError(f"cannot mount {fstype} on {target}: {describe(error)}") from error
