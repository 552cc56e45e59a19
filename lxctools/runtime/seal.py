# SPDX-License-Identifier: LGPL-2.1-or-later
"""An interpreter that a container cannot write to through /proc/PID/exe (CVE-2019-5736).

A process of ours inside a container's pid namespace can be looked at by that container's root: /proc/PID/exe and
/proc/PID/map_files lead to the host's interpreter and libraries, and can be opened again for writing once our process
has ended. So whoever enters runs from a *read-only view*: a private mount namespace in which every mount is read-only,
made just before the interpreter is executed. The files stay the host's (nothing is copied), but every path that leads to
them through our process crosses a read-only mount that belongs to a mount namespace which no container process is in:
opening for writing gives EROFS, and remounting is refused by the kernel (mount(2): EINVAL for a mount of another namespace).
"""

from __future__ import annotations

import os
import sys

from ..linux import mount, sched
from ..process import ALL_SIGNALS, callers_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_MARK = "--lxctools-sealed="


def _enter_read_only_view() -> None:
    """Make this process's mount namespace a private copy in which everything is read-only. Raises OSError."""
    sched.unshare(sched.CLONE_NEWNS)
    mount.mount_setattr(
        -1,
        "/",
        mount.AT_RECURSIVE,
        attr_set=mount.MOUNT_ATTR_RDONLY,
        propagation=mount.MS_PRIVATE,
    )


def spawn_sealed(argv: Sequence[str], fds: Sequence[int]) -> int:
    """Start an interpreter with these arguments (after the interpreter's own) from a read-only view; return its pid.

    fds: descriptors that the new process inherits under the same numbers. Raises OSError.
    Our own mount namespace is left for the moment of the spawn only.
    """
    outside = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    here = os.open(".", os.O_PATH | os.O_CLOEXEC)
    for fd in fds:
        os.set_inheritable(fd, True)
    try:
        _enter_read_only_view()
        return os.posix_spawn(
            interpreter(),
            [interpreter(), *argv],
            callers_environment(),
            setsigdef=ALL_SIGNALS,
        )
    finally:
        sched.setns(outside, sched.CLONE_NEWNS)
        os.fchdir(here)
        os.close(here)
        os.close(outside)
        for fd in fds:
            os.set_inheritable(fd, False)


def reexecute(arguments: Sequence[str]) -> None:
    """Run this very command again from a read-only view, then come back to the host's mount namespace.

    For commands that become a container's init themselves (lxc-execute) or run code of the container's before init is
    executed. Returns in the second run only, with sys.argv as it was. Raises OSError.
    """
    for index, word in enumerate(sys.argv):
        if word.startswith(_MARK):
            del sys.argv[index]
            number, _, folder = word[len(_MARK) :].partition(",")
            sched.setns(int(number), sched.CLONE_NEWNS)
            os.close(int(number))
            os.fchdir(int(folder))
            os.close(int(folder))
            return
    outside = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    here = os.open(".", os.O_PATH | os.O_CLOEXEC)
    os.set_inheritable(outside, True)
    os.set_inheritable(here, True)
    _enter_read_only_view()
    script = os.path.abspath(arguments[0])
    os.execve(
        interpreter(),
        [interpreter(), "-I", script, f"{_MARK}{outside},{here}", *arguments[1:]],
        callers_environment(),
    )


def interpreter() -> str:
    """The interpreter that runs us."""
    return sys.executable or "/usr/bin/python3"
