# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-unpriv-start and lxc-unpriv-attach: a command of LXC in a scope that systemd hands to the user.

On a host with cgroup version 2 a user may only make cgroups below one that was given to him, and may only move processes
between such: what a login session runs is in none.
"""

from __future__ import annotations

import os

from .. import LXC_VERSION, paths, process
from ..errors import LxcError, describe
from ..linux import signals
from . import _options
from ._options import NONE, Command, Ended, Option, Values

_OPTIONS = (
    _options.HELP,
    Option("", "version", NONE, "version", "print the version number"),
)


def command(name: str, wrapped: str, does: str) -> Command:
    """The table of lxc-NAME, which passes its arguments to the command wrapped."""
    return Command(
        name, f"[ARGUMENTS OF {wrapped}]...", f"{does} in a scope of systemd; {wrapped}(1) has the arguments.", _OPTIONS,
        named=False, rcfile=False, common=False,
    )  # fmt: skip


def parse(table: Command, argv: list[str]) -> Values:
    """All words are the wrapped command's, but a question for help or the version when it stands alone."""
    if argv in (["-h"], ["--help"]):
        raise Ended(0, stdout=_options.help_text(table))
    if argv == ["--version"]:
        raise Ended(0, stdout=f"{LXC_VERSION}\n")
    values = Values()
    values.words = argv
    return values


def execute(program: str, words: list[str]) -> int:
    """Become systemd-run with program in it. Raises LxcError."""
    runtime = f"/run/user/{os.getuid()}"
    if not any(os.path.exists(f"{runtime}/{name}") for name in ("systemd/private", "bus")):
        raise LxcError(
            f"cannot run {program} in a scope of the user's: no systemd of this user runs (nothing answers in {runtime})",
            remedy="log in anew, or have root call loginctl enable-linger for a user who does not log in",
        )
    runner = process.find("systemd-run")
    if runner is None:
        raise LxcError("cannot make a scope: there is no systemd-run", remedy="install systemd")
    # What su leaves of another user's session would lead to that one's systemd.
    environment = process.callers_environment() | {
        "XDG_RUNTIME_DIR": runtime,
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus",
    }
    line = [runner, "--user", "--scope", "--quiet", "-p", "Delegate=yes", "--", f"{paths.BIN}/{program}", *words]
    signals.default_dispositions()
    try:
        os.execve(runner, line, environment)
    except OSError as error:
        raise LxcError(f"cannot run {runner}: {describe(error)}") from error
