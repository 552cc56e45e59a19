# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writing into a root file system that is being filled.

What a template finds there may come from an image that a stranger made, or from the folder that --dir named: a link in it
is resolved inside it, whatever it points to, and every file is made below a descriptor of its folder.
"""

from __future__ import annotations

import errno
import os
import stat

from ..errors import LxcError, describe
from ..linux import open as linux_open

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

_INSIDE = linux_open.RESOLVE_IN_ROOT | linux_open.RESOLVE_NO_MAGICLINKS
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_CHUNK = 1 << 30
_MOST_TEXT = 64 << 20


class Rootfs:
    """The folder to fill; made when it is missing. Paths are relative to it; a leading slash is dropped.

    All methods raise OSError. A context manager.
    """

    __slots__ = ("_fd", "path")

    def __init__(self, path: str) -> None:
        """Raises LxcError for a folder that cannot be used."""
        self.path = path
        try:
            os.makedirs(path, 0o755, exist_ok=True)
            self._fd = os.open(path, _FOLDER)
        except OSError as error:
            raise LxcError(f"cannot use the root file system {path}: {describe(error)}") from error
        if os.path.samestat(os.fstat(self._fd), os.stat("/")):
            os.close(self._fd)
            raise LxcError(f"refusing to fill {path}: it is the root of this system", remedy="name another folder")

    def __enter__(self) -> Rootfs:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._fd)

    def _open(self, path: str, flags: int) -> int:
        return linux_open.openat2(self._fd, path.strip("/") or ".", flags, 0, _INSIDE)

    def _parent(self, path: str, *, make: bool = True) -> tuple[int, str]:
        folder, _, name = path.strip("/").rpartition("/")
        if name in ("", ".", ".."):
            raise ValueError(f"{path!r} names no file")
        return (self._folder(folder) if make else self._open(folder, _FOLDER)), name

    def _folder(self, path: str, mode: int = 0o755) -> int:
        try:
            return self._open(path, _FOLDER)
        except FileNotFoundError:
            parent, name = self._parent(path)
        try:
            os.mkdir(name, mode, dir_fd=parent)
            os.chmod(name, mode, dir_fd=parent)  # whatever the umask
        finally:
            os.close(parent)
        return self._open(path, _FOLDER)

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Make a folder, and its parents with mode 0755, where they are missing."""
        os.close(self._folder(path, mode))

    def exists(self, path: str) -> bool:
        """Whether something is there, a link's target included."""
        try:
            os.close(self._open(path, os.O_PATH))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def names(self, path: str) -> list[str]:
        """The names in a folder, sorted; none when there is no such folder."""
        try:
            fd = self._open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return []
            raise
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def read(self, path: str, most: int = _MOST_TEXT) -> str | None:
        """The text of a regular file, bytes that are no text as surrogates; None when there is none. most: bytes.

        Raises OSError, of EFBIG where there is more: the container's own root may have written it.
        """
        try:
            fd = self._open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
                return None
            raise
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return None
            chunks = []
            while chunk := os.read(fd, 1 << 20):
                chunks.append(chunk)
                most -= len(chunk)
                if most < 0:
                    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        finally:
            os.close(fd)
        return b"".join(chunks).decode("utf-8", "surrogateescape")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file, in the place of what is there, folders included; a link is replaced, not followed."""
        try:
            with open(self._create(path, mode), "wb") as file:
                file.write(text.encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise self._named(error, path) from None

    def rewrite(self, path: str, text: str) -> None:
        """Give a regular file that is there other text; its owner and mode stay."""
        with open(self._open(path, os.O_WRONLY | os.O_NONBLOCK), "wb") as file:
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                file.truncate(0)
                file.write(text.encode("utf-8", "surrogateescape"))

    def copy_in(self, source: str, path: str, mode: int) -> None:
        """A copy of a file of the host; shares its blocks where the file system can."""
        try:
            with open(source, "rb") as original, open(self._create(path, mode), "wb") as copy:
                _copy(original.fileno(), copy.fileno())
        except OSError as error:
            raise self._named(error, path) from None

    def _named(self, error: OSError, path: str) -> OSError:
        """The error with the whole path: a full disk is told by a call that knows a descriptor only."""
        return OSError(error.errno, error.strerror, f"{self.path}/{path}")

    def _create(self, path: str, mode: int) -> int:
        parent, name = self._parent(path)
        try:
            try:
                os.unlink(name, dir_fd=parent)
            except FileNotFoundError:
                pass
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
        finally:
            os.close(parent)
        os.fchmod(fd, mode)
        return fd

    def link(self, path: str, target: str) -> None:
        """A symbolic link, in the place of what is there, folders included."""
        parent, name = self._parent(path)
        try:
            try:
                os.unlink(name, dir_fd=parent)
            except FileNotFoundError:
                pass
            os.symlink(target, name, dir_fd=parent)
        finally:
            os.close(parent)

    def links(self, folder: str, names: Iterable[str], target: str) -> None:
        """Symbolic links to one target in a folder, where the names are not taken.

        They are names of one link (link(2) of a link): hundreds of inodes less to make, and later to remove.
        """
        fd = self._folder(folder)
        try:
            first = ""
            for name in names:
                try:
                    if first:
                        os.link(first, name, src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
                    else:
                        os.symlink(target, name, dir_fd=fd)
                        first = name
                except FileExistsError:
                    continue
                except OSError as error:
                    if not first or error.errno not in (errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                        raise
                    os.symlink(target, name, dir_fd=fd)  # a file system with fewer names for a file, or one that cannot do it
                    first = name
        finally:
            os.close(fd)

    def remove(self, path: str) -> None:
        """Remove a file or link; nothing to do when there is none."""
        try:
            parent, name = self._parent(path, make=False)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            pass
        finally:
            os.close(parent)


def _copy(source: int, target: int) -> None:
    try:
        while os.copy_file_range(source, target, _CHUNK):
            pass
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        # Two kinds of file system: the kernel does not copy between them by itself.
        while os.sendfile(target, source, None, _CHUNK):
            pass
