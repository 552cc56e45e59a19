# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-device: give a running container a device node or a network interface, or take it away."""

from __future__ import annotations

from ..container import Container
from ..errors import LxcError, NotRunning
from ..paths import is_root
from ._options import Command, Values

COMMAND = Command(
    "device",
    "[-n] NAME [--] add|del DEVICE [NAME-INSIDE]",
    "Add a device node or network interface of the host to a running container, or remove it again.",
    most_words=3,
)
_SEE = "Please see --help output"


def run(values: Values) -> int:
    """0 done, 1 not."""
    if not is_root():
        raise LxcError("lxc-device must be run as root")
    container = Container(values.name, values.lxcpath, rcfile=values.rcfile)
    if not container.running:
        container.require_defined()
        raise NotRunning(f"Container {container.name} is not running")
    if len(values.words) < 2:
        raise LxcError(f"Error: no command given ({_SEE})")
    verb, device, *further = values.words
    if not verb or not ("add".startswith(verb) or "del".startswith(verb)):
        raise LxcError(f"Error: Please use add or del ({_SEE})")
    name = further[0] if further else device
    adding = "add".startswith(verb)
    try:
        if adding:
            container.add_device(device, name)
        else:
            container.remove_device(device, name)
    except LxcError as error:
        words = f"Failed to add {device} to {container.name}" if adding else f"Failed to del {device} from {container.name}"
        raise LxcError(f"{words}: {error.message}", remedy=error.remedy) from error
    return 0
