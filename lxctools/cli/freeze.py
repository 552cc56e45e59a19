# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-freeze: stop all processes of a container."""

from __future__ import annotations

from ..container import Container
from ..errors import Denied, LxcError, describe
from ._options import Command, Values

COMMAND = Command("freeze", "[-n] NAME [OPTIONS]", "Stop all processes of a running container until lxc-unfreeze.", most_words=0)


def run(values: Values) -> int:
    """Exit 0 also when it is frozen already."""
    container = Container(values.name, values.lxcpath, rcfile=values.rcfile)
    try:
        container.require_running()
        container.freeze()
    except Denied:
        raise
    except (LxcError, OSError) as error:
        raise LxcError(f"Failed to freeze {container.lxcpath}:{container.name}: {describe(error)}") from error
    return 0
