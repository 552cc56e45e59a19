# SPDX-License-Identifier: LGPL-2.1-or-later
"""Renaming a container in place: its folder gets the new name, and nothing is copied.

    NAME/.rename          what undoes it: both names and the configuration                    (on disk first)
    NAME -> NEW           one rename(2)
    configuration rewritten, clone hooks run with the new name, destroy hooks with the old one
    names -> done         in NEW/.rename: from here on it is renamed
    host name written, whom it needs told to forget the old name, NEW/.rename removed

C LXC copies everything and destroys the old container: files beside the root file system are lost, and an overlay cannot be
renamed. What a clone hook has changed in the root file system is not undone when a later step fails.
"""

from __future__ import annotations

import os

from .. import files, locks, log, process
from ..config.conf import Config
from ..errors import LxcError, NotDefined, describe
from ..hooks.run import HookContext, run_hooks
from ..linux import rename as kernel
from ..protocol import client
from . import clonehook, dependants
from .copyconf import Move, rewrite
from .folder import CONFIG
from .steps import step

JOURNAL = ".rename"
_NAMES, _DONE = "names", "done"  # the old and the new name, before and after it counts


def rename(name: str, lxcpath: str, new_name: str) -> None:
    """Rename a container. Raises LxcError; then it has its old name, and is as it was."""
    folder, new = f"{lxcpath}/{name}", f"{lxcpath}/{new_name}"
    if new_name == name:
        raise LxcError(f"{name} is its name already", remedy="choose another one")
    if not os.path.lexists(f"{folder}/{CONFIG}"):
        raise NotDefined(f"{name} is not defined", remedy=f"lxc-ls -P {lxcpath} lists those that are")
    if os.path.lexists(f"{new}/{CONFIG}"):
        raise LxcError(f"error: clone: {new}/{CONFIG} exists", remedy="choose another name, or destroy it first")
    first, second = sorted((name, new_name))
    with locks.ContainerLock(lxcpath, first), locks.ContainerLock(lxcpath, second):
        if client.state(name, lxcpath) is not None:
            raise LxcError(f"error: Original container ({name}) is running", remedy="stop it first")
        _refuse_dependants(folder)
        try:
            if os.path.isdir(new) and not os.path.islink(new):
                os.rmdir(new)  # an empty one is reused, as for a copy
            _write_journal(name, folder, new_name)
        except OSError as error:
            raise LxcError(f"cannot rename {name} to {new_name}: {describe(error)}") from error
        held = [(lxcpath, name), (lxcpath, new_name)]
        try:
            _rename(name, lxcpath, new_name, held)
        except BaseException as error:
            if os.path.exists(f"{new}/{JOURNAL}/{_DONE}"):
                _complete(name, lxcpath, new_name, held)
                raise
            _undo(name, lxcpath, new_name, held)
            if isinstance(error, OSError):
                raise LxcError(f"cannot rename {name} to {new_name}: {describe(error)}") from error
            raise
        try:
            _complete(name, lxcpath, new_name, held)
        except (LxcError, OSError) as error:
            log.error(f"{name} is now {new_name}, but not all of the old name is gone: {describe(error)}; the next command tries again")


def _refuse_dependants(folder: str) -> None:
    used = dependants.users(folder)
    try:
        snapshots = sorted(os.listdir(f"{folder}/snaps"))
    except OSError:
        snapshots = []
    if used or snapshots:
        what = f"its clones need it: {used}" if used else f"it has {', '.join(snapshots)}"
        raise LxcError(f"Renaming a container with snapshots is not supported: {what}", remedy="destroy them first")


def _rename(name: str, lxcpath: str, new_name: str, held: list[tuple[str, str]]) -> None:
    folder, new = f"{lxcpath}/{name}", f"{lxcpath}/{new_name}"
    old = Config.read(f"{folder}/{CONFIG}")
    conf = Config.read(f"{folder}/{CONFIG}")
    move = Move(folder, new, new_name)
    value = _moved(conf, move)
    text = rewrite(conf, move, value, keep_name=False, keep_mac=True, copy_files=False)
    needs = dependants.needs(folder)
    if needs:
        dependants.record(folder, lxcpath, new_name, needs, held)
    step("rename the folder")
    kernel.rename_new(folder, new)
    step("write the configuration")
    files.write_atomic(f"{new}/{CONFIG}", text.encode("utf-8", "surrogateescape"))
    files.sync_folder(lxcpath)
    conf = Config.read(f"{new}/{CONFIG}")
    told = clonehook.Copy(new_name, name, new, new, value)
    clonehook.finish(conf, told)
    context = HookContext(name, lxcpath, old, process.callers_environment())
    run_hooks(context, "destroy", environment=context.outside())
    step("commit")
    os.rename(f"{new}/{JOURNAL}/{_NAMES}", f"{new}/{JOURNAL}/{_DONE}")
    files.sync_folder(f"{new}/{JOURNAL}")


def _moved(conf: Config, move: Move) -> str:
    """lxc.rootfs.path with each folder of the old container in the new one; volumes keep their names."""
    path = str.__str__(conf["lxc.rootfs.path"])
    if not path:
        return ""
    kind = conf.rootfs_type
    parts = path.split(":") if kind in ("overlay", "overlayfs") else [path]
    return (f"{kind}:" if kind else "dir:" if os.path.isdir(path) else "") + ":".join(move.path(part) for part in parts)


def _write_journal(name: str, folder: str, new_name: str) -> None:
    """`names` comes last: without it and `done` nothing has changed."""
    journal = f"{folder}/{JOURNAL}"
    step("write the journal")
    os.makedirs(journal, 0o700, exist_ok=True)
    with open(f"{folder}/{CONFIG}", "rb") as file:
        files.write_atomic(f"{journal}/config", file.read(), 0o600)
    files.write_atomic(f"{journal}/{_NAMES}", f"{name}\0{new_name}\0".encode("utf-8", "surrogateescape"), 0o600)
    files.sync_folder(journal)
    files.sync_folder(folder)


def _undo(name: str, lxcpath: str, new_name: str, held: list[tuple[str, str]]) -> None:
    folder, new = f"{lxcpath}/{name}", f"{lxcpath}/{new_name}"
    at = new if os.path.isdir(f"{new}/{JOURNAL}") else folder
    journal = f"{at}/{JOURNAL}"
    try:
        with open(f"{journal}/config", "rb") as file:
            text = file.read()
        with open(f"{at}/{CONFIG}", "rb") as file:
            changed = file.read() != text
        if changed:
            files.write_atomic(f"{at}/{CONFIG}", text)
        if at == new:
            kernel.rename_new(new, folder)
        dependants.forget(lxcpath, new_name, dependants.needs(folder), held)
        files.sync_folder(lxcpath)
        files.remove_tree(f"{folder}/{JOURNAL}")
    except OSError as error:
        raise LxcError(f"cannot undo the renaming of {name} to {new_name}: {describe(error)}") from error


def _complete(name: str, lxcpath: str, new_name: str, held: list[tuple[str, str]]) -> None:
    """What is left when it counts; each of it may have been done before. Raises LxcError, OSError."""
    new = f"{lxcpath}/{new_name}"
    step("write the host name")
    conf = Config.read(f"{new}/{CONFIG}")
    kind, path = conf.rootfs_type or "dir", str.__str__(conf["lxc.rootfs.path"])
    told = clonehook.Copy(new_name, name, new, new, f"{kind}:{path}" if conf.rootfs_type or os.path.isdir(path) else "")
    told.hostname, told.hooks = new_name, False
    clonehook.finish(conf, told)
    step("forget the old name")
    dependants.forget(lxcpath, name, dependants.needs(new), held)
    files.remove_tree(f"{new}/{JOURNAL}")


def recover(name: str, lxcpath: str) -> str:
    """Undo an interrupted renaming from or to this name, or finish it; what was done, in words. Raises LxcError."""
    at = _find(name, lxcpath)
    names = _names(at) if at else []
    if not names:
        return _clear(name, lxcpath, at) if at else ""
    old, new = names
    first, second = sorted(names)
    with locks.ContainerLock(lxcpath, first), locks.ContainerLock(lxcpath, second):
        held = [(lxcpath, old), (lxcpath, new)]
        if os.path.exists(f"{lxcpath}/{new}/{JOURNAL}/{_DONE}"):
            _complete(old, lxcpath, new, held)
            return f"finished an interrupted renaming of {old} to {new}"
        if not os.path.exists(f"{at}/{JOURNAL}/{_NAMES}"):
            return ""  # it has come to its end while we waited
        _undo(old, lxcpath, new, held)
    return f"undid an interrupted renaming of {old} to {new}"


def _names(folder: str) -> list[str]:
    """The old and the new name of a renaming; [] where there is none, or one that has not begun. Raises OSError."""
    for note in (_NAMES, _DONE):
        try:
            return files.read_text(f"{folder}/{JOURNAL}/{note}").split("\0")[:2]
        except (FileNotFoundError, NotADirectoryError):
            continue
    return []


def _clear(name: str, lxcpath: str, at: str) -> str:
    """Remove a journal of which not the last word was written, or is left; what was done, in words."""
    with locks.ContainerLock(lxcpath, os.path.basename(at)):
        if not os.path.isdir(f"{at}/{JOURNAL}") or _names(at):
            return ""
        files.remove_tree(f"{at}/{JOURNAL}")
    return f"cleared what an interrupted renaming of {name} had left"


def _find(name: str, lxcpath: str) -> str:
    """The folder with the journal of a renaming of this container; under another name when this one has no folder."""
    folder = f"{lxcpath}/{name}"
    if os.path.isdir(f"{folder}/{JOURNAL}"):
        return folder
    if os.path.lexists(folder):
        return ""
    try:
        entries = os.listdir(lxcpath)
    except OSError:
        return ""
    for entry in entries:
        other = f"{lxcpath}/{entry}"
        try:
            if name in _names(other):
                return other
        except OSError:
            continue
    return ""
