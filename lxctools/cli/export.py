# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-export: write a container to one file, for lxc-import on this or another host."""

from __future__ import annotations

from ..container import Container
from ..errors import LxcError, NotDefined
from ._options import NONE, Command, Option, Values

COMMAND = Command(
    "export",
    "[-n] NAME FILE [-s] [-a] [-f]",
    "Write the container to FILE, a tar compressed by zstd; - is standard output.",
    (
        Option("s", "snapshots", NONE, "snapshots", "with its snapshots"),
        Option("a", "allowrunning", NONE, "allowrunning", "although it runs: what changes meanwhile may be torn"),
        Option("f", "force", NONE, "force", "replace FILE if it is there"),
    ),
    undo=True,
)


def run(values: Values) -> int:
    """0 written, 1 not; then FILE is what it was."""
    if len(values.words) != 1:
        hint = "give one, or - for standard output" if not values.words else "one at a time"
        raise LxcError(f"{len(values.words) or 'no'} files to write to", remedy=hint)
    container = Container(values.name, values.lxcpath, rcfile=values.rcfile)
    container.require_control()
    try:
        container.export(
            values.words[0],
            snapshots=values.snapshots,
            allow_running=values.allowrunning,
            force=values.force,
            quiet=values.quiet,
        )
    except NotDefined:
        raise
    except LxcError as error:
        error.message = f"Failed to export {values.name}: {error.message}"
        raise
    return 0
