# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-user-nic: how the start of an unprivileged user's container gets an interface on a bridge. Not supported yet."""

from __future__ import annotations

from ..errors import Unsupported, os_path
from . import _options
from ._options import Command, Ended, Values

COMMAND = Command(
    "user-nic",
    "create LXCPATH NAME PID TYPE BRIDGE [NAME-INSIDE]\n"
    "       lxc-user-nic delete LXCPATH NAME NETNS-PATH TYPE BRIDGE NAME-OUTSIDE",
    "Give a user's container an interface, as lxc-usernet(5) allows; called by LXC itself, not supported yet.",
    (_options.HELP,),
    named=False,
    rcfile=False,
    common=False,
)
_FEWEST, _MOST = 6, 7


def parse(argv: list[str], called: str) -> Values:
    """Words only, as LXC's helper has them."""
    if argv[:1] == ["-h"]:
        raise Ended(0, stdout=_options.help_text(COMMAND))
    values = Values()
    values.words = argv
    if not _FEWEST <= len(argv) <= _MOST or argv[0] not in ("create", "delete"):
        raise Ended(1, stderr=f"Usage: {called} {COMMAND.synopsis}\n")
    return values


def run(values: Values) -> int:
    """Always fails, for now: nothing may be printed on standard output then."""
    verb, _lxcpath, name, _place, kind, bridge, *_more = values.words
    raise Unsupported(
        f"cannot {verb} a {os_path(kind)} interface on {os_path(bridge)} for {os_path(name)}: not supported yet for users other than root",
        remedy="have root start the container, with lxc.idmap, or use lxc.net.0.type = empty or none",
    )
