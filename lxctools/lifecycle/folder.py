# SPDX-License-Identifier: LGPL-2.1-or-later
"""Removing a container's folder, whole or as a killed lxc-create left it."""

from __future__ import annotations

import os

from .. import files, locks, log
from ..config.conf import Config
from ..errors import LxcError, describe
from ..storage import backend as storage
from . import dependants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..idmap.ranges import IdMap

MARK = "partial"
CONFIG = "config"
_KEPT = "rootfs.kept"


def keep_rootfs(folder: str, path: str) -> str:
    """Note that the root file system at path was there before the container and stays after it; returns the note's path.

    Not in the configuration: C LXC has no key for it. Raises OSError.
    """
    note = f"{folder}/{_KEPT}"
    files.write_atomic(note, f"{os.path.realpath(path)}\n".encode("utf-8", "surrogateescape"))
    return note


def keeps_rootfs(folder: str, path: str) -> bool:
    """Whether the root file system at path is not the container's to remove (keep_rootfs())."""
    try:
        with open(f"{folder}/{_KEPT}", encoding="utf-8", errors="surrogateescape") as file:
            return file.read().rstrip("\n") == os.path.realpath(path)
    except FileNotFoundError:
        return False


def remove_folder(folder: str, last: str, beat: Callable[[], object] | None = None) -> None:
    """Remove the container's folder; the file called last goes last, so that a removal that is cut off can be taken up again.

    Never follows a link and never crosses a mount. Raises LxcError.
    """
    try:
        with os.scandir(folder) as entries:
            listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries if entry.name != last]
        for name, is_folder in listed:
            if is_folder:
                files.remove_tree(f"{folder}/{name}", beat)
            else:
                files.unlink_quietly(f"{folder}/{name}")
        files.unlink_quietly(f"{folder}/{last}")
        os.rmdir(folder)
    except FileNotFoundError:
        pass  # an ephemeral container's monitor was faster
    except OSError as error:
        raise LxcError(f"cannot remove {folder}: {describe(error)}") from error


def remove_if_empty(folder: str) -> None:
    """Remove a folder unless somebody uses it by now."""
    try:
        os.rmdir(folder)
    except OSError:
        pass


def clear_abandoned(name: str, lxcpath: str) -> bool:
    """Remove what an interrupted creation made. False when there is none. Raises LxcError; also for one that goes on.

    The caller holds the container's lock. Only what the mark says that this creation made goes. A mark without notes is C
    LXC's, and means the container's folder; or the first moment of a removal. Where a root file system lies outside of the
    folder, it is left to the user to tell them apart.
    """
    found = locks.partial_state(lxcpath, name)
    if found == locks.ABSENT:
        return False
    folder = f"{lxcpath}/{name}"
    if found == locks.ONGOING:
        raise LxcError(f"{name} is being created or removed by another command, in {folder}", remedy="wait for it to end")
    log.notice(f"removing what an interrupted creation left in {folder}")
    try:
        maps: Sequence[IdMap] = ()
        conf = read_config(folder)
        if conf is not None:
            maps = conf["lxc.idmap"]
        if os.path.getsize(f"{folder}/{MARK}"):
            made = noted(lxcpath, name)
        else:
            made = [folder]
            _refuse_outside(conf, folder)
        dependants.forget(lxcpath, name, dependants.needs(folder), [(lxcpath, name)])
        remove_noted([path for path in made if path != folder], maps)
        if folder in made:
            remove_folder(folder, MARK)
        else:
            for left in (CONFIG, dependants.NEEDS):
                files.unlink_quietly(f"{folder}/{left}")
            files.unlink_quietly(f"{folder}/{MARK}")
    except OSError as error:
        raise LxcError(f"cannot remove what an interrupted creation left in {folder}: {describe(error)}") from error
    return True


def noted(lxcpath: str, name: str) -> list[str]:
    """What an abandoned creation has made, as remove_noted() takes it: what it was about to make, and did, and what it noted.

    Raises LxcError, OSError.
    """
    return [*(value for value, mark in locks.intended(lxcpath, name) if _has_mark(value, mark)), *locks.noted(lxcpath, name)]


def remove_noted(made: Sequence[str], maps: Sequence[IdMap]) -> None:
    """Remove what a mark notes (noted()), the last first, each by its backend with its guards. Raises LxcError, OSError."""
    for path in reversed(made):
        kind, _, place = path.partition(":") if not path.startswith("/") else ("dir", "", path)
        storage.load(kind).destroy(place, None, maps)


def _has_mark(value: str, mark: str) -> bool:
    """Whether what a creation was about to make is there, and no namesake that somebody else has made. Raises LxcError."""
    kind, _, path = value.partition(":")
    found: bool = storage.load(kind).has_mark(path, mark)
    return found


def read_config(folder: str) -> Config | None:
    """The configuration, None where there is none that can be read."""
    try:
        return Config.read(f"{folder}/{CONFIG}")
    except (LxcError, OSError):
        return None


def _refuse_outside(conf: Config | None, folder: str) -> None:
    """Raise LxcError for a root file system that would be left behind without the container's folder."""
    path = str.__str__(conf["lxc.rootfs.path"]) if conf is not None else ""
    if conf is None or not path or not (conf.rootfs_type or os.path.lexists(path)):
        return
    module = storage.for_config(conf)
    if any(not files.is_below(place, folder) for place in module.belongings(path)) and module.exists(path):
        raise LxcError(
            f"it is not known whether {folder} was being made or removed, and its root file system {path} lies outside of it",
            remedy=f"remove {folder}/{MARK}; then start it, or remove it with lxc-destroy",
        )
