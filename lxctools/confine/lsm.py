# SPDX-License-Identifier: LGPL-2.1-or-later
"""Linux security modules: which one the kernel has, and the label of a start or an attach.

A container's AppArmor and SELinux keys are accepted where the kernel has no such module, with one warning: Debian's
default.conf sets them for everybody. Where it has one, a named profile is applied by one write to /proc/PID/attr.
"""

from __future__ import annotations

import os

from .. import log
from ..errors import LxcError, Unsupported
from ..linux import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.conf import Config

_APPARMOR_ENABLED = "/sys/module/apparmor/parameters/enabled"
_APPARMOR_MOUNT = "/sys/kernel/security/apparmor/features/mount/mask"
_SELINUX = "/sys/fs/selinux/enforce"
_DEFAULT_PROFILE = "lxc-container-default-cgns"


class Label:
    """attribute: the file below /proc/PID/attr; data: what is written to it."""

    __slots__ = ("attribute", "data", "shown")

    def __init__(self, attribute: str, data: bytes, shown: str) -> None:
        self.attribute = attribute
        self.data = data
        self.shown = shown


def has_apparmor() -> bool:
    """Whether the running kernel enforces AppArmor."""
    try:
        return proc.read(_APPARMOR_ENABLED).startswith(b"Y")
    except OSError:
        return False


def has_selinux() -> bool:
    """Whether the running kernel has SELinux loaded."""
    return os.path.exists(_SELINUX)


def prepare(conf: Config) -> Label | None:
    """The label for a container's init, or None for none. Raises Unsupported, LxcError."""
    profile = conf["lxc.apparmor.profile"]
    context = conf["lxc.selinux.context"]
    if has_apparmor():
        return _apparmor(conf, profile)
    if profile and profile not in ("unconfined", "unchanged"):
        log.warn(f"lxc.apparmor.profile = {profile} is passed over: this kernel has no AppArmor")
    if has_selinux():
        if not context or context == "unconfined_t":
            return None
        return Label("exec", os.fsencode(context), context)
    if context:
        log.warn(f"lxc.selinux.context = {context} is passed over: this kernel has no SELinux")
    return None


def _apparmor(conf: Config, profile: str) -> Label | None:
    if profile == "unchanged":
        return None
    if profile == "generated":
        raise Unsupported(
            "not supported yet: lxc.apparmor.profile = generated on a kernel with AppArmor",
            remedy="name a loaded profile, or unconfined",
        )
    current = _current()
    wanted = profile or _DEFAULT_PROFILE
    if wanted == "unconfined" and current == "unconfined":
        return None
    if current != "unconfined" and wanted != current:
        raise LxcError(
            f"Already AppArmor confined ({current}), but new label requested ({wanted})",
            remedy="set lxc.apparmor.profile = unchanged",
        )
    if wanted != "unconfined" and not os.path.exists(_APPARMOR_MOUNT) and not conf["lxc.apparmor.allow_incomplete"]:
        raise LxcError(
            "this kernel's AppArmor does not mediate mounts", remedy="set lxc.apparmor.allow_incomplete = 1 to go on"
        )
    return Label(_attribute(), b"changeprofile " + os.fsencode(wanted), wanted)


def _attribute() -> str:
    return "apparmor/current" if os.path.exists("/proc/self/attr/apparmor/current") else "current"


def _current() -> str:
    try:
        return proc.read("/proc/self/attr/current").decode("utf-8", "replace").split(" ")[0].strip("\0\n")
    except OSError:
        return "unconfined"


def apply(label: Label, attr_fd: int) -> None:
    """Write a label to an open file of this process's attr folder. Raises OSError."""
    os.write(attr_fd, label.data)


def label_for_attach(proc_fd: int, context: str) -> Label | None:
    """The label of a container's init, read below a descriptor of its /proc/PID; context replaces it."""
    if has_apparmor():
        label = context or proc.read("attr/current", proc_fd).decode("utf-8", "replace").strip("\0\n").rsplit(" (", 1)[0]
        if label == "unconfined":
            return None
        return Label(_attribute(), b"changeprofile " + os.fsencode(label), label)
    if has_selinux():
        label = context or proc.read("attr/current", proc_fd).decode("utf-8", "replace").strip("\0\n")
        return Label("exec", os.fsencode(label), label)
    if context:
        raise LxcError(f"cannot switch to the context {context}: this kernel has neither AppArmor nor SELinux")
    return None
