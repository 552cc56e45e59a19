# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-containers: what lxc.service and the init script call to start and stop the containers that follow the host."""

from __future__ import annotations

import fcntl
import os
import shlex
import time

from .. import paths, process
from ..cgroup import hierarchy
from ..config.peek import Peek
from ..errors import ConfigError, LxcError, describe
from ..network import settings
from . import _options, _out
from ._options import Command, Ended, Values

USAGE_STATUS = 2
# Not LXC's /run/lock/lxc, which means a start in progress to C LXC by being there, and in whose folder any user may make files.
LOCK = "lxc/lxc-containers.lock"
DEFAULTS = {
    "LXC_AUTO": "true",
    "BOOTGROUPS": "onboot,",
    "SHUTDOWNDELAY": "5",
    "OPTIONS": "",
    "STOPOPTS": "-a -A -s",
    "USE_LXC_BRIDGE": "",
}
_ACTIONS = ("start", "stop", "restart", "reload", "force-reload")
_LINK = "lxc.net.0.link"
_BRIDGE_PATIENCE = 30  # seconds
_UP = 0x1  # IFF_UP

COMMAND = Command(
    "containers",
    "{" + "|".join(_ACTIONS) + "}",
    "Start or stop the containers that follow the host, as /etc/default/lxc says; for lxc.service and init scripts.",
    (_options.HELP,),
    named=False,
    rcfile=False,
    common=False,
)


def parse(argv: list[str], called: str) -> Values:
    """One word; anything else is told on standard output, with status 2, as init scripts do it."""
    if argv[:1] == ["-h"]:
        raise Ended(0, stdout=_options.help_text(COMMAND))
    values = Values()
    values.action = argv[0] if argv else ""
    if values.action not in _ACTIONS:
        raise Ended(USAGE_STATUS, stdout=f"Usage: {called} {COMMAND.synopsis}\n")
    return values


def run(values: Values) -> int:
    """A start: 0 also when some containers failed, as lxc.service must count as started for its stop to be called.

    A stop: lxc-autostart's status.
    """
    wanted = settings.read(defaults=DEFAULTS)
    status = 0
    if values.action != "start":
        status = _stop(wanted)
    if values.action != "stop":
        _start(wanted)
    return status


def _start(wanted: dict[str, str]) -> None:
    if wanted["LXC_AUTO"] != "true":
        return
    lock = _open_lock()
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _out.complain(f"{COMMAND.prog}: the containers are being started already\n")
            return
        if wanted["USE_LXC_BRIDGE"] == "true":
            _wait_for_bridges()
        words = _words(wanted, "OPTIONS")
        if wanted["BOOTGROUPS"]:
            words += ["-g", wanted["BOOTGROUPS"]]
        _step_aside()
        _autostart(words)
    finally:
        os.close(lock)


def _open_lock() -> int:
    path = os.path.join(paths.runtime_dir(), LOCK)
    try:
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise LxcError(f"cannot lock {path}, which keeps two starts apart: {describe(error)}") from error


def _step_aside() -> None:
    """Leave the cgroup of a user's service to the containers: the kernel gives controllers to no child of one with processes.

    The name is what systemd uses for itself in such a place, and what a start looks for.
    """
    if paths.is_root():
        return
    try:
        host = hierarchy.detect()
        if host.unified is None or host.layout != hierarchy.UNIFIED:
            return
        leaf = host.unified.folder + hierarchy.INIT_SCOPE
        os.makedirs(leaf, exist_ok=True)
        with open(f"{leaf}/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))
    except (LxcError, OSError):
        return  # the containers say what they lack


def _stop(wanted: dict[str, str]) -> int:
    words = _words(wanted, "STOPOPTS")
    if wanted["SHUTDOWNDELAY"]:
        words += ["-t", wanted["SHUTDOWNDELAY"]]
    return _autostart(words)


def _words(wanted: dict[str, str], name: str) -> list[str]:
    try:
        return shlex.split(wanted[name])
    except ValueError as error:
        raise LxcError(f"{settings.DEFAULTS_FILE}: {name}: {error}") from error


def _autostart(words: list[str]) -> int:
    program = f"{paths.LIBEXEC if paths.IN_CHECKOUT else f'{paths.PREFIX}/bin'}/lxc-autostart"
    pid = process.spawn([program, *words])
    return process.exit_status(os.waitpid(pid, 0)[1])


def _wait_for_bridges() -> None:
    """Until what new containers are connected to is up; a bridge that does not come does not keep the others."""
    try:
        links = Peek(frozenset((_LINK,))).read(paths.GLOBAL_DEFAULT).get(_LINK, [])
    except ConfigError:
        return
    deadline = time.monotonic() + _BRIDGE_PATIENCE
    for link in links:
        while not _is_up(link):
            if time.monotonic() > deadline:
                _out.complain(f"{COMMAND.prog}: {link} is not up after {_BRIDGE_PATIENCE} s\n")
                break
            time.sleep(0.1)


def _is_up(link: str) -> bool:
    try:
        with open(f"/sys/class/net/{link}/flags") as file:
            return bool(int(file.read(), 16) & _UP)
    except (OSError, ValueError):
        return False
