# SPDX-License-Identifier: LGPL-2.1-or-later
"""The capability bounding set: lxc.cap.drop, lxc.cap.keep, and that of an attached program (capabilities(7))."""

from __future__ import annotations

from ..errors import LxcError, describe
from ..linux import caps, prctl
from .numbers import c_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.conf import Config

NET_ADMIN = caps.NUMBERS["net_admin"]
SYS_ADMIN = caps.NUMBERS["sys_admin"]


def to_drop(conf: Config) -> list[int]:
    """The capabilities that a container's bounding set loses, in order."""
    last = caps.last_cap()
    # An empty list that is set keeps none.
    if conf.is_set("lxc.cap.keep"):
        kept = {_number(word) for word in conf["lxc.cap.keep"] if word != "none"}
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
    """Drop from this process's bounding set. Raises LxcError naming the capability."""
    for capability in capabilities:
        try:
            prctl.capbset_drop(capability)
        except OSError as error:
            name = caps.NAMES[capability] if capability < len(caps.NAMES) else str(capability)
            raise LxcError(f"cannot drop the capability {name}: {describe(error)}", remedy="this needs CAP_SETPCAP") from error


def _number(word: str) -> int:
    """The number of a capability's name or of a number as text; the configuration has checked it against this kernel."""
    known = caps.NUMBERS.get(word)
    return known if known is not None else c_number(word)
