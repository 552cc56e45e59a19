# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc.prlimit.*, lxc.proc.*, lxc.sysctl.*: values that are written once."""

from __future__ import annotations

import os
import resource

from ..errors import LxcError, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.conf import Config

_NAMES = "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split()
# Numbers of <sys/resource.h>; the resource module does not name them all on every system.
_NUMBERS = {
    "cpu": 0,
    "fsize": 1,
    "data": 2,
    "stack": 3,
    "core": 4,
    "rss": 5,
    "nproc": 6,
    "nofile": 7,
    "memlock": 8,
    "as": 9,
    "locks": 10,
    "sigpending": 11,
    "msgqueue": 12,
    "nice": 13,
    "rtprio": 14,
    "rttime": 15,
}


def apply_to(pid: int, conf: Config) -> None:
    """Set the resource limits and /proc values of a process. Raises LxcError naming key and value."""
    for name, soft, hard in conf["lxc.prlimit"]:
        key = f"lxc.prlimit.{name}"
        number = int(name) if name.isdecimal() else _NUMBERS.get(name)
        if number is None:
            raise LxcError(f"{key}: Unknown resource {name}", remedy=f"one of {' '.join(_NAMES)}")
        wanted = tuple(resource.RLIM_INFINITY if value < 0 else value for value in (soft, hard))
        try:
            resource.prlimit(pid, number, wanted)
        except PermissionError as error:
            now = resource.prlimit(pid, number)
            raise LxcError(
                f"{key} = {conf.text(key)}: {describe(error)} (the hard limit is {now[1]})",
                remedy="raising a hard limit needs CAP_SYS_RESOURCE",
            ) from error
        except (OSError, ValueError) as error:
            raise LxcError(f"{key} = {conf.text(key)}: {describe(error)}") from error
    for name, value in conf["lxc.proc"]:
        _write(f"/proc/{pid}/{name.replace('.', '/')}", value, f"lxc.proc.{name}")


def apply_sysctls(conf: Config) -> None:
    """Write lxc.sysctl.* below the container's /proc/sys. Raises LxcError."""
    for name, value in conf["lxc.sysctl"]:
        try:
            _write(f"/proc/sys/{name.replace('.', '/')}", value, f"lxc.sysctl.{name}")
        except LxcError as error:
            error.remedy = "below lxc.mount.auto = proc:mixed only net.* can be written: use proc:rw"
            raise


def _write(path: str, value: str, key: str) -> None:
    if ".." in path.split("/"):
        raise LxcError(f"{key}: a name cannot hold ..")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.write(fd, os.fsencode(value))
        finally:
            os.close(fd)
    except OSError as error:
        raise LxcError(f"{key} = {value}: {describe(error)}") from error
