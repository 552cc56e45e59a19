# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-destroy: remove a container and its root file system."""

from __future__ import annotations

from .. import log
from ..container import Container
from ..errors import LxcError, NotDefined, Unsupported
from . import _out
from ._options import NONE, Command, Option, Values

COMMAND = Command(
    "destroy",
    "[-n] NAME [-f] [-s] [--dry-run]",
    "Remove the container with its configuration and root file system.",
    (
        Option("f", "force", NONE, "force", "stop it first when it is running"),
        Option("s", "snapshots", NONE, "snapshots", "remove its snapshots, and the clones that need it, too"),
        Option("", "dry-run", NONE, "dryrun", "remove nothing, and list what would go"),
    ),
    undo=True,
    most_words=0,
    surplus="one container at a time",
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
    try:
        if values.dryrun:
            for what, path in container.belongings(snapshots=values.snapshots):
                _out.text(f"{what} {path}\n")
            return 0
        if values.snapshots:
            container.destroy_with_snapshots(force=values.force)
        else:
            container.destroy(force=values.force)
    except NotDefined:
        raise
    except LxcError as error:
        if not error.message.startswith("Destroying ") and " is running" not in error.message:
            error.message = f"Destroying {container.name} failed: {error.message}"
        raise
    log.info(f"Destroyed container {container.name}")
    return 0
