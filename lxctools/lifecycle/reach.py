# SPDX-License-Identifier: LGPL-2.1-or-later
"""Work in a container's root file system as its own root would, from outside: running or stopped.

The work is done by a child of ours that stays in the host's mount and pid namespaces, so nothing in the container can see
or trace it, and that is the container's root where the container has a user namespace: it may do there what that root
may do, and no more, and the owners of what it makes are the container's. It is given the root as a descriptor; every
path goes through openat2(2) from there and cannot lead out, whatever links the container has laid.
"""

from __future__ import annotations

import _signal
import os

from ..errors import LxcError, NotRunning
from ..idmap.userns import run_in_userns
from ..linux import sched
from ..protocol import client
from ..storage import backend as storage
from ..storage import place
from . import child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..config.conf import Config

    Work = Callable[[int], None]

_WHAT = "looks into the container"
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def start(name: str, lxcpath: str, conf: Config, work: Work, keep: set[int]) -> child.Child:
    """Begin work(root) in a child; root is a descriptor of the container's root directory.

    keep: the descriptors of the child; what is open besides stays with us, so that ends of pipes are noticed. Raises LxcError.
    """
    pidfd = client.init_pidfd(name, lxcpath)
    if pidfd is None:
        if not conf["lxc.rootfs.path"]:
            raise LxcError(f"{name} has no root file system of its own (lxc.rootfs.path)", remedy="its files are the host's")
        return child.start(lambda: _stopped(conf, work), _WHAT, keep)
    try:
        pid = client.init_pid(name, lxcpath)
        if pid is None:
            raise NotRunning(f"{name} has just ended")
        return child.start(lambda: _running(pid, pidfd, work), _WHAT, keep | {pidfd})
    finally:
        os.close(pidfd)


def _running(pid: int, pidfd: int, work: Work) -> None:
    own = not _same_user_namespace(pid)
    root = -1 if own and os.geteuid() != 0 else os.open(f"/proc/{pid}/root", _FOLDER)
    if own:
        sched.setns(pidfd, sched.CLONE_NEWUSER)
        _be_root()
    if root < 0:
        root = os.open(f"/proc/{pid}/root", _FOLDER)
    _signal.pidfd_send_signal(pidfd, 0)  # the number was still that of init when the root was opened
    work(root)


def _same_user_namespace(pid: int) -> bool:
    return os.path.samestat(os.stat(f"/proc/{pid}/ns/user"), os.stat("/proc/self/ns/user"))


def _be_root() -> None:
    try:
        os.setgroups([])
    except PermissionError:
        pass  # mapped without newgidmap(1)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _stopped(conf: Config, work: Work) -> None:
    path, options = str(conf["lxc.rootfs.path"]), conf["lxc.rootfs.options"]
    maps = conf["lxc.idmap"]
    if "idmap=" in options:
        maps = []  # on disk the owners are the container's own numbers
        if os.geteuid() != 0:
            raise LxcError("only root can write to a root file system with lxc.rootfs.options = idmap=")
    module = storage.for_config(conf)
    if maps and os.geteuid() != 0:
        run_in_userns(maps, _in_place, module.INFO.name, path, options, work)
        return
    with place.opened(module, path, options) as there:
        root = os.open(there.path, _FOLDER)
        if os.path.samestat(os.fstat(root), os.stat("/")):
            raise LxcError("lxc.rootfs.path is the host's own root", remedy="its files are the host's")
        if maps:
            run_in_userns(maps, work, root)
        else:
            work(root)


def _in_place(kind: str, path: str, options: str, work: Work) -> None:
    with place.opened(storage.load(kind), path, options) as there:
        work(os.open(there.path, _FOLDER))
