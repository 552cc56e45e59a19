# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-unfreeze: let the processes of a frozen container go on."""

from __future__ import annotations

from ..container import Container
from ..errors import Denied, LxcError, NotDefined, describe
from ._options import Command, Values

COMMAND = Command("unfreeze", "[-n] NAME [OPTIONS]", "Let the processes of a frozen container go on.", most_words=0)


def run(values: Values) -> int:
    """Exit 0 also when it is not frozen or not running."""
    container = Container(values.name, values.lxcpath, rcfile=values.rcfile)
    try:
        if not container.running and not container.defined:
            raise NotDefined(f"{container.name} is not defined", remedy="lxc-ls lists the containers")
        container.unfreeze()
    except Denied:
        raise
    except (LxcError, OSError) as error:
        raise LxcError(f"Failed to unfreeze {container.lxcpath}:{container.name}: {describe(error)}") from error
    return 0
