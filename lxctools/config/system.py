# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc.conf, the configuration of the tools: one file, the first line of a key counts, unknown lines are passed over.

The value is what follows `=` without leading blanks; there are no quotes and no includes (LXC behaviour).
"""

from __future__ import annotations

import os

from .. import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def _none() -> None:
    return None


# Key -> its built-in value.
KEYS: dict[str, Callable[[], str | None]] = {
    "lxc.default_config": paths.default_config,
    "lxc.lxcpath": paths.default_lxcpath,
    "lxc.bdev.lvm.vg": lambda: "lxc",
    "lxc.bdev.lvm.thin_pool": lambda: "lxc",
    "lxc.bdev.zfs.root": lambda: "lxc",
    "lxc.bdev.rbd.rbdpool": lambda: "lxc",
    "lxc.bdev.rbd.rbduser": _none,
    "lxc.cgroup.pattern": _none,
    "lxc.cgroup.use": _none,
}


def system_value(key: str) -> str | None:
    """The value of a key of lxc.conf, or its built-in one; None when it has none or is unknown."""
    found = system_values(key)
    if found:
        value = found[0]
        return value.rstrip("/") or "/" if key == "lxc.lxcpath" else value
    default = KEYS.get(key)
    return default() if default is not None else None


def system_values(key: str) -> list[str]:
    """Every value of a key in lxc.conf, in order (lxc.hook.create may be repeated); [] without the file."""
    wanted = os.fsencode(key)
    result = []
    for line in _lines():
        name, equals, value = line.partition(b"=")
        if equals and not line.startswith(b"#") and name.strip(b" \t") == wanted:
            result.append(os.fsdecode(value.lstrip(b" \t")))
    return result


def _lines() -> list[bytes]:
    try:
        with open(paths.system_config(), "rb", buffering=0) as file:
            return file.readall().split(b"\n")
    except OSError:
        return []
