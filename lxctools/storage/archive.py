# SPDX-License-Identifier: LGPL-2.1-or-later
"""The members of an archive of lxc-export: a tar of POSIX.1-2001 (pax), so that tar(1) can look into it.

Written and read is only this, so that a reader has few doors:

    regular file, hard link, symbolic link, character and block device, folder, fifo     types 0 to 6
    path, linkpath, size, uid, gid, mtime, atime                                          pax records, as POSIX has them
    SCHILY.xattr.NAME            an extended attribute, its bytes; `%` and `=` in NAME as %25 and %3D, as GNU tar has it
    GNU.sparse.*                 format 1.0: the places of data before the data
    LXCTOOLS.flags               chattr(1)'s attributes, in hexadecimal
    LXCTOOLS.socket              of a fifo: it is a socket, which tar does not know

Each header's checksum is tar's own; that of the whole is the last member's content: SHA-256, and the number of members.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct

from ..errors import LxcError
from ..paths import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

BLOCK = 512
_CHUNK = 1 << 20
_LONGEST_RECORDS = 4 << 20  # an inode has at most 64 KiB of attribute names, and values of 64 KiB each
_MOST_PLACES = 1 << 22
_LARGEST = (1 << 63) - 1
_LARGEST_ID = (1 << 32) - 2
# <tar.h>, <pax.h>: name, mode, uid, gid, size, mtime, checksum, type, link name, magic and version, owners' names, device, prefix.
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_MAGIC = b"ustar\00000"
_CHECKSUM = slice(148, 156)
_TYPES = {
    b"0": stat.S_IFREG,
    b"2": stat.S_IFLNK,
    b"3": stat.S_IFCHR,
    b"4": stat.S_IFBLK,
    b"5": stat.S_IFDIR,
    b"6": stat.S_IFIFO,
}
_LETTERS = {kind: letter for letter, kind in _TYPES.items()} | {stat.S_IFSOCK: b"6"}
_LINK = b"1"
_LARGEST_OCTAL = 0o7777777
_XATTR = "SCHILY.xattr."


class Damaged(LxcError):
    """An archive that is not whole, or was not made by lxc-export."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the archive is damaged: {why}", remedy="export the container again")


class Member:
    """One member. places: of a file with holes, where its data is (begin, length); None for a file without.

    link: the path of the member that it is another link of, "" for none; then the rest says nothing.
    """

    __slots__ = ("atime", "device", "flags", "gid", "link", "mode", "mtime", "path", "places", "size", "to", "uid", "xattrs")

    def __init__(self, path: str, mode: int) -> None:
        self.path = path
        self.mode = mode  # with the type
        self.link = ""
        self.to = ""  # of a symbolic link
        self.uid = self.gid = 0
        self.size = 0  # of a regular file
        self.mtime = self.atime = 0  # ns
        self.device = 0
        self.flags = 0
        self.xattrs: Sequence[tuple[str, bytes]] = ()
        self.places: list[tuple[int, int]] | None = None


def encode(text: str) -> bytes:
    """Names are bytes; which text they are is nobody's business here."""
    return text.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    """The reverse of encode()."""
    return data.decode("utf-8", "surrogateescape")


# -- writing ------------------------------------------------------------------------------------------------------------


class Sink:
    """Where an archive is written to; keeps the checksum of everything so far."""

    __slots__ = ("_file", "_hash", "members")

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.members = 0

    def write(self, data: bytes | memoryview) -> None:
        """Raises OSError."""
        self._hash.update(data)
        self._file.write(data)

    def pad(self, size: int) -> None:
        """Fill the last block of size bytes. Raises OSError."""
        rest = -size % BLOCK
        if rest:
            self.write(b"\0" * rest)

    def begin(self, member: Member) -> None:
        """Write all of a member but the data of its places, of which pad(data_size()) follows. Raises OSError."""
        self.members += 1
        places = _places_block(member)
        self.write(_header(member, len(places)))
        self.write(places)

    def small(self, path: str, data: bytes) -> None:
        """A whole member that is a file of the archive itself. Raises OSError."""
        member = Member(path, stat.S_IFREG | 0o600)
        member.size = len(data)
        self.begin(member)
        self.write(data)
        self.pad(len(data))

    def end(self, path: str) -> None:
        """The last member, which is the checksum of everything before it, and two empty blocks. Raises OSError."""
        self.small(path, checksum(self._hash.hexdigest(), self.members))
        self.write(b"\0" * (2 * BLOCK))
        self._file.flush()


def checksum(digest: str, members: int) -> bytes:
    """The content of the last member."""
    return f"{digest} {members}\n".encode()


def data_size(member: Member) -> int:
    """Bytes of data in the archive, without the list of places."""
    if member.link or not stat.S_ISREG(member.mode):
        return 0
    return member.size if member.places is None else sum(length for _begin, length in member.places)


def _places_block(member: Member) -> bytes:
    if member.places is None or member.link:
        return b""
    rows = list(member.places)
    if not rows or sum(rows[-1]) != member.size:
        rows.append((member.size, 0))  # a hole at the end: tar(1) wants to see where it ends
    lines = [f"{len(rows)}\n", *(f"{begin}\n{length}\n" for begin, length in rows)]
    data = "".join(lines).encode()
    return data + b"\0" * (-len(data) % BLOCK)


def _seconds(ns: int) -> str:
    sign, whole = ("-", -ns) if ns < 0 else ("", ns)
    return f"{sign}{whole // 1000000000}.{whole % 1000000000:09}"


def _header(member: Member, before_data: int) -> bytes:
    """The pax records of a member, and its header."""
    name, link = encode(member.path), encode(member.link or member.to)
    size = data_size(member) + before_data
    records: list[tuple[str, bytes]] = []
    if not member.link:
        records += [("mtime", _seconds(member.mtime).encode()), ("atime", _seconds(member.atime).encode())]
        records += [(_XATTR + key.replace("%", "%25").replace("=", "%3D"), value) for key, value in member.xattrs]
        records += [("LXCTOOLS.flags", b"%x" % member.flags)] if member.flags else []
        records += [("LXCTOOLS.socket", b"1")] if stat.S_ISSOCK(member.mode) else []
        if member.places is not None:
            realsize = str(member.size).encode()
            records += [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", realsize)]
            records.append(("GNU.sparse.name", name))
    if (len(name) > 100 or not name.isascii()) and member.places is None:
        records.append(("path", name))
    if len(link) > 100 or not link.isascii():
        records.append(("linkpath", link))
    for key, number in (("uid", member.uid), ("gid", member.gid)):
        if number > _LARGEST_OCTAL:
            records.append((key, str(number).encode()))
    if size > 0o77777777777:
        records.append(("size", str(size).encode()))
    blocks = []
    if records:
        data = b"".join(_record(key, value) for key, value in records)
        blocks += [_ustar(b"PaxHeaders/x", 0o644, (0, 0), len(data), 0, b"x", b"", 0), data, b"\0" * (-len(data) % BLOCK)]
    letter = _LINK if member.link else _LETTERS[stat.S_IFMT(member.mode)]
    mtime = min(max(member.mtime // 1000000000, 0), 0o77777777777)
    blocks.append(_ustar(name[:100], stat.S_IMODE(member.mode), (member.uid, member.gid), size, mtime, letter, link[:100], member.device))
    return b"".join(blocks)


def _record(key: str, value: bytes) -> bytes:
    """A line of which the length, itself included, comes first."""
    body = b" " + encode(key) + b"=" + value + b"\n"
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def _ustar(
    name: bytes, mode: int, owner: tuple[int, int], size: int, mtime: int, letter: bytes, link: bytes, device: int
) -> bytes:
    uid, gid = (number if number <= _LARGEST_OCTAL else 0 for number in owner)
    fields = (
        name, b"%07o" % mode, b"%07o" % uid, b"%07o" % gid, b"%011o" % (size if size <= 0o77777777777 else 0), b"%011o" % mtime,
        b" " * 8, letter, link, _MAGIC, b"", b"", b"%07o" % os.major(device), b"%07o" % os.minor(device), b"",
    )  # fmt: skip
    block = bytearray(_HEADER.pack(*fields))
    block[_CHECKSUM] = b"%06o\0 " % sum(block)
    return bytes(block)


# -- reading ------------------------------------------------------------------------------------------------------------


class Stream:
    """Where an archive is read from. Everything raises Damaged for what is no archive of ours, OSError from reading."""

    __slots__ = ("_before", "_file", "_hash", "members", "received")

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._before = ""
        self.members = 0
        self.received = 0  # bytes

    def exactly(self, size: int) -> bytes:
        """The next size bytes."""
        data = self._file.read(size)
        if len(data) != size:
            raise Damaged("it ends too early")
        self._hash.update(data)
        self.received += size
        return data

    def skip_padding(self, size: int) -> None:
        """What fills the last block of size bytes."""
        rest = -size % BLOCK
        if rest:
            self.exactly(rest)

    def member(self) -> Member:
        """The next member, up to its data."""
        self._before = self._hash.hexdigest()
        header = self.exactly(BLOCK)
        if not any(header):
            raise Damaged("its checksum is missing")
        fields = _fields(header)
        records: dict[str, bytes] = {}
        if fields[7] == b"x":
            length = _octal(fields[4])
            if length > _LONGEST_RECORDS:
                raise Damaged(f"{length} bytes of attributes for one file")
            records = _records(self.exactly(length))
            self.skip_padding(length)
            fields = _fields(self.exactly(BLOCK))
        self.members += 1
        return self._member(fields, records)

    def small(self, member: Member, most: int) -> bytes:
        """The content of a member that is a file of the archive itself."""
        if not stat.S_ISREG(member.mode) or member.link or member.places is not None or member.size > most:
            raise Damaged(f"{shown(member.path)} is no file of at most {most} bytes")
        data = self.exactly(member.size)
        self.skip_padding(member.size)
        return data

    def end(self, last: Member) -> None:
        """That the last member has the checksum of what came before it, and nothing but empty blocks follows."""
        if self.small(last, 200) != checksum(self._before, self.members - 1):
            raise Damaged("its checksum is wrong")
        while data := self._file.read(_CHUNK):
            if any(data):
                raise Damaged("something follows its end")

    def _member(self, fields: tuple[bytes, ...], records: dict[str, bytes]) -> Member:
        letter = fields[7]
        if letter != _LINK and letter not in _TYPES:
            raise Damaged(f"a member of the unknown type {letter!r}")
        path = decode(records.get("GNU.sparse.name") or records.get("path") or _text(fields[0]))
        to = decode(records.get("linkpath") or _text(fields[8]))
        member = Member(path, (_octal(fields[1]) & 0o7777) | _TYPES.get(letter, stat.S_IFREG))
        if letter == _LINK:
            if not to:
                raise Damaged(f"{shown(path)} is a link of nothing")
            member.link = to
            return member
        member.to = to
        member.uid = _number(records, "uid", _octal(fields[2]), _LARGEST_ID)
        member.gid = _number(records, "gid", _octal(fields[3]), _LARGEST_ID)
        size = _number(records, "size", _octal(fields[4]), _LARGEST)
        if size and letter != b"0":
            raise Damaged(f"{shown(path)} has data and is no file")
        member.size = size
        member.mtime = _time(records, "mtime", _octal(fields[5]))
        member.atime = _time(records, "atime", _octal(fields[5]))
        member.flags = _number(records, "LXCTOOLS.flags", 0, 0xFFFFFFFF, 16)
        if letter in (b"3", b"4"):
            member.device = os.makedev(_octal(fields[12]), _octal(fields[13]))
        if letter == b"6" and "LXCTOOLS.socket" in records:
            member.mode = stat.S_IMODE(member.mode) | stat.S_IFSOCK
        member.xattrs = [
            (key[len(_XATTR) :].replace("%3D", "=").replace("%25", "%"), value) for key, value in records.items() if key.startswith(_XATTR)
        ]
        if "GNU.sparse.realsize" in records and letter == b"0":
            member.size = _number(records, "GNU.sparse.realsize", 0, _LARGEST)
            self._places(member, size)
        return member

    def _places(self, member: Member, stored: int) -> None:
        """Read the list of places, and check that they lie in the file, in order."""
        rest = b""
        used = 0

        def number() -> int:
            nonlocal rest, used
            while b"\n" not in rest:
                if used + BLOCK > stored or len(rest) > 32:
                    raise Damaged(f"the places of {shown(member.path)}")
                rest += self.exactly(BLOCK)
                used += BLOCK
            line, _newline, rest = rest.partition(b"\n")
            return _decimal(line, _LARGEST)

        count = number()
        if count > _MOST_PLACES:
            raise Damaged(f"the places of {shown(member.path)}")
        places = []
        end = 0
        for _ in range(count):
            begin, length = number(), number()
            if begin < end or begin + length > member.size:
                raise Damaged(f"the places of {shown(member.path)}")
            end = begin + length
            places.append((begin, length))
        member.places = places
        if data_size(member) != stored - used:
            raise Damaged(f"the places of {shown(member.path)}")


def shown(path: str) -> str:
    """A name from an archive for messages."""
    text = printable(path)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _fields(header: bytes) -> tuple[bytes, ...]:
    fields: tuple[bytes, ...] = _HEADER.unpack(header)
    plain = bytearray(header)
    plain[_CHECKSUM] = b" " * 8
    if fields[9] != _MAGIC:
        raise Damaged("it is no tar of lxc-export")
    if sum(plain) != _octal(fields[6]):
        raise Damaged("a header's checksum is wrong")
    return fields


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if not digits.isdigit():
        raise Damaged("a header's number is none")
    try:
        return int(digits, 8)
    except ValueError:
        raise Damaged("a header's number is none") from None


def _decimal(text: bytes, largest: int, base: int = 10) -> int:
    try:
        if not text.isalnum() or len(text) > 20:
            raise ValueError
        number = int(text, base)
    except ValueError:
        raise Damaged("an attribute's number is none") from None
    if number > largest:
        raise Damaged("an attribute's number is too large")
    return number


def _number(records: dict[str, bytes], key: str, default: int, largest: int, base: int = 10) -> int:
    return _decimal(records[key], largest, base) if key in records else default


def _time(records: dict[str, bytes], key: str, default: int) -> int:
    """A time of POSIX's pax records in ns."""
    if key not in records:
        return default * 1000000000
    text = records[key]
    digits = text.removeprefix(b"-")
    whole, _point, fraction = digits.partition(b".")
    ns = _decimal(whole, 1 << 40) * 1000000000 + (_decimal(fraction[:9].ljust(9, b"0"), 10**9) if fraction else 0)
    return -ns if text.startswith(b"-") else ns


def _records(data: bytes) -> dict[str, bytes]:
    """The pax records of a member."""
    found = {}
    at = 0
    while at < len(data):
        blank = data.find(b" ", at, at + 20)
        if blank < 0:
            raise Damaged("attributes of a file")
        end = at + _decimal(data[at:blank], len(data))
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= blank or not equals or data[end - 1 : end] != b"\n":
            raise Damaged("attributes of a file")
        found[decode(key)] = value
        at = end
    return found
