# SPDX-License-Identifier: LGPL-2.1-or-later
"""A root file system that is a folder of the host's file system."""

from __future__ import annotations

import os

from .. import files
from ..errors import LxcError, describe
from ..linux import mount as kernel
from .backend import Info, Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

INFO = Info("dir", is_folder=True)


def create(spec: Spec) -> tuple[str, bool]:
    """Make the folder: --dir, or rootfs in the container's. Returns (lxc.rootfs.path, whether this call made it).

    A folder that is there already is used as it is, and never removed by a creation that fails. Raises LxcError.
    """
    path = os.path.abspath(spec.options.get("dir") or f"{spec.folder}/rootfs")
    if os.path.realpath(path) == "/":
        raise LxcError("refusing to use / as a container's root file system", remedy="name another folder with --dir")
    made = not os.path.isdir(path)
    try:
        os.makedirs(path, 0o755, exist_ok=True)
    except OSError as error:
        raise LxcError(f"cannot make the root file system {path}: {describe(error)}") from error
    return f"dir:{path}", made


def exists(path: str) -> bool:
    """Whether the folder is there."""
    return os.path.isdir(path)


def destroy(path: str, beat: Callable[[], object] | None = None) -> None:
    """Remove the folder with everything in it. Raises LxcError; refuses /, links and mount points."""
    if os.path.realpath(path) == "/":
        raise LxcError(f"refusing to remove {path}: it is the host's root", remedy="set lxc.rootfs.managed = 0")
    if os.path.islink(path):
        raise LxcError(f"refusing to remove {path}: it is a symbolic link", remedy="remove the link by hand")
    files.remove_tree(path, beat)


def mount(path: str, target: str) -> None:
    """Bind the folder, with what is mounted below it, on target. Raises LxcError."""
    if not os.path.isdir(path):
        raise LxcError(f"the root file system {path} does not exist or is not a folder", remedy="check lxc.rootfs.path")
    try:
        kernel.mount(path, target, None, kernel.MS_BIND | kernel.MS_REC)
    except OSError as error:
        raise LxcError(f"cannot mount the root file system {path}: {describe(error)}") from error
