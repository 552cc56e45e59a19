# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-config: print a value of lxc.conf, or check configurations. Own reading of the command line: only the first argument counts."""

from __future__ import annotations

from ..config import system
from . import _options, _out
from ._options import Command, Ended, Values

# The order of lxc-config -l, which is also the order in which a prefix is completed.
LISTED = (
    "lxc.default_config",
    "lxc.lxcpath",
    "lxc.bdev.lvm.vg",
    "lxc.bdev.lvm.thin_pool",
    "lxc.bdev.zfs.root",
    "lxc.cgroup.use",
    "lxc.cgroup.pattern",
)

CHECK = "check"

COMMAND = Command(
    "config",
    "-l | ITEM | check [--json] [-P PATH] [NAME | FILE]...",
    "Print ITEM of lxc.system.conf(5), -l: the names of all items; check: say what is wrong with configurations.",
    (_options.JSON,),
    named=False,
    rcfile=False,
)


def parse(argv: list[str], called: str) -> Values:
    """The reader of this command, in place of the common one: values.item is what was asked for."""
    asked = argv[0] if argv else ""
    if asked != "-l" and ("-h".startswith(asked) or "--help".startswith(asked)):
        usage = f"Usage: {called} -l: list all available configuration items\n"
        raise Ended(0, stdout=f"{usage}       {called} item: print configuration item\n")
    values = Values()
    values.item = asked
    values.check = argv[1:] if asked == CHECK else None
    values.called = called
    return values


def find(asked: str) -> str | None:
    """The key meant: the exact one, else the first that begins so."""
    keys = (*LISTED, *(key for key in system.KEYS if key not in LISTED))
    if asked in keys:
        return asked
    return next((key for key in LISTED if key.startswith(asked)), None)


def run(values: Values) -> int:
    """Messages go to stdout, as in LXC: scripts read them there."""
    if values.check is not None:
        from . import _check

        return _check.run(values.check, values.called)
    if values.item == "-l":
        _out.text("\n".join(LISTED) + "\n")
        return 0
    key = find(values.item)
    if key is None:
        _out.line(f"Unknown configuration item: {values.item}")
        return 1
    value = system.system_value(key)
    _out.line(value if value is not None else f"{values.item} is not set.")
    return 0
