# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc.mount.auto: /proc, /sys and /sys/fs/cgroup, so that container root cannot change the host through them.

    proc:rw      proc                       nosuid,nodev,noexec
    proc:mixed   and /proc/sys, /proc/sysrq-trigger read-only; /proc/sys/net stays writable with CAP_NET_ADMIN
    sys:rw       sysfs                      no flags
    sys:ro       sysfs                      ro, the file system itself too
    sys:mixed    sysfs                      ro,nosuid,nodev,noexec; /sys/devices/virtual/net writable

Each mount has its flags before it is attached; a part of /proc or /sys is copied from what is attached already, as
open_tree(2) refuses to copy from a detached mount before Linux 6.15 (EINVAL). Nobody else is in this mount namespace yet.
A step whose folder does not exist (ENOENT) is left out, as LXC does; a /proc or /sys that is a symbolic link fails the start.
"""

from __future__ import annotations

import os

from .. import log
from ..errors import LxcError, describe
from ..linux import detached, mount
from ..linux.detached import USUAL
from .resolve import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config.conf import Config

    # (mount point on the host, controllers ("name=x" for a named one), version 1 or 2, the container's cgroup relative to
    # the mount point)
    Hierarchy = tuple[str, Sequence[str], int, str]

_CGROUP_ROOT = "sys/fs/cgroup"
_READ_ONLY = mount.MOUNT_ATTR_RDONLY


def mount_auto_proc_sys(root: Root, conf: Config, keep_net_admin: bool) -> None:
    """Mount /proc and /sys as lxc.mount.auto says. keep_net_admin: the container keeps CAP_NET_ADMIN.

    Raises LxcError naming the word of lxc.mount.auto.
    """
    auto = conf["lxc.mount.auto"]
    if auto.proc:
        try:
            _mount_proc(root, auto.proc == "mixed", keep_net_admin)
        except OSError as error:
            raise LxcError(f"cannot mount /proc (lxc.mount.auto = proc:{auto.proc}): {describe(error)}") from error
    if auto.sys:
        try:
            _mount_sys(root, auto.sys)
        except OSError as error:
            raise LxcError(f"cannot mount /sys (lxc.mount.auto = sys:{auto.sys}): {describe(error)}") from error


def _folder(root: Root, name: str) -> int:
    """The folder for a file system, made when missing; what the rootfs has mounted there goes."""
    target = root.mkdirs(name)
    if not root.confined:
        return target  # the host's own /proc is needed until the end; the new one covers it
    try:
        detached.detach_all(target)
    except OSError:
        os.close(target)
        raise
    os.close(target)
    return root.open(name, os.O_PATH | os.O_DIRECTORY)


def _mount_proc(root: Root, mixed: bool, keep_net_admin: bool) -> None:
    opened = [_folder(root, "proc")]
    try:
        tree = detached.filesystem("proc", [], USUAL, "proc")
        opened.append(tree)
        detached.attach(tree, opened[0])
        parts: list[tuple[int, str]] = []
        if mixed:
            # In the order of attaching: /proc/sys/net lies inside /proc/sys.
            wanted = [("sys", _READ_ONLY), ("sys/net", 0), ("sysrq-trigger", _READ_ONLY)]
            if not keep_net_admin:
                del wanted[1]
            for name, flags in wanted:
                part = _part(tree, name, flags)
                if part >= 0:
                    opened.append(part)
                    parts.append((part, name))
        for part, name in parts:
            _attach_below(tree, name, part)
    finally:
        for fd in opened:
            os.close(fd)


def _part(tree: int, name: str, flags: int, clear: int = 0) -> int:
    """A detached copy of a part of an attached mount, with its flags; -1 when the kernel has no such file."""
    try:
        part = detached.bind(tree, name, follow=False)
    except FileNotFoundError:
        return -1
    if flags or clear:
        try:
            detached.set_flags(part, flags, clear=clear)
        except OSError:
            os.close(part)
            raise
    return part


def _attach_below(tree: int, name: str, part: int) -> None:
    """Attach on a path below a mount of a file system of the kernel's own, which holds no hostile links."""
    target = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=tree)
    try:
        detached.attach(part, target)
    finally:
        os.close(target)


def _mount_sys(root: Root, mode: str) -> None:
    opened = [_folder(root, "sys")]
    try:
        options: list[tuple[str, str | None]] = [("ro", None)] if mode == "ro" else []
        flags = {"rw": 0, "ro": _READ_ONLY, "mixed": USUAL | _READ_ONLY}[mode]
        tree = detached.filesystem("sysfs", options, flags, "sysfs")
        opened.append(tree)
        detached.attach(tree, opened[0])
        if mode == "mixed":
            net = _part(tree, "devices/virtual/net", 0, _READ_ONLY)
            if net >= 0:
                opened.append(net)
                _attach_below(tree, "devices/virtual/net", net)
    finally:
        for fd in opened:
            os.close(fd)


def mount_auto_cgroup(root: Root, conf: Config, hierarchies: Sequence[Hierarchy], *, cgroup_ns: bool, keep_sys_admin: bool) -> None:
    """Mount the cgroup file systems as lxc.mount.auto says.

    hierarchies: what the host has. cgroup_ns: this process is in the container's own cgroup namespace.
    keep_sys_admin: the container keeps CAP_SYS_ADMIN: its init can mount them itself, so nothing is mounted unless forced.
    Raises LxcError.
    """
    auto = conf["lxc.mount.auto"]
    if not auto.cgroup:
        return
    mode = auto.cgroup
    if mode == "noSpec":
        mode = "rw" if keep_sys_admin else "mixed"
    words = f"lxc.mount.auto = {auto.cgroup_kind}" + ("" if auto.cgroup == "noSpec" else f":{auto.cgroup}")
    unified_only = bool(hierarchies) and all(version == 2 for _point, _names, version, _path in hierarchies)
    try:
        if unified_only or auto.cgroup_kind == "cgroup2":
            if not cgroup_ns:
                raise LxcError(
                    f"cannot mount the unified cgroup hierarchy ({words}): the container has no cgroup namespace of its own",
                    remedy="do not keep or share the cgroup namespace",
                )
            _mount_unified(root, mode)
        elif cgroup_ns and keep_sys_admin and not auto.force:
            log.info(f"{words}: the container's init mounts the cgroups itself")
        else:
            _mount_each(root, hierarchies, mode, full=auto.cgroup_kind == "cgroup-full", cgroup_ns=cgroup_ns)
    except OSError as error:
        remedy = "/sys must be mounted before: sys:mixed" if isinstance(error, FileNotFoundError) else ""
        raise LxcError(f"cannot mount the cgroups ({words}): {describe(error)}", remedy=remedy) from error


def _mount_unified(root: Root, mode: str) -> None:
    target = root.open(_CGROUP_ROOT, os.O_PATH | os.O_DIRECTORY)
    try:
        tree = detached.filesystem("cgroup2", [], USUAL | (_READ_ONLY if mode == "ro" else 0), "none")
        try:
            detached.attach(tree, target)
        finally:
            os.close(tree)
    finally:
        os.close(target)


def _mount_each(root: Root, hierarchies: Sequence[Hierarchy], mode: str, *, full: bool, cgroup_ns: bool) -> None:
    """A tmpfs with one folder a hierarchy, as systemd lays them out on the host."""
    target = root.open(_CGROUP_ROOT, os.O_PATH | os.O_DIRECTORY)
    try:
        tmpfs = detached.filesystem("tmpfs", [("size", "10240k"), ("mode", "755")], USUAL, "none")
        try:
            # The host's hierarchies are read before the tmpfs may cover them (without a root of its own).
            trees = [_host_tree(row, mode, full=full, cgroup_ns=cgroup_ns) for row in hierarchies]
            detached.attach(tmpfs, target)
            for row, (whole, own) in zip(hierarchies, trees, strict=True):
                _attach_hierarchy(tmpfs, row, whole, own, mode)
            for pair in trees:
                for fd in pair:
                    if fd >= 0:
                        os.close(fd)
        finally:
            os.close(tmpfs)
    finally:
        os.close(target)


def _host_tree(row: Hierarchy, mode: str, *, full: bool, cgroup_ns: bool) -> tuple[int, int]:
    """(mount for the hierarchy's folder or -1, mount of the container's own cgroup or -1)."""
    point, controllers, version, path = row
    read_only = _READ_ONLY if mode == "ro" else 0
    if cgroup_ns:
        if version == 2:
            return detached.filesystem("cgroup2", [], USUAL | read_only, "none"), -1
        options: list[tuple[str, str | None]] = []
        for name in controllers:
            key, equals, value = name.partition("=")
            options.append((key, value if equals else None))
        return detached.filesystem("cgroup", options, USUAL | read_only, "none"), -1
    own = detached.bind(mount.AT_FDCWD, f"{point}/{path.strip('/')}".rstrip("/"))
    detached.set_flags(own, USUAL | read_only)
    whole = -1
    if full:
        whole = detached.bind(mount.AT_FDCWD, point)
        # Only `rw` lets the container write to the host's own groups.
        detached.set_flags(whole, USUAL | (0 if mode == "rw" else _READ_ONLY))
    return whole, own


def _attach_hierarchy(tmpfs: int, row: Hierarchy, whole: int, own: int, mode: str) -> None:
    point, _controllers, _version, path = row
    name = point.rpartition("/")[2]
    os.mkdir(name, 0 if whole >= 0 else 0o755, dir_fd=tmpfs)
    if whole >= 0:
        _attach_below(tmpfs, name, whole)
        if own >= 0 and path.strip("/"):
            _attach_below(whole, path.strip("/"), own)
        return
    parts = [part for part in path.split("/") if part]
    place = name
    for part in parts:
        place += f"/{part}"
        os.mkdir(place, 0o755, dir_fd=tmpfs)
    if parts and mode != "rw":
        # The folders that lead to the container's cgroup hold nothing else, and nothing can be made in them.
        cover = detached.bind(tmpfs, name)
        try:
            detached.set_flags(cover, _READ_ONLY)
            _attach_below(tmpfs, name, cover)
            _attach_below(cover, "/".join(parts), own)
        finally:
            os.close(cover)
    else:
        _attach_below(tmpfs, place, own)
