# SPDX-License-Identifier: LGPL-2.1-or-later
"""Set a limit of a running container: write a file of its limit cgroup, or tell its monitor a device rule."""

from __future__ import annotations

import os

from ..cgroup.devices import parse
from ..errors import LxcError
from ..protocol import client


def write(name: str, lxcpath: str, item: str, value: str, *, timeout: float) -> None:
    """Write a cgroup file such as memory.max; version 2 has devices.allow and devices.deny, too.

    Raises OSError, and ValueError or LxcError for a device rule that cannot be set.
    """
    found = client.cgroup_fd(name, lxcpath, item.partition(".")[0], limit=True, timeout=timeout)
    try:
        if found is None:
            raise FileNotFoundError(f"{name} has no cgroup with {item}")
        fd = os.open(item, os.O_WRONLY | os.O_CLOEXEC, dir_fd=found)
    except FileNotFoundError:
        if item not in ("devices.allow", "devices.deny"):
            raise
        _set_device_rule(name, lxcpath, value, allow=item == "devices.allow", timeout=timeout)
        return
    finally:
        if found is not None:
            os.close(found)
    try:
        os.write(fd, os.fsencode(value))
    finally:
        os.close(fd)


def _set_device_rule(name: str, lxcpath: str, text: str, *, allow: bool, timeout: float) -> None:
    """On a pure unified hierarchy the monitor keeps the rules."""
    rule = parse(text, allow)
    access = "".join(letter for letter, bit in (("r", 2), ("w", 4), ("m", 1)) if rule.access & bit)
    where = (name, lxcpath, rule.kind, rule.major, rule.minor, access)
    if not client.add_device_rule(*where, allow=allow, timeout=timeout):
        raise LxcError(f"the monitor of {name} did not take the device rule {text}")
