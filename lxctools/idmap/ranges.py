# SPDX-License-Identifier: LGPL-2.1-or-later
"""Id maps as data: lines of lxc.idmap, arithmetic on them, and the ranges of subuid(5) and subgid(5). No system calls.

An entry maps `count` ids: those from `nsid` on inside the user namespace are those from `hostid` on outside it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

KINDS = ("u", "g")
SUBUID = "/etc/subuid"
SUBGID = "/etc/subgid"
_LARGEST = 2**64 - 1
_LARGEST_ID = 2**32 - 2  # 2^32 - 1 is "no id" for the kernel


class IdMap:
    """One entry: kind "u" or "g", the first id inside, the first id outside, and how many follow each other."""

    __slots__ = ("count", "hostid", "kind", "nsid")

    def __init__(self, kind: str, nsid: int, hostid: int, count: int) -> None:
        self.kind = kind
        self.nsid = nsid
        self.hostid = hostid
        self.count = count

    def __str__(self) -> str:
        """As a value of lxc.idmap."""
        return f"{self.kind} {self.nsid} {self.hostid} {self.count}"

    def __repr__(self) -> str:
        return f"IdMap({self.kind!r}, {self.nsid}, {self.hostid}, {self.count})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdMap) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash((self.kind, self.nsid, self.hostid, self.count))


def _number(text: str, what: str) -> int:
    """An unsigned 64-bit number as strtoull base 0 reads it: 0x and leading-0 forms too, no minus."""
    digits, base = text.removeprefix("+"), 10
    if digits[:2] in ("0x", "0X"):
        digits, base = digits[2:], 16
    elif len(digits) > 1 and digits[0] == "0":
        digits, base = digits[1:], 8
    try:
        if not digits.isascii() or not digits.isalnum() or len(digits) > 64:
            raise ValueError
        value = int(digits, base)
        if value > _LARGEST:
            raise ValueError
    except ValueError:
        raise ValueError(f'"{text}" is not {what}') from None
    return value


def parse(text: str) -> IdMap:
    """A value of lxc.idmap, "u|g NSID HOSTID RANGE". Raises ValueError with the reason.

    Overlaps, ids beyond 32 bits and empty ranges are left to check(): LXC loads such a configuration.
    """
    words = [word for word in text.replace("\t", " ").replace("\r", " ").split(" ") if word]
    if not words or words[0] not in KINDS:
        kind = words[0] if words else ""
        raise ValueError(f'"{kind}" is not an id map type: u for user ids or g for group ids')
    if len(words) != 4:
        raise ValueError(f"an id map has four words (u|g, first id inside, first id outside, range), not {len(words)}")
    return IdMap(
        words[0],
        _number(words[1], "the first id inside the container"),
        _number(words[2], "the first id on the host"),
        _number(words[3], "the size of an id range"),
    )


def parse_option(text: str) -> list[IdMap]:
    """A value of lxc-usernsexec -m, "u|g|b:NSID:HOSTID:RANGE" in decimal. Raises ValueError with the reason."""
    words = text.split(":")
    if len(words) != 4 or words[0] not in ("u", "g", "b"):
        raise ValueError(f'"{text}" is not {{u|g|b}}:NSID:HOSTID:RANGE')
    numbers = []
    for word in words[1:]:
        if not word.isascii() or not word.isdecimal() or len(word) > 20:
            raise ValueError(f'"{word}" in "{text}" is not a number')
        numbers.append(int(word))
    return [IdMap(kind, *numbers) for kind in (KINDS if words[0] == "b" else words[0])]


def _begins_inside(entry: IdMap) -> int:
    return entry.nsid


def _begins_outside(entry: IdMap) -> int:
    return entry.hostid


def check(maps: Sequence[IdMap]) -> str:
    """Why the kernel would refuse these maps, or "": empty and too large ranges, overlaps, one kind missing."""
    for kind in KINDS:
        mine = [entry for entry in maps if entry.kind == kind]
        if maps and not mine:
            return f"there is no {kind} entry: user and group ids must both be mapped"
        for entry in mine:
            if not entry.count:
                return f'"{entry}" maps no id'
            if max(entry.nsid, entry.hostid) + entry.count - 1 > _LARGEST_ID:
                return f'"{entry}" goes beyond id {_LARGEST_ID}'
        for side, begins in (("inside the container", _begins_inside), ("on the host", _begins_outside)):
            mine.sort(key=begins)
            for first, second in zip(mine, mine[1:], strict=False):  # noqa: RUF007 - itertools would be loaded for it alone
                if begins(first) + first.count > begins(second):
                    return f'"{first}" and "{second}" overlap {side}'
    return ""


def to_host(maps: Iterable[IdMap], kind: str, number: int) -> int | None:
    """The id outside of an id inside; None when it is not mapped."""
    for entry in maps:
        if entry.kind == kind and 0 <= number - entry.nsid < entry.count:
            return entry.hostid + number - entry.nsid
    return None


def to_ns(maps: Iterable[IdMap], kind: str, number: int) -> int | None:
    """The id inside of an id outside; None when it is not mapped."""
    for entry in maps:
        if entry.kind == kind and 0 <= number - entry.hostid < entry.count:
            return entry.nsid + number - entry.hostid
    return None


def free_id(maps: Iterable[IdMap], kind: str) -> int:
    """The lowest id inside that no entry maps."""
    number = 0
    for entry in sorted((entry for entry in maps if entry.kind == kind), key=lambda entry: entry.nsid):
        if entry.nsid <= number < entry.nsid + entry.count:
            number = entry.nsid + entry.count
    return number


def with_caller(maps: Sequence[IdMap], uid: int, gid: int) -> list[IdMap]:
    """The maps, and the caller's own ids at free ids inside unless they are mapped already.

    For helpers that act as the container's root on what the caller owns.
    """
    result = list(maps)
    for kind, number in (("u", uid), ("g", gid)):
        if to_ns(maps, kind, number) is None:
            result.append(IdMap(kind, free_id(maps, kind), number, 1))
    return result


def map_text(maps: Iterable[IdMap], kind: str) -> str:
    """The content for /proc/PID/uid_map (kind "u") or gid_map ("g"): one line an entry, in the given order."""
    return "".join(f"{entry.nsid} {entry.hostid} {entry.count}\n" for entry in maps if entry.kind == kind)


def subordinate(text: str, user: str, uid: int) -> list[tuple[int, int]]:
    """The ranges (first id, count) that subuid(5) or subgid(5) text gives to a user, by name or number, in file order.

    Lines that are not NAME:FIRST:COUNT are passed over, as newuidmap(1) does.
    """
    owners = (user, str(uid)) if user else (str(uid),)
    found = []
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[0] in owners and fields[1].isdecimal() and fields[2].isdecimal():
            found.append((int(fields[1]), int(fields[2])))
    return found


def allowed(maps: Iterable[IdMap], kind: str, ranges: Sequence[tuple[int, int]], own: int) -> IdMap | None:
    """The first entry that newuidmap(1) would refuse: it needs each within one given range, or the caller's own id."""
    for entry in maps:
        if entry.kind != kind or (entry.hostid == own and entry.count == 1):
            continue
        end = entry.hostid + entry.count
        if not any(first <= entry.hostid and end <= first + count for first, count in ranges):
            return entry
    return None
