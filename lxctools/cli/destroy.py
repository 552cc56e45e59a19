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
    rcfile=False,
)


def run(values: Values) -> int:
    """0 removed, 1 not removed, or not everything; then the message says why."""
    container = Container(values.name, values.lxcpath)
    if values.rcfile is not None:
        raise Unsupported(
            "not supported: --rcfile with lxc-destroy would remove the rootfs that another file names",
            remedy="destroy the container that owns it",
        )
    container.require_control()
    snapshots = f"{container.lxcpath}/{container.name}/snaps"
    if values.snapshots and _has_entries(snapshots):
        raise Unsupported(f"not supported yet: destroying the snapshots in {snapshots}")
    try:
        container.destroy(force=values.force)
    except NotDefined:
        raise
    except LxcError as error:
        if not error.message.startswith((f"{container.name} is running", "Destroying ")):
            error.message = f"Destroying {container.name} failed: {error.message}"
        raise
    log.info(f"Destroyed container {container.name}")
    return 0


def _has_entries(folder: str) -> bool:
    try:
        return bool(os.listdir(folder))
    except OSError:
        return False
