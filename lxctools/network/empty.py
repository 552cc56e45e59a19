# SPDX-License-Identifier: LGPL-2.1-or-later
"""The types that make no device: empty (only lo) and none (the host's network)."""

from __future__ import annotations

from ..errors import LxcError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.net import Net
    from ..linux.rtnetlink import Rtnl


def create(net: Net, _rtnl: Rtnl, _pid: int) -> None:
    """Nothing to make. Raises LxcError for a name that is not lo."""
    if net.type == "empty" and net["name"] not in ("", "lo"):
        raise LxcError(
            f"lxc.net.{net.index}.name = {net['name']}: a network of type empty has lo only",
            remedy="remove the name, or use another type",
        )


def script_arguments(_net: Net) -> list[str]:
    """Nothing but the type."""
    return []


def remove(_net: Net, _rtnl: Rtnl) -> None:
    """Nothing to remove."""
