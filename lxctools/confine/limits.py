# SPDX-License-Identifier: LGPL-2.1-or-later
"""Values that are written once: lxc.prlimit.* (prlimit(2)), lxc.proc.* (proc(5)) and lxc.sysctl.* (/proc/sys)."""

from __future__ import annotations

import errno
import os
import resource

from .. import log
from ..errors import LxcError, describe
from ..linux import mount, statfs
from ..linux import open as linux_open

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.conf import Config

_NAMES = "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split()
# The numbers differ between architectures, so they are the resource module's where it has the name.
_NUMBERS = {name: getattr(resource, f"RLIMIT_{name.upper()}", None) for name in _NAMES} | {"locks": 10}
KNOWN = f"one of {' '.join(_NAMES)}, or a number"
_INSIDE = linux_open.RESOLVE_BENEATH | linux_open.RESOLVE_NO_SYMLINKS


def apply_to(pid: int, conf: Config) -> None:
    """Set the resource limits and /proc values of a process of this host. Raises LxcError naming key and value."""
    for name, soft, hard in conf["lxc.prlimit"]:
        _limit(pid, name, soft, hard)
    for name, value in conf["lxc.proc"]:
        key = f"lxc.proc.{name}"
        path = f"/proc/{pid}/{_path(name, key)}"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise LxcError(f"{key} = {value}: {describe(error)}") from error
        _write(fd, value, key)


def number_of(name: str) -> int | None:
    """The number of RLIMIT_NAME, in lower case or as a number; None for an unknown name."""
    return int(name) if name.isdecimal() and name.isascii() else _NUMBERS.get(name)


def _limit(pid: int, name: str, soft: int, hard: int) -> None:
    key = f"lxc.prlimit.{name}"
    shown = f"{key} = {_shown(soft)}" + ("" if soft == hard else f":{_shown(hard)}")
    number = number_of(name)
    if number is None:
        raise LxcError(f"{shown}: Unknown resource {name}", remedy=KNOWN)
    wanted = (resource.RLIM_INFINITY if soft < 0 else soft, resource.RLIM_INFINITY if hard < 0 else hard)
    try:
        resource.prlimit(pid, number, wanted)
    except PermissionError as error:
        now = _shown(resource.prlimit(pid, number)[1])
        raise LxcError(
            f"{shown}: the hard limit is {now} and cannot be raised: {describe(error)}",
            remedy="raising a hard limit needs CAP_SYS_RESOURCE on the host",
        ) from error
    except OverflowError:
        raise LxcError(f"{shown}: the number is too large", remedy="write unlimited") from None
    except (OSError, ValueError) as error:
        raise LxcError(f"{shown}: {describe(error)}") from error


def _shown(limit: int) -> str:
    return "unlimited" if limit in (-1, resource.RLIM_INFINITY) else str(limit)


def apply_sysctls(conf: Config) -> None:
    """Write lxc.sysctl.* for the namespaces of this process. Raises LxcError naming key and value.

    Written through a proc file system that is attached nowhere: so it is the kernel's even when the container's /proc is
    something else, and /proc/sys can be read-only inside (lxc.mount.auto = proc:mixed).
    """
    lines = conf["lxc.sysctl"]
    if not lines:
        return
    proc, own = _proc()
    try:
        for name, value in lines:
            key = f"lxc.sysctl.{name}"
            try:
                fd = linux_open.openat2(proc, f"sys/{_path(name, key)}", os.O_WRONLY, 0, _INSIDE)
            except OSError as error:
                remedy = ""
                if error.errno == errno.EROFS:
                    remedy = "the container's /proc/sys is read-only: use lxc.mount.auto = proc:rw"
                elif error.errno == errno.ENOENT:
                    remedy = "this kernel has no such value"
                raise LxcError(f"{key} = {value}: {describe(error)}", remedy=remedy) from error
            if not own and statfs.fs_type(fd) != statfs.PROC_SUPER_MAGIC:
                os.close(fd)
                raise LxcError(f"{key} = {value}: the container's /proc is not the kernel's", remedy="lxc.mount.auto = proc:rw")
            _write(fd, value, key)
    finally:
        os.close(proc)


def _proc() -> tuple[int, bool]:
    """A descriptor of a proc file system, and whether it is ours alone; else the container's /proc."""
    try:
        context = mount.fsopen("proc")
        try:
            mount.fsconfig(context, mount.FSCONFIG_CMD_CREATE)
            return mount.fsmount(context), True
        finally:
            os.close(context)
    except PermissionError as error:
        # In a user namespace the kernel allows one only where a whole /proc is visible already.
        log.debug(f"lxc.sysctl: no proc file system of our own: {describe(error)}")
    try:
        return os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC), False
    except OSError as error:
        raise LxcError(f"lxc.sysctl: {describe(error)}", remedy="lxc.mount.auto = proc:rw") from error


def _path(name: str, key: str) -> str:
    """The dots of a key as slashes; a name of an interface with dots in it is written with slashes."""
    path = name if "/" in name else name.replace(".", "/")
    if path.startswith("/") or ".." in path.split("/"):
        raise LxcError(f'{key}: the name may neither begin with "/" nor hold ".."')
    return path


def _write(fd: int, value: str, key: str) -> None:
    """Write and close."""
    try:
        os.write(fd, os.fsencode(value))
    except OSError as error:
        raise LxcError(f"{key} = {value}: {describe(error)}") from error
    finally:
        os.close(fd)
