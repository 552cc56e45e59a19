# SPDX-License-Identifier: LGPL-2.1-or-later
"""SELinux: the context of a container's init (lxc.selinux.context) and of its session keyring (selinux(8)).

The context is taken by the next execve(2): /proc/self/attr/exec, as setexeccon(3) writes it.
"""

from __future__ import annotations

import os

from ..errors import LxcError, describe
from ..linux import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.conf import Config

ATTRIBUTE = "exec"
_UNCONFINED = "unconfined_t"


def enabled(root: str = "") -> bool:
    """Whether the running kernel has a SELinux policy loaded: its file system is mounted and answers."""
    return os.path.exists(f"{root}/sys/fs/selinux/enforce")


def wanted(conf: Config) -> str | None:
    """The context of a container's init, or None for no change."""
    context: str = conf["lxc.selinux.context"]
    return None if context in ("", _UNCONFINED) else context


def read_label(process: int) -> str:
    """The context of a process, given a descriptor of its /proc/PID. Raises OSError."""
    return os.fsdecode(proc.read("attr/current", process).strip(b"\0\n"))


def label_keyring(conf: Config) -> None:
    """Give the session keyring made next its context: lxc.selinux.context.keyring, else lxc.selinux.context.

    To be called while /proc is still the host's. Raises LxcError.
    """
    context = conf["lxc.selinux.context.keyring"] or wanted(conf)
    if not context:
        return
    try:
        fd = os.open("/proc/self/attr/keycreate", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, os.fsencode(context))
        finally:
            os.close(fd)
    except OSError as error:
        raise LxcError(f"cannot label the session keyring {context} (SELinux): {describe(error)}") from error
