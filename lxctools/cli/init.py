# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-init (installed as init.lxc): an init for containers that have none, for lxc.init.cmd and old configurations.

lxc-execute does not need it: its first process is this one's code without the program.
"""

from __future__ import annotations

import _signal

from .. import LXC_VERSION, log
from ..errors import LxcError
from ..process import ALL_SIGNALS, callers_environment
from ..runtime import init
from . import _options
from ._options import Command, Values

COMMAND = Command(
    "init",
    "-n NAME [-q] [-P PATH] -- COMMAND [ARGUMENT...]",
    "Be the first process of a container: run COMMAND, pass signals on to it, and collect orphans.",
    named=False,
    rcfile=False,
)


def parse(argv: list[str], called: str) -> Values:
    """In place of the common one: -P, -o and -l are accepted for old configurations, and passed over."""
    return _options.read(COMMAND, argv, called=called, version=LXC_VERSION)


def run(values: Values) -> int:
    """COMMAND's status, 128 + n for signal n; it ends when no process is left."""
    log.to_stderr(not values.quiet)
    if not values.name:
        raise LxcError("missing container name, use --name option")
    if not values.words:
        raise LxcError("Please specify a command to execute", remedy="write it after --")
    _signal.pthread_sigmask(_signal.SIG_BLOCK, ALL_SIGNALS)
    return init.run(values.words, callers_environment())
