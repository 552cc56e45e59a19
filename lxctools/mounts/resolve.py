# SPDX-License-Identifier: LGPL-2.1-or-later
"""Paths inside a container's root file system, whose content belongs to somebody hostile.

A path is resolved once, to a descriptor, and everything after works on the descriptor. Symbolic links are never
followed, not even those that would stay inside: `/dev -> /host` or a link swapped in during the start gets nothing
mounted or created outside (CVE-2015-1335). A component `..` is refused.

A container without a root file system of its own uses the host's tree, which the admin owns: there, paths are resolved as
anywhere else.
"""

from __future__ import annotations

import errno
import os
import stat

from ..linux import open as linux_open
from ..linux import proc

_CONFINED = linux_open.RESOLVE_IN_ROOT | linux_open.RESOLVE_NO_SYMLINKS | linux_open.RESOLVE_NO_MAGICLINKS
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Root:
    """The container's root: an O_PATH descriptor of the mounted file system, which this object owns.

    path: where it is mounted for now (lxc.rootfs.mount), for messages and hooks; "" for the host's own root.
    confined: False when it is the host's own root, whose symbolic links are followed.
    All methods raise OSError with the path inside the container as its filename.
    """

    __slots__ = ("_host_dev", "confined", "fd", "held", "path")

    def __init__(self, fd: int, path: str, *, confined: bool = True) -> None:
        self.fd = fd
        self.path = path
        self.confined = confined
        self.held: list[tuple[int, int, bool]] = []  # mounts whose propagation is set again after pivot_root
        self._host_dev = -1

    def close(self) -> None:
        """Close what this object owns."""
        for fd in (self.fd, self._host_dev, *(entry[0] for entry in self.held)):
            if fd >= 0:
                os.close(fd)
        self.fd = self._host_dev = -1
        self.held.clear()

    def host_dev(self) -> int:
        """A descriptor of the host's /dev as it was when first asked for: before the container's own covers it."""
        if self._host_dev < 0:
            self._host_dev = os.open("/dev", _FOLDER)
        return self._host_dev

    def open(self, path: str, flags: int = os.O_PATH) -> int:
        """Open a path inside; close-on-exec. ELOOP for a symbolic link anywhere in it."""
        if not self.confined:
            return os.open(f"/{path.lstrip('/')}", flags | os.O_CLOEXEC)
        parts = components(path)
        name = "/".join(parts) or "."
        try:
            # No O_NOFOLLOW: with O_PATH it would give a descriptor of a link that is the last component.
            return linux_open.openat2(self.fd, name, flags, 0, _CONFINED)
        except OSError as error:
            if error.errno == errno.ENOSYS:  # a seccomp policy around us that does not know openat2 (Linux 5.6)
                return self._walk(parts, flags)
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                self._explain(parts)
            raise OSError(error.errno, os.strerror(error.errno or 0), f"/{name}") from None

    def exists(self, path: str) -> bool:
        """Whether something that is not a symbolic link is there."""
        try:
            os.close(self.open(path))
        except FileNotFoundError:
            return False
        return True

    def mkdirs(self, path: str, mode: int = 0o755) -> int:
        """Make the folder and its parents where they are missing; an O_PATH descriptor of it."""
        if not self.confined:
            full = f"/{path.lstrip('/')}"
            os.makedirs(full, mode, exist_ok=True)
            return os.open(full, _FOLDER)
        try:
            return self.open(path, _FOLDER)
        except FileNotFoundError:
            pass
        fd = os.dup(self.fd)
        done = ""
        for part in components(path):
            done += f"/{part}"
            try:
                try:
                    os.mkdir(part, mode, dir_fd=fd)
                except FileExistsError:
                    pass
                except OSError as error:
                    # A file system that is read-only or full says so only when the folder is really missing.
                    if not _is_there(part, fd):
                        raise OSError(error.errno, error.strerror, done) from None
                below = _step(fd, part, done, _FOLDER)
            finally:
                os.close(fd)
            fd = below
        return fd

    def touch(self, path: str, mode: int = 0) -> int:
        """Make an empty regular file of this mode unless something is there; an O_PATH descriptor of it."""
        parts = components(path)
        if not parts:
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), "/")
        with_parent = self.mkdirs("/".join(parts[:-1])) if len(parts) > 1 else os.dup(self.fd)
        try:
            return touch_at(with_parent, parts[-1], mode, "/" + "/".join(parts), follow=not self.confined)
        finally:
            os.close(with_parent)

    def parent(self, path: str) -> tuple[int, str]:
        """(O_PATH descriptor of the folder that holds path, the last component)."""
        parts = components(path)
        if not parts:
            raise OSError(errno.EBUSY, "the root itself", "/")
        return self.open("/".join(parts[:-1]), _FOLDER), parts[-1]

    def _walk(self, parts: list[str], flags: int) -> int:
        fd = os.dup(self.fd)
        done = ""
        for number, part in enumerate(parts):
            done += f"/{part}"
            last = number == len(parts) - 1
            try:
                below = _step(fd, part, done, flags if last else _FOLDER)
            finally:
                os.close(fd)
            fd = below
        if parts:
            return fd
        try:
            return os.open(".", flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        finally:
            os.close(fd)

    def _explain(self, parts: list[str]) -> None:
        """Raise the error that names the symbolic link in a path, if there is one."""
        fd = os.dup(self.fd)
        done = ""
        try:
            for part in parts:
                done += f"/{part}"
                below = _step(fd, part, done, os.O_PATH)
                os.close(fd)
                fd = below
        finally:
            os.close(fd)


def components(path: str) -> list[str]:
    """The components of a path inside; leading and doubled slashes and `.` do not count. EINVAL for a `..`."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise OSError(errno.EINVAL, 'a ".." is not allowed in a path inside a container', path)
    return parts


def touch_at(folder: int, name: str, mode: int, shown: str, *, follow: bool = False) -> int:
    """Make an empty regular file in a folder unless something is there; an O_PATH descriptor of what is there.

    ELOOP when that is a symbolic link, unless follow. shown: the path for errors.
    """
    try:
        os.mknod(name, stat.S_IFREG | mode, dir_fd=folder)
    except FileExistsError:
        pass
    except OSError as error:
        if not _is_there(name, folder):
            raise OSError(error.errno, error.strerror, shown) from None
    if follow:
        return os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=folder)
    return _step(folder, name, shown, os.O_PATH)


def _is_there(name: str, folder: int) -> bool:
    try:
        os.lstat(name, dir_fd=folder)
    except OSError:
        return False
    return True


def _step(folder: int, name: str, shown: str, flags: int) -> int:
    """Open one component without following it when it is a symbolic link."""
    try:
        fd = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            _refuse_link(folder, name, shown)
        raise OSError(error.errno, error.strerror, shown) from None
    if flags & os.O_PATH and not flags & os.O_DIRECTORY and stat.S_ISLNK(os.fstat(fd).st_mode):
        os.close(fd)
        _refuse_link(folder, name, shown)
    return fd


def _refuse_link(folder: int, name: str, shown: str) -> None:
    try:
        target = os.readlink(name, dir_fd=folder)
    except OSError:
        return  # not a link: the caller's own error tells more
    raise OSError(errno.ELOOP, f'a symbolic link (to "{target}"), which is not followed in a container\'s root', shown)


def same_object(first: int, second: int) -> bool:
    """Whether two descriptors are of the same file, device node included."""
    a, b = os.fstat(first), os.fstat(second)
    return (a.st_dev, a.st_ino, a.st_rdev) == (b.st_dev, b.st_ino, b.st_rdev)


def mount_id(fd: int) -> int:
    """The id of the mount that a descriptor's file is seen through (proc(5), fdinfo). Raises OSError."""
    for line in proc.read(f"/proc/self/fdinfo/{fd}").splitlines():
        name, _, value = line.partition(b":")
        if name == b"mnt_id":
            return int(value)
    raise OSError(errno.ENODATA, os.strerror(errno.ENODATA), f"/proc/self/fdinfo/{fd}")
