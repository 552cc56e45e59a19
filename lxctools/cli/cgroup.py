# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-cgroup: read or write a cgroup file of a running container."""

from __future__ import annotations

import os

from ..container import Container
from ..errors import LxcError, NotRunning, describe
from . import _out
from ._options import BadValue, Command, Values


def _check(values: Values) -> None:
    if not values.words:
        raise BadValue("Missing state object: name a file such as memory.max")


COMMAND = Command(
    "cgroup",
    "[-n] NAME FILE [VALUE]",
    "Print a cgroup file of the container's limits, such as memory.max, or write VALUE to it.",
    most_words=2,
    surplus="quote a VALUE with blanks in it",
    check=_check,
)


def run(values: Values) -> int:
    """0 done, 1 not."""
    item, *further = values.words
    container = Container(values.name, values.lxcpath, rcfile=values.rcfile)
    container.require_control()
    where = f"{container.lxcpath}:{container.name}"
    if not container.running:
        raise NotRunning(f"'{where}' is not running")
    plain = os.path.basename(item) == item and item not in ("", ".", "..")
    if not further:
        failed = f"Failed to retrieve value of '{item}' for '{where}'"
        try:
            value = container.get_cgroup_item(item) if plain else None
        except OSError as error:
            raise LxcError(f"{failed}: {describe(error)}") from error
        if value is None:
            remedy = "the part before the first dot is the controller" if plain else "a file name, without folders"
            raise LxcError(f"{failed}: there is no such file", remedy=remedy)
        _out.line(value)
        return 0
    value = further[0]
    failed = f"Failed to assign '{value}' value to '{item}' for '{container.name}'"
    if not plain or not value:
        raise LxcError(f"{failed}: {'an empty value' if plain else 'a file name has no folders'}")
    try:
        container.set_cgroup_item(item, value)
    except OSError as error:
        raise LxcError(f"{failed}: {describe(error)}") from error
    except (LxcError, ValueError) as error:
        raise LxcError(f"{failed}: {describe(error)}") from error
    return 0
