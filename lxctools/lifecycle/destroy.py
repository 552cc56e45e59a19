# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-destroy: the destroy hooks, the root file system, the container's folder; nothing that is not the container's."""

from __future__ import annotations

import os

from .. import files, locks, log, process
from ..config.conf import Config
from ..errors import ConfigError, LxcError, NotDefined, describe
from ..hooks.run import HookContext, run_hooks
from ..progress import Progress
from ..protocol import client
from ..storage import backend as storage
from .folder import CONFIG, clear_abandoned, keeps_rootfs, remove_folder


def destroy(name: str, lxcpath: str, *, conf: Config | None = None, force: bool = False) -> None:
    """Remove a container. force: end it first when it runs. Raises NotDefined, LxcError; then what was not removed stays.

    Refused while it runs, while other containers or snapshots need it, and where something is mounted in what would be
    removed. What a killed lxc-create left is removed without hooks. Its configuration goes last: a removal that was cut off is
    taken up by the next one.
    """
    folder = f"{lxcpath}/{name}"
    if locks.partial_state(lxcpath, name) != locks.ABSENT:
        with locks.ContainerLock(lxcpath, name):
            if clear_abandoned(name, lxcpath):
                return
    if not os.path.exists(f"{folder}/{CONFIG}"):
        raise NotDefined("Container is not defined", remedy=f"lxc-ls -P {lxcpath} lists those that are")
    _refuse_dependants(name, folder)
    if client.state(name, lxcpath) is not None:
        if not force:
            raise LxcError(f"{name} is running", remedy="stop it first, or use -f")
        client.stop(name, lxcpath)
        if not os.path.exists(f"{folder}/{CONFIG}"):
            return  # lxc.ephemeral: its monitor has removed it
    if conf is None:
        conf = _config(folder)
    with locks.ContainerLock(lxcpath, name):
        if client.state(name, lxcpath) is not None:
            raise LxcError(f"{name} is running: it has been started just now", remedy="stop it first, or use -f")
        context = HookContext(name, lxcpath, conf, process.callers_environment())
        run_hooks(context, "destroy", environment=context.outside())
        if not conf["lxc.rootfs.managed"]:
            return
        with Progress(f"removing {name}") as beat:
            _remove_rootfs(conf, folder, beat)
            _forget_dependencies(name, lxcpath, folder)
            remove_folder(folder, CONFIG, beat)


def _config(folder: str) -> Config:
    try:
        return Config.read(f"{folder}/config")
    except ConfigError as error:
        raise LxcError(
            f"its configuration cannot be read, so what belongs to it is not known: {error.message}",
            remedy=f"correct the line, or remove {folder} by hand",
        ) from error


def _refuse_dependants(name: str, folder: str) -> None:
    """Clones that need its root file system, and snapshots that would vanish with it."""
    try:
        with open(f"{folder}/lxc_snapshots", encoding="utf-8", errors="surrogateescape") as file:
            text = file.read().strip()
    except FileNotFoundError:
        text = ""
    if text and text != "0":
        users = ", ".join(text.splitlines()[1::2])
        raise LxcError(f"Destroying {name} failed: {name} has clones: {users or text}", remedy="destroy them first")
    try:
        snapshots = os.listdir(f"{folder}/snaps")
    except (FileNotFoundError, NotADirectoryError):
        return
    if snapshots:
        raise LxcError(
            f"Destroying {name} failed: {name} has snapshots: {', '.join(sorted(snapshots))}",
            remedy="destroy them first, with lxc-snapshot -d",
        )
    os.rmdir(f"{folder}/snaps")


def _remove_rootfs(conf: Config, folder: str, beat: Progress) -> None:
    path = conf["lxc.rootfs.path"]
    if not path or not os.path.lexists(path):
        return
    if keeps_rootfs(folder, path):
        log.tell(f"kept {path}: it was there before the container")
        return
    _refuse_shared(path, folder)
    storage.for_config(conf).destroy(path, beat)


def _refuse_shared(path: str, folder: str) -> None:
    """A root file system outside the container's folder may be another container's too."""
    parent = os.path.dirname(folder)
    real = os.path.realpath(path)
    if real.startswith(os.path.realpath(folder) + "/"):
        return
    try:
        siblings = os.listdir(parent)
    except OSError:
        siblings = []
    for sibling in siblings:
        other = f"{parent}/{sibling}"
        if other == folder or not os.path.exists(f"{other}/config"):
            continue
        try:
            other_path = Config.read(f"{other}/config")["lxc.rootfs.path"]
        except LxcError:
            continue
        if other_path and os.path.realpath(other_path) == real:
            raise LxcError(
                f"refusing to remove {path}: {sibling} uses it too", remedy="set lxc.rootfs.managed = 0 in one of them"
            )
    if real.startswith(os.path.realpath(parent) + "/"):
        owner = real[len(os.path.realpath(parent)) + 1 :].split("/")[0]
        if os.path.exists(f"{parent}/{owner}/config"):
            raise LxcError(f"refusing to remove {path}: it lies in the folder of {owner}")


def _forget_dependencies(name: str, lxcpath: str, folder: str) -> None:
    """Take the container out of the lxc_snapshots of those whose root file system it used."""
    try:
        with open(f"{folder}/lxc_rdepends", encoding="utf-8", errors="surrogateescape") as file:
            words = file.read().splitlines()
    except FileNotFoundError:
        return
    for other_path, other_name in zip(words[::2], words[1::2], strict=False):
        with locks.ContainerLock(other_path, other_name):
            listed = f"{other_path}/{other_name}/lxc_snapshots"
            try:
                with open(listed, encoding="utf-8", errors="surrogateescape") as file:
                    lines = file.read().splitlines()
            except FileNotFoundError:
                continue
            pairs = [pair for pair in zip(lines[::2], lines[1::2], strict=False) if pair != (lxcpath, name)]
            try:
                if pairs:
                    text = "".join(f"{place}\n{who}\n" for place, who in pairs)
                    files.write_atomic(listed, text.encode("utf-8", "surrogateescape"))
                else:
                    os.unlink(listed)
            except OSError as error:
                raise LxcError(f"cannot update {listed}: {describe(error)}") from error
