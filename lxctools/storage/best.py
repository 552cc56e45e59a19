# SPDX-License-Identifier: LGPL-2.1-or-later
"""`-B best`: the first type, in LXC's order, with which a container can be made here."""

from __future__ import annotations

import os

from ..errors import LxcError
from . import backend as storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def resolve_best(lxcpath: str) -> str:
    """The type that new containers in lxcpath should have: one whose prerequisites are there, at last dir.

    Asked and not tried: a creation that fails half-way would have to be undone, and say so.
    """
    for name in candidates():
        if name == "dir" or storage.load(name).is_usable(lxcpath):
            return name
    raise AssertionError("dir is always usable")


def candidates() -> Iterator[str]:
    """The types in order; for a caller other than root those that need nobody else."""
    for name in storage.BEST:
        if os.geteuid() == 0 or name in ("dir", "btrfs"):
            yield name


def refuse_unprivileged(name: str) -> None:
    """Raise LxcError where a caller other than root asks for a type that only root can make."""
    if os.geteuid() != 0 and name not in ("dir", "btrfs"):
        raise LxcError(
            "Unprivileged users can only create btrfs and directory-backed containers", remedy="use -B dir, or be root"
        )
