# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-update-config: rewrite a configuration of LXC 1.0 or 2.0 with the present names of its keys."""

from __future__ import annotations

from ..config import update
from ..errors import LxcError, os_path
from . import _options, _out
from ._options import REQUIRED, Command, Option, Values, help_text

COMMAND = Command(
    "update-config",
    "-c FILE",
    "Rewrite the container configuration FILE with the names that its keys have since LXC 2.1.",
    (
        Option("c", "config", REQUIRED, "config", "the configuration to rewrite in place; FILE.backup keeps what it was", metavar="FILE"),
        _options.HELP,
    ),
    named=False,
    rcfile=False,
    common=False,
)


def parse(argv: list[str], called: str) -> Values:
    """The reader of this command, in place of the common one: LXC's has two options."""
    return _options.read_own(COMMAND, argv, called)


def run(values: Values) -> int:
    """0 also when there was nothing to convert; silent but for names that no LXC knows."""
    file: str | None = values.config
    if values.words:
        hint = f"lxc-update-config -c {os_path(values.words[0])}" if file is None else "one FILE at a time"
        raise LxcError(f'unexpected argument "{os_path(values.words[0])}"', remedy=hint)
    if file is None:
        _out.text(help_text(COMMAND))
        return 0
    for key in update.update(file):
        _out.complain(f"{COMMAND.prog}: {os_path(file)}: {os_path(key)} is no key of any LXC, it is left as it was\n")
    return 0
