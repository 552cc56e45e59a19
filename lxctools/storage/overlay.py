# SPDX-License-Identifier: LGPL-2.1-or-later
"""A root file system that is an overlay: changes in a folder of the container's, over folders that are only read.

The value is LOWER:UPPER, or LOWER1:LOWER2:...:UPPER with the topmost lower folder first. The work folder is `work` beside UPPER.
"""

from __future__ import annotations

import os

from .. import files
from ..errors import LxcError, describe
from ..linux import detached, proc
from ..linux import mount as kernel
from ..linux.mountopts import parse_options
from ..undo import held
from . import dir as folder_backend
from . import guard
from .backend import Info, Spec, tree_copier
from .place import attach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..idmap.ranges import IdMap

INFO = Info("overlay", is_layered=True, can_snapshot=True)


def split(path: str) -> tuple[list[str], str]:
    """The lower folders, the topmost first, and the upper one. Raises LxcError."""
    lower, _, upper = path.rpartition(":/")
    lowers = [f"/{part}" if number else part for number, part in enumerate(lower.split(":/"))]
    if not lower or not upper or not lowers[0].startswith("/"):
        raise LxcError(
            f"cannot use the root file system overlay:{path}: it names no lower and no upper folder",
            remedy="lxc.rootfs.path = overlay:/LOWER:/UPPER",
        )
    return lowers, f"/{upper.strip('/')}"


def lowers(path: str) -> list[str]:
    """The lower folders, the topmost first. Raises LxcError."""
    return split(path)[0]


def create(spec: Spec) -> tuple[str, bool]:
    """Make rootfs, which the template fills, and overlay/delta for the changes. Raises LxcError."""
    _check_names(spec.rootfs)
    made = folder_backend.make_mount_point(spec)
    return _over([spec.rootfs], spec), made


def _over(lowers: Sequence[str], spec: Spec) -> str:
    upper = f"{spec.folder}/overlay/delta"
    _check_names(spec.folder)
    value = f"overlay:{':'.join(lowers)}:{upper}"
    with held():
        if folder_backend.make_folder(upper):
            spec.begins(value)
    return value


def _check_names(path: str) -> None:
    if ":" in path or "," in path:
        raise LxcError(f"an overlay cannot be in {path}: its name has a colon or a comma", remedy="choose another folder")


def depends(source_value: str) -> bool:
    """What is below must stay."""
    return True


def snapshot(source_value: str, spec: Spec) -> str:
    """An overlay over a folder; of an overlay, one with the same lower folders and a copy of its changes. Raises LxcError.

    rootfs in the new folder is made too: the mount point, as LXC has it.
    """
    kind, _, path = source_value.partition(":")
    lowers, upper = ([path], "") if kind == "dir" else split(path)
    if kind == "dir":
        _check_names(path)
    made = folder_backend.make_mount_point(spec)
    value = _over(lowers, spec)
    new = split(value.partition(":")[2])[1]
    try:
        os.makedirs(_work(new), 0o755, exist_ok=True)
        if upper and os.path.isdir(upper):
            tree_copier()(upper, new)
    except BaseException as error:
        destroy(value.partition(":")[2])
        if made:
            files.remove_tree(spec.rootfs)
        if isinstance(error, OSError):
            raise LxcError(f"cannot make the overlay's folders in {spec.folder}: {describe(error)}") from error
        raise
    return value


def _work(upper: str) -> str:
    return f"{os.path.dirname(upper)}/work"


def exists(path: str) -> bool:
    """Whether the lower folders are there. The upper one is made when missing: an ephemeral container's may be."""
    return all(os.path.isdir(lower) for lower in split(path)[0])


def belongings(path: str) -> list[str]:
    """The upper folder and the work folder. What is below may be another container's; in the container's folder it goes with it."""
    upper = split(path)[1]
    return [upper, _work(upper)]


def destroy(path: str, beat: Callable[[], object] | None = None, maps: Sequence[IdMap] = ()) -> None:
    """Remove the upper folder and the work folder beside it; nothing of what is below. Raises LxcError.

    The folder `overlay` that LXC has them in goes too when it is empty.
    """
    lowers, upper = split(path)
    work = _work(upper)
    for folder in (upper, work):
        for lower in lowers:
            if os.path.realpath(lower) == os.path.realpath(folder) or files.is_below(lower, folder):
                raise LxcError(
                    f"refusing to remove {folder}: it is or holds the lower folder {lower} of the same overlay",
                    remedy="correct lxc.rootfs.path",
                )
    guard.check_removable(upper)
    folder_backend.destroy(upper, beat, maps)
    if _is_work(work):
        folder_backend.destroy(work, beat, maps)
    if os.path.basename(os.path.dirname(upper)) == "overlay":
        try:
            os.rmdir(os.path.dirname(upper))
        except OSError:
            pass  # not empty, or not there


def _is_work(folder: str) -> bool:
    """Whether a folder is an overlay's work folder and nothing else: it holds `work` and `index` at most."""
    try:
        return set(os.listdir(folder)) <= {"work", "index", "incompat"}
    except OSError:
        return False


def mount(path: str, target: str) -> None:
    """Mount it on a folder. Raises LxcError."""
    attach(open_mount(path), target, f"overlay:{path}")


def open_mount(path: str, options: str = "", *, read_only: bool = False) -> int:
    """Mount it detached; makes the upper and the work folder when missing. Raises LxcError.

    In a user namespace the marks of the overlay are user.overlay.* attributes: others cannot be written there.
    """
    lowers, upper = split(path)
    wanted = parse_options(options)
    work = _work(upper)
    try:
        for folder in (upper, work):
            os.makedirs(folder, 0o755, exist_ok=True)
    except OSError as error:
        raise LxcError(f"cannot make the overlay's folder: {describe(error)}", remedy="check lxc.rootfs.path") from error
    data: list[tuple[str, str | None]] = [("lowerdir", ":".join(map(_escaped, lowers)))]
    data += [("upperdir", _escaped(upper)), ("workdir", _escaped(work)), *wanted.data]
    if not any(name == "userxattr" for name, _ in data) and _in_userns():
        data.append(("userxattr", None))
    try:
        return detached.filesystem("overlay", data, _flags(wanted.attributes, read_only), "overlay")
    except OSError as error:
        raise LxcError(f"cannot mount the overlay of {upper} over {', '.join(lowers)}: {describe(error)}") from error


def _flags(attributes: int, read_only: bool) -> int:
    return attributes | (kernel.MOUNT_ATTR_RDONLY if read_only else 0)


def _escaped(folder: str) -> str:
    return folder.replace("\\", "\\\\").replace(":", "\\:")


def _in_userns() -> bool:
    """Whether this process is in a user namespace other than the first one."""
    return proc.read("/proc/self/uid_map").split() != [b"0", b"0", b"4294967295"]


def open_to_fill(path: str) -> int:
    """The lowest writable thing: a template fills the (one) lower folder. Raises LxcError."""
    lower = split(path)[0][0]
    try:
        return detached.bind(kernel.AT_FDCWD, lower, recursive=True)
    except OSError as error:
        raise LxcError(f"cannot mount the root file system {lower}: {describe(error)}") from error


def folders(path: str) -> list[str]:
    """What belongs to the container's root: the lower folder of a new one, and its own folders. Those there are.

    Where the work folder is somebody else's, an overlay that is mounted in a user namespace is read-only.
    """
    lowers, upper = split(path)
    return [place for place in (lowers[0], os.path.dirname(upper), upper, _work(upper)) if os.path.isdir(place)]
