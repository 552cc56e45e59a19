# SPDX-License-Identifier: LGPL-2.1-or-later
"""Folders of a cgroup file system: made, asked whether somebody lives in them, removed.

Everything is relative to a directory descriptor. Removal is rmdir(2) from the bottom, which the kernel refuses for a
cgroup with a living process: nothing that is in use can be removed by mistake.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.05
_MODE = 0o755


def open_folder(path: str, dir_fd: int | None = None) -> int:
    """A descriptor that names a folder (O_PATH). Raises OSError."""
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd)


def make(base: int, path: str) -> list[str]:
    """Make the folder path, which must be new, and those above it that are missing; returns what was made, outermost first.

    Raises FileExistsError when path is there already, OSError; then nothing is left behind.
    """
    made: list[str] = []
    parents, _, _last = path.rpartition("/")
    try:
        try:
            os.mkdir(path, _MODE, dir_fd=base)
        except FileNotFoundError:
            for depth in range(parents.count("/") + 1):
                parent = "/".join(parents.split("/")[: depth + 1])
                try:
                    os.mkdir(parent, _MODE, dir_fd=base)
                except FileExistsError:
                    continue
                made.append(parent)
            os.mkdir(path, _MODE, dir_fd=base)
    except OSError:
        remove_empty(base, made)
        raise
    return [*made, path]


def remove_empty(base: int, paths: list[str]) -> list[str]:
    """Remove folders that were made, outermost first in paths; returns those that are in use, and so left alone."""
    left: list[str] = []
    for path in reversed(paths):
        try:
            os.rmdir(path, dir_fd=base)
        except FileNotFoundError:
            pass
        except OSError:
            left.insert(0, path)
    return left


def write(folder: int, file: str, text: str) -> None:
    """Write a cgroup file in one write, without a newline. Raises OSError."""
    fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.write(fd, os.fsencode(text))
    finally:
        os.close(fd)


def read(folder: int, file: str) -> str:
    """A whole cgroup file, without white space at its ends. Raises OSError."""
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        chunks = []
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
    finally:
        os.close(fd)
    return b"".join(chunks).decode("utf-8", "surrogateescape").strip()


def processes(folder: int) -> list[int]:
    """The processes in this folder and those below it; one of another pid namespace shows as 0. Raises OSError."""
    found = [int(word) for word in read(folder, "cgroup.procs").split()]
    for name in below(folder):
        try:
            fd = open_folder(name, folder)
        except FileNotFoundError:
            continue
        try:
            found += processes(fd)
        finally:
            os.close(fd)
    return found


def below(folder: int) -> list[str]:
    """The names of the folders in a folder. Raises OSError."""
    if os.fstat(folder).st_nlink == 2:
        return []  # cgroup file systems count the folders in a folder as links to it
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        with os.scandir(fd) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    finally:
        os.close(fd)


def remove_tree(base: int, path: str, deadline: float = 0.0) -> bool:
    """Remove a folder and those below it; True when it is gone.

    What was killed leaves its cgroup a little later than its parent hears of it: until the deadline (monotonic seconds) a
    refusal is tried again. The first attempt is one rmdir, which is all that most folders need. Raises OSError.
    """
    pause = _FIRST_PAUSE
    while not _remove_once(base, path):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        pause = min(pause, left)
        if not _wait_for_end(base, path, left):
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
    return True


def _remove_once(base: int, path: str) -> bool:
    if _rmdir(base, path):
        return True
    try:
        folder = open_folder(path, base)
    except FileNotFoundError:
        return True
    try:
        gone = [_remove_once(folder, name) for name in below(folder)]
    finally:
        os.close(folder)
    return bool(gone) and all(gone) and _rmdir(base, path)


def _rmdir(base: int, path: str) -> bool:
    try:
        os.rmdir(path, dir_fd=base)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        raise
    return True


def _wait_for_end(base: int, path: str, seconds: float) -> bool:
    """Version 2 tells when the last process has left; False where the caller must look again by itself."""
    try:
        fd = os.open(f"{path}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC, dir_fd=base)
    except OSError:
        return False  # version 1
    try:
        if b"populated 1" not in os.read(fd, 4096):
            return False
        poller = select.poll()
        poller.register(fd, select.POLLPRI)
        poller.poll(seconds * 1000)
        return True
    finally:
        os.close(fd)


class Claim:
    """Says to others of our kind that an empty folder has just been made and is about to be used, as long as it is held.

    An flock(2) on the folder: the kernel gives it back whatever happens to us, and then the folder is rubbish.
    """

    __slots__ = ("_fd",)

    def __init__(self, base: int, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=base)
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def release(self) -> None:
        """The folder is in use, or gone. A second time does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            # Explicitly: a child that has just been forked shares the lock until it executes something.
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)


def is_rubbish(base: int, path: str, youngest: float) -> bool:
    """Whether a folder exists, nobody lives in or below it, and nobody has claimed it.

    youngest: seconds that a folder must have existed; a younger one is waited for, because another implementation does
    not claim what it makes. Raises OSError.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=base)
    except FileNotFoundError:
        return False
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if _populated(fd):
            return False
        # The time stamp is that of the inode in memory, so never older than the folder.
        age = time.time() - os.fstat(fd).st_mtime
        if 0 <= age < youngest:
            time.sleep(youngest - age)
        return not _populated(fd)
    finally:
        os.close(fd)


def _populated(folder: int) -> bool:
    try:
        return "populated 1" in read(folder, "cgroup.events")
    except FileNotFoundError:
        return bool(processes(folder))


def suffixed(name: str, most: int) -> Iterator[str]:
    """NAME, NAME-1, NAME-2 ... with most names in all."""
    yield name
    for number in range(1, most):
        yield f"{name}-{number}"
