# SPDX-License-Identifier: LGPL-2.1-or-later
"""liblxc's locks on disk: open-file-description locks on files that every implementation finds at the same place.

The container's lock is RUN/lxc/lock/LXCPATH/.NAME, held while its files on disk are read or changed; `partial` in the
container's folder is locked by whoever creates the container (fcntl(2), F_OFD_SETLK; Linux 3.15).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time

from . import paths
from .errors import LxcError, TimedOut, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_F_OFD_GETLK, _F_OFD_SETLK = 36, 37
_FLOCK = "hhqqi4x"  # struct flock: type, whence, start, length, pid
_STEP = 0.02
PATIENCE = 60.0

ABSENT, ONGOING, ABANDONED = "absent", "ongoing", "abandoned"


def _set(fd: int, kind: int) -> None:
    fcntl.fcntl(fd, _F_OFD_SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, 0, 0, 0))


class ContainerLock:
    """`with ContainerLock(lxcpath, name):` the exclusive right to the container's files.

    Waits for another holder at most `patience` seconds, then raises TimedOut. Raises LxcError when the lock cannot be made.
    """

    __slots__ = ("_fd", "_path", "_patience")

    def __init__(self, lxcpath: str, name: str, patience: float = PATIENCE) -> None:
        self._path = f"{paths.runtime_dir()}/lxc/lock/{lxcpath}/.{name}"
        self._patience = patience
        self._fd = -1

    def __enter__(self) -> ContainerLock:
        try:
            os.makedirs(os.path.dirname(self._path), 0o755, exist_ok=True)
            self._fd = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY, 0o600
            )
            self._wait()
        except OSError as error:
            self._close()
            raise LxcError(f"cannot lock the container ({self._path}): {describe(error)}") from error
        except LxcError:
            self._close()
            raise
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                _set(self._fd, fcntl.F_WRLCK)
                return
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
            if time.monotonic() > deadline:
                raise TimedOut(
                    f"another command has held the container's lock {self._path} for more than {self._patience:g} s",
                    remedy=f"`fuser {self._path}` tells which",
                )
            time.sleep(_STEP)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)  # the lock belongs to the open file: this releases it

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()


class PartialLock:
    """The mark of a creation in progress: LXCPATH/NAME/partial, mode 0000, locked as long as the creator lives."""

    __slots__ = ("_fd", "path")

    def __init__(self, folder: str) -> None:
        """folder: LXCPATH/NAME, which exists. Raises OSError (EEXIST: somebody else's)."""
        self.path = folder + "/partial"
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o000)
        _set(self._fd, fcntl.F_WRLCK)

    def release(self) -> None:
        """The creation has ended, one way or the other."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass  # removed with its folder


def partial_state(lxcpath: str, name: str) -> str:
    """ABSENT, ONGOING (its creator lives), or ABANDONED (the creator died): what the mark of a creation says.

    C LXC takes every existing mark for an ongoing creation; asking who holds the lock is what it means to do.
    """
    try:
        fd = os.open(f"{lxcpath}/{name}/partial", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    except PermissionError:
        return ONGOING  # mode 0000 and not root: cannot be told apart, and the careful answer is this one
    try:
        answer = fcntl.fcntl(fd, _F_OFD_GETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    finally:
        os.close(fd)
    return ABANDONED if struct.unpack(_FLOCK, answer)[0] == fcntl.F_UNLCK else ONGOING
