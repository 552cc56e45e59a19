# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-import: make a container from a file of lxc-export."""

from __future__ import annotations

from .. import container as api
from .. import paths
from ..errors import LxcError
from . import _out
from ._options import REQUIRED, Command, Option, Values
from ._values import size

COMMAND = Command(
    "import",
    "FILE [[-n] NAME] [-B TYPE] [-L SIZE]",
    "Make a container from FILE, which lxc-export wrote; - is standard input.",
    (
        Option("B", "bdev", REQUIRED, "bdev", "storage type of the container", metavar="TYPE"),
        Option("L", "fssize", REQUIRED, "fssize", "size of a new block device; default: what holds the container", metavar="SIZE", convert=size),
    ),
    named=False,
    undo=True,
    rcfile=False,
)


def run(values: Values) -> int:
    """0 made, and then its name is printed unless -q is given; 1 not made, and then nothing of it is left."""
    words = list(values.words)
    if not words:
        raise LxcError("no file to read from", remedy="give one, or - for standard input")
    file = words.pop(0)
    name = values.name if values.name_given else words.pop(0) if words else None
    if words:
        raise LxcError(f'unexpected argument "{paths.printable(words[0])}"', remedy="FILE, and a NAME for the container")
    if name is not None:
        paths.check_name(name)
    options = {} if values.fssize is None else {"fssize": str(values.fssize)}
    made = api.import_container(file, name or "", values.lxcpath, backend=values.bdev or "dir", backend_opts=options, quiet=values.quiet)
    if not values.quiet:
        _out.text(f"{made}\n")
    return 0
