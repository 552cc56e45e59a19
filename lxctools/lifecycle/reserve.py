# SPDX-License-Identifier: LGPL-2.1-or-later
"""A new container's folder: made and marked as being worked on, so that no two make one, and a crash is seen."""

from __future__ import annotations

import os

from .. import files, locks, log
from ..errors import LxcError, describe
from ..idmap.ranges import to_host
from ..storage import backend as storage
from ..undo import held
from .folder import CONFIG, clear_abandoned, remove_if_empty
from .steps import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..idmap.ranges import IdMap
    from ..undo import Undo


def refuse_existing(name: str, lxcpath: str) -> None:
    """Raise LxcError when there is a container of this name that is no interrupted creation."""
    path = f"{lxcpath}/{name}/{CONFIG}"
    if os.path.lexists(path) and locks.partial_state(lxcpath, name) == locks.ABSENT:
        raise LxcError(f"Container already exists: {path}", remedy=f"lxc-destroy -n {name} removes it")


def reserve(name: str, lxcpath: str, maps: Sequence[IdMap], undo: Undo) -> locks.PartialLock:
    """Make LXCPATH/NAME, give it to the container's root, and return its mark. Raises LxcError, also for one that is taken."""
    folder = f"{lxcpath}/{name}"
    with locks.ContainerLock(lxcpath, name):
        if clear_abandoned(name, lxcpath):
            log.tell(f"removed what an interrupted creation had left in {folder}")
        refuse_existing(name, lxcpath)
        uid, gid = container_root(maps)
        try:
            step("make the folder")
            with held():
                made = _make_folder(folder)
                if made:
                    undo(_remove_made, folder)
            step("mark the folder")
            with held():
                partial = locks.PartialLock(folder)
                undo(partial.release)
            if made:
                partial.note(folder)
            give(folder, uid, gid, undo)
        except OSError as error:
            raise LxcError(
                f"cannot make the container's folder {folder}: {describe(error)}", remedy="check the lxcpath"
            ) from error
    return partial


def watch(partial: locks.PartialLock | None, maps: Sequence[IdMap], undo: Undo) -> Callable[[str], None]:
    """For Spec.begun: what a backend has made is undone, and noted in the mark for whoever comes after a kill -9."""

    def begun(value: str) -> None:
        kind, _, path = value.partition(":")
        module = storage.load(kind)
        undo(module.destroy, path, None, maps)
        if partial is not None:
            try:
                partial.note(path if module.INFO.is_folder else value)
            except OSError as error:
                raise LxcError(f"cannot note {path} in {partial.path}: {describe(error)}") from error

    return begun


def _make_folder(folder: str) -> bool:
    """False for one that is there: it may hold a log, or somebody's notes, and is not removed by us."""
    before = os.umask(0o002)
    try:
        os.mkdir(folder, 0o770)
    except FileExistsError:
        if not os.path.isdir(folder):
            raise
        return False
    finally:
        os.umask(before)
    return True


def make_parents(path: str, undo: Undo) -> None:
    """Make the missing folders above path. Raises LxcError."""
    missing = []
    parent = os.path.dirname(path)
    while parent and not os.path.isdir(parent):
        missing.append(parent)
        parent = os.path.dirname(parent)
    for folder in reversed(missing):
        try:
            with held():
                os.mkdir(folder, 0o755)
                undo(remove_if_empty, folder)
        except FileExistsError:
            continue
        except OSError as error:
            raise LxcError(f"cannot make the folder {folder}: {describe(error)}") from error


def _remove_made(folder: str) -> None:
    """Undo a folder. What cannot be removed is told to the user: Undo itself only logs."""
    try:
        files.remove_tree(folder)
    except LxcError as error:
        log.error(f"not everything that this creation made could be removed: {error}")


def container_root(maps: Sequence[IdMap]) -> tuple[int, int]:
    """The host's ids of the container's root, -1 without maps. Raises LxcError when it has none."""
    if not maps:
        return -1, -1
    uid, gid = to_host(maps, "u", 0), to_host(maps, "g", 0)
    if uid is None or gid is None:
        raise LxcError("lxc.idmap maps no id 0: a container needs a root", remedy="map u 0 ... and g 0 ...")
    return uid, gid


def give(path: str, uid: int, gid: int, undo: Undo) -> None:
    """Give a folder to the container's root. Raises OSError."""
    if uid >= 0:
        status = os.stat(path)
        if (status.st_uid, status.st_gid) != (uid, gid):
            os.chown(path, uid, gid)
            undo(_give_back, path, status.st_uid, status.st_gid)


def _give_back(path: str, uid: int, gid: int) -> None:
    try:
        os.chown(path, uid, gid)
    except FileNotFoundError:
        pass
