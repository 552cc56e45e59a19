# SPDX-License-Identifier: LGPL-2.1-or-later
"""Copying a folder with everything in it, exactly.

Kept are types, modes, owners (or shifted in the same pass), times to the nanosecond, hard links, holes, extended attributes,
access lists, file capabilities, and chattr(1)'s attributes. Data is shared where the file system can (FICLONE). Nothing is
followed: every call goes by descriptors below the two folders, and what is mounted in the source is not part of it.
"""

from __future__ import annotations

import os
import time

from ..errors import LxcError, describe
from .tree_copy import Copier, Linked
from .tree_meta import drop_inherited, shift_of
from .tree_pool import Pool
from .tree_source import opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..idmap.ranges import IdMap

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ALONE = 0.01  # seconds
_MOST_HELPERS = 4  # more wait for the file system's journal


class CopyReport:
    """What copy_tree() did: entries made, bytes of their data, and paths (below the source) that vanished meanwhile."""

    __slots__ = ("bytes", "files", "vanished")

    def __init__(self, made: int, size: int, vanished: list[str]) -> None:
        self.files = made
        self.bytes = size
        self.vanished = vanished


def copy_tree(
    source: str,
    target: str,
    *,
    shift: tuple[Sequence[IdMap], Sequence[IdMap]] | None = None,
    beat: Callable[[int], object] | None = None,
    expect: Callable[[int], object] | None = None,
) -> CopyReport:
    """Copy everything in the folder source, and what the folder itself carries, into target, which is made if missing.

    shift: the maps of the source's and of the target's container; empty ones mean the host's ids. beat is called now and
    then with the bytes copied so far, and expect once with the bytes there are, about, when it takes a while. Folders may be
    in the target already (lost+found), other entries of the same name may not. Raises LxcError; then target holds a part,
    which the caller removes.
    """
    if _is_in(target, source):
        raise LxcError(f"cannot copy {source} into itself, {target}")
    before = os.umask(0)
    try:
        tree = opened(source)
        try:
            to_fd = _open_target(target)
            try:
                copier = Copier(tree, to_fd, shift_of(shift))
                _copy(copier, beat, expect)
            finally:
                os.close(to_fd)
        finally:
            tree.close()
    finally:
        os.umask(before)
    return CopyReport(copier.files, copier.bytes, copier.vanished)


def _is_in(path: str, folder: str) -> bool:
    """Whether a path that may not be there yet is the folder or lies in it; folder may be a mount that has no path."""
    try:
        wanted = os.stat(folder)
    except OSError:
        return False  # opening it will tell
    place = os.path.realpath(path)
    while True:
        try:
            if os.path.samestat(os.stat(place), wanted):
                return True
        except OSError:
            pass
        if place == "/":
            return False
        place = os.path.dirname(place)


def _open_target(path: str) -> int:
    try:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        fd = os.open(path, _FOLDER)
        try:
            drop_inherited(fd)
        except BaseException:
            os.close(fd)
            raise
    except OSError as error:
        raise LxcError(f"cannot copy into {path}: {describe(error)}") from error
    return fd


def _copy(copier: Copier, beat: Callable[[int], object] | None, expect: Callable[[int], object] | None) -> None:
    """Copy alone for a moment, which is enough for a small tree; then share what is left with helpers."""
    known: dict[tuple[int, int], Linked] = {}
    copied_by_helpers: Callable[[], int] = int

    def tell() -> None:
        if beat is not None:
            beat(copier.bytes + copied_by_helpers())

    def links(path: str, names: list[str], last: bool) -> None:
        copier.links(path, names, last, known)

    copier.on(tell, links)
    copier.stack.append("")
    alone_until = time.monotonic() + _ALONE
    helpers = min(len(os.sched_getaffinity(0)), _MOST_HELPERS)
    while copier.stack:
        if helpers > 1 and len(copier.stack) > 1 and time.monotonic() > alone_until:
            break
        copier.folder(copier.stack.pop())
    if copier.stack:
        waiting, copier.stack = copier.stack, []
        with Pool(copier, helpers) as pool:
            copied_by_helpers = pool.copied
            if expect is not None:
                pool.measure(expect)
            made = pool.run(waiting, links, tell)
            copier.files += made  # those with several links have been added meanwhile
            copier.bytes += pool.copied()
            copied_by_helpers = int
    copier.finish_late()
    tell()
