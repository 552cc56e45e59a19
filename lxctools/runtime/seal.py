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

import errno
import os
import sys

from ..linux import mount, sched
from ..process import ALL_SIGNALS, callers_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_MARK = "--lxctools-sealed="


class _Place:
    """Where this process was: mount namespace, root and working folder; leaving a mount namespace forgets the last two."""

    __slots__ = ("fds",)

    def __init__(self, fds: list[int] | None = None) -> None:
        self.fds = fds or [
            os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC),
            os.open("/", os.O_PATH | os.O_CLOEXEC),
            os.open(".", os.O_PATH | os.O_CLOEXEC),
        ]

    def come_back(self) -> None:
        """Return there, and close what remembered it. Raises OSError."""
        namespace, root, folder = self.fds
        sched.setns(namespace, sched.CLONE_NEWNS)
        os.fchdir(root)
        os.chroot(".")
        os.fchdir(folder)
        for fd in self.fds:
            os.close(fd)


def _enter_read_only_view() -> int:
    """Make this process's mount namespace a private copy in which everything is read-only. Raises OSError.

    Returns a descriptor that must stay open until the new interpreter has loaded its modules, or -1.
    """
    sched.unshare(sched.CLONE_NEWNS)
    try:
        mount.mount_setattr(
            -1, "/", mount.AT_RECURSIVE, attr_set=mount.MOUNT_ATTR_RDONLY, propagation=mount.MS_PRIVATE
        )
        return -1
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    # Our root is no mount point (a chroot): a read-only copy of the tree, attached nowhere, becomes the root.
    tree = mount.open_tree(mount.AT_FDCWD, "/", mount.OPEN_TREE_CLONE | mount.AT_RECURSIVE)
    mount.mount_setattr(
        tree,
        "",
        mount.AT_EMPTY_PATH | mount.AT_RECURSIVE,
        attr_set=mount.MOUNT_ATTR_RDONLY,
        propagation=mount.MS_PRIVATE,
    )
    os.fchdir(tree)
    os.chroot(".")
    return tree


def spawn_sealed(argv: Sequence[str], fds: Sequence[int]) -> int:
    """Start an interpreter with these arguments (after the interpreter's own) from a read-only view; return its pid.

    fds: descriptors that the new process inherits under the same numbers. Raises OSError.
    Our own mount namespace is left for the moment of the spawn only.
    """
    place = _Place()
    tree = -1
    try:
        tree = _enter_read_only_view()
        given = [fd for fd in (*fds, tree) if fd >= 0]
        for fd in given:
            os.set_inheritable(fd, True)
        return os.posix_spawn(
            interpreter(),
            [interpreter(), *argv],
            callers_environment(),
            setsigdef=ALL_SIGNALS,
            setsigmask=(),
        )
    finally:
        place.come_back()
        for fd in fds:
            os.set_inheritable(fd, False)
        if tree >= 0:
            os.close(tree)


def arrive() -> None:
    """In the second run of reexecute(): come back to the host's mount namespace, with sys.argv as it was. Raises OSError."""
    for index, word in enumerate(sys.argv):
        if word.startswith(_MARK):
            del sys.argv[index]
            numbers = [int(number) for number in word[len(_MARK) :].split(",")]
            _Place(numbers[:3]).come_back()
            if numbers[3] >= 0:
                os.close(numbers[3])
            _state.sealed = True
            return


def reexecute() -> None:
    """Run this very command again from a read-only view; nothing when that was done, or when this is no lxc-* command.

    For commands that become a container's init themselves (lxc-execute), or run code of the container's while the process
    that becomes its init is still ours (start hooks). The launcher calls arrive() first. Raises OSError.
    """
    script = os.path.abspath(sys.argv[0])
    if _state.sealed or not os.path.basename(script).startswith("lxc-"):
        return
    place = _Place()
    tree = _enter_read_only_view()
    for fd in (*place.fds, tree):
        if fd >= 0:
            os.set_inheritable(fd, True)
    mark = _MARK + ",".join(str(fd) for fd in (*place.fds, tree))
    os.execve(interpreter(), [interpreter(), "-IS", script, mark, *sys.argv[1:]], callers_environment())


class _State:
    sealed = False


_state = _State()


def interpreter() -> str:
    """The interpreter that runs us."""
    return sys.executable or "/usr/bin/python3"
