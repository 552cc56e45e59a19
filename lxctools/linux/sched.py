# SPDX-License-Identifier: LGPL-2.1-or-later
"""<sched.h>, clone3(2), unshare(2), setns(2), personality(2), core scheduling of prctl(2)."""

from __future__ import annotations

import os

from . import _nr
from ._cdata import addressof, byref, c_uint64, python_function
from ._libc import bind, c_int, c_long, c_ulong, error, libc

CLONE_PARENT = 0x00008000
CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_PIDFD = 0x00001000
CLONE_INTO_CGROUP = 0x200000000

PER_LINUX = 0x0000
PER_LINUX32 = 0x0008

PR_SCHED_CORE = 62
PR_SCHED_CORE_CREATE = 1
PR_SCHED_CORE_SHARE_TO = 2
PR_SCHED_CORE_SHARE_FROM = 3
PIDTYPE_PID, PIDTYPE_TGID, PIDTYPE_PGID = range(3)

_unshare = bind("unshare", c_int)
_setns = bind("setns", c_int, c_int)
_personality = bind("personality", c_ulong)
_prctl = bind("prctl", c_int, c_ulong, c_ulong, c_ulong, c_ulong)

# The interpreter lock stays held, and the child must be the only thread that runs Python code after it.
_before_fork = python_function(libc, "PyOS_BeforeFork", (), None)
_after_child = python_function(libc, "PyOS_AfterFork_Child", (), None)
_after_parent = python_function(libc, "PyOS_AfterFork_Parent", (), None)
_raw_syscall = python_function(libc, "syscall", None, c_long)


def unshare(flags: int) -> None:
    """unshare(2): leave the namespaces in flags for new ones. Raises OSError."""
    if _unshare(flags) < 0:
        raise error("unshare(2)")


def setns(fd: int, nstype: int) -> None:
    """setns(2): join the namespace behind fd, or with a pidfd those of its process in nstype. Raises OSError."""
    if _setns(fd, nstype) < 0:
        raise error("setns(2)")


def clone3(flags: int, *, exit_signal: int = 17, cgroup_fd: int = -1) -> tuple[int, int]:
    """clone3(2) with the semantics of fork(2): returns (pid, pidfd) in the parent and (0, -1) in the child.

    cgroup_fd: a directory of the unified hierarchy in which the child starts (CLONE_INTO_CGROUP), or -1.
    With CLONE_PARENT exit_signal must be 0. The caller must have one thread only. Raises OSError.
    """
    pidfd = c_int(-1)
    if cgroup_fd >= 0:
        flags |= CLONE_INTO_CGROUP
    flags |= CLONE_PIDFD
    # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size,
    # cgroup: eleven 64-bit words.
    arguments = (c_uint64 * 11)(
        flags, addressof(pidfd), 0, 0, exit_signal, 0, 0, 0, 0, 0, max(0, cgroup_fd)
    )
    size = 88 if cgroup_fd >= 0 else 64
    number = c_long(_nr.CLONE3)
    pointer = byref(arguments)
    length = c_long(size)
    _before_fork()
    pid = _raw_syscall(number, pointer, length)
    if pid == 0:
        _after_child()
        return 0, -1
    _after_parent()
    if pid < 0:
        raise error("clone3(2)")
    os.set_inheritable(pidfd.value, False)
    return pid, pidfd.value


def personality(persona: int) -> None:
    """personality(2). Raises OSError."""
    if _personality(persona) < 0:
        raise error("personality(2)")


def core_sched_create(pid: int, scope: int) -> None:
    """prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE): a new core scheduling cookie for pid. Raises OSError."""
    if _prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, pid, scope, 0) < 0:
        raise error("prctl(PR_SCHED_CORE)")


def core_sched_join(pid: int) -> None:
    """Take over the core scheduling cookie of pid, which its children inherit. Raises OSError."""
    if _prctl(PR_SCHED_CORE, PR_SCHED_CORE_SHARE_FROM, pid, PIDTYPE_PID, 0) < 0:
        raise error("prctl(PR_SCHED_CORE)")

