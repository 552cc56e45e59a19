# SPDX-License-Identifier: LGPL-2.1-or-later
"""Id maps and their arithmetic (user_namespaces(7)); pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class IdMap:
    """count ids from nsid on inside are count ids from hostid on outside; kind is "u" or "g"."""

    __slots__ = ("count", "hostid", "kind", "nsid")

    def __init__(self, kind: str, nsid: int, hostid: int, count: int) -> None:
        self.kind = kind
        self.nsid = nsid
        self.hostid = hostid
        self.count = count

    def __repr__(self) -> str:
        return f"{self.kind} {self.nsid} {self.hostid} {self.count}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdMap) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


def to_host(maps: Iterable[IdMap], kind: str, nsid: int) -> int | None:
    """The host's id of a container's id; None where it is not mapped."""
    for row in maps:
        if row.kind == kind and row.nsid <= nsid < row.nsid + row.count:
            return row.hostid + nsid - row.nsid
    return None


def to_container(maps: Iterable[IdMap], kind: str, hostid: int) -> int | None:
    """The container's id of a host's id; None where it is not mapped."""
    for row in maps:
        if row.kind == kind and row.hostid <= hostid < row.hostid + row.count:
            return row.nsid + hostid - row.hostid
    return None


def root_ids(maps: Iterable[IdMap]) -> tuple[int | None, int | None]:
    """The host's uid and gid of the container's root."""
    rows = list(maps)
    return to_host(rows, "u", 0), to_host(rows, "g", 0)


def free_id(maps: Iterable[IdMap], kind: str, least: int = 0) -> int:
    """The lowest container id from least on that no row of this kind maps."""
    candidate = least
    for row in sorted((row for row in maps if row.kind == kind), key=lambda row: row.nsid):
        if row.nsid <= candidate < row.nsid + row.count:
            candidate = row.nsid + row.count
    return candidate
