# SPDX-License-Identifier: LGPL-2.1-or-later
"""The clone hooks and the host name of a copy, in a child with a mount namespace of its own.

A root file system that is a folder is used where it is; another one is mounted on lxc.rootfs.mount. While a container is
being replaced the new one's folder lies beside its place: the child sees it at its place.
"""

from __future__ import annotations

import os
import stat

from .. import process
from ..errors import LxcError, describe
from ..hooks.run import run_line
from ..idmap.userns import run_in_userns
from ..linux import mount as kernel
from ..linux import open as linux_open
from ..linux import propagation, sched
from ..storage import backend as storage
from ..storage import place
from . import child
from .steps import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config.conf import Config

_HOSTNAME = "etc/hostname"
_CONFINED = linux_open.RESOLVE_IN_ROOT | linux_open.RESOLVE_NO_MAGICLINKS


class Copy:
    """Whom the hooks are told of. folder: where the copy belongs; work: where it lies now, with the root file system `made`."""

    __slots__ = ("folder", "hooks", "hostname", "made", "name", "source_name", "value", "words", "work")

    def __init__(self, name: str, source_name: str, folder: str, work: str, value: str) -> None:
        self.name = name
        self.source_name = source_name
        self.folder = folder
        self.work = work
        self.value = self.made = value  # lxc.rootfs.path with its type
        self.words: Sequence[str] = ()
        self.hooks = True  # run them
        self.hostname = ""  # written to /etc/hostname; "" leaves it


def finish(conf: Config, copy: Copy) -> None:
    """Run the clone hooks and write the host name. Raises LxcError with the reason."""
    if not copy.value or not ((conf["lxc.hook.clone"] and copy.hooks) or copy.hostname):
        return
    step("clone hooks")
    maps = conf["lxc.idmap"]
    if os.geteuid() != 0 and maps:
        run_in_userns(maps, _inside, conf, copy)
    else:
        child.run(lambda: _inside(conf, copy), "ran the clone hooks")


def _inside(conf: Config, copy: Copy) -> None:
    sched.unshare(sched.CLONE_NEWNS)
    propagation.slave_all()
    if os.geteuid() == 0:
        try:
            os.setgroups([])
        except PermissionError:
            pass  # a user namespace without newgidmap(1)
        os.setresgid(0, 0, 0)
    kind, _, path = copy.made.partition(":")
    module = storage.load(kind)
    # Before the folder is covered: the lower folders of an overlay are in the old one.
    tree = -1 if module.INFO.is_folder else module.open_mount(path, conf["lxc.rootfs.options"])
    if copy.work != copy.folder:
        kernel.mount(copy.work, copy.folder, None, kernel.MS_BIND | kernel.MS_REC)
    root = copy.value.partition(":")[2]
    if tree >= 0:
        root = conf["lxc.rootfs.mount"]
        place.attach(tree, root, copy.value)
    _run_hooks(conf, copy, root)
    if copy.hostname:
        write_hostname(root, copy.hostname.encode("utf-8", "surrogateescape"))


def _run_hooks(conf: Config, copy: Copy, root: str) -> None:
    lines = conf["lxc.hook.clone"]
    if not lines or not copy.hooks:
        return
    environment = process.callers_environment() | {
        "LXC_SRC_NAME": copy.source_name,
        "LXC_NAME": copy.name,
        "LXC_CONFIG_FILE": f"{copy.folder}/config",
        "LXC_ROOTFS_MOUNT": root,
        "LXC_ROOTFS_PATH": copy.value,
    }
    for line in lines:
        try:
            run_line(line, copy.name, conf["lxc.hook.version"], "lxc", "clone", copy.words, environment, "lxc.hook.clone")
        except LxcError as error:
            raise LxcError(f"Error executing clone hook for {copy.name}: {error.message}", remedy=error.remedy) from error


def write_hostname(root: str, text: bytes) -> None:
    """Overwrite etc/hostname in a root file system, if it is there. Links lead to places in it. Raises LxcError."""
    fd = _open_hostname(root, os.O_RDWR)
    if fd < 0:
        return  # LXC behaviour: what cannot be opened is left alone
    with open(fd, "r+b", buffering=0) as file:
        try:
            file.write(text)
            file.truncate()
        except OSError as error:
            raise LxcError(f"cannot write {root}/{_HOSTNAME}: {describe(error)}") from error


def _open_hostname(root: str, flags: int) -> int:
    try:
        top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise LxcError(f"cannot look into the root file system {root}: {describe(error)}") from error
    try:
        fd = linux_open.openat2(top, _HOSTNAME, flags | os.O_NONBLOCK | os.O_NOCTTY, resolve=_CONFINED)
    except OSError:
        return -1
    finally:
        os.close(top)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return -1
