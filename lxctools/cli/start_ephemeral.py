# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-start-ephemeral: the command line of LXC 1.0 for what lxc-copy -e does."""

from __future__ import annotations

import os
import time

from .. import log, paths
from ..container import Container, get_global_config_item
from ..errors import LxcError
from . import _mounts, _options, _out, _session
from ._options import NONE, REQUIRED, BadValue, Command, Ended, Option, Values, lxcpath

_USAGE = 2  # exit code of a wrong command line
_PATIENCE = 5  # seconds for an orderly end
_FOR_ADDRESS = 10.0
_STORAGE = ("tmpfs", "dir")
_UNIONS = ("overlayfs", "aufs")
_MOST_TOLD = 65536
# getent(1) knows users of every kind; a small system without it has the file only. Then the groups.
_WHO = """\
getent passwd "$1" 2>/dev/null || while IFS= read -r line; do
    case $line in "$1":*) printf '%s\\n' "$line"; break ;; esac
done </etc/passwd
id -G "$1"
"""


def _one_of(what: str, words: tuple[str, ...], text: str) -> str:
    if text not in words:
        raise BadValue(f'{what}: "{text}" is none of {", ".join(words)}')
    return text


def _bind(text: str) -> _mounts.Mount:
    fields = [field for field in text.split(":") if field]
    if not fields:
        raise BadValue("-b: the folder is missing")
    return _mounts.made("bind", fields, f'-b "{text}"')


def _layer(text: str) -> _mounts.Mount:
    if not text:
        raise BadValue("-c: the folder is missing")
    return _mounts.made("overlay", [text], f'-c "{text}"')


COMMAND = Command(
    "start-ephemeral",
    "-o ORIG [OPTIONS] [-- COMMAND...]",
    "Start a copy of a container that is removed when it ends; lxc-copy -e is its successor.",
    (
        Option("o", "orig", REQUIRED, "orig", "the container to make the copy of", metavar="NAME"),
        Option("n", "name", REQUIRED, "new", "the copy's name; default: ORIG- and eight random letters", metavar="NAME"),
        Option("P", "lxcpath", REQUIRED, "path", "the folder that holds the containers", metavar="PATH", convert=lxcpath),
        Option("b", "bdir", REQUIRED, "binds", "show this folder of the host in it, at the same place", "append",
               metavar="DIR[:TO]", convert=_bind),
        Option("c", "cdir", REQUIRED, "layers", "the same, but what is written stays in the copy", "append", metavar="DIR", convert=_layer),
        Option("u", "user", REQUIRED, "user", "run COMMAND as this user of the container; default: root"),
        Option("S", "key", REQUIRED, "key", "accepted: COMMAND is run by attaching, which needs no ssh", metavar="FILE"),
        Option("d", "daemon", NONE, "daemon", "leave it running in the background"),
        Option("s", "storage-type", REQUIRED, "storage", "where what it writes is kept: tmpfs (default) or dir", metavar="TYPE",
               convert=lambda text: _one_of("-s", _STORAGE, text)),
        Option("U", "union-type", REQUIRED, "union", "overlayfs; aufs is in no kernel of today", metavar="TYPE",
               convert=lambda text: _one_of("-U", _UNIONS, text)),
        Option("k", "keep-data", NONE, "keep", "keep the copy when it has ended; implies -s dir"),
        _options.HELP,
        Option("", "version", NONE, "version", "print the version number"),
    ),
    named=False,
    rcfile=False,
    common=False,
    undo=True,
)  # fmt: skip


def parse(argv: list[str], called: str) -> Values:
    """Read the command line; what is wrong with it ends with 2, as it did."""
    _out.complain("lxc-start-ephemeral is deprecated in favor of lxc-copy -e.\n\n")
    try:
        values = _options.read_own(COMMAND, argv, called)
        _check(values)
    except BadValue as error:
        raise Ended(_USAGE, stderr=f"{COMMAND.prog}: {error}\n") from None
    except Ended as end:
        end.code = end.code and _USAGE
        raise
    return values


def _check(values: Values) -> None:
    if not values.orig:
        raise BadValue("-o names the container to make a copy of")
    paths_of = {"-o": values.orig} | ({} if values.new is None else {"-n": values.new})
    for option, name in paths_of.items():
        try:
            paths.check_name(name, new=option == "-n")
        except LxcError as error:
            raise BadValue(f"{option}: {error.message}") from None
    if values.daemon and values.words:
        raise BadValue("-d does not go with a COMMAND")
    if values.keep and values.storage == "tmpfs":
        raise BadValue("-k does not go with -s tmpfs: what is in memory cannot be kept")
    if values.union == "aufs":
        raise BadValue("-U aufs: aufs is in no kernel of today; -U overlayfs does the same")
    if values.path is None:
        values.path = lxcpath(get_global_config_item("lxc.lxcpath"))
    if not os.path.exists(f"{values.path}/{values.orig}/config"):
        raise BadValue(
            f"Source container '{values.orig}' doesn't exist: there is no {values.path}/{values.orig}/config (lxc-ls lists what is)"
        )
    if values.new is not None and os.path.lexists(f"{values.path}/{values.new}"):
        raise BadValue(f"-n: there is a {values.path}/{values.new} already")


def run(values: Values) -> int:
    """COMMAND's exit status, 128 + n for signal n; without one 0. 1 when the copy could not be made or started."""
    log.setup(COMMAND.prog, paths.printable(values.orig))

    def use(made: Container) -> int:
        _session.start(made)
        if values.daemon:
            _tell(made)
            return 0
        with _session.ended(made, _PATIENCE):
            return _command(made, values) if values.words else _console(made)

    return Container(values.orig, values.path).clone_once(
        use,
        values.new or "",
        prefix=f"{values.orig}-",
        suffix=8,
        mounts=[*values.binds, *values.layers],
        tmpfs=not values.keep and values.storage != "dir",
        keep_data=values.keep,
        layer_fstab=True,
        allow_running=True,
        bdevtype="overlay" if values.union else "",
    )


def _console(made: Container) -> int:
    _out.text(f"{made.name} is started, and ends when you leave this terminal of it.\n")
    _out.flush()
    return made.console()


def _tell(made: Container) -> None:
    addresses = _addresses(made)
    _out.text(f"{made.name} is started. To enter it:\n - lxc-attach -P {made.lxcpath} -n {made.name}\n")
    _out.text(f" - lxc-console -P {made.lxcpath} -n {made.name}\nIts addresses:\n")
    _out.text("".join(f" - {address}\n" for address in addresses) or " - No address could be found\n")


def _addresses(made: Container) -> tuple[str, ...]:
    """Its addresses; waits for one where it has an interface that could get one."""
    found = made.get_ips()
    if all(net.type in ("none", "empty") for net in made.config.nets):
        return found
    deadline = time.monotonic() + _time_limit()
    while not found and time.monotonic() < deadline and made.running:
        time.sleep(0.1)
        found = made.get_ips()
    return found


def _time_limit() -> float:
    try:
        return max(0.0, min(float(os.environ.get("LXC_GETIP_TIMEOUT", _FOR_ADDRESS)), 3600.0))
    except ValueError:
        return _FOR_ADDRESS


# -- the command ------------------------------------------------------------------------------------------------------------


def _command(made: Container, values: Values) -> int:
    uid, gid, groups, home = (0, 0, [], "/root") if values.user in (None, "root") else _look_up(made, values.user)
    _addresses(made)
    return made.attach(
        values.words, clear_env=True, uid=uid, gid=gid, groups=groups, cwd=home, set_vars=[f"HOME={home}", *_terminal()]
    )


def _terminal() -> list[str]:
    return [f"TERM={os.environ['TERM']}"] if "TERM" in os.environ else []


def _look_up(made: Container, user: str) -> tuple[int, int, list[int], str]:
    """User id, group id, groups and home of a user of the container. Raises LxcError."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            made.attach(["/bin/sh", "-c", _WHO, "sh", user], clear_env=True, cwd="/", stdio=(null, writer, null))
        finally:
            os.close(writer)
        os.set_blocking(reader, False)
        try:
            told = os.read(reader, _MOST_TOLD)
        except BlockingIOError:
            told = b""
    finally:
        os.close(reader)
        os.close(null)
    return _read_user(told.decode("utf-8", "surrogateescape"), user)


def _read_user(told: str, user: str) -> tuple[int, int, list[int], str]:
    """What _WHO has printed. Whoever owns the container may have written it."""
    line, _, groups = told.partition("\n")
    fields = line.split(":")
    try:
        if len(fields) < 6:
            raise ValueError
        uid, gid, *others = (_identity(word) for word in (fields[2], fields[3], *groups.split()))
    except ValueError:
        raise LxcError(f'there is no user "{paths.printable(user)}" in the container', remedy="-u names one of its users") from None
    home = fields[5]
    return uid, gid, others or [gid], home if home.startswith("/") and "\0" not in home else "/"


def _identity(word: str) -> int:
    if not (word.isascii() and word.isdigit()) or int(word) >= 0xFFFFFFFF:
        raise ValueError(word)
    return int(word)
