# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an inode carries besides its data: owners, extended attributes, access lists, capabilities, chattr(1)'s attributes.

An owner shift changes every place that names an id: the owners, the entries of POSIX access lists, and the root that a file
capability is for.
"""

from __future__ import annotations

import errno
import os
import struct

from .. import files, log
from ..errors import LxcError, describe
from ..idmap.ranges import to_host, to_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..idmap.ranges import IdMap

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
CAPABILITY = "security.capability"
_TWICE = "trusted.SGI_ACL_"  # the access lists once more, as xfs stores them
# Whoever loses one of these has lost something; others are labels and settings that belong to the host or the file system.
_KEPT = ("user.", "trusted.", CAPABILITY, "system.posix_acl_")
_NO_ATTRIBUTES = (errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EINVAL)
# chattr(1): S i a d A C D. C is of an empty file only. What else there is belongs to the file system (e, I, E, V).
NOCOW = 0x00800000
_BEFORE_DATA = NOCOW
_LAST = 0x8 | files.IMMUTABLE | files.APPEND | 0x40 | 0x80 | 0x10000
_LAST_SET_LINKS = files.IMMUTABLE | files.APPEND
# <linux/capability.h>, struct vfs_ns_cap_data: revision and flag, two pairs of sets, root's id since revision 3.
_REVISION, _REVISION_2, _REVISION_3 = 0xFF000000, 0x02000000, 0x03000000
# <linux/posix_acl_xattr.h>: version 2, then entries of tag, permissions, id.
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_USER, _ACL_GROUP = 0x02, 0x08


class Shift:
    """The change of ids from the maps of a source to those of a target; empty maps are the host's own ids.

    An id that the source's maps do not have is nobody of the container, and stays. Raises LxcError for one that the
    target's maps have no place for.
    """

    __slots__ = ("_known", "_source", "_target")

    def __init__(self, source: Sequence[IdMap], target: Sequence[IdMap]) -> None:
        self._source = source
        self._target = target
        self._known: dict[tuple[str, int], int] = {}

    def id(self, kind: str, number: int) -> int:
        """The new id of a user ("u") or a group ("g")."""
        known = self._known.get((kind, number))
        if known is None:
            known = self._known[kind, number] = self._look_up(kind, number)
        return known

    def _look_up(self, kind: str, number: int) -> int:
        inside = to_ns(self._source, kind, number) if self._source else number
        if inside is None:
            return number
        outside = to_host(self._target, kind, inside) if self._target else inside
        if outside is None:
            word = "user" if kind == "u" else "group"
            raise LxcError(
                f"the new container's lxc.idmap has no {word} id {inside}, which files of the old one belong to",
                remedy="give it a larger range",
            )
        return outside

    def acl(self, data: bytes) -> bytes:
        """A POSIX access list (the value of system.posix_acl_*) with the new ids."""
        if len(data) < 4 or (len(data) - 4) % _ACL_ENTRY.size:
            return data
        parts = [data[:4]]
        for tag, rights, number in _ACL_ENTRY.iter_unpack(data[4:]):
            if tag in (_ACL_USER, _ACL_GROUP):
                number = self.id("u" if tag == _ACL_USER else "g", number)
            parts.append(_ACL_ENTRY.pack(tag, rights, number))
        return b"".join(parts)

    def capability(self, data: bytes) -> bytes:
        """A file capability (the value of security.capability) for the new root: revision 2 is for the host's."""
        (magic,) = struct.unpack_from("<I", data)
        revision = magic & _REVISION
        if (revision, len(data)) not in ((_REVISION_2, 20), (_REVISION_3, 24)):
            return data
        before = struct.unpack_from("<I", data, 20)[0] if revision == _REVISION_3 else 0
        root = self.id("u", before)
        if root == before:
            return data
        if root == 0:
            return struct.pack("<I", magic & ~_REVISION | _REVISION_2) + data[4:20]
        return struct.pack("<I", magic & ~_REVISION | _REVISION_3) + data[4:20] + struct.pack("<I", root)

    def value(self, name: str, data: bytes) -> bytes:
        """The value of any extended attribute with the new ids."""
        if name == CAPABILITY:
            return self.capability(data)
        return self.acl(data) if name in (ACCESS, DEFAULT) else data


def shift_of(maps: tuple[Sequence[IdMap], Sequence[IdMap]] | None) -> Shift | None:
    """The change from the first maps to the second; None where there is none."""
    if maps is None or list(maps[0]) == list(maps[1]):
        return None
    return Shift(*maps)


def read_xattrs(source: int | str) -> list[tuple[str, bytes]]:
    """The extended attributes of a descriptor, or of a path whose last part is not followed. Raises OSError."""
    follow = isinstance(source, int)
    try:
        names = os.listxattr(source, follow_symlinks=follow)
    except OSError as error:
        if error.errno in _NO_ATTRIBUTES:
            return []
        raise
    found = []
    for name in names:
        if name.startswith(_TWICE):
            continue
        try:
            found.append((name, os.getxattr(source, name, follow_symlinks=follow)))
        except OSError as error:
            if error.errno == errno.ENODATA:
                continue  # taken away since the list was made
            if name.startswith(_KEPT):
                error.add_note(f"the extended attribute {name}")
                raise
            log.info(f"not copied: the extended attribute {name}: {describe(error)}")
    return found


def write_xattrs(target: int | str, attributes: Iterable[tuple[str, bytes]], shift: Shift | None) -> None:
    """Give target (as in read_xattrs()) these extended attributes, with shifted ids.

    Raises OSError, with the attribute as a note, for one that must not be lost; labels of a security module that this host
    does not let us set, and settings of another kind of file system, are left out.
    """
    follow = isinstance(target, int)
    for name, value in attributes:
        try:
            os.setxattr(target, name, shift.value(name, value) if shift else value, follow_symlinks=follow)
        except OSError as error:
            if name.startswith(_KEPT):
                error.add_note(f"the extended attribute {name}")
                raise
            log.info(f"not kept: the extended attribute {name}: {describe(error)}")


def drop_inherited(fd: int) -> None:
    """Take from a folder what new entries in it would inherit. Raises OSError."""
    os.fchown(fd, os.geteuid(), os.getegid())
    os.fchmod(fd, 0o700)
    try:
        os.removexattr(fd, DEFAULT)
    except OSError as error:
        if error.errno not in (errno.ENODATA, *_NO_ATTRIBUTES):
            raise


def read_flags(fd: int) -> int | None:
    """chattr(1)'s attributes that a copy has too; None where the file system has none at all. Raises OSError."""
    try:
        return files.inode_flags(fd) & (_LAST | _BEFORE_DATA)
    except OSError as error:
        if error.errno in _NO_ATTRIBUTES:
            return None
        raise


def set_first(fd: int, flags: int) -> None:
    """Set the attribute that an empty file must have before its data, if the file system knows it."""
    if flags & _BEFORE_DATA:
        _set(fd, flags & _BEFORE_DATA)


def set_last(fd: int, flags: int, *, linked: bool = False) -> int:
    """Set the attributes that come after everything else; linked: but those that prevent links, which are returned."""
    later = flags & _LAST_SET_LINKS if linked else 0
    if flags & _LAST & ~later:
        _set(fd, flags & _LAST & ~later)
    return later


def _set(fd: int, flags: int) -> None:
    try:
        files.set_inode_flags(fd, files.inode_flags(fd) | flags)
    except OSError as error:
        # Not data: a copy on a file system without them, or made in a user namespace, is still whole.
        log.warn(f"cannot set the attributes {flags:#x} (see chattr(1)) of {os.readlink(f'/proc/self/fd/{fd}')}: {describe(error)}")
