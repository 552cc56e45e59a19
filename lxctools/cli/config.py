# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-config: print a value of lxc.conf, or check configurations. Own reading of the command line: only the first argument counts."""

from __future__ import annotations

from ..config import system
from ..container import as_json
from ..errors import LxcError
from ..paths import printable
from . import _options, _out
from ._options import NONE, REQUIRED, Command, Ended, Option, Values

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
    "-l [--json] | ITEM [--json] | check [--json] [-P PATH] [NAME | FILE]...",
    "Print ITEM of lxc.system.conf(5), -l: the names of all items; check: say what is wrong with configurations.",
    (
        Option("l", "", NONE, "list", "print the names of all items"),
        Option("", "json", NONE, "json", "print items with their values, or what check finds, as JSON"),
        Option("P", "lxcpath", REQUIRED, "lxcpath", "after check: the folder that holds the containers", metavar="PATH"),
        Option("q", "quiet", NONE, "quiet", "after check: print no error messages"),
        Option("o", "logfile", REQUIRED, "logfile", "after check: append log lines to FILE", metavar="FILE"),
        Option("", "logpriority", REQUIRED, "logpriority", "after check, -l there: write log lines of LEVEL and worse", metavar="LEVEL"),
        _options.HELP,
        Option("", "version", NONE, "version", "print the version number"),
    ),
    named=False,
    rcfile=False,
    common=False,
)


def parse(argv: list[str], called: str) -> Values:
    """The reader of this command, in place of the common one: values.item is what was asked for."""
    values = Values()
    values.called = called
    values.check = argv[1:] if argv[:1] == [CHECK] else None
    if values.check is not None:
        return values
    words = [word for word in argv if word != "--json"]
    values.json = len(words) < len(argv)
    values.item = words[0] if words else ""
    if values.json and not words:
        raise Ended(1, stderr=f"{COMMAND.prog}: --json needs -l or an item\n")
    if values.item != "-l" and ("-h".startswith(values.item) or "--help".startswith(values.item)):
        usage = f"Usage: {called} -l: list all available configuration items\n       {called} item: print configuration item\n"
        raise Ended(0, stdout=_options.help_text(COMMAND) if values.item in ("-h", "--help") else usage)
    if len(words) > 1:
        raise Ended(1, stderr=f'{COMMAND.prog}: unexpected argument "{printable(words[1])}" (one item at a time)\n')
    return values


def find(asked: str) -> str | None:
    """The key meant: the exact one, else the first that begins so."""
    keys = (*LISTED, *(key for key in system.KEYS if key not in LISTED))
    if asked in keys:
        return asked
    return next((key for key in LISTED if key.startswith(asked)), None)


def run(values: Values) -> int:
    """Messages go to stdout, as in LXC: scripts read them there; with --json to stderr."""
    if values.check is not None:
        from . import _check

        return _check.run(values.check, values.called)
    if values.item == "-l":
        _out.line(as_json([_as_data(key) for key in LISTED]) if values.json else "\n".join(LISTED))
        return 0
    key = find(values.item)
    if key is None:
        message = f"Unknown configuration item: {values.item}"
        if values.json:
            raise LxcError(message, remedy="lxc-config -l lists them")
        _out.line(message)
        return 1
    if values.json:
        _out.line(as_json(_as_data(key)))
        return 0
    value = system.system_value(key)
    _out.line(value if value is not None else f"{values.item} is not set.")
    return 0


def _as_data(key: str) -> dict[str, str | None]:
    """See docs/json.md."""
    return {"name": key, "value": system.system_value(key)}
