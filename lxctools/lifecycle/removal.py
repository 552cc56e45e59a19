# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-destroy -s and --dry-run: what goes with a container, and removing all of it, those that need it first."""

from __future__ import annotations

import os

from ..config.conf import Config
from ..errors import LxcError, NotDefined
from ..protocol import client
from ..storage import backend as storage
from . import dependants, snapshot
from .destroy import check_removable, destroy, refuse_dependants, refuse_link, refuse_undefined
from .folder import CONFIG, keeps_rootfs
from .recover import settle


def plan(name: str, lxcpath: str, *, snapshots: bool) -> list[tuple[str, str]]:
    """What a removal would take, in order: ("rootfs", path), ("folder", path); ("kept", path) stays. Raises LxcError.

    snapshots: with its snapshots and clones; without, raises LxcError when there are any.
    """
    refuse_undefined(name, lxcpath)
    found: list[tuple[str, str]] = []
    for other, place in _order(name, lxcpath) if snapshots else [(name, lxcpath)]:
        folder = f"{place}/{other}"
        conf = Config.read(f"{folder}/{CONFIG}")
        if not snapshots:
            refuse_dependants(name, folder)
        if not conf["lxc.rootfs.managed"]:
            found.append(("kept", folder))
            continue
        path = str.__str__(conf["lxc.rootfs.path"])
        if path:
            kept = keeps_rootfs(folder, path)
            if not kept and not snapshots:  # with -s, those that use it too may go before it
                check_removable(folder, conf)
            found.append(("kept" if kept else "rootfs", f"{storage.type_of(conf)}:{path}" if conf.rootfs_type or os.path.lexists(path) else path))
        found.append(("folder", folder))
    return found


def destroy_all(name: str, lxcpath: str, *, force: bool = False) -> None:
    """Remove a container, its snapshots, and the containers that need it. Raises LxcError.

    Nothing is removed when one of them runs, unless force, which ends it.
    """
    order = _order(name, lxcpath)
    for other, place in order:
        refuse_link(f"{place}/{other}")
        if client.state(other, place) is not None and not force:
            raise LxcError(f"{other} is running", remedy="stop it first, or use -f")
    for other, place in order:
        destroy(other, place, force=force)
    folder = snapshot.place(name, lxcpath)
    if os.path.isdir(folder) and not os.listdir(folder):
        os.rmdir(folder)


def _order(name: str, lxcpath: str) -> list[tuple[str, str]]:
    """(name, lxcpath) of all that goes, each after those that need it. Raises LxcError where something else would go with it."""
    settle(name, lxcpath)
    if not os.path.exists(f"{lxcpath}/{name}/{CONFIG}"):
        raise NotDefined("Container is not defined", remedy=f"lxc-ls -P {lxcpath} lists those that are")
    found: list[tuple[str, str]] = []
    _visit(name, lxcpath, found, [])
    return found


def _visit(name: str, lxcpath: str, found: list[tuple[str, str]], above: list[tuple[str, str]]) -> None:
    if (name, lxcpath) in found or (name, lxcpath) in above or not os.path.exists(f"{lxcpath}/{name}/{CONFIG}"):
        return
    below = [*above, (name, lxcpath)]
    snapshot.refuse_strays(name, lxcpath)
    for place, other in dependants.needed_by(f"{lxcpath}/{name}"):
        _visit(other, place, found, below)
    for saved in reversed(snapshot.snapshots(name, lxcpath)):
        _visit(saved.name, saved.folder, found, below)
    found.append((name, lxcpath))
