# SPDX-License-Identifier: LGPL-2.1-or-later
"""Idmapped mounts, the monitor's part: only who is privileged over the file system may make them (mount_setattr(2)).

The container's side asks with a plain tuple (so that it can be marshalled), and attaches the detached mount that it gets.
"""

from __future__ import annotations

import os

from .. import log
from ..errors import LxcError, describe
from ..linux import detached, mount

CONTAINER = "container"


def open_mount(wanted: tuple[str, bool, str, int, int, bool, str], userns_fd: int) -> int:
    """A detached bind mount with mapped ids; the descriptor is the caller's.

    wanted: source path on the host, recursive, "container" or the path of a user namespace, MOUNT_ATTR_* to set and to
    clear, optional, the configuration line for messages. userns_fd: the container's user namespace, -1 when it has none.
    Returns -1 for an optional mount that cannot be made (logged). Raises LxcError naming the line.
    """
    source, recursive, idmap, on, off, optional, where = wanted
    try:
        return _open(source, recursive, idmap, on, off, userns_fd)
    except OSError as error:
        text = f"cannot make the idmapped mount of {source}: {describe(error)} ({where})"
        if not optional:
            raise LxcError(text, remedy="the file system of the source must support idmapped mounts") from error
        log.info(f"optional: {text}")
    except LxcError as error:
        text = f"cannot make the idmapped mount of {source}: {error.message} ({where})"
        if not optional:
            raise LxcError(text, remedy=error.remedy) from error
        log.info(f"optional: {text}")
    return -1


def _open(source: str, recursive: bool, idmap: str, on: int, off: int, userns_fd: int) -> int:
    own = -1
    if idmap == CONTAINER:
        if userns_fd < 0:
            raise LxcError("idmap=container needs a container with a user namespace", remedy="set lxc.idmap")
    else:
        own = userns_fd = os.open(idmap, os.O_RDONLY | os.O_CLOEXEC)
    try:
        tree = detached.bind(mount.AT_FDCWD, source, recursive=recursive)
        try:
            detached.set_idmap(tree, userns_fd)
            if on or off:
                detached.set_flags(tree, on, clear=off)
        except OSError:
            os.close(tree)
            raise
        return tree
    finally:
        if own >= 0:
            os.close(own)
