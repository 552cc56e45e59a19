# SPDX-License-Identifier: LGPL-2.1-or-later
"""Carry out the planned mounts below the container's root (plan.py made them, resolve.py finds their places)."""

from __future__ import annotations

import os

from .. import log
from ..errors import LxcError, describe
from ..linux import detached, mount
from ..linux.mountopts import Options
from .plan import MountEntry
from .resolve import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    # Asks the monitor for an idmapped mount (idmapped.Wanted as a plain tuple); -1 when an optional one failed.
    Ask = Callable[[tuple[str, bool, str, int, int, bool, str]], int]

_OVERLAYS = ("overlay", "overlayfs")


def mount_entries(root: Root, entries: Sequence[MountEntry], rootfs_path: str, folder: str, ask: Ask | None) -> None:
    """Carry out the entries in order.

    rootfs_path: lxc.rootfs.path; folder: the container's own folder LXCPATH/NAME: missing upper and work folders of
    overlays are made below these two. ask: how to get an idmapped mount. Raises LxcError naming the line of the first
    failing entry that is not optional; a failing optional one is logged.
    """
    for entry in entries:
        try:
            _mount_entry(root, entry, rootfs_path, folder, ask)
        except (OSError, LxcError) as error:
            text = f"cannot mount {entry.source} on /{entry.target.lstrip('/')}: {_reason(error)} ({entry.where})"
            if not entry.options.optional:
                raise LxcError(text, remedy=_remedy(error, entry)) from error
            log.info(f"optional: {text}")


def _reason(error: OSError | LxcError) -> str:
    return error.message if isinstance(error, LxcError) else describe(error)


def _remedy(error: Exception, entry: MountEntry) -> str:
    if isinstance(error, LxcError):
        return error.remedy
    if isinstance(error, FileNotFoundError) and not entry.options.create:
        return "add create=dir or create=file if the target may be missing, optional if the source may be"
    return ""


def _mount_entry(root: Root, entry: MountEntry, rootfs_path: str, folder: str, ask: Ask | None) -> None:
    log.debug(entry.describe())
    options = entry.options
    opened: list[int] = []
    try:
        target = _target(root, entry)
        opened.append(target)
        if options.idmap:
            tree = _idmapped(entry, rootfs_path, ask)
            if tree < 0:
                return
        elif options.bind:
            tree = _bind(root, entry, rootfs_path)
        elif options.move:
            tree = mount.open_tree(mount.AT_FDCWD, entry.source, 0)
        else:
            tree = _filesystem(entry, rootfs_path, folder, opened)
        opened.append(tree)
        detached.attach(tree, target)
        if options.propagation is not None:
            flag, recursive = options.propagation
            detached.set_flags(tree, propagation=flag, recursive=recursive)
            root.held.append((os.dup(tree), flag, recursive))
    finally:
        for fd in opened:
            os.close(fd)


def _target(root: Root, entry: MountEntry) -> int:
    if entry.options.create == "dir":
        return root.mkdirs(entry.target)
    if entry.options.create == "file":
        return root.touch(entry.target)
    return root.open(entry.target)


def bind_flags(options: Options) -> tuple[int, int]:
    """(MOUNT_ATTR_* to set, to clear) on a bind mount: what the source forbids stays, but for nodev with `dev`."""
    clear = 0
    if options.atime is not None:
        clear |= mount.MOUNT_ATTR__ATIME
    if options.dev:
        clear |= mount.MOUNT_ATTR_NODEV
    return options.attributes, clear


def _bind(root: Root, entry: MountEntry, rootfs_path: str) -> int:
    options = entry.options
    source = root.open(entry.source) if options.relative else _in_rootfs(entry.source, rootfs_path)
    if source >= 0:
        try:
            tree = detached.bind(source, "", recursive=options.recursive, empty=True)
        finally:
            os.close(source)
    else:
        tree = detached.bind(mount.AT_FDCWD, entry.source, recursive=options.recursive)
    try:
        on, off = bind_flags(options)
        if on or off:
            detached.set_flags(tree, on, clear=off)
    except OSError:
        os.close(tree)
        raise
    return tree


def _in_rootfs(path: str, rootfs_path: str, *, make: bool = False) -> int:
    """An O_PATH descriptor of a host path that leads into the container's root, reached without links; -1 for others.

    make: as a folder, made when missing.
    """
    prefix = rootfs_path.rstrip("/")
    if not prefix or not path.startswith(f"{prefix}/"):
        return -1
    inside = Root(os.open(prefix, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), prefix)
    try:
        rest = path[len(prefix) :]
        return inside.mkdirs(rest) if make else inside.open(rest)
    finally:
        inside.close()


def _idmapped(entry: MountEntry, rootfs_path: str, ask: Ask | None) -> int:
    if ask is None:
        raise LxcError("idmap= needs a container with a user namespace", remedy="set lxc.idmap, or remove idmap=")
    checked = _in_rootfs(entry.source, rootfs_path)
    if checked >= 0:
        os.close(checked)
    options = entry.options
    on, off = bind_flags(options)
    return ask((entry.source, options.recursive, options.idmap, on, off, options.optional, entry.where))


def _filesystem(entry: MountEntry, rootfs_path: str, folder: str, opened: list[int]) -> int:
    options = entry.options
    data = list(options.data)
    if options.read_only:
        # Of the file system itself too, as mount(2) does it: a disk may only allow that.
        data.insert(0, ("ro", None))
    fstype, _, subtype = entry.fstype.partition(".")
    if subtype:
        data.append(("subtype", subtype))
    if fstype in _OVERLAYS:
        fstype = "overlay"
        data = [
            (key, _overlay_folders(key, value, rootfs_path, folder, opened)) if value is not None else (key, value)
            for key, value in data
        ]
    return detached.filesystem(fstype, data, options.attributes, entry.source)


def _overlay_folders(key: str, value: str, rootfs_path: str, folder: str, opened: list[int]) -> str:
    """The folders of an overlay option. Those below the container's root are hostile: given to the kernel as descriptors.

    upperdir and workdir are made when missing, below the container's folder or its root only.
    """
    if key not in ("lowerdir", "upperdir", "workdir"):
        return value
    paths = value.split(":") if key == "lowerdir" else [value]
    return ":".join(_overlay_folder(key, path, rootfs_path, folder, opened) for path in paths)


def _overlay_folder(key: str, path: str, rootfs_path: str, folder: str, opened: list[int]) -> str:
    make = key != "lowerdir"
    fd = _in_rootfs(path, rootfs_path, make=make)
    if fd >= 0:
        opened.append(fd)
        return f"/proc/self/fd/{fd}"
    if make and path.startswith(f"{folder.rstrip('/')}/"):
        os.makedirs(path, 0o755, exist_ok=True)
    return path
