# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-unpriv-start: lxc-start for users other than root, where systemd manages the cgroups."""

from __future__ import annotations

from . import _unpriv
from ._options import Values

COMMAND = _unpriv.command("unpriv-start", "lxc-start", "Start a container as an unprivileged user,")


def parse(argv: list[str], called: str) -> Values:
    """The reader of this command, in place of the common one."""
    return _unpriv.parse(COMMAND, argv)


def run(values: Values) -> int:
    """The status of lxc-start; 1 where there is no systemd of the user's."""
    return _unpriv.execute("lxc-start", values.words)
