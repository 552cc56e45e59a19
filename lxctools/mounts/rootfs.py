# SPDX-License-Identifier: LGPL-2.1-or-later
"""The container's root: making the mount namespace private, mounting the root, and moving into it."""

from __future__ import annotations

import errno
import os
import stat

from .. import log
from ..errors import LxcError, describe
from ..linux import detached, mount, proc, propagation, sched
from ..linux.mountopts import parse_options
from .ops import bind_flags
from .resolve import Root, mount_id, same_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from ..config.conf import Config
    from .ops import Ask


_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_PIN = ".lxc_keep"
_NOT_PINNED = frozenset(("overlay", "overlayfs", "zfs"))
_PASSES = 16


def unshare_monitor() -> None:
    """Give the calling process a mount namespace of its own in which nothing propagates to the host's. Raises OSError."""
    sched.unshare(sched.CLONE_NEWNS)
    slave_all()


def slave_all() -> None:
    """Turn every shared mount of this mount namespace into a slave: nothing done here reaches the host. Raises OSError."""
    propagation.slave_all()


def mount_rootfs(conf: Config, backend: ModuleType | None = None, ask: Ask | None = None, *, tree: int = -1) -> Root:
    """Mount lxc.rootfs.path on lxc.rootfs.mount and return the Root; the host's own tree when there is no path.

    backend: mounts what is not a folder; a folder (or no backend) is bound here, with everything mounted below it.
    ask: gets an idmapped mount from the monitor. tree: the root, where only the monitor could mount it. Raises LxcError naming path and key.
    """
    path = conf["lxc.rootfs.path"]
    if not path:
        return none_rootfs()
    target = conf["lxc.rootfs.mount"]
    if not target:
        raise LxcError("lxc.rootfs.mount is empty", remedy="remove the key, or name an existing folder")
    try:
        place = os.open(target, _FOLDER)
    except OSError as error:
        raise LxcError(f"cannot use lxc.rootfs.mount {target}: {describe(error)}", remedy="create the folder") from error
    try:
        if backend is None or backend.INFO.is_folder:
            return Root(_mount_folder(conf, path, place, ask), target)
        fd = tree if tree >= 0 else backend.open_mount(str.__str__(path), conf["lxc.rootfs.options"])
        detached.attach(fd, place)
        return Root(fd, target)
    except OSError as error:
        raise LxcError(f"cannot mount the root file system {path} on {target}: {describe(error)}", remedy=_remedy(error)) from error
    finally:
        os.close(place)


def _remedy(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "lxc.rootfs.path must exist"
    if isinstance(error, PermissionError):
        return "container root needs search permission (x) on every folder of the path"
    return ""


def _mount_folder(conf: Config, path: str, place: int, ask: Ask | None) -> int:
    """Bind a folder on place; returns the mount's O_PATH descriptor."""
    options = parse_options(conf["lxc.rootfs.options"])
    on, off = bind_flags(options)
    if not stat.S_ISDIR(os.stat(path).st_mode):
        raise LxcError(f"the root file system {path} is not a folder", remedy="give its type, as lxc.rootfs.path = loop:...")
    if options.idmap:
        if ask is None:
            raise LxcError("lxc.rootfs.options: idmap= needs a container with a user namespace", remedy="set lxc.idmap")
        # A plain str, whatever the configuration's type for paths is: what is asked for is marshalled.
        plain = str.__str__(path)
        tree = ask((plain, True, options.idmap, on, off, False, f"lxc.rootfs.options = {conf['lxc.rootfs.options']}"))
    else:
        tree = detached.bind(mount.AT_FDCWD, path, recursive=True)
    try:
        if (on or off) and not options.idmap:
            detached.set_flags(tree, on, clear=off)
        detached.attach(tree, place)
        if options.propagation is not None:
            flag, recursive = options.propagation
            detached.set_flags(tree, propagation=flag, recursive=recursive)
    except OSError:
        os.close(tree)
        raise
    return tree


def none_rootfs() -> Root:
    """The host's own tree as the container's root; slave_all() has made it private."""
    return Root(os.open("/", _FOLDER), "", confined=False)


def check_not_overmounted(root: Root) -> None:
    """Raise LxcError when a mount entry or hook has covered the root: pivot_root would enter something else."""
    if not root.confined:
        return
    now = os.open(root.path, _FOLDER)
    try:
        if not same_object(now, root.fd):
            raise LxcError(
                f"Rootfs overmounted: something was mounted over {root.path}",
                remedy="look at lxc.mount.entry, lxc.mount.fstab and lxc.hook.mount",
            )
    finally:
        os.close(now)


def pivot(root: Root) -> None:
    """Make the container's root this process's root and current folder, and drop every mount of the host.

    The whole tree ends shared, as systemd expects of a root; mounts that were configured with a propagation of their own
    keep it. Raises LxcError. Nothing to do on the host's own tree.
    """
    if not root.confined:
        return
    try:
        _enter(root.fd)
        detached.set_flags(root.fd, propagation=mount.MS_SHARED, recursive=True)
        for fd, flag, recursive in root.held:
            detached.set_flags(fd, propagation=flag, recursive=recursive)
            os.close(fd)
        root.held.clear()
    except OSError as error:
        remedy = ""
        if error.errno == errno.EINVAL:
            remedy = "the root that this command runs in must be a mount point: bind a chroot's folder on itself first"
        raise LxcError(f"cannot move into the root file system {root.path}: {describe(error)}", remedy=remedy) from error


def _enter(new: int) -> None:
    old = os.open("/", _FOLDER)
    try:
        os.fchdir(new)
        try:
            mount.pivot_root(".", ".")
        except OSError as error:
            if error.errno != errno.EINVAL or not on_initial_ramfs(proc.mountinfo()):
                raise
            _move_to_top(new)
            return
        # The old root now lies over the new one; as a slave its unmounting does not reach the host.
        os.fchdir(old)
        detached.set_flags(old, propagation=mount.MS_SLAVE, recursive=True)
        mount.umount2(".", mount.MNT_DETACH)
        os.fchdir(new)
    finally:
        os.close(old)


def on_initial_ramfs(mounts: list[proc.Mount]) -> bool:
    """Whether the root is the kernel's initial ramfs, which pivot_root(2) cannot leave."""
    points = [row for row in mounts if row.point == "/"]
    return bool(points) and points[-1].fstype == "rootfs"


def _move_to_top(new: int) -> None:
    """For a host that runs from its initial ramfs: lay the new root over it, detach every other mount, chroot."""
    top = os.open("/", _FOLDER)
    try:
        detached.attach(new, top)
    finally:
        os.close(top)
    # The paths still lead through the old root, as our root folder has not changed yet. The table is read through one
    # descriptor, since /proc is detached too; in several passes, since a mount may cover another one.
    table = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for _ in range(_PASSES):
            points = {row.point for row in _rows(table) if row.point != "/"}
            gone = 0
            for point in sorted(points, key=len, reverse=True):
                try:
                    mount.umount2(point, mount.MNT_DETACH)
                    gone += 1
                except OSError:
                    continue  # went with the one that it was mounted on
            if not gone:
                break
    finally:
        os.close(table)
    os.fchdir(new)
    os.chroot(".")


def _rows(table: int) -> list[proc.Mount]:
    """The mounts in an open mountinfo, from its start."""
    os.lseek(table, 0, os.SEEK_SET)
    data = b""
    while chunk := os.read(table, 65536):
        data += chunk
    return [proc.Mount(line) for line in data.split(b"\n") if line]


def slave_shmounts(root: Root, conf: Config) -> None:
    """Make the shmounts folder a slave of its host folder, so that mounts made there appear inside. Raises LxcError."""
    shmounts = conf["lxc.mount.auto"].shmounts
    if shmounts is None:
        return
    try:
        fd = root.open(shmounts[1])
        try:
            detached.set_flags(fd, propagation=mount.MS_SLAVE)
        finally:
            os.close(fd)
    except OSError as error:
        raise LxcError(f"cannot make shmounts {shmounts[1]} a slave mount: {describe(error)}") from error


def pin(conf: Config) -> int:
    """Keep the root's file system busy, so that the container cannot remount the host's file system read-only.

    A file of the root that is open for writing and has no name any more; the descriptor is the caller's. -1 where it is not
    needed or not possible: no folder as root, id maps (such a container cannot remount), overlayfs, ZFS, a read-only file
    system.
    """
    path = conf["lxc.rootfs.path"]
    if not path or conf["lxc.idmap"] or conf.rootfs_type not in ("", "dir") or os.geteuid() != 0:
        return -1
    try:
        folder = os.open(path, _FOLDER)
    except OSError:
        return -1  # mounting it will tell
    try:
        if _fstype(folder) in _NOT_PINNED:
            return -1
        for _ in range(2):
            try:
                fd = os.open(_PIN, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
                os.unlink(_PIN, dir_fd=folder)
                return fd
            except FileExistsError:
                os.unlink(_PIN, dir_fd=folder)  # of a monitor that was killed, or planted
    except OSError as error:
        log.debug(f"{path} is not pinned: {describe(error)}")
    finally:
        os.close(folder)
    return -1


def _fstype(folder: int) -> str:
    number = mount_id(folder)
    for line in proc.read("/proc/self/mountinfo").splitlines():
        if line.startswith(b"%d " % number):
            return proc.Mount(line).fstype
    return ""
