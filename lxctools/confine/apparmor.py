# SPDX-License-Identifier: LGPL-2.1-or-later
"""AppArmor: which profile a container gets (lxc.apparmor.profile), and the label of a running one (apparmor(7)).

    unset         lxc-container-default-cgns, or lxc-container-default on a kernel without cgroup namespaces
    unchanged     the label of whoever starts the container
    unconfined    none
    generated     a profile made for the container: refused, it is not supported yet
    other         that profile, which must be loaded

Every function takes the root of the file systems that it reads (/proc, /sys), so that a test can play the kernel.
"""

from __future__ import annotations

import os

from ..errors import LxcError, Unsupported
from ..linux import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.conf import Config

UNCONFINED = "unconfined"
_UNCHANGED = "unchanged"
_GENERATED = "generated"
_FEATURES = "/sys/kernel/security/apparmor/features"
# A label that distributions put on lxc-start itself; it allows everything that a start needs.
_NOT_CONFINED = frozenset(("", UNCONFINED, "/usr/bin/lxc-start"))


def enabled(root: str = "") -> bool:
    """Whether the running kernel has AppArmor switched on."""
    try:
        return proc.read(f"{root}/sys/module/apparmor/parameters/enabled").startswith(b"Y")
    except OSError:
        return False


def mediates_mounts(root: str = "") -> bool:
    """Whether profiles of this kernel decide about mounts; without that none confines a container."""
    return os.path.exists(f"{root}{_FEATURES}/mount/mask")


def attribute(root: str = "") -> str:
    """The file below /proc/PID/attr that is AppArmor's: its own one since Linux 5.8, else the one that modules share."""
    own = "apparmor/current"
    return own if os.path.exists(f"{root}/proc/self/attr/{own}") else "current"


def read_label(process: int) -> str:
    """The label of a process without its mode, given a descriptor of its /proc/PID. Raises OSError."""
    try:
        return strip_mode(proc.read("attr/apparmor/current", process))
    except FileNotFoundError:
        return strip_mode(proc.read("attr/current", process))


def strip_mode(data: bytes) -> str:
    """`profile (enforce)` NEWLINE as the kernel prints it, without the mode."""
    label = os.fsdecode(data.strip(b"\0\n "))
    if label.endswith(")"):
        label = label.rpartition(" (")[0] or label
    return label


def wanted(conf: Config, root: str = "") -> str | None:
    """The label that a container's init changes to, or None for no change. Raises Unsupported, LxcError."""
    profile = conf["lxc.apparmor.profile"]
    if profile == _UNCHANGED:
        return None
    if profile == _GENERATED:
        raise Unsupported(
            "not supported yet: lxc.apparmor.profile = generated on a kernel with AppArmor",
            remedy="name a loaded profile (lxc-container-default-cgns), unconfined or unchanged",
        )
    label = profile or _default(root)
    current = _own_label(root)
    if current not in _NOT_CONFINED and not _can_stack(root):
        if profile in ("", current):
            return None
        raise LxcError(
            f"Already AppArmor confined ({current}), but new label requested ({profile})",
            remedy="set lxc.apparmor.profile = unchanged",
        )
    if label == UNCONFINED:
        return None if current == UNCONFINED else label
    if not mediates_mounts(root) and not conf["lxc.apparmor.allow_incomplete"]:
        raise LxcError(
            f"lxc.apparmor.profile = {label}: this kernel's AppArmor does not mediate mounts, so the profile would not confine",
            remedy="set lxc.apparmor.allow_incomplete = 1 to start nevertheless",
        )
    return label


def _default(root: str) -> str:
    cgns = os.path.exists(f"{root}/proc/self/ns/cgroup")
    return "lxc-container-default-cgns" if cgns else "lxc-container-default"


def _own_label(root: str) -> str:
    try:
        return strip_mode(proc.read(f"{root}/proc/self/attr/{attribute(root)}"))
    except OSError:
        return UNCONFINED


def _can_stack(root: str) -> bool:
    try:
        return proc.read(f"{root}{_FEATURES}/domain/stack").startswith(b"yes")
    except OSError:
        return False
