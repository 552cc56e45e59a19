# SPDX-License-Identifier: LGPL-2.1-or-later
"""One table of options a command, and what is made from it: the reader, --help, --usage, and an argparse parser.

read() follows getopt_long(3) as LXC's tools use it, so that a command line means the same here: options and words in
any order (POSIXLY_CORRECT: options first), clusters (-na1), unique abbreviations of long options, optional arguments
only when glued, "--". Options act from left to right; --help, --usage, --version, a wrong option and a second -P end
the reading at once. Messages of the reader itself carry the name the program was called by, all others the fixed one.

argparse is 9 ms of import and differs in all of these, so it is only built, by parser_for(), to make manual pages and
completions.
"""

from __future__ import annotations

import os

from ..paths import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

NONE, REQUIRED, OPTIONAL = "none", "required", "optional"


class Option:
    """A row of a command's table.

    short: one character or "". long: without dashes, or "". arg: NONE, REQUIRED or OPTIONAL. dest: attribute of Values.
    kind: how it is stored: "flag" True, "count" +1, "const" the const, "store" the argument, "append" to a list,
    "call" convert(values, argument). Defaults to flag or store.
    convert: argument text -> value, raising BadValue; for "call" see above.
    """

    __slots__ = ("arg", "const", "convert", "default", "dest", "help", "kind", "long", "metavar", "short")

    def __init__(
        self,
        short: str,
        long: str,
        arg: str,
        dest: str,
        help: str,
        kind: str = "",
        *,
        metavar: str = "",
        default: Any = None,
        const: Any = None,
        convert: Callable[..., Any] | None = None,
    ) -> None:
        self.short = short
        self.long = long
        self.arg = arg
        self.dest = dest
        self.help = help
        self.kind = kind or ("flag" if arg == NONE else "store")
        self.metavar = metavar or long.upper()
        self.default = default
        self.const = const
        self.convert = convert

    def initial(self) -> Any:
        """The value of dest when the option is not given."""
        if self.kind == "append":
            return []
        if self.default is None:
            return {"flag": False, "count": 0}.get(self.kind)
        return self.default


class Command:
    """What the common layer must know of one lxc-* command.

    synopsis: what follows the program name in "Usage:". summary: one sentence, for --help and the manual page.
    named: the command is about one container, whose name is -n or the first word. many_paths: -P may be repeated.
    makes: the command may make a container of that name, so the name is held to the stricter rule.
    bad_name: exit code for a name that cannot exist. undo: SIGTERM and SIGHUP unwind instead of killing, so that what
    is half done is undone. most_words: how many words it takes, without the name; None: the command sees to that itself.
    surplus: what to do instead of giving more. check: called with the Values after reading; raises BadValue.
    """

    __slots__ = (
        "bad_name",
        "check",
        "common",
        "makes",
        "many_paths",
        "most_words",
        "name",
        "named",
        "options",
        "rcfile",
        "summary",
        "surplus",
        "synopsis",
        "undo",
    )

    def __init__(
        self,
        name: str,
        synopsis: str,
        summary: str,
        options: Sequence[Option] = (),
        *,
        named: bool = True,
        many_paths: bool = False,
        makes: bool = False,
        bad_name: int = 1,
        undo: bool = False,
        rcfile: bool = True,
        common: bool = True,
        most_words: int | None = None,
        surplus: str = "",
        check: Callable[[Values], None] | None = None,
    ) -> None:
        self.name = name
        self.synopsis = synopsis
        self.summary = summary
        self.options = tuple(options)
        self.named = named
        self.many_paths = many_paths
        self.makes = makes
        self.bad_name = bad_name
        self.undo = undo
        self.rcfile = rcfile
        self.common = common
        self.most_words = most_words
        self.surplus = surplus
        self.check = check

    @property
    def prog(self) -> str:
        """The fixed program name."""
        return "lxc-" + self.name

    def table(self) -> tuple[Option, ...]:
        """Own options, then the common ones: the order of --usage and of "possibilities"."""
        return self.options + COMMON if self.common else self.options


class Values:
    """The options as attributes, named by dest; words: what is left, without the container's name."""

    words: list[str]

    def __init__(self, rows: Sequence[Option] = ()) -> None:
        self.words = []
        for row in rows:
            if row.dest not in self.__dict__:
                setattr(self, row.dest, row.initial())

    if TYPE_CHECKING:

        def __getattr__(self, dest: str) -> Any: ...
        def __setattr__(self, dest: str, value: Any) -> None: ...


def lxcpath(text: str) -> str:
    """A folder of containers as locks and sockets are named by it: without slashes at its end, and absolute; "" stays.

    A relative one would mean another folder to the monitor, which lives in /.
    """
    stripped = text.rstrip("/")
    return stripped if stripped.startswith("/") else os.path.abspath(stripped) if stripped else text[:1]


def other_lxcpath(text: str) -> str:
    """convert of an option that names a second one, where "" would mean none. Raises BadValue."""
    if not text:
        raise BadValue("the path is empty: it is to be that of a folder of containers")
    return lxcpath(text)


class BadValue(Exception):
    """An option's argument, or a combination of options, that the command refuses; the text says why."""


class Ended(Exception):
    """The reading is over and the command is not run: what to print where, and the exit code."""

    def __init__(self, code: int, *, stdout: str = "", stderr: str = "", values: Values | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.stdout = stdout
        self.stderr = stderr
        self.values = values


def _help_row() -> Option:
    return Option("h", "help", NONE, "help", "print this help and exit with 0")


HELP = _help_row()  # of a command without the common options: see read_own()
COMMON = (
    Option("n", "name", REQUIRED, "name", "the container's name"),
    _help_row(),
    Option("?", "help", NONE, "help_error", "print this help and exit with 1"),
    Option("", "usage", NONE, "usage", "print a synopsis of all options"),
    Option("", "version", NONE, "version", "print the version number"),
    Option("q", "quiet", NONE, "quiet", "print no error messages"),
    Option("o", "logfile", REQUIRED, "logfile", 'append log lines to FILE; "none": to no file', metavar="FILE"),
    Option("l", "logpriority", REQUIRED, "logpriority", "write log lines of LEVEL and worse", metavar="LEVEL"),
    Option("P", "lxcpath", REQUIRED, "lxcpaths", "the folder that holds the containers", "append", metavar="PATH"),
    Option("", "rcfile", REQUIRED, "rcfile", "read FILE instead of the container's configuration", metavar="FILE"),
)
_END_AT_ONCE = ("help", "help_error", "usage", "version")


def read(
    command: Command,
    argv: Sequence[str],
    *,
    called: str = "",
    environ: Mapping[str, str] | None = None,
    version: str = "",
) -> Values:
    """Read the arguments (without the program name). called: the program name as typed.

    The result's name is "" when the command needs none; name_given tells an empty one. Raises Ended.
    """
    rows = command.table()
    values = Values(rows)
    reader = _Reader(command, rows, values, called or command.prog, version)
    posix = "POSIXLY_CORRECT" in (os.environ if environ is None else environ)
    try:
        words = reader.run(list(argv), posix)
        _settle_name(command, values, words)
        values.words = words
        _refuse_surplus(command, words)
        if command.check is not None:
            command.check(values)
    except BadValue as error:
        raise Ended(1, stderr=_plain(command, values, str(error), "could not parse command line")) from None
    return values


def read_own(command: Command, argv: Sequence[str], called: str) -> Values:
    """read() for a command whose table has HELP instead of the common options: its help goes to standard output. Raises Ended."""
    values = read(command, argv, called=called)
    if values.help:
        raise Ended(0, stdout=help_text(command))
    return values


def _refuse_surplus(command: Command, words: list[str]) -> None:
    if command.most_words is not None and len(words) > command.most_words:
        hint = f" ({command.surplus})" if command.surplus else ""
        raise BadValue(f'unexpected argument "{printable(words[command.most_words])}"{hint}')


def _plain(command: Command, values: Values, *lines: str) -> str:
    """Messages before the log exists; -q silences them only where it was read before."""
    return "" if command.common and values.quiet else "".join(f"{command.prog}: {line}\n" for line in lines)


def _settle_name(command: Command, values: Values, words: list[str]) -> None:
    if not command.common:
        return
    values.name_given = values.name is not None
    if values.name is None:
        if command.named:
            if not words:
                raise Ended(1, stderr=_plain(command, values, "No container name specified"))
            values.name = words.pop(0)
        else:
            values.name = ""


class _Reader:
    """The state of one reading."""

    __slots__ = ("called", "command", "rows", "values", "version")

    def __init__(self, command: Command, rows: tuple[Option, ...], values: Values, called: str, version: str) -> None:
        self.command = command
        self.rows = rows
        self.values = values
        self.called = called
        self.version = version

    def run(self, argv: list[str], posix: bool) -> list[str]:
        """Apply all options; returns the words."""
        words: list[str] = []
        position = 0
        while position < len(argv):
            text = argv[position]
            position += 1
            if text == "--":
                words += argv[position:]
                break
            if text.startswith("--"):
                position += self._long(text[2:], argv[position:])
            elif len(text) > 1 and text[0] == "-":
                position += self._cluster(text[1:], argv[position:])
            elif posix:
                words += argv[position - 1 :]
                break
            else:
                words.append(text)
        return words

    def _long(self, text: str, rest: list[str]) -> int:
        """One --long[=value]; returns how many of rest were taken."""
        name, equals, value = text.partition("=")
        row = self._find_long(name, text)
        if row.arg == NONE:
            if equals:
                raise self._wrong(f"option '--{row.long}' doesn't allow an argument")
            self._apply(row, None)
        elif equals:
            self._apply(row, value)
        elif row.arg == OPTIONAL:
            self._apply(row, None)
        elif not rest:
            raise self._wrong(f"option '--{row.long}' requires an argument")
        else:
            self._apply(row, rest[0])
            return 1
        return 0

    def _find_long(self, name: str, text: str) -> Option:
        for row in self.rows:
            if row.long == name and row.long:
                return row
        found = [row for row in self.rows if row.long and row.long.startswith(name)]
        if not found:
            raise self._wrong(f"unrecognized option '--{text}'")
        if len(found) > 1:
            names = " ".join(f"'--{row.long}'" for row in found)
            raise self._wrong(f"option '--{text}' is ambiguous; possibilities: {names}")
        return found[0]

    def _cluster(self, text: str, rest: list[str]) -> int:
        """-abc, -aVALUE, -ab VALUE; returns how many of rest were taken."""
        for index, letter in enumerate(text):
            row = next((row for row in self.rows if row.short == letter and letter not in ":;"), None)
            if row is None:
                raise self._wrong(f"invalid option -- '{letter}'")
            if row.arg == NONE:
                self._apply(row, None)
                continue
            glued = text[index + 1 :]
            if glued or row.arg == OPTIONAL:
                self._apply(row, glued or None)
                return 0
            if not rest:
                raise self._wrong(f"option requires an argument -- '{letter}'")
            self._apply(row, rest[0])
            return 1
        return 0

    def _wrong(self, message: str) -> Ended:
        """A mistake in the command line: the message, then the whole help, even with -q."""
        return Ended(1, stderr=f"{self.called}: {message}\n{help_text(self.command)}")

    def _apply(self, row: Option, argument: str | None) -> None:
        values = self.values
        if row.dest in _END_AT_ONCE and row in COMMON:
            raise self._end(row)
        if row.dest == "lxcpaths":
            self._take_path(argument or "")
        elif row.kind == "call":
            assert row.convert is not None
            row.convert(values, argument)
        elif row.kind == "count":
            setattr(values, row.dest, getattr(values, row.dest) + 1)
        elif row.kind == "flag":
            setattr(values, row.dest, True)
        else:
            value: Any = row.const if row.kind == "const" or argument is None else argument
            if row.convert is not None and argument is not None:
                value = row.convert(argument)
            if row.kind == "append":
                getattr(values, row.dest).append(value)
            else:
                setattr(values, row.dest, value)

    def _take_path(self, path: str) -> None:
        paths = self.values.lxcpaths
        if paths and not self.command.many_paths:
            raise Ended(1, stderr="This command only accepts 1 -P,--lxcpath arguments\n")
        paths.append(lxcpath(path))

    def _end(self, row: Option) -> Ended:
        if row.dest == "version":
            return Ended(0, stdout=f"{self.version}\n")
        if row.dest == "usage":
            return Ended(0, stderr=usage_text(self.command))
        return Ended(0 if row.dest == "help" else 1, stderr=help_text(self.command), values=self.values)


def usage_text(command: Command) -> str:
    """What --usage prints: every row of the table, four a line."""
    parts = [f"Usage: {command.prog} "]
    for index, row in enumerate(command.table(), 1):
        short = f"-{row.short}|" if row.short else ""
        argument = {NONE: "", REQUIRED: f"={row.long.upper()}", OPTIONAL: f"[={row.long.upper()}]"}[row.arg]
        parts.append(f"[{short}--{row.long}{argument}] ")
        if index % 4 == 0:
            parts.append("\n\t")
    return "".join(parts) + "\n"


def help_text(command: Command) -> str:
    """What --help prints, made from the table."""
    own = [*command.options]
    common = [row for row in COMMON if row.dest not in ("name", "rcfile")]
    if command.named:
        own.insert(0, COMMON[0])
    if command.rcfile and not any(row.long == "rcfile" for row in own):
        own.append(COMMON[-1])
    return (
        f"Usage: {command.prog} {command.synopsis}\n\n{command.summary}\n\nOptions :\n"
        + "".join(map(_help_line, own))
        + ("\nCommon options :\n" + "".join(map(_help_line, common)) if command.common else "")
        + "\nAn argument that a long option must or may have goes for its short form too.\n\n"
        f"{command.prog.partition(' ')[0]}(1) has the details.\n\n"
    )


def _help_line(row: Option) -> str:
    if not row.long and row.arg == REQUIRED:
        return f"  -{row.short} {row.metavar:<26} {row.help}\n"
    long = f"--{row.long}" if row.long and row.short != "?" else ""  # --help is that of -h
    if row.arg == REQUIRED:
        long += f"={row.metavar}"
    elif row.arg == OPTIONAL:
        long += f"[={row.metavar}]"
    left = f"  -{row.short}, {long}".removesuffix(", ") if row.short else f"      {long}"
    if len(left) > 30:
        return f"{left}\n{'':32}{row.help}\n"
    return f"{left:<32}{row.help}\n"


def parser_for(command: Command) -> argparse.ArgumentParser:
    """The same table as an argparse parser, for manual pages, completions and the comparison in the tests.

    Its results are text: conversions belong to read(). What argparse cannot do as getopt_long does: an optional
    argument takes the next word too, and a repeated --help spelling exists once.
    """
    import argparse

    parser = argparse.ArgumentParser(
        prog=command.prog, usage=f"{command.prog} {command.synopsis}", description=command.summary, add_help=False
    )
    for title, rows in (("Options", command.options), ("Common options", COMMON if command.common else ())):
        group = parser.add_argument_group(title)
        for row in rows:
            taken = set(parser._option_string_actions)
            names = [f"-{row.short}"] if row.short else []
            if row.long and f"--{row.long}" not in taken:
                names.append(f"--{row.long}")
            if names:
                group.add_argument(*names, **_argparse_keywords(row))
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    return parser


def _argparse_keywords(row: Option) -> dict[str, Any]:
    keywords: dict[str, Any] = {"dest": row.dest, "help": row.help.replace("%", "%%")}
    if row.dest in _END_AT_ONCE and row in COMMON:
        return keywords | {"action": "store_true"}
    if row.arg == NONE:
        actions = {"flag": "store_true", "count": "count", "const": "store_const", "call": "store_true"}
        keywords["action"] = actions[row.kind]
        if row.kind == "const":
            keywords["const"] = row.const
    elif row.kind == "append":
        keywords["action"] = "append"
    if row.arg == OPTIONAL:
        keywords |= {"nargs": "?", "const": row.const}
    if row.arg != NONE:
        keywords["metavar"] = row.metavar
    if row.kind not in ("append", "call") or row.arg == NONE:
        keywords["default"] = row.initial() if row.kind != "call" else False
    return keywords
