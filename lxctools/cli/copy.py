# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-copy: copy a container, make a snapshot copy of it, or rename it."""

from __future__ import annotations

from ..container import Container
from ..errors import LxcError, NotDefined
from . import _mounts, _out, _session
from ._options import NONE, REQUIRED, BadValue, Command, Option, Values, other_lxcpath
from ._values import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COPY, SNAPSHOT, EPHEMERAL, RENAME = "copy", "snapshot", "ephemeral", "rename"


def _backend(text: str) -> str:
    """LXC behaviour: whatever overlay begins with means it."""
    return "overlay" if "overlay".startswith(text) or text == "overlayfs" else text


def _check(values: Values) -> None:
    """What another task is needed for must not be dropped: the copy or the renaming would not be the one that was meant."""
    for_ephemeral = (("-F", values.foreground), ("-D", values.keepdata), ("-t", values.tmpfs), ("-m", values.mounts))
    for_copies = (
        ("-p", values.newpath is not None), ("-B", values.backend is not None), ("-L", values.fssize is not None),
        ("-K", values.keepname), ("arguments for clone hooks", values.words),
    )  # fmt: skip
    for option, given in for_ephemeral:
        if given and values.task != EPHEMERAL:
            raise BadValue(f"{option} needs -e")
    for option, given in for_copies if values.task == RENAME else ():
        if given:
            raise BadValue(f"-R, which keeps everything in its place, does not go with {option}")


COMMAND = Command(
    "copy",
    "[-n] NAME -N NEWNAME [OPTIONS] [-- HOOK-ARGUMENTS]\n       lxc-copy [-n] NAME -e [-N NEWNAME] [OPTIONS] [-- COMMAND...]",
    "Copy a container, or rename it.",
    (
        Option("N", "newname", REQUIRED, "newname", "the copy's name"),
        Option("p", "newpath", REQUIRED, "newpath", "the folder of containers that gets the copy; it exists", convert=other_lxcpath),
        Option("R", "rename", NONE, "task", "rename the container instead of copying it", "const", const=RENAME),
        Option("s", "snapshot", NONE, "task", "make a snapshot: what is equal is shared", "const", const=SNAPSHOT),
        Option("a", "allowrunning", NONE, "allowrunning", "copy it although it runs"),
        Option("F", "foreground", NONE, "foreground", "with -e: run the copy on this terminal"),
        Option("d", "daemon", NONE, "foreground", "with -e: run the copy in the background (default)", "const", const=False),
        Option("e", "ephemeral", NONE, "task", "start a snapshot that is removed when it ends", "const", const=EPHEMERAL),
        Option("m", "mount", REQUIRED, "mounts", "with -e: bind=SRC[:DST][:ro|rw] or overlay=SRC[:DST], with commas between", "append",
               convert=_mounts.mounts),
        Option("B", "backingstorage", REQUIRED, "backend", "storage type of the copy", metavar="TYPE", convert=_backend),
        Option("L", "fssize", REQUIRED, "fssize", "size of a new block device; unit b, k, m, g, t", metavar="SIZE", convert=size),
        Option("D", "keepdata", NONE, "keepdata", "with -e: keep the copy when it ends"),
        Option("K", "keepname", NONE, "keepname", "keep the host name"),
        Option("M", "keepmac", NONE, "keepmac", "keep the hardware addresses"),
        Option("t", "tmpfs", NONE, "tmpfs", "with -e: what the copy writes goes to memory"),
    ),
    undo=True,
    check=_check,
)  # fmt: skip


def run(values: Values) -> int:
    """0 done, 1 not done, and then nothing has changed; with -e and a command its exit status."""
    task = values.task or COPY
    if not values.newname and (task != EPHEMERAL or values.newname is not None):
        raise LxcError("You must provide a NEWNAME for the clone", remedy="name it with -N")
    container = Container(values.name, values.lxcpath, rcfile=values.rcfile)
    container.require_control()
    if task == EPHEMERAL:
        return _ephemeral(container, values)
    try:
        if task == RENAME:
            container.rename(values.newname)
        else:
            container.clone(values.newname, snapshot=task == SNAPSHOT, **_wishes(values))
    except NotDefined:
        raise
    except LxcError as error:
        what = f"Renaming container {values.name} to {values.newname} failed" if task == RENAME else "Failed to clone"
        error.message = f"{what}: {error.message}"
        raise
    return 0


def _wishes(values: Values) -> dict[str, Any]:
    return {
        "config_path": values.newpath or "",
        "bdevtype": values.backend or "",
        "keep_name": values.keepname,
        "keep_mac": values.keepmac,
        "allow_running": values.allowrunning,
        "words": values.words,
        "options": {} if values.fssize is None else {"fssize": str(values.fssize)},
        "quiet": values.quiet,
    }


def _ephemeral(container: Container, values: Values) -> int:
    def use(made: Container) -> int:
        if not values.quiet:
            _out.line(f"Created {made.name} as clone of {container.name}")
            if values.tmpfs:
                _out.line("Container is placed on tmpfs.\nRebooting will cause all changes made to it to be lost!")
        _out.flush()
        if not values.words:
            return _session.start(made, foreground=values.foreground)
        _session.start(made)
        with _session.ended(made):
            return made.attach(values.words, clear_env=True)

    return container.clone_once(
        use,
        values.newname or "",
        mounts=[mount for group in values.mounts for mount in group],
        tmpfs=values.tmpfs,
        keep_data=values.keepdata,
        **_wishes(values),
    )
