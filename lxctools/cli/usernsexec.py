# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-usernsexec: run a program in a new user namespace. Options of its own only, and no long ones."""

from __future__ import annotations

import os
import pwd

from ..errors import LxcError
from ..idmap import ranges, userns
from ..linux import sched
from ..runtime import unshared
from . import _options
from ._options import NONE, REQUIRED, Command, Ended, Option, Values
from ._values import signed

_WRONG_ID = 255


def _map(text: str) -> list[ranges.IdMap]:
    try:
        return ranges.parse_option(text)
    except ValueError as error:
        raise Ended(1, stderr=f"{COMMAND.prog}: {error}\n{_options.help_text(COMMAND)}") from None


def _id(text: str) -> int:
    try:
        number = signed(text)
    except _options.BadValue as error:
        raise Ended(_WRONG_ID, stderr=f"{COMMAND.prog}: {error}\n") from None
    if not 0 <= number < (1 << 32) - 1:
        raise Ended(_WRONG_ID, stderr=f"{COMMAND.prog}: {text} is no id\n")
    return number


COMMAND = Command(
    "usernsexec",
    "[-m MAP]... [-s] [-u UID] [-g GID] [--] [COMMAND [ARGUMENT...]]",
    "Run COMMAND (/bin/sh) in a new user namespace, mapped as the subordinate ids of the caller if no MAP is given.",
    (
        Option("m", "", REQUIRED, "maps", "map RANGE ids; u: uids, g: gids, b: both", "append",
               metavar="u|g|b:NSID:HOSTID:RANGE", convert=_map),
        Option("s", "", NONE, "self", "map the ids of the caller, too"),
        Option("u", "", REQUIRED, "uid", "the uid to become in the namespace", metavar="UID", default=0, convert=_id),
        Option("g", "", REQUIRED, "gid", "the gid to become in the namespace", metavar="GID", default=0, convert=_id),
        Option("h", "", NONE, "help", "print this help and exit with 0"),
    ),
    named=False,
    rcfile=False,
    common=False,
)  # fmt: skip


def parse(argv: list[str], called: str) -> Values:
    """The reader of this command, in place of the common one."""
    return _options.read_own(COMMAND, argv, called)


def run(values: Values) -> int:
    """The exit status of the command, 128 + n for signal n; 1 when it could not be run."""
    maps = [entry for entries in values.maps for entry in entries] or _subordinate()
    if values.self:
        maps = ranges.with_caller(maps, os.getuid(), os.getgid())
    wrong = ranges.check(maps)
    if wrong:
        raise LxcError(f"Failed to write id mapping for child process: {wrong}")

    def inside() -> None:
        userns.become(values.uid, values.gid)
        unshared.own_user_mounts()

    return unshared.run(sched.CLONE_NEWUSER | sched.CLONE_NEWNS, values.words or ["/bin/sh"], inside, maps=maps)


def _subordinate() -> list[ranges.IdMap]:
    """The caller's first ranges of subuid(5) and subgid(5), from 0 on."""
    uid = os.getuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = ""
    result = []
    for kind, path in (("u", "/etc/subuid"), ("g", "/etc/subgid")):
        try:
            with open(path, errors="replace") as file:
                given = ranges.subordinate(file.read(), user, uid)
        except OSError:
            given = []
        if not given:
            raise LxcError(
                f"Failed to find subuid or subgid allocation: {path} gives none to {user or uid}",
                remedy="usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST USER, or -m",
            )
        result.append(ranges.IdMap(kind, 0, *given[0]))
    return result
