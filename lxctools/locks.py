# SPDX-License-Identifier: LGPL-2.1-or-later
"""liblxc's locks on disk: open-file-description locks on files that every implementation finds at the same place.

The container's lock is RUN/lxc/lock/LXCPATH/.NAME, held while its files on disk are read or changed; `partial` in the
container's folder is locked by whoever creates the container (fcntl(2), F_OFD_SETLK; Linux 3.15).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import time

from . import log, paths
from .errors import LxcError, TimedOut, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_F_OFD_GETLK, _F_OFD_SETLK = 36, 37
_FLOCK = "hhqqi4x"  # struct flock: type, whence, start, length, pid
_FIRST_STEP, _LAST_STEP = 0.001, 0.02  # seconds between two tries
PATIENCE = 60.0
_VOLUME, _GONE, _INTENDED = "volume", "gone", "intended"

ABSENT, ONGOING, ABANDONED = "absent", "ongoing", "abandoned"


def _lock(fd: int) -> None:
    """Take the write lock of the whole file. Raises BlockingIOError when another has it, OSError."""
    fcntl.fcntl(fd, _F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))


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
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY, 0o600)
            self._wait()
        except OSError as error:
            self._close()
            raise LxcError(f"cannot lock the container ({self._path}): {describe(error)}") from error
        except BaseException:
            self._close()
            raise
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + self._patience
        step = _FIRST_STEP
        while True:
            try:
                _lock(self._fd)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise self._held() from None
            time.sleep(step)
            step = min(2 * step, _LAST_STEP)

    def _held(self) -> TimedOut:
        holders = [pid for pid in processes_with(self._path) if pid != os.getpid()]
        who = f"process {', '.join(map(str, holders))}" if holders else "another command"
        return TimedOut(
            f"{who} has held the container's lock {self._path} for more than {self._patience:g} s",
            remedy=f"look at it with `ps {holders[0]}`" if holders else f"`fuser {self._path}` tells which, to root",
        )

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)  # the lock belongs to the open file: this releases it

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._close()


class PartialLock:
    """The mark of a creation in progress: LXCPATH/NAME/partial, mode 0000, locked as long as the creator lives."""

    __slots__ = ("_fd", "path")

    def __init__(self, folder: str) -> None:
        """folder: LXCPATH/NAME, which exists. Raises OSError (EEXIST: somebody else's)."""
        self.path = folder + "/partial"
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o000)
        try:
            _lock(self._fd)
        except OSError:
            self.release()
            raise

    def note(self, path: str) -> None:
        """Remember that this creation made the folder at path, for whoever cleans up should it be killed. Raises OSError.

        path: or TYPE:PATH of a root file system that is no folder.

        C LXC leaves the file empty and never reads it. A device's number may be another one after a reboot: what is told is
        whether the folder is on that of the mark itself.
        """
        if not path.startswith("/"):
            self._write(f"{_VOLUME} - {path}")
            return
        status = os.stat(path)
        self._write(f"{_place(status, os.fstat(self._fd))} {status.st_ino} {path}")

    def intend(self, path: str, mark: str) -> None:
        """Remember that TYPE:PATH is about to be made, and is this creation's if it has this mark. Raises OSError."""
        self._write(f"{_INTENDED} {mark} {path}")

    def gone(self, path: str) -> None:
        """Take back a note: another one that gets the name is not this command's. Raises OSError."""
        self._write(f"{_GONE} - {path}")

    def forget(self) -> None:
        """Take back all notes: the mark stands for the container's folder alone, as C LXC's. Raises OSError."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)

    def _write(self, line: str) -> None:
        text = f"{line}\0".encode("utf-8", "surrogateescape")
        if os.write(self._fd, text) < len(text):  # the rest of the last block of a full disk
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def abandon(self) -> None:
        """Leave the mark to the next command, which goes on from here."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def release(self) -> None:
        """The creation has ended, one way or the other."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                os.unlink(self.path)  # before the lock is given up: an unlocked mark means an abandoned creation
            except FileNotFoundError:
                pass  # removed with its folder
            finally:
                os.close(fd)


def partial_state(lxcpath: str, name: str) -> str:
    """ABSENT, ONGOING (its creator lives), or ABANDONED (the creator died): what the mark of a creation says.

    C LXC takes every existing mark for an ongoing creation; asking who holds the lock is what it means to do. Raises LxcError.
    """
    path = f"{lxcpath}/{name}/partial"
    try:
        fd = _open_mark(path)
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    except PermissionError:
        return ONGOING  # somebody else's, with mode 0000: cannot be told apart, and the careful answer is this one
    except OSError as error:
        raise LxcError(f"cannot look at the mark of a creation {path}: {describe(error)}") from error
    try:
        answer = fcntl.fcntl(fd, _F_OFD_GETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    finally:
        os.close(fd)
    return ABANDONED if struct.unpack(_FLOCK, answer)[0] == fcntl.F_UNLCK else ONGOING


def _open_mark(path: str) -> int:
    """Open a mark to ask about its lock; one of the caller's own is made readable, as users cannot pass over its mode 0000."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, flags)
    except PermissionError:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
                raise
            os.chmod(f"/proc/self/fd/{fd}", 0o600)
        finally:
            os.close(fd)
        return os.open(path, flags)


def noted(lxcpath: str, name: str) -> list[str]:
    """What an abandoned creation made, in that order, as it was noted; without folders that others stand in the place of.

    Raises OSError.
    """
    entries, mark = _entries(lxcpath, name)
    found: list[str] = []
    for place, inode, path in entries:
        if place == _INTENDED:
            continue
        if place in (_VOLUME, _GONE):
            found = [other for other in found if other != path] + [path] * (place == _VOLUME)
            continue
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if (_place(status, mark), str(status.st_ino)) == (place, inode):
            found.append(path)
        else:
            log.tell(f"left {path} alone: it is not the folder that the interrupted command had there")
    return found


def intended(lxcpath: str, name: str) -> list[tuple[str, str]]:
    """(TYPE:PATH, mark) of what an abandoned creation was about to make, and has not noted as made. Raises OSError."""
    found: dict[str, str] = {}
    for place, mark, path in _entries(lxcpath, name)[0]:
        if place == _INTENDED:
            found[path] = mark
        elif place in (_VOLUME, _GONE):
            found.pop(path, None)
    return list(found.items())


def _entries(lxcpath: str, name: str) -> tuple[list[tuple[str, str, str]], os.stat_result]:
    """The notes of a mark, and its own status."""
    with open(f"{lxcpath}/{name}/partial", "rb") as file:
        entries = file.read().decode("utf-8", "surrogateescape").split("\0")
        mark = os.fstat(file.fileno())
    found = []
    for entry in entries[:-1]:  # what follows the last NUL was not written to its end
        place, inode, path = entry.split(" ", 2)
        found.append((place, inode, path))
    return found, mark


def _place(status: os.stat_result, mark: os.stat_result) -> str:
    """Where a folder is, in a word that is the same after a reboot."""
    return "here" if status.st_dev == mark.st_dev else "elsewhere"


def processes_with(path: str) -> list[int]:
    """The processes that have a file open, as far as the caller may see them.

    The kernel does not tell who holds an open-file-description lock: it belongs to no process (fcntl(2)).
    """
    try:
        wanted = os.stat(path)
    except OSError:
        return []
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        folder = f"/proc/{entry}/fd"
        try:
            if any(_is(f"{folder}/{fd}", wanted) for fd in os.listdir(folder)):
                found.append(int(entry))
        except OSError:
            continue  # somebody else's, or it has just ended
    return sorted(found)


def _is(path: str, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), wanted)
    except OSError:
        return False
