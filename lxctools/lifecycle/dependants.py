# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which container's root file system needs which: liblxc's lxc_rdepends and lxc_snapshots.

    NEW/lxc_rdepends    whom NEW needs: pairs of lines, lxcpath and name
    OLD/lxc_snapshots   who needs OLD: the same; up to LXC 1.0 a decimal count instead

Paths are written as they are called and compared as what they lead to: liblxc compares text, and another spelling of the
lxcpath left an entry behind for ever. Files are replaced whole and on disk before what they protect is used.
"""

from __future__ import annotations

import os

from .. import files, locks
from ..errors import LxcError, describe
from .steps import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Pair = tuple[str, str]

NEEDS, NEEDED_BY = "lxc_rdepends", "lxc_snapshots"


def needed_by(folder: str) -> list[Pair]:
    """The containers whose root file system needs this one's. Raises LxcError."""
    return _pairs(_text(f"{folder}/{NEEDED_BY}"))


def needs(folder: str) -> list[Pair]:
    """The containers whose root file system this one needs. Raises LxcError."""
    return _pairs(_text(f"{folder}/{NEEDS}"))


def users(folder: str) -> str:
    """Who needs this container, in words; "" when nobody does. Raises LxcError."""
    text = _text(f"{folder}/{NEEDED_BY}")
    count = _count(text)
    if count is not None:
        return f"{count} of LXC 1.0, which notes no names" if count else ""
    return ", ".join(name for _path, name in _pairs(text))


def record(folder: str, lxcpath: str, name: str, pairs: Sequence[Pair], held: Sequence[Pair] = ()) -> None:
    """Note that the container lxcpath, name, in folder, needs these; on disk when this returns.

    held: containers whose lock the caller has. Raises LxcError; then forget() takes back what was written.
    """
    step("write lxc_rdepends")
    _write(f"{folder}/{NEEDS}", "".join(f"{path}\n{who}\n" for path, who in pairs))
    for pair in pairs:
        step("write lxc_snapshots")
        _change(pair, lambda text: _with(text, (lxcpath, name)), held)


def forget(lxcpath: str, name: str, pairs: Iterable[Pair], held: Sequence[Pair] = ()) -> None:
    """Take the container out of the lxc_snapshots of these. Raises LxcError."""
    for pair in pairs:
        _change(pair, lambda text: _without(text, (lxcpath, name)), held)


def same(one: Pair, other: Pair) -> bool:
    """Whether two pairs mean one container."""
    return one[1] == other[1] and (one[0] == other[0] or os.path.realpath(one[0]) == os.path.realpath(other[0]))


def _change(pair: Pair, change: Callable[[str], str], held: Sequence[Pair]) -> None:
    lxcpath, name = pair
    folder = f"{lxcpath}/{name}"
    if not os.path.isdir(folder):
        return  # it has gone by other ways
    if any(same(pair, other) for other in held):
        _rewrite(folder, change)
        return
    with locks.ContainerLock(lxcpath, name):
        _rewrite(folder, change)


def _rewrite(folder: str, change: Callable[[str], str]) -> None:
    path = f"{folder}/{NEEDED_BY}"
    before = _text(path)
    after = change(before)
    if after == before:
        return
    if after:
        _write(path, after)
        return
    try:
        files.unlink_quietly(path)
    except OSError as error:
        raise LxcError(f"cannot update {path}: {describe(error)}") from error


def _with(text: str, pair: Pair) -> str:
    count = _count(text)
    if count:
        return f"{count + 1}\n"
    pairs = [] if count == 0 else _pairs(text)
    if not any(same(pair, other) for other in pairs):
        pairs.append(pair)
    return "".join(f"{path}\n{name}\n" for path, name in pairs)


def _without(text: str, pair: Pair) -> str:
    count = _count(text)
    if count is not None:
        return f"{count - 1}\n" if count > 1 else ""
    return "".join(f"{path}\n{name}\n" for path, name in _pairs(text) if not same(pair, (path, name)))


def _pairs(text: str) -> list[Pair]:
    if _count(text) is not None:
        return []
    lines = text.splitlines()
    return list(zip(lines[::2], lines[1::2], strict=False))


def _count(text: str) -> int | None:
    """The number of the old form, or None for the new one."""
    words = text.split(None, 1)
    return int(words[0]) if words and words[0].isascii() and words[0].isdecimal() else None


def _text(path: str) -> str:
    try:
        return files.read_text(path)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise LxcError(f"cannot read {path}: {describe(error)}") from error


def _write(path: str, text: str) -> None:
    try:
        files.write_atomic(path, text.encode("utf-8", "surrogateescape"))
        files.sync_folder(os.path.dirname(path))
    except OSError as error:
        raise LxcError(f"cannot write {path}: {describe(error)}") from error
