# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-destroy: remove a container and its root file system."""

from __future__ import annotations

import os

from .. import log
from ..container import Container
from ..errors import LxcError, NotDefined, Unsupported
from ._options import NONE, Command, Option, Values

COMMAND = Command(
    "destroy",
    "[-n] NAME [-f]",
    "Remove the container with its configuration and root file system.",
    (
        Option("f", "force", NONE, "force", "stop it first when it is running"),
        Option("s", "snapshots", NONE, "snapshots", "remove its snapshots too"),
    ),
    undo=True,
)


def run(values: Values) -> int:
    """0 removed, 1 nothing removed, or not everything; then the message says what is left."""
    container = Container(values.name, values.lxcpath)
    if values.rcfile is not None:
        raise Unsupported(
            "not supported: --rcfile with lxc-destroy would remove the rootfs that another file names",
            remedy="destroy the container that owns it",
        )
    container.require_control()
    running = container.running
    if not container.defined and not _half_made(container):
        raise NotDefined(f"Container is not defined: there is no {container.config_file_name}")
    _refuse_dependents(container, values)
    if running and not values.force:
        raise LxcError(f"{container.name} is running", remedy="lxc-stop it first, or -f")
    try:
        container.destroy(force=values.force)
    except LxcError as error:
        error.message = f"Destroying {container.name} failed: {error.message}"
        raise
    log.info(f"Destroyed container {container.name}")
    return 0


def _half_made(container: Container) -> bool:
    """Whether an interrupted lxc-create left something to clean up."""
    return os.path.lexists(f"{container.lxcpath}/{container.name}/partial")


def _refuse_dependents(container: Container, values: Values) -> None:
    folder = f"{container.lxcpath}/{container.name}"
    if _has_snapshots(folder):
        if values.snapshots:
            raise Unsupported(f"not supported yet: destroying the snapshots in {folder}/snaps")
        raise LxcError(f"Destroying {container.name} failed: {container.name} has snapshots in {folder}/snaps")
    if os.path.exists(f"{folder}/lxc_snapshots"):
        raise LxcError(f"Destroying {container.name} failed: {container.name} has clones; see {folder}/lxc_snapshots")


def _has_snapshots(folder: str) -> bool:
    try:
        return bool(os.listdir(f"{folder}/snaps"))
    except OSError:
        return False
