# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stop hook: unmounts all that the container had mounted, so that network and loop file systems are written out and let go
before LXC goes on. The container's mount namespace has no process left then; LXC holds it open.

Exit status as scripts know it: 0 also for another type of hook, 2 usage, 3 no mount namespace given, 4 the mounts cannot be
read, 5 the namespace cannot be opened, 6 it cannot be entered. An umount that fails is told, except below /dev.
"""

from __future__ import annotations

import os

from ..errors import LxcError, describe
from ..linux import mount, proc, rename, sched
from . import invocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "unmount-namespace"
_UMOUNT_NOFOLLOW = 8  # umount2(2)
_USAGE, _NO_NAMESPACE, _NO_MOUNTS, _NOT_OPENED, _NOT_ENTERED = 2, 3, 4, 5, 6


def run(words: list[str], environment: Mapping[str, str]) -> int:
    """Unmount everything there. Raises LxcError with the exit status."""
    try:
        call = invocation.Invocation(words, environment)
    except LxcError as error:
        raise LxcError(error.message, remedy=error.remedy, exit_code=_USAGE) from error
    if (call.section, call.type) != ("lxc", "stop"):
        return 0
    given = call.namespaces()
    if "mnt" not in given:
        raise LxcError(f"LXC named no mount namespace of {call.name}", exit_code=_NO_NAMESPACE)
    process = os.open("/proc/self", os.O_PATH | os.O_CLOEXEC)  # the container's /proc does not know this process
    _enter(given)
    try:
        text = proc.read("mountinfo", process)
        points = [proc.Mount(line).point for line in text.split(b"\n") if line]
    except (OSError, ValueError) as error:
        raise LxcError(f"cannot read the mounts of {call.name}: {describe(error)}", exit_code=_NO_MOUNTS) from error
    for point in sorted(points, reverse=True):
        try:
            if point == "/":
                rename.syncfs(point)  # the root of a namespace cannot be unmounted from inside
            else:
                mount.umount2(point, _UMOUNT_NOFOLLOW)
        except OSError as error:
            if not point.startswith("/dev"):
                invocation.say(NAME, f"cannot unmount {point} of {call.name}: {describe(error)}")
    return 0


def _enter(given: Mapping[str, str]) -> None:
    try:
        fd = os.open(given["mnt"], os.O_RDONLY | os.O_CLOEXEC)
        owner = os.open(given["user"], os.O_RDONLY | os.O_CLOEXEC) if "user" in given else -1
    except OSError as error:
        raise LxcError(f"cannot open the container's namespaces: {describe(error)}", exit_code=_NOT_OPENED) from error
    try:
        try:
            sched.setns(fd, sched.CLONE_NEWNS)
        except PermissionError:
            if owner < 0:
                raise
            sched.setns(owner, sched.CLONE_NEWUSER)  # a user's container: its mounts belong to its own root
            sched.setns(fd, sched.CLONE_NEWNS)
    except OSError as error:
        raise LxcError(f"cannot enter the mount namespace {given['mnt']}: {describe(error)}", exit_code=_NOT_ENTERED) from error


def main() -> None:
    """The hook's program."""
    invocation.main(run, NAME)
