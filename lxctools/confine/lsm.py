# SPDX-License-Identifier: LGPL-2.1-or-later
"""Linux security modules: which one the kernel has, and the label of a start or an attach.

A container's AppArmor and SELinux keys are accepted where the kernel has no such module, with one warning: Debian's
default.conf sets them for everybody. Where it has one, the label is applied by one write to /proc/PID/attr: at once for
AppArmor, so that start hooks run confined, at execve(2) for SELinux.
"""

from __future__ import annotations

import os

from .. import log
from ..errors import LxcError, describe
from . import apparmor, selinux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.conf import Config

_INERT = ("", "unconfined", "unchanged")


class Label:
    """attribute: the file below /proc/PID/attr; data: what is written to it; shown: the label for messages."""

    __slots__ = ("attribute", "data", "shown")

    def __init__(self, attribute: str, data: bytes, shown: str) -> None:
        self.attribute = attribute
        self.data = data
        self.shown = shown


def _apparmor_label(label: str) -> Label:
    return Label(apparmor.attribute(), b"changeprofile " + os.fsencode(label), label)


def _selinux_label(context: str) -> Label:
    return Label(selinux.ATTRIBUTE, os.fsencode(context), context)


def prepare(conf: Config) -> Label | None:
    """The label for a container's init, or None for none. Raises Unsupported, LxcError."""
    if apparmor.enabled():
        label = apparmor.wanted(conf)
        return None if label is None else _apparmor_label(label)
    profile = conf["lxc.apparmor.profile"]
    if profile not in _INERT:
        log.warn(f"lxc.apparmor.profile = {profile} is passed over: this kernel has no AppArmor")
    context = selinux.wanted(conf)
    if context is None:
        return None
    if selinux.enabled():
        return _selinux_label(context)
    log.warn(f"lxc.selinux.context = {context} is passed over: this kernel has no SELinux")
    return None


def allows_nesting(conf: Config) -> bool:
    """Whether unrestricted /proc and /sys are to be mounted for containers inside (lxc.apparmor.allow_nesting)."""
    return bool(conf["lxc.apparmor.allow_nesting"]) and apparmor.enabled()


def prepare_keyring(conf: Config) -> None:
    """Label the session keyring that is made next, where SELinux is in use. Raises LxcError."""
    if selinux.enabled() and not apparmor.enabled():
        selinux.label_keyring(conf)


def apply(label: Label, attr_fd: int) -> None:
    """Write a label to an open file of this process's attr folder. Raises LxcError naming it."""
    try:
        os.write(attr_fd, label.data)
    except OSError as error:
        remedy = "the profile must be loaded: apparmor_parser, aa-status" if label.data.startswith(b"changeprofile ") else ""
        raise LxcError(f"cannot change to the security label {label.shown}: {describe(error)}", remedy=remedy) from error


def label_for_attach(process: int, context: str) -> Label | None:
    """The label that an attached program gets: that of the container's init, or context instead.

    process: a descriptor of init's folder in the *host's* /proc (CVE-2015-1334: the container's may be made up).
    Raises OSError, and LxcError for a context on a kernel that has no such module.
    """
    if apparmor.enabled():
        label = context or apparmor.read_label(process)
        return None if label == apparmor.UNCONFINED else _apparmor_label(label)
    if selinux.enabled():
        return _selinux_label(context or selinux.read_label(process))
    if context:
        raise LxcError(f"cannot switch to the context {context}: this kernel has neither AppArmor nor SELinux")
    return None
