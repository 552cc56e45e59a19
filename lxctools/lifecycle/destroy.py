# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-destroy: the destroy hooks, the root file system, the container's folder; nothing that is not the container's."""

from __future__ import annotations

import errno
import os

from .. import locks, log, process
from ..config.conf import Config
from ..errors import ConfigError, LxcError, NotDefined, describe
from ..hooks.run import HookContext, run_hooks
from ..progress import Progress
from ..protocol import client
from ..storage import backend as storage
from ..storage import guard
from . import dependants
from .folder import CONFIG, MARK, clear_abandoned, keeps_rootfs, remove_folder
from .recover import settle
from .shared import refuse_shared
from .steps import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_FULL = (errno.ENOSPC, errno.EDQUOT)


def destroy(
    name: str, lxcpath: str, *, conf: Config | None = None, force: bool = False, hooks: bool = True
) -> None:
    """Remove a container. force: end it first when it runs. Raises NotDefined, LxcError; then what was not removed stays.

    Refused while it runs, while other containers or snapshots need it, and where something is mounted in what would be
    removed. hooks: run the destroy hooks; an ephemeral container's end does not. From its first removal on it is marked as
    half there, so that a removal that was cut off is taken up by the next command, and nothing starts what is left.
    """
    folder = f"{lxcpath}/{name}"
    if locks.partial_state(lxcpath, name) != locks.ABSENT:
        with locks.ContainerLock(lxcpath, name):
            if clear_abandoned(name, lxcpath):
                return
    settle(name, lxcpath)
    refuse_undefined(name, lxcpath)
    refuse_link(folder)
    refuse_dependants(name, folder)
    if client.state(name, lxcpath) is not None and hooks:
        if not force:
            raise LxcError(f"{name} is running", remedy="stop it first, or use -f")
        client.stop(name, lxcpath)
        if not os.path.exists(f"{folder}/{CONFIG}"):
            return  # lxc.ephemeral: its monitor has removed it
    with locks.ContainerLock(lxcpath, name):
        if not os.path.exists(f"{folder}/{CONFIG}"):
            return  # somebody else has removed it while we waited
        refuse_dependants(name, folder)  # whoever had the lock may have made one
        if conf is None:
            conf = _config(folder)
        if hooks and client.state(name, lxcpath) is not None:
            raise LxcError(f"{name} is running: it has been started just now", remedy="stop it first, or use -f")
        if hooks:
            step("destroy hooks")
            context = HookContext(name, lxcpath, conf, process.callers_environment())
            run_hooks(context, "destroy", environment=context.outside())
        if not conf["lxc.rootfs.managed"]:
            return
        with Progress(f"removing {name}") as beat:
            _remove(name, lxcpath, conf, beat)


def refuse_undefined(name: str, lxcpath: str) -> None:
    """Raise NotDefined for a container without a configuration."""
    if not os.path.exists(f"{lxcpath}/{name}/{CONFIG}"):
        raise NotDefined("Container is not defined", remedy=f"lxc-ls -P {lxcpath} lists those that are")


def refuse_link(folder: str) -> None:
    """Raise LxcError for a link in place of the container's folder: what it leads to is somebody else's."""
    if os.path.islink(folder):
        real = os.path.realpath(folder)
        where = f"lxc-destroy -P {os.path.dirname(real)} -n {os.path.basename(real)}"
        raise LxcError(f"refusing to remove {folder}: it is a symbolic link to {real}", remedy=f"`{where}` if that is meant, and remove the link")


def check_removable(folder: str, conf: Config) -> None:
    """Raise LxcError where destroy() would refuse because of what the root file system in a folder is. Changes nothing."""
    refuse_link(folder)
    path = _removable_rootfs(conf, folder)
    for thing in storage.for_config(conf).belongings(path) if path else []:
        if thing.startswith("/") and (os.path.isdir(thing) or os.path.isfile(thing)):
            guard.check_removable(thing)


def _remove(name: str, lxcpath: str, conf: Config, beat: Progress) -> None:
    """Everything of it, under the mark that makes the next command go on with it. The caller holds the lock."""
    folder = f"{lxcpath}/{name}"
    path = _removable_rootfs(conf, folder)
    module = storage.for_config(conf) if path else None
    noted = "" if module is None else path if module.INFO.is_folder else f"{module.INFO.name}:{path}"
    mark = _mark(folder)
    begun = False
    try:
        told = mark is not None and _note(mark, [folder, noted] if noted else [folder])
        if module is not None:
            step("remove the root file system")
            module.destroy(path, beat, conf["lxc.idmap"])
            begun = True
            if mark is not None and told:
                mark.gone(noted)
        begun = True
        step("forget dependencies")
        dependants.forget(lxcpath, name, dependants.needs(folder), [(lxcpath, name)])
        step("remove the folder")
        remove_folder(folder, MARK if mark is not None else CONFIG, beat)
    except BaseException:
        if mark is not None and (begun or beat.count):
            mark.abandon()
        raise
    finally:
        if mark is not None:
            mark.release()


def _mark(folder: str) -> locks.PartialLock | None:
    """The mark of the removal. None where the disk has no room for it, which a removal must be able to make. Raises LxcError."""
    step("mark the folder")
    try:
        return locks.PartialLock(folder)
    except OSError as error:
        if error.errno not in _FULL:
            raise LxcError(f"cannot mark {folder} as being removed: {describe(error)}") from error
        log.warn(f"{folder} is removed without a mark: {describe(error)}")
        return None


def _note(mark: locks.PartialLock, made: Sequence[str]) -> bool:
    """Note what goes. False on a full disk, which a removal must be able to clear: an empty mark stands for the folder. Raises LxcError."""
    try:
        for path in made:
            mark.note(path)
        return True
    except OSError as error:
        mark.forget()
        if error.errno not in _FULL:
            raise LxcError(f"cannot note in {mark.path} what is being removed: {describe(error)}") from error
        log.info(f"{mark.path} stays empty: {describe(error)}")
        return False


def _config(folder: str) -> Config:
    try:
        return Config.read(f"{folder}/config")
    except ConfigError as error:
        raise LxcError(
            f"its configuration cannot be read, so what belongs to it is not known: {error.message}",
            remedy=f"correct the line, or remove {folder} by hand",
        ) from error


def refuse_dependants(name: str, folder: str) -> None:
    """Raise LxcError for clones that need its root file system, and snapshots that would vanish with it."""
    used = dependants.users(folder)
    if used:
        raise LxcError(f"Destroying {name} failed: {name} has clones: {used}", remedy="destroy them first, or use -s")
    try:
        snapshots = os.listdir(f"{folder}/snaps")
    except (FileNotFoundError, NotADirectoryError):
        return
    if snapshots:
        raise LxcError(
            f"Destroying {name} failed: {name} has snapshots: {', '.join(sorted(snapshots))}",
            remedy="destroy them first, with lxc-snapshot -d, or use -s",
        )


def _removable_rootfs(conf: Config, folder: str) -> str:
    """The path of the root file system that goes with the container in a folder, "" for none.

    Raises LxcError when it must not go, or the folder must not.
    """
    path = str.__str__(conf["lxc.rootfs.path"])
    module = storage.for_config(conf) if path and (conf.rootfs_type or os.path.lexists(path)) else None
    if module is not None and not (os.path.lexists(path) or module.exists(path)):
        module = None
    if module is not None and keeps_rootfs(folder, path):
        log.tell(f"kept {path}: it was there before the container")
        module = None
    refuse_shared(folder, module.belongings(path) if module is not None else [])
    return path if module is not None else ""
