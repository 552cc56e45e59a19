# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-ls: list the containers."""

from __future__ import annotations

from .. import container as api
from .. import log
from . import _out, _rows, _table
from ._options import NONE, OPTIONAL, REQUIRED, BadValue, Command, Option, Values
from ._values import signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ._rows import Row

DEFAULT_COLUMNS = "NAME,STATE,AUTOSTART,GROUPS,IPV4,IPV6,UNPRIVILEGED"
_DEPTH = 5
_JSON_NAMES = {"RAM": "ram_mib", "SWAP": "swap_mib", "INTERFACE": "interfaces"}


def _depth(text: str) -> int:
    try:
        number = signed(text)
    except BadValue:
        return _DEPTH
    return number if number >= 0 else _DEPTH


COMMAND = Command(
    "ls",
    "[-1 | -f [-F COLUMN,...]] [--active] [--running] [--frozen] [--stopped] [--defined] [-g GROUP,...] [REGEX]",
    f"List the containers, or those that match all that is asked for.\nColumns: {' '.join(_rows.COLUMNS)}.",
    (
        Option("1", "line", NONE, "line", "one name a line, without padding"),
        Option("f", "fancy", NONE, "fancy", "a table"),
        Option("F", "fancy-format", REQUIRED, "columns", "columns of the table, in any order",
               metavar="COLUMN,..."),
        Option("", "active", NONE, "active", "those with a monitor"),
        Option("", "running", NONE, "running", "those that are not stopped"),
        Option("", "frozen", NONE, "frozen", "those that are frozen"),
        Option("", "stopped", NONE, "stopped", "those that are stopped"),
        Option("", "defined", NONE, "defined", "those with a configuration"),
        Option("", "nesting", OPTIONAL, "nesting", f"containers in containers too, that deep (default {_DEPTH})",
               metavar="DEPTH", const=_DEPTH, default=0, convert=_depth),
        Option("g", "groups", REQUIRED, "groups", "those in all of these groups", metavar="GROUP,...", default=""),
        Option("", "filter", REQUIRED, "filter", "those whose name matches this extended regular expression",
               metavar="REGEX"),
        Option("", "json", NONE, "json", "print JSON: every column, or with -F these"),
    ),
    named=False,
    rcfile=False,
)  # fmt: skip


def run(values: Values) -> int:
    """0, also when nothing is found, and for a column that does not exist."""
    chosen = values.columns if values.columns is not None else ",".join(_rows.COLUMNS) if values.json else DEFAULT_COLUMNS
    columns = _columns(chosen) if values.fancy or values.json else []
    if columns is None:
        return 0
    query = _rows.Query(values, columns, _name_filter(values))
    patience = _rows.Patience()
    rows = _rows.collect(query, _rows.Place(values.lxcpath), patience)
    if values.nesting:
        from . import _nested

        rows = _nested.insert(query, rows, values.lxcpath, values.nesting, patience)
    if values.json:
        _out.line(api.as_json([_as_data(row, columns) for row in rows]))
    elif values.fancy:
        _print_table(rows, columns)
    elif values.line:
        for row in rows:
            _out.line(row.path)
    else:
        widest = max([0, *(_table.width(row.name) + row.level for row in rows)])
        _out.text(_table.in_columns([row.path for row in rows], _table.terminal_width(), widest))
    return 0


def _as_data(row: Row, columns: list[str]) -> dict[str, object]:
    """The columns as typed values: see docs/json.md."""
    data: dict[str, object] = {"name": row.name}
    if row.level:
        data["path"] = row.path
    for column in columns:
        text = row.fields.get(column, _rows.NOTHING)
        known = text not in ("", _rows.NOTHING)
        value: object = text if known else None
        if column in ("GROUPS", "INTERFACE", "IPV4", "IPV6"):
            value = text.split(", ") if known else []
        elif column == "PID" and known:
            value = int(text)
        elif column in ("RAM", "SWAP") and known:
            value = float(text)
        elif column in ("AUTOSTART", "UNPRIVILEGED"):
            value = text in ("1", "true")
        if column != "NAME":
            data[_JSON_NAMES.get(column, column.lower())] = value
    return data


def _columns(text: str) -> list[str] | None:
    """The canonical names; None, and a message, when one does not exist."""
    columns = []
    for word in text.split(","):
        name = word.strip().upper()
        if name and name not in _rows.COLUMNS:
            _out.complain(f"Invalid key: {word.strip()}\n")
            return None
        if name:
            columns.append(name)
    return columns


def _name_filter(values: Values) -> Callable[[str], bool]:
    pattern = values.filter
    if pattern is None and len(values.words) == 1:
        pattern = values.words[0]
    if pattern is None:
        return lambda _name: True
    from ..linux.regex import Regex

    try:
        return Regex(pattern).search
    except ValueError as error:
        log.tell(f"no name matches '{pattern}', which is no regular expression: {error}")
        return lambda _name: False  # with exit status 0: LXC behaviour


def _print_table(rows: list[Row], columns: list[str]) -> None:
    if not rows:
        return
    digits = {name: max([len("0.00"), *(len(row.fields.get(name, "")) for row in rows)]) for name in ("RAM", "SWAP")}
    least = [digits[name] + len("MB") if name in digits else 0 for name in columns]

    def cell(row: Row, column: str) -> str:
        if column == "NAME" and row.level:
            return "\\".rjust(row.level) + row.name
        text = row.fields.get(column, _rows.NOTHING)
        return text.rjust(digits[column]) + "MB" if column in digits and text != _rows.NOTHING else text

    lines = [[cell(row, column) for column in columns] for row in rows]
    _out.text(_table.table(columns, lines, least))
