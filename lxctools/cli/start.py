# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-start: start a container."""

from __future__ import annotations

import os

from .. import log
from ..container import Container
from ..errors import LxcError, NotDefined, describe
from . import _overrides
from ._options import NONE, REQUIRED, Command, Option, Values

COMMAND = Command(
    "start",
    "[-n] NAME [OPTIONS] [-- COMMAND...]",
    "Start the container in the background, with COMMAND in place of its init if one is given.",
    (
        Option("d", "daemon", NONE, "foreground", "in the background (default)", "const", const=False, default=False),
        Option("F", "foreground", NONE, "foreground", "here, with its console on this terminal", "const", const=True),
        Option("f", "rcfile", REQUIRED, "rcfile", "read FILE instead of the container's configuration", metavar="FILE"),
        _overrides.DEFINE,
        Option("c", "console", REQUIRED, "console", 'use this device as console; "none": no console', metavar="FILE"),
        Option("L", "console-log", REQUIRED, "console_log", "record what is written to the console", metavar="FILE"),
        Option("C", "close-all-fds", NONE, "close_fds", "close inherited descriptors; always done in the background"),
        Option("p", "pidfile", REQUIRED, "pidfile", "write the monitor's process id to FILE", metavar="FILE"),
        *_overrides.SHARE,
    ),
    makes=True,
    undo=True,
)


def run(values: Values) -> int:
    """0 when it was started, has ended (-F) or was running already; 1 otherwise."""
    if not os.path.isdir(values.lxcpath):
        raise LxcError(f"You lack access to {values.lxcpath}: there is no such folder", remedy="-P names the lxcpath")
    container = Container(values.name, values.lxcpath, rcfile=values.rcfile)
    if container.running:
        log.error("Container is already running")
        return 0
    if not container.defined:
        container.refuse_half_created()
        raise NotDefined(
            f"No container config specified: {container.name} is not defined in {container.lxcpath}",
            remedy=f"lxc-create -n {container.name} -t TEMPLATE, or -f FILE",
        )
    _overrides.use_log_of(container, values)
    _overrides.define(container, values)
    if values.pidfile is not None:
        _ensure_pidfile(values.pidfile)
    if values.console is not None:
        path = values.console if values.console == "none" else os.path.abspath(values.console)
        _overrides.put(container, "lxc.console.path", path)
    if values.console_log is not None:
        _overrides.put(container, "lxc.console.logfile", os.path.abspath(values.console_log))
    _overrides.share(container, values)
    try:
        return container.start(
            values.words,
            daemonize=not values.foreground,
            close_fds=values.close_fds,
            pidfile=values.pidfile or "",
        )
    except LxcError as error:
        error.message = f"The container failed to start: {error.message}"
        raise


def _ensure_pidfile(path: str) -> None:
    """Find out before anything is started whether it can be written."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise LxcError(f"Failed to ensure pidfile '{path}': {describe(error)}") from error
