# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-clone: LXC 1.0's command line for what lxc-copy does. Its -n, -o, -p and -P mean other things than elsewhere."""

from __future__ import annotations

from .. import log, paths
from ..container import Container, get_global_config_item
from ..errors import LxcError
from . import _options, _out
from ._options import NONE, REQUIRED, Command, Ended, Option, Values, lxcpath, other_lxcpath
from ._values import size

COMMAND = Command(
    "clone",
    "[OPTIONS] ORIG NEW [HOOK-ARGUMENTS]",
    "Copy a container; lxc-copy is its successor.",
    (
        Option("s", "snapshot", NONE, "snapshot", "make a snapshot: what is equal is shared"),
        Option("B", "backingstore", REQUIRED, "backend", "storage type of the copy", metavar="TYPE"),
        Option("L", "size", REQUIRED, "fssize", "size of a new block device", convert=size),
        Option("o", "orig", REQUIRED, "orig", "the container to copy", metavar="NAME"),
        Option("n", "new", REQUIRED, "new", "the copy's name", metavar="NAME"),
        Option("v", "vgname", REQUIRED, "vgname", "not supported", metavar="VG"),
        Option("K", "keepname", NONE, "keepname", "keep the host name"),
        Option("M", "keepmac", NONE, "keepmac", "keep the hardware addresses"),
        Option("H", "", NONE, "copyhooks", "accepted: hooks are always copied"),
        Option("p", "lxcpath", REQUIRED, "source_path", "the folder of the container to copy", metavar="PATH", convert=other_lxcpath),
        Option("P", "newpath", REQUIRED, "newpath", "the folder of containers that gets the copy", metavar="PATH", convert=other_lxcpath),
        Option("R", "rename", NONE, "rename", "rename the container instead of copying it"),
        Option("t", "fstype", REQUIRED, "fstype", "not supported", metavar="TYPE"),
        _options.HELP,
    ),
    named=False,
    rcfile=False,
    common=False,
    undo=True,
)  # fmt: skip


def parse(argv: list[str], called: str) -> Values:
    """Read the command line; --help too is preceded by the notice."""
    _out.complain("lxc-clone is deprecated in favor of lxc-copy.\n\n")
    values = _options.read_own(COMMAND, argv, called)
    words = values.words
    for name in ("orig", "new"):
        if getattr(values, name) is None and words:
            setattr(values, name, words.pop(0))
    wrong = "" if values.orig and values.new else "you must provide orig and new names"
    if values.rename and values.newpath is not None:
        wrong = "-R does not go with -P"
    for name in ("vgname", "fstype"):
        if getattr(values, name) is not None:
            wrong = f"{name} not supported"
    if wrong:
        raise Ended(1, stdout=f"Error: {wrong}\n{_options.help_text(COMMAND)}")
    return values


def run(values: Values) -> int:
    """0 copied, 1 not copied."""
    log.setup(COMMAND.prog, paths.printable(values.orig))
    paths.check_name(values.orig, new=False)
    container = Container(values.orig, values.source_path or lxcpath(get_global_config_item("lxc.lxcpath")))
    container.require_control()
    if not container.defined:
        raise LxcError(f"Error: container {values.orig} is not defined")
    try:
        if values.rename:
            container.rename(values.new)
            return 0
        container.clone(
            values.new,
            config_path=values.newpath or "",
            bdevtype="overlay" if values.backend == "overlayfs" else values.backend or "",
            snapshot=values.snapshot,
            keep_name=values.keepname,
            keep_mac=values.keepmac,
            words=values.words,
            options={} if values.fssize is None else {"fssize": str(values.fssize)},
        )
    except LxcError as error:
        what = f"Error: Renaming container {values.orig} to {values.new} failed" if values.rename else "clone failed"
        error.message = f"{what}: {error.message}"
        raise
    _out.text(f"Created container {values.new} as {'snapshot' if values.snapshot else 'copy'} of {values.orig}\n")
    return 0
