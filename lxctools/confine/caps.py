# SPDX-License-Identifier: LGPL-2.1-or-later
"""The capability bounding set: lxc.cap.drop, lxc.cap.keep, and that of an attached program (capabilities(7))."""

from __future__ import annotations

from ..config.values import number
from ..linux import caps, prctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.conf import Config

NET_ADMIN = caps.NUMBERS["net_admin"]
SYS_ADMIN = caps.NUMBERS["sys_admin"]


def to_drop(conf: Config) -> list[int]:
    """The capabilities that a container's bounding set loses, in order."""
    last = caps.last_cap()
    keep = conf["lxc.cap.keep"]
    if keep:
        kept = {_number(word) for word in keep if word != "none"}
        return [capability for capability in range(last + 1) if capability not in kept]
    dropped = {_number(word) for word in conf["lxc.cap.drop"]}
    return sorted(capability for capability in dropped if capability <= last)


def keeps(conf: Config, capability: int) -> bool:
    """Whether the container keeps a capability."""
    return capability not in to_drop(conf)


def missing(bounding: int) -> list[int]:
    """What is not in a bounding set, given as a mask (CapBnd of /proc/PID/status)."""
    return [capability for capability in range(caps.last_cap() + 1) if not bounding >> capability & 1]


def drop(capabilities: list[int]) -> None:
    """Drop from this process's bounding set. Raises OSError."""
    for capability in capabilities:
        prctl.capbset_drop(capability)


def _number(word: str) -> int:
    return caps.NUMBERS[word] if word in caps.NUMBERS else number(word)
