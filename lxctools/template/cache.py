# SPDX-License-Identifier: LGPL-2.1-or-later
"""Root file systems kept for the next container: one archive each, there whole or not at all.

    FOLDER/lock             held while an archive is looked for, made or removed
    FOLDER/KEY.tar
    FOLDER/new.XXXXXX/      one being made; what a killed creation left is removed by the next

An archive is made beside its place and renamed. One that somebody else could have written is refused.
"""

from __future__ import annotations

import fcntl
import os
import time

from .. import files, paths
from ..errors import LxcError, describe
from ..linux import mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_DAY = 86400
_SUFFIX = ".tar"
_MAKING = "new."


def base_folder() -> str:
    """Where templates keep what they fetched: $LXC_CACHE_PATH, else root's or the user's own.

    Root is also who runs this in a user namespace for a container with id maps: the map gives host id 0 away.
    """
    chosen = os.environ.get("LXC_CACHE_PATH")
    if chosen:
        return chosen
    return paths.CACHE if _called_by_root() else f"{paths.home()}/.cache/lxc"


def _called_by_root() -> bool:
    if os.geteuid() != 0:
        return False
    with open("/proc/self/uid_map", encoding="ascii") as file:
        rows = [line.split() for line in file]
    return any(row[1] == "0" for row in rows)


class Cache:
    """A folder of archives. A context manager that holds its lock; say gets a line when it has to wait for it.

    owner: (uid, gid) that files made here are given, -1 to leave it.
    """

    __slots__ = ("_lock", "_owner", "_say", "folder")

    def __init__(self, folder: str, say: Callable[[str], None], owner: tuple[int, int] = (-1, -1)) -> None:
        self.folder = folder
        self._owner = owner
        self._say = say
        self._lock = -1

    def __enter__(self) -> Cache:
        try:
            self._make_folder(self.folder)
            self._lock = os.open(f"{self.folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            os.fchown(self._lock, *self._owner)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._say("waiting for another creation that is at work on the kept archives")
                fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as error:
            raise LxcError(f"cannot keep archives in {self.folder}: {describe(error)}", remedy="set LXC_CACHE_PATH") from error
        self._sweep()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._lock)

    def _make_folder(self, path: str) -> None:
        if not os.path.isdir(path):
            self._make_folder(os.path.dirname(path))
            os.mkdir(path, 0o755)
            os.chown(path, *self._owner)

    def _sweep(self) -> None:
        """Remove what was being made when its maker was killed: nobody else is here, for we have the lock."""
        for name in os.listdir(self.folder):
            if name.startswith(_MAKING):
                self._discard(f"{self.folder}/{name}")

    def _path(self, key: str) -> str:
        return f"{self.folder}/{key}{_SUFFIX}"

    def open(self, key: str) -> int:
        """A descriptor of the archive, the caller's; -1 when it is not there. Raises LxcError for somebody else's."""
        path = self._path(key)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return -1
        except OSError as error:
            raise LxcError(f"cannot read the kept archive {path}: {describe(error)}") from error
        status = os.fstat(fd)
        if status.st_uid not in (os.geteuid(), self._owner[0]) or status.st_mode & 0o022:
            os.close(fd)
            raise LxcError(
                f"the kept archive {path} could have been written by others (owner {status.st_uid}, mode "
                f"{status.st_mode & 0o7777:o})",
                remedy="remove it",
            )
        age = int(time.time() - status.st_mtime) // _DAY
        if age > 0:
            self._say(f"using {path}, made {age} day{'s' if age > 1 else ''} ago (--flush-cache makes it anew)")
        return fd

    def make(self, key: str, build: Callable[[str, str], None]) -> None:
        """Make an archive: build(folder for temporary files, path to write). Raises what it raises; then nothing is left."""
        folder = f"{self.folder}/{_MAKING}{os.urandom(4).hex()}"
        os.mkdir(folder, 0o755)
        try:
            archive = f"{folder}/archive{_SUFFIX}"
            build(folder, archive)
            os.chmod(archive, 0o644)
            os.chown(archive, *self._owner)
            os.rename(archive, self._path(key))
        finally:
            self._discard(folder)

    def _discard(self, folder: str) -> None:
        """Remove what was being made, with the mounts in it of a program that was killed."""
        for point in reversed(files.mounts_in(os.path.realpath(folder))):
            mount.umount2(point, mount.MNT_DETACH)
        files.remove_tree(folder)

    def remove(self, key: str) -> None:
        """Remove an archive; nothing to do when it is not there."""
        files.unlink_quietly(self._path(key))

    def clear(self) -> None:
        """Remove every archive."""
        for name in os.listdir(self.folder):
            if name.endswith(_SUFFIX):
                files.unlink_quietly(f"{self.folder}/{name}")
