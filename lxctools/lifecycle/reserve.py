# SPDX-License-Identifier: LGPL-2.1-or-later
"""A new container's folder: made and marked as being worked on, so that no two make one, and a crash is seen."""

from __future__ import annotations

import os

from .. import files, locks, log
from ..errors import LxcError, describe
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
        storage.container_root(maps)  # before anything is made
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
            give(folder, maps, undo)
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


def intend(partial: locks.PartialLock | None) -> Callable[[str, str], None]:
    """For Spec.intended: noted in the mark, for whoever comes after a kill -9 that a program has outlived."""

    def intended(value: str, mark: str) -> None:
        if partial is not None:
            try:
                partial.intend(value, mark)
            except OSError as error:
                raise LxcError(f"cannot note {value} in {partial.path}: {describe(error)}") from error

    return intended


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


def give(path: str, maps: Sequence[IdMap], undo: Undo) -> None:
    """Give a folder to the container's root, and back. Raises LxcError, OSError."""
    before = os.stat(path)
    storage.give(path, maps)
    after = os.stat(path)
    if (before.st_uid, before.st_gid) != (after.st_uid, after.st_gid):
        undo(_give_back, path, before.st_uid, before.st_gid, maps)


def _give_back(path: str, uid: int, gid: int, maps: Sequence[IdMap]) -> None:
    try:
        storage.take_back(path, uid, gid, maps)
    except FileNotFoundError:
        pass
