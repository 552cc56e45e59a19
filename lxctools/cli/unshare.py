# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-unshare: run a program in new namespaces."""

from __future__ import annotations

import os
import pwd
import socket

from .. import namespaces
from ..errors import LxcError, describe
from ..idmap import userns
from ..idmap.ranges import IdMap
from ..runtime import unshared
from ._options import NONE, REQUIRED, BadValue, Command, Option, Values

_WORDS = {"MOUNT": "mnt", "NETWORK": "net", "UTSNAME": "uts"}


def _flags(text: str) -> int:
    """CLONE_* bits of NS|NS...; LXC takes three names in upper case, and those of /proc/PID/ns in any."""
    flags = 0
    for word in filter(None, text.split("|")):
        try:
            flags |= namespaces.by_name(_WORDS.get(word, word).lower()).flag
        except KeyError:
            known = " ".join(row.attach for row in namespaces.NAMESPACES)
            raise BadValue(f'"{word}" is no namespace; there are: {known}') from None
    return flags


def _user(text: str) -> int:
    try:
        return pwd.getpwuid(int(text)).pw_uid if text.isascii() and text.isdecimal() else pwd.getpwnam(text).pw_uid
    except (KeyError, OverflowError):
        raise BadValue(f'there is no user "{text}"') from None


COMMAND = Command(
    "unshare",
    "-s NAMESPACES [OPTIONS] [--] COMMAND [ARGUMENT...]",
    "Run COMMAND in new namespaces, given as NAME|NAME...: " + " ".join(row.attach for row in namespaces.NAMESPACES) + ".",
    (
        Option("s", "namespaces", REQUIRED, "flags", "the namespaces to make", metavar="NS[|NS...]", convert=_flags),
        Option("u", "user", REQUIRED, "user", "become this user", metavar="UID|NAME", convert=_user),
        Option("H", "hostname", REQUIRED, "hostname", "the host name; with UTSNAME", metavar="NAME"),
        Option("i", "ifname", REQUIRED, "interfaces", "move this interface in; with NETWORK", "append", metavar="IFNAME"),
        Option("d", "daemon", NONE, "daemon", "do not wait for COMMAND"),
        Option("M", "remount", NONE, "remount", "new /proc, /dev/shm and /dev/mqueue; with MOUNT"),
    ),
    named=False,
    rcfile=False,
)


def run(values: Values) -> int:
    """The exit status of the command, 128 + n for signal n; 1 when it could not be run."""
    flags: int = values.flags or 0
    uts, mnt, net, user = (namespaces.by_name(name).flag for name in ("uts", "mnt", "net", "user"))
    if not values.words:
        raise LxcError("A command to execute in the new namespace is required", remedy="write it after --")
    for missing, text, remedy in (
        (not flags, "A namespace to execute command is required", "-s NAMESPACE"),
        (values.interfaces and not flags & net, "-i <interfacename> needs -s NETWORK option", ""),
        (values.hostname is not None and not flags & uts, "-H <hostname> needs -s UTSNAME option", ""),
        (values.remount and not flags & mnt, "-M needs -s MOUNT option", ""),
    ):
        if missing:
            raise LxcError(text, remedy=remedy)
    maps = []
    gid = None
    if values.user is not None and flags & user:
        gid = pwd.getpwuid(values.user).pw_gid
        maps = [IdMap("u", values.user, os.geteuid(), 1), IdMap("g", gid, os.getegid(), 1)]

    def inside() -> None:
        if flags & mnt:
            unshared.private_mounts()
        if values.remount:
            unshared.remount()
        if values.hostname is not None:
            try:
                socket.sethostname(values.hostname)
            except OSError as error:
                raise LxcError(f"cannot set the host name {values.hostname}: {describe(error)}") from error
        if values.user is not None:
            userns.become(values.user, gid)

    return unshared.run(
        flags, values.words, inside, maps=maps, interfaces=values.interfaces, wait=not values.daemon
    )
