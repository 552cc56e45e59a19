# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-snapshot: whole containers called snap0, snap1, ... in NAME/snaps, with the time in `ts` and a remark in `comment`."""

from __future__ import annotations

import os
import time

from .. import files, locks, log, process
from ..config.conf import Config
from ..errors import LxcError, NotDefined, describe
from ..hooks.run import HookContext, run_hooks
from ..paths import printable
from ..protocol import client
from ..storage import backend as storage
from ..undo import Undo, held
from . import dependants, swap
from .copy import Source, Wishes, build, copy
from .destroy import destroy
from .folder import CONFIG, MARK, remove_if_empty
from .recover import settle
from .reserve import reserve
from .steps import step

_TIME = "%Y:%m:%d %H:%M:%S"


class Snapshot:
    """One snapshot. folder: where all of the container's are. time: local, as in `ts`, "" if unknown. comment: its raw text."""

    __slots__ = ("comment", "comment_file", "folder", "name", "time")

    def __init__(self, name: str, folder: str) -> None:
        self.name = name
        self.folder = folder
        self.time = _text(f"{folder}/{name}/ts")
        self.comment_file = f"{folder}/{name}/comment"
        self.comment = _text(self.comment_file)


def place(name: str, lxcpath: str) -> str:
    """The folder of a container's snapshots: that of LXC 1.0, LXCPATHsnaps/NAME, where LXCPATHsnaps is, else NAME/snaps."""
    old = f"{lxcpath}snaps"
    return f"{old}/{name}" if os.path.isdir(old) else f"{lxcpath}/{name}/snaps"


def snapshots(name: str, lxcpath: str) -> list[Snapshot]:
    """The snapshots of a container, oldest number first. Raises LxcError."""
    folder = place(name, lxcpath)
    try:
        entries = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise LxcError(f"cannot list the snapshots in {folder}: {describe(error)}") from error
    whole = [
        entry
        for entry in entries
        if os.path.exists(f"{folder}/{entry}/{CONFIG}") and locks.partial_state(folder, entry) == locks.ABSENT
    ]
    return [Snapshot(entry, folder) for entry in sorted(whole, key=_order)]


def refuse_strays(name: str, lxcpath: str) -> None:
    """Clear what killed commands left among the snapshots; raise LxcError for what else is there and is none."""
    folder = place(name, lxcpath)
    if not os.path.isdir(folder):
        return
    with locks.ContainerLock(lxcpath, name):
        settle_all(folder)
    strays = sorted(set(os.listdir(folder)).difference(found.name for found in snapshots(name, lxcpath)))
    if strays:
        raise LxcError(
            f"in {folder} there is what is no snapshot of {name}: {', '.join(map(printable, strays))}",
            remedy="remove it or move it elsewhere; nothing has been removed",
        )


def _order(name: str) -> tuple[int, str]:
    digits = name.removeprefix("snap")
    return (int(digits) if digits.isascii() and digits.isdecimal() else -1, name)


def create(name: str, lxcpath: str, *, comment: str = "", quiet: bool = False) -> str:
    """Make the next snapshot and return its name. comment: a file to keep with it. Raises LxcError; then there is none."""
    source = Source(name, lxcpath)
    _refuse_storage(source)
    source.refuse_running()
    remark = _read_comment(comment) if comment else None
    folder = place(name, lxcpath)
    wishes = Wishes(snapshot=True, maybe_snapshot=True, keep_type=True, keep_name=True, keep_mac=True, quiet=quiet)

    def complete(made: str) -> None:
        step("write ts")
        try:
            files.write_atomic(f"{made}/ts", time.strftime(_TIME).encode())
            if remark is not None:
                files.write_atomic(f"{made}/comment", remark)
        except OSError as error:
            raise LxcError(f"cannot write the snapshot's time and comment: {describe(error)}") from error

    with Undo() as undo:
        try:
            with held():
                os.makedirs(folder, 0o755)
                undo(remove_if_empty, folder)
        except FileExistsError:
            pass
        except OSError as error:
            raise LxcError(f"cannot make the folder of the snapshots {folder}: {describe(error)}") from error
        with locks.ContainerLock(lxcpath, name):
            # The lock makes a number this command's own; a folder without a mark was given up before it got one.
            settle_all(folder)
            number = 0
            while os.path.lexists(f"{folder}/snap{number}"):
                number += 1
            chosen = f"snap{number}"
            partial = reserve(chosen, folder, source.conf["lxc.idmap"], undo)
        copy(source, chosen, folder, wishes, complete, (partial, undo))
    return chosen


def settle_all(folder: str) -> None:
    """Clear what killed commands left among the snapshots. The caller holds the container's lock."""
    try:
        entries = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if locks.partial_state(folder, entry) != locks.ONGOING:
            settle(entry, folder)


def _refuse_storage(source: Source) -> None:
    conf = source.conf
    kind = storage.type_of(conf) if conf["lxc.rootfs.path"] else ""
    if not kind or not storage.load(kind).INFO.can_backup:
        what = f"storage of the type {kind} has no snapshots here" if kind else "it has no root file system"
        raise LxcError(f"{source.name}'s backing store cannot be backed up: {what}", remedy="copy it with lxc-copy")


def _read_comment(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise LxcError(f"cannot read the comment {path}: {describe(error)}") from error


def _text(path: str) -> str:
    try:
        return files.read_text(path)
    except OSError:
        return ""


# -- restoring ----------------------------------------------------------------------------------------------------------


def restore(name: str, lxcpath: str, snapshot: str, new_name: str | None = None, *, quiet: bool = False) -> None:
    """Make the container new_name, default: name itself, from a snapshot. Raises LxcError; then all is as before."""
    settle(name, lxcpath)
    folder = f"{lxcpath}/{name}"
    if not os.path.exists(f"{folder}/{CONFIG}"):
        raise NotDefined(f"{name} is not defined", remedy=f"lxc-ls -P {lxcpath} lists those that are")
    _refuse_dependants(folder)
    saved = _find(name, lxcpath, snapshot)
    if new_name is not None and new_name != name:
        copy(saved, new_name, lxcpath, _restoring(Config.read(f"{folder}/{CONFIG}"), quiet=quiet))
        return
    before = os.umask(0o022)
    try:
        with locks.ContainerLock(lxcpath, name):
            _refuse_dependants(folder)  # whoever had the lock may have made one
            _in_place(saved, name, lxcpath, quiet=quiet)
    finally:
        os.umask(before)


def _refuse_dependants(folder: str) -> None:
    used = dependants.users(folder)
    if used:
        raise LxcError(f"container rootfs has dependent snapshots: {used}", remedy="destroy them first")


def _restoring(conf: Config, *, quiet: bool) -> Wishes:
    """As what the container is now, of the size that it has. Storage without snapshots is restored by a full copy."""
    module, path = storage.for_config(conf), str.__str__(conf["lxc.rootfs.path"])
    shares = module.INFO.can_snapshot
    options = {}
    if module.INFO.is_block and not shares and module.exists(path):
        size, fstype = module.size_and_type(path)
        options = {"fssize": str(size), "fstype": fstype}
    return Wishes(backend=storage.type_of(conf), options=options, snapshot=shares, maybe_snapshot=shares, quiet=quiet)


def _find(name: str, lxcpath: str, snapshot: str) -> Source:
    folder = place(name, lxcpath)
    if "/" in snapshot or snapshot in ("", ".", "..") or not os.path.exists(f"{folder}/{snapshot}/{CONFIG}"):
        raise LxcError(
            f"Could not open snapshot {snapshot}: {name} has none of this name in {folder}", remedy=f"lxc-snapshot -n {name} -L lists them"
        )
    return Source(snapshot, folder)


def _in_place(saved: Source, name: str, lxcpath: str, *, quiet: bool) -> None:
    """The caller holds the container's lock."""
    folder = f"{lxcpath}/{name}"
    stage = f"{folder}/{swap.STAGE}"
    own = (lxcpath, name)
    _refuse_running(name, lxcpath)
    old = Config.read(f"{folder}/{CONFIG}")
    needed_before = dependants.needs(folder)
    context = HookContext(name, lxcpath, old, process.callers_environment())
    with Undo() as undo:
        step("make the stage")
        try:
            with held():
                os.mkdir(stage, 0o770)
                undo(swap.clean, folder)
                mark = locks.PartialLock(stage)
                undo(mark.release)
        except OSError as error:
            raise LxcError(f"cannot make {stage}: {describe(error)}") from error
        build(
            saved,
            name,
            lxcpath,
            stage,
            _restoring(old, quiet=quiet),
            undo,
            mark,
            held=[own],
            before_hooks=lambda: run_hooks(context, "destroy", environment=context.outside()),
        )
        with held():  # interrupted from here on, it is restored
            swap.commit(folder, _entries(folder, stage, old), old["lxc.idmap"])
            undo.commit()
        mark.abandon()
    try:
        swap.clean(folder)
    except LxcError as error:
        log.error(f"{name} is restored, but its old state could not be removed: {error}; the next command tries again")
    needed = dependants.needs(folder)
    gone = [pair for pair in needed_before if not any(dependants.same(pair, other) for other in needed)]
    dependants.forget(lxcpath, name, gone, [own])


def _entries(folder: str, stage: str, old: Config) -> list[str]:
    """What changes places. The lower folder of an overlay stays: the snapshots lie over it, too."""
    entries = [name for name in os.listdir(stage) if name != MARK]
    if not storage.for_config(old).INFO.is_folder and "rootfs" in entries and os.path.isdir(f"{folder}/rootfs"):
        entries.remove("rootfs")
    return sorted(entries)


def _refuse_running(name: str, lxcpath: str) -> None:
    if client.state(name, lxcpath) is not None:
        raise LxcError(f"container {name} is not stopped: it cannot be replaced while it runs", remedy="stop it, or restore to a new name")


# -- removing -----------------------------------------------------------------------------------------------------------


def remove(name: str, lxcpath: str, snapshot: str) -> None:
    """Remove a snapshot, with the rules of lxc-destroy. Raises LxcError."""
    folder = place(name, lxcpath)
    _find(name, lxcpath, snapshot)
    try:
        destroy(snapshot, folder)
    except LxcError as error:
        raise LxcError(f"Could not destroy snapshot {snapshot}: {error.message}", remedy=error.remedy) from error
    remove_if_empty(folder)


def remove_all(name: str, lxcpath: str) -> None:
    """Remove every snapshot; one that cannot be removed does not keep the others. Raises LxcError naming those left."""
    folder = place(name, lxcpath)
    with locks.ContainerLock(lxcpath, name):
        settle_all(folder)
    found = snapshots(name, lxcpath)
    if not found:
        raise LxcError(f"{name} has no snapshots in {folder}")
    failed = []
    for snapshot in reversed(found):
        try:
            remove(name, lxcpath, snapshot.name)
        except LxcError as error:
            log.error(str(error))
            failed.append(snapshot.name)
    if failed:
        raise LxcError(f"could not destroy the snapshots {', '.join(failed)}")
