# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-checkpoint: write a running container's state to a folder, and start it again from there. Not supported yet."""

from __future__ import annotations

import os

from ..container import Container
from ..errors import LxcError, NotDefined, NotRunning, Unsupported
from ..paths import is_root
from ._options import NONE, REQUIRED, BadValue, Command, Option, Values


def _check(values: Values) -> None:
    """LXC's order of the checks; it keeps the reasons to itself."""
    if values.restore and values.stop:
        raise BadValue("-s not compatible with -r")
    if not values.restore and values.foreground is not None:
        raise BadValue("-F and -d are only valid with -r")
    if not values.folder:
        raise BadValue("-D is required")
    if values.restore and values.predump:
        raise BadValue("-p not compatible with -r")


COMMAND = Command(
    "checkpoint",
    "[-n] NAME -D FOLDER [-r [-d | -F]] [-s] [-p] [-v] [-A SCRIPT]",
    "Save the state of a running container in a folder, or restore it from there; not supported yet.",
    (
        Option("D", "checkpoint-dir", REQUIRED, "folder", "the folder of the images", metavar="FOLDER"),
        Option("A", "action-script", REQUIRED, "script", "handed to criu", metavar="SCRIPT"),
        Option("s", "stop", NONE, "stop", "stop the container when its state is saved"),
        Option("v", "verbose", NONE, "verbose", "let criu write a detailed log"),
        Option("r", "restore", NONE, "restore", "restore it"),
        Option("d", "daemon", NONE, "foreground", "restore it in the background (default)", "const", const=False),
        Option("F", "foreground", NONE, "foreground", "restore it and stay until it ends", "const", const=True),
        Option("p", "pre-dump", NONE, "predump", "save the memory only, and let it run"),
        Option("", "predump-dir", REQUIRED, "previous", "images of an earlier --pre-dump, relative to -D", metavar="FOLDER"),
    ),
    most_words=0,
    check=_check,
)


def run(values: Values) -> int:
    """Always fails: with what LXC refuses, or because it is not there yet."""
    container = Container(values.name, values.lxcpath, rcfile=values.rcfile)
    container.require_control()
    if not container.defined:
        raise NotDefined(f"{container.name} is not defined", remedy=f"lxc-ls -P {container.lxcpath} lists what is")
    if values.restore and container.running:
        raise LxcError(f"{container.name} is running, not restoring", remedy="stop it first")
    if not values.restore and not container.running:
        raise NotRunning(f"{container.name} not running, not checkpointing", remedy="start it first")
    if not values.restore and not values.predump and os.path.exists(f"{values.folder}/inventory.img"):
        raise LxcError("please use a fresh directory for the dump directory", remedy=f"{values.folder} holds images already")
    what = "restore" if values.restore else "checkpoint"
    if not is_root():
        raise LxcError(f"Must be root to {what}")
    raise Unsupported(
        f"cannot {what} {container.name}: checkpoint and restore are not supported yet",
        remedy="lxc-stop and lxc-start keep its files, lxc-freeze holds it in memory",
    )
