# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a container's cgroups are called; pure.

    configuration                                    monitor             payload             pivot
    nothing                                          lxc.monitor.N       lxc.payload.N       lxc.pivot
    lxc.conf: lxc.cgroup.pattern = P (%n is N)       P/monitor           P/payload           lxc.pivot
    lxc.cgroup.dir = D                               D/lxc.monitor.N     D/lxc.payload.N     D/lxc.pivot
    lxc.cgroup.dir.monitor = M, .container = C       M                   C                   lxc.pivot
    ... and .container.inner = I                     M                   C/I, limits on C
    ... and .monitor.pivot = Q                                                               Q/lxc.pivot

All are relative to a hierarchy's base. Where the last folder exists already LXC appends -1, -2 ..., but not to M and C.
"""

from __future__ import annotations

from ..errors import LxcError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.conf import Config

_PIVOT = "lxc.pivot"


class Names:
    """monitor, limit: the folders that must be new. inner: a folder in limit for the processes, or "". pivot: where a
    monitor goes that cannot stay and cannot return. fixed: exactly these names. placed: somebody chose where they are.
    """

    __slots__ = ("fixed", "inner", "limit", "monitor", "pivot", "placed")

    def __init__(self, monitor: str, limit: str, *, inner: str = "", pivot: str = _PIVOT, fixed: bool = False) -> None:
        self.monitor = monitor
        self.limit = limit
        self.inner = inner
        self.pivot = pivot
        self.fixed = fixed
        self.placed = fixed or "/" in monitor


def choose(conf: Config, name: str, pattern: str | None) -> Names:
    """The names for a container; pattern: lxc.cgroup.pattern of lxc.conf. Raises LxcError for keys that contradict."""
    folder, monitor, container, inner, under = (
        conf[f"lxc.cgroup.dir{key}"].strip("/") for key in ("", ".monitor", ".container", ".container.inner", ".monitor.pivot")
    )
    if monitor or container:
        if folder:
            raise LxcError(
                "lxc.cgroup.dir conflicts with lxc.cgroup.dir.container and lxc.cgroup.dir.monitor",
                remedy="set either the first or the other two",
            )
        if not (monitor and container):
            raise LxcError("lxc.cgroup.dir.container and lxc.cgroup.dir.monitor must both be set")
        if monitor == container:
            raise LxcError(f"lxc.cgroup.dir.container and lxc.cgroup.dir.monitor must differ, both are {monitor}")
        return Names(monitor, container, inner=inner, pivot=f"{under}/{_PIVOT}".strip("/"), fixed=True)
    if folder:
        return Names(f"{folder}/lxc.monitor.{name}", f"{folder}/lxc.payload.{name}", pivot=f"{folder}/{_PIVOT}")
    if pattern:
        place = pattern.replace("%n", name).strip("/")
        if any(part in ("..", ".") for part in place.split("/")):
            raise LxcError(f"lxc.cgroup.pattern = {pattern}: it must not contain . or ..", remedy="see lxc.conf")
        return Names(f"{place}/monitor", f"{place}/payload")
    return Names(f"lxc.monitor.{name}", f"lxc.payload.{name}")
