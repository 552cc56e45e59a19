# SPDX-License-Identifier: LGPL-2.1-or-later
"""/dev: the tmpfs of lxc.autodev, its device nodes, devpts, console, ttys, links and the boot id.

Every name is used below a descriptor of the container's dev folder, and none is followed when it is a symbolic link: the
folder belongs to the container when lxc.autodev is 0.
"""

from __future__ import annotations

import errno
import os
import stat

from .. import log
from ..errors import LxcError, describe
from ..linux import detached, mount, tty
from .resolve import Root, same_object, touch_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.conf import Config

_TMPFS_SIZE = 500000
# name, major, minor; in the order in which LXC makes them.
NODES = (
    ("full", 1, 7),
    ("null", 1, 3),
    ("random", 1, 8),
    ("tty", 5, 0),
    ("urandom", 1, 9),
    ("zero", 1, 5),
)
LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)
_PTY_GROUP = "5"
_BOOT_ID = "proc/sys/kernel/random/boot_id"
_BOOT_ID_FLAGS = mount.MOUNT_ATTR_RDONLY | detached.USUAL
_FOLDER = os.O_PATH | os.O_DIRECTORY


def setup_autodev(root: Root, conf: Config) -> None:
    """Mount a tmpfs on /dev and make /dev/pts in it. Raises LxcError."""
    size = conf["lxc.autodev.tmpfs.size"]
    options: list[tuple[str, str | None]] = [("mode", "0755"), ("size", str(size if size > 0 else _TMPFS_SIZE))]
    root.host_dev()  # without a root of its own the tmpfs covers it
    try:
        target = root.mkdirs("dev")
        try:
            tree = detached.filesystem("tmpfs", options, 0, "none")
            try:
                os.mkdir("pts", 0o755, dir_fd=tree)
                detached.attach(tree, target)
            finally:
                os.close(tree)
        finally:
            os.close(target)
    except OSError as error:
        raise LxcError(f"cannot mount a tmpfs on /dev (lxc.autodev = 1): {describe(error)}") from error


def populate_nodes(root: Root) -> None:
    """Make the device nodes that every program expects; an autodev hook may have made them already.

    Where mknod(2) is not allowed, or gives a node that cannot be opened (a user namespace), the host's node is bound.
    Raises LxcError naming the node.
    """
    name = ""
    bind: bool | None = None
    try:
        dev = root.open("dev", _FOLDER)
        try:
            for name, major, minor in NODES:
                if bind is None:
                    bind = _make_first(dev, name, major, minor)
                elif not bind:
                    _mknod(dev, name, major, minor)
                if bind:
                    _bind_node(root, dev, name)
        finally:
            os.close(dev)
    except OSError as error:
        raise LxcError(f"cannot make /dev/{name}: {describe(error)}") from error


def _mknod(dev: int, name: str, major: int, minor: int) -> None:
    try:
        os.mknod(name, stat.S_IFCHR | 0o666, os.makedev(major, minor), dir_fd=dev)
    except FileExistsError:
        return
    # Whatever the umask is. The folder is ours or was filled by the host's own hook.
    os.chmod(name, 0o666, dir_fd=dev)


def _make_first(dev: int, name: str, major: int, minor: int) -> bool:
    """Try mknod on the first node: whether the host's nodes must be bound instead."""
    try:
        _mknod(dev, name, major, minor)
        os.close(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dev))
    except PermissionError:
        return True
    return False


def _bind_node(root: Root, dev: int, name: str) -> None:
    node = touch_at(dev, name, 0, f"/dev/{name}", follow=not root.confined)
    try:
        _bind_on(detached.bind(root.host_dev(), name), node)
    finally:
        os.close(node)


def _bind_on(tree: int, target: int) -> None:
    """Attach tree on target; closes tree."""
    try:
        detached.attach(tree, target)
    finally:
        os.close(tree)


def devpts(root: Root, conf: Config) -> int:
    """Mount the container's own devpts on /dev/pts, and its ptmx on /dev/ptmx; a descriptor of it, or -1 for none.

    Room for lxc.pty.max + lxc.tty.max ptys. Raises LxcError.
    """
    room = conf["lxc.pty.max"] + conf["lxc.tty.max"]
    if room <= 0:
        return -1
    try:
        tree = _new_devpts(room)
        try:
            target = root.mkdirs("dev/pts")
            try:
                detached.attach(tree, target)
            finally:
                os.close(target)
            _ptmx(root, tree)
        except OSError:
            os.close(tree)
            raise
        return tree
    except OSError as error:
        raise LxcError(f"cannot mount a devpts on /dev/pts: {describe(error)}") from error


def _new_devpts(room: int) -> int:
    """Without gid= where group 5 is not mapped, without max= on kernels that do not know it here."""
    base: list[tuple[str, str | None]] = [("newinstance", None), ("ptmxmode", "0666"), ("mode", "0620")]
    limit: list[tuple[str, str | None]] = [("max", str(room))]
    tries = ([*base, ("gid", _PTY_GROUP), *limit], base + limit, base)
    attributes = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NOEXEC
    for options in tries[:-1]:
        try:
            return detached.filesystem("devpts", options, attributes, "devpts")
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
    return detached.filesystem("devpts", tries[-1], attributes, "devpts")


def _ptmx(root: Root, tree: int) -> None:
    dev = root.open("dev", _FOLDER)
    try:
        if root.confined:
            _drop_link(dev, "ptmx")
        node = touch_at(dev, "ptmx", 0, "/dev/ptmx", follow=not root.confined)
        try:
            _bind_on(detached.bind(tree, "ptmx"), node)
        finally:
            os.close(node)
    finally:
        os.close(dev)


def _drop_link(dev: int, name: str) -> None:
    """Remove a symbolic link of this name: the container's own, or one that an old start left."""
    try:
        if stat.S_ISLNK(os.lstat(name, dir_fd=dev).st_mode):
            os.unlink(name, dir_fd=dev)
    except FileNotFoundError:
        pass


def release_devpts(root: Root, conf: Config, devpts_fd: int) -> int:
    """With lxc.pty.max = 0 the devpts was for the ttys only: unmount it again. What remains of devpts_fd: it or -1."""
    if devpts_fd < 0 or conf["lxc.pty.max"] > 0:
        return devpts_fd
    os.close(devpts_fd)
    for path in ("dev/ptmx", "dev/pts"):
        try:
            fd = root.open(path)
            try:
                detached.detach_all(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise LxcError(f"cannot unmount /{path}: {describe(error)}") from error
    return -1


def ttys(root: Root, conf: Config, devpts_fd: int, count: int, *, bind: bool = True) -> list[tuple[int, int]]:
    """Make count ptys in the container's devpts and bind each on /dev/ttyN; (master, slave) pairs, the caller's.

    With lxc.tty.dir = D they are /dev/D/ttyN, and /dev/ttyN is a link to it. bind: False for lxc-execute, which only
    keeps them for lxc-console. Raises LxcError.
    """
    pairs: list[tuple[int, int]] = []
    folder = conf["lxc.tty.dir"]
    number = 0
    try:
        for number in range(1, count + 1):
            pairs.append(tty.openpty(devpts_fd))
            if bind:
                _bind_pty(root, devpts_fd, pairs[-1][1], f"tty{number}", folder, link=True)
    except OSError as error:
        for pair in pairs:
            for fd in pair:
                os.close(fd)
        raise LxcError(f"cannot make /dev/tty{number} (lxc.tty.max = {count}): {describe(error)}") from error
    return pairs


def tty_names(pairs: list[tuple[int, int]]) -> list[str]:
    """The ttys as `pts/N`, for the variable container_ttys. Raises OSError."""
    return [f"pts/{tty.pty_number(master)}" for master, _slave in pairs]


def console_from_devpts(devpts_fd: int) -> tuple[int, int]:
    """The console as a pty of the container's own devpts: (master, slave), the caller's. Raises LxcError."""
    try:
        return tty.openpty(devpts_fd)
    except OSError as error:
        raise LxcError(f"cannot make a console in the container's devpts: {describe(error)}") from error


def bind_console(root: Root, conf: Config, slave: int, devpts_fd: int = -1) -> None:
    """Bind the console's pty on /dev/console, by way of /dev/D/console with lxc.tty.dir = D.

    devpts_fd: the devpts that the pty is of; -1 for the host's, where it is looked up by number and compared with slave.
    Raises LxcError.
    """
    try:
        os.fchmod(slave, 0o620)
        _bind_pty(root, devpts_fd, slave, "console", conf["lxc.tty.dir"], link=False)
    except OSError as error:
        raise LxcError(f"cannot make /dev/console: {describe(error)}") from error


def _pty_tree(root: Root, devpts_fd: int, slave: int) -> int:
    """A detached bind mount of a pty's node; checked against the open slave, as the name may lead elsewhere."""
    number = os.minor(os.fstat(slave).st_rdev)
    if devpts_fd >= 0:
        tree = detached.bind(devpts_fd, str(number), follow=False)
    else:
        tree = detached.bind(root.host_dev(), f"pts/{number}", follow=False)
    if not same_object(tree, slave):
        os.close(tree)
        raise OSError(errno.ENXIO, "is not the pty that was opened", f"/dev/pts/{number}")
    return tree


def _bind_pty(root: Root, devpts_fd: int, slave: int, name: str, folder: str, *, link: bool) -> None:
    """Bind a pty on /dev/NAME; with a folder on /dev/FOLDER/NAME, and /dev/NAME is a link to or a bind mount of that."""
    tree = _pty_tree(root, devpts_fd, slave)
    try:
        place = f"dev/{folder}/{name}" if folder else f"dev/{name}"
        _fresh_bind(root, tree, place)
        if not folder:
            return
        if link and root.confined:  # never a file of the host's own /dev
            dev = root.open("dev", _FOLDER)
            try:
                _replace_by_link(dev, name, f"{folder.strip('/')}/{name}")
            finally:
                os.close(dev)
        else:
            again = detached.bind(tree, "", empty=True)
            try:
                _fresh_bind(root, again, f"dev/{name}")
            finally:
                os.close(again)
    finally:
        os.close(tree)


def _fresh_bind(root: Root, tree: int, place: str) -> None:
    """Attach on an empty file, without whatever was bound there before."""
    target = root.touch(place)
    if root.confined:
        try:
            detached.detach_all(target)
        finally:
            os.close(target)
        target = root.open(place)
    try:
        detached.attach(tree, target)
    finally:
        os.close(target)


def _replace_by_link(dev: int, name: str, target: str) -> None:
    try:
        os.unlink(name, dir_fd=dev)
    except FileNotFoundError:
        pass
    os.symlink(target, name, dir_fd=dev)


def dev_symlinks(root: Root) -> None:
    """/dev/fd, stdin, stdout and stderr, where nothing of that name is there. Raises LxcError; EROFS only warns."""
    try:
        dev = root.open("dev", _FOLDER)
    except FileNotFoundError:
        return  # lxc.autodev = 0 and a root without /dev
    except OSError as error:
        raise LxcError(f"cannot make the links in /dev: {describe(error)}") from error
    try:
        for name, target in LINKS:
            try:
                os.symlink(target, name, dir_fd=dev)
            except FileExistsError:
                pass
            except OSError as error:
                if error.errno != errno.EROFS:
                    raise LxcError(f"cannot make the link /dev/{name}: {describe(error)}") from error
                log.warn(f"/dev/{name} is missing and cannot be made: {describe(error)}")
    finally:
        os.close(dev)


def boot_id(root: Root) -> None:
    """Give this boot of the container a boot id of its own (random, version 4), where /proc is mounted; best effort."""
    try:
        data = bytearray(os.urandom(16))
        data[6] = data[6] & 0x0F | 0x40
        data[8] = data[8] & 0x3F | 0x80
        text = data.hex()
        text = "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])) + "\n"
        dev = root.open("dev", _FOLDER)
        try:
            fd = os.open(".lxc-boot-id", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o444, dir_fd=dev)
            try:
                os.write(fd, text.encode())
            finally:
                os.close(fd)
            target = root.open(_BOOT_ID)
            try:
                tree = detached.bind(dev, ".lxc-boot-id", follow=False)
                try:
                    detached.set_flags(tree, _BOOT_ID_FLAGS)
                    detached.attach(tree, target)
                finally:
                    os.close(tree)
            finally:
                os.close(target)
        finally:
            os.close(dev)
    except OSError as error:
        log.debug(f"the boot id stays the host's: {describe(error)}")
