# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether others use what is about to be removed, also those of whom there is no record: their configurations tell."""

from __future__ import annotations

import os

from .. import files
from ..config.conf import Config
from ..errors import LxcError
from ..storage import backend as storage
from .folder import CONFIG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LONGEST = 1 << 20  # bytes of a file that are looked at to tell whether it is a configuration


def refuse_shared(folder: str, things: Sequence[str]) -> None:
    """Raise LxcError when another container's root file system is, holds or lies in what would be removed.

    folder: the container's; what lies in it is its own, and goes with it. things: what a backend calls belongings() of its root file
    system: folders, files, devices, datasets. Looked at are the containers and snapshots of the same lxcpath, and of any other one
    those in whose folder a thing lies.
    """
    outside = [thing for thing in things if not thing.startswith("/") or not _within(thing, folder)]
    for name, other in _others(folder):
        for used in _used(other):
            if _within(used, folder):
                raise LxcError(
                    f"refusing to remove {folder}: {name} uses {used} of it", remedy=f"copy {name} without -s, or destroy it first"
                )
            for thing in outside:
                if _within(used, thing) or (used != "/" and _within(thing, used)):
                    raise LxcError(
                        f"refusing to remove {thing}: {name} uses it too", remedy="set lxc.rootfs.managed = 0 in one of them"
                    )
    for thing in outside:
        if thing.startswith("/"):
            _refuse_foreign(folder, thing)


def _refuse_foreign(folder: str, thing: str) -> None:
    """Raise LxcError for what lies in a container's folder, or holds such folders, whatever their lxcpath."""
    own, above = os.path.realpath(folder), os.path.realpath(thing)
    for name, inner in _in(above, folder):
        if os.path.realpath(inner) != own and _is_container(inner):
            raise LxcError(f"refusing to remove {thing}: it holds the container {name}")
    while above != "/":
        if above != own and _is_container(above):
            raise LxcError(f"refusing to remove {thing}: it lies in the folder of {os.path.basename(above)}, {above}")
        above = os.path.dirname(above)


def _is_container(folder: str) -> bool:
    try:
        with open(f"{folder}/{CONFIG}", "rb") as file:
            return b"lxc." in file.read(_LONGEST)
    except OSError:
        return False


def _within(inner: str, outer: str) -> bool:
    """Whether two paths, or two datasets, are one, or the first lies in the second."""
    if inner.startswith("/") != outer.startswith("/"):
        return False
    if not inner.startswith("/"):
        return f"{inner}/".startswith(f"{outer}/")
    return os.path.realpath(inner) == os.path.realpath(outer) or files.is_below(inner, outer)


def _others(folder: str) -> Iterator[tuple[str, str]]:
    """(name, folder) of the other containers and of their snapshots."""
    lxcpath = os.path.dirname(folder)
    if os.path.basename(lxcpath) == "snaps":
        yield from _in(lxcpath, folder)
        lxcpath = os.path.dirname(os.path.dirname(lxcpath))
    for name, other in _in(lxcpath, folder):
        yield name, other
        yield from _in(f"{other}/snaps", folder)


def _in(place: str, folder: str) -> Iterator[tuple[str, str]]:
    try:
        names = os.listdir(place)
    except OSError:
        return
    for name in names:
        if f"{place}/{name}" != folder:
            yield name, f"{place}/{name}"


def _used(folder: str) -> list[str]:
    """What the root file system of the container in a folder is made of; [] for one that cannot be understood."""
    path = f"{folder}/{CONFIG}"
    try:
        with open(path, "rb") as file:
            lines = file.read().decode("utf-8", "surrogateescape").splitlines()
        # Without what it includes, which takes long, unless the root file system is set there.
        own = "".join(f"{line}\n" for line in lines if line.lstrip().startswith("lxc.rootfs"))
        conf = Config()
        if own:
            conf.load_text(own, path)
        else:
            conf = Config.read(path)
        root = str.__str__(conf["lxc.rootfs.path"])
        if not root:
            return []
        module = storage.for_config(conf)
        lowers: list[str] = module.lowers(root) if module.INFO.is_layered else []
        return [*lowers, *module.belongings(root)]
    except (LxcError, OSError):
        return []
