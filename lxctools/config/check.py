# SPDX-License-Identifier: LGPL-2.1-or-later
"""Everything that is wrong with a configuration's text, at once: what lxc-config check says before it looks at the host.

read() loads the file as a start does, but goes on after an error, and remembers where each value came from. What this host
lacks for it is runtime/check.py's.
"""

from __future__ import annotations

from ..errors import ConfigError
from ..paths import default_config, printable, system_config
from . import grammar, keys, legacy, system
from . import net as network
from .conf import Config
from .values import byte_length, nearest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .grammar import Source

ERROR, WARNING = "error", "warning"
_BYTE_ORDER_MARK = "\ufeff"
_INTERFACES = (".link", ".name", ".veth.pair")


class Problem:
    """severity: ERROR (a start refuses) or WARNING (it starts, but not as it is written).

    path, line, column, width: the place, line 0 for none; text: the line. key: the key's present name or what stands there.
    message: what is wrong; legal: what the key takes; remedy: what to do; included: where the file was included, outermost
    last, or "". All are "" where there is none.
    """

    __slots__ = ("column", "included", "key", "legal", "line", "message", "path", "remedy", "severity", "text", "width")

    def __init__(self, severity: str, message: str, *, key: str = "", remedy: str = "", place: grammar.BadLine | None = None) -> None:
        self.severity = severity
        self.message = message
        self.key = key
        self.remedy = remedy
        self.legal = ""
        self.included = ""
        self.path, self.line, self.column, self.width, self.text = "", 0, 0, 0, ""
        if place is not None:
            self.path, self.line, self.text = place.path, place.number, place.text
            self.column, self.width = (place.column, place.width) if place.text else (1, 1)

    def where(self) -> str:
        """PATH:LINE:COLUMN, or what there is of it."""
        return printable(f"{self.path}:{self.line}:{self.column}" if self.line else self.path)

    def excerpt(self) -> str:
        """The line and a caret below what is wrong, two lines; "" without a line."""
        if not self.text:
            return ""
        marked = grammar.BadLine("", text=self.text)
        marked.column, marked.width = self.column, self.width
        return marked.excerpt()


class Assignment:
    """A line that set something: the source it stands in, its number and text, the present name of the key, the name
    as written, the value. included: by which lines the file was included.
    """

    __slots__ = ("included", "key", "number", "source", "text", "value", "written")

    def __init__(self, source: Source, number: int, text: str, written: str, value: str) -> None:
        self.source = source
        self.included = source.chain()
        self.number = number
        self.text = text
        self.written = self.key = written
        self.value = value


class Misconfigured(ConfigError):
    """A configuration that a start refuses. problems: all that is wrong in it, not empty."""

    def __init__(self, message: str, remedy: str, problems: list[Problem]) -> None:
        super().__init__(message, remedy=remedy)
        self.problems = problems


class Reading(Config):
    """A configuration with all that is wrong in it. problems: in the order of reading; assignments: every line in force."""

    __slots__ = ("_indexed", "_places", "_texts", "_told", "assignments", "begun", "problems")

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[tuple[str, str | None], Assignment] = {}  # the last line of a key, and of a key with a value
        self._indexed = 0  # how many assignments are in _places
        self._told: dict[str, set[tuple[str, str, int, str]]] = {ERROR: set(), WARNING: set()}
        self.problems: list[Problem] = []
        self.assignments: list[Assignment] = []
        self._texts: list[list[str]] = []
        self.begun = False  # whether the file itself could be read

    def _lines(self, text: str, source: Source, problems: list[ConfigError] | None, *, own: bool) -> None:
        self.begun = True
        self._texts.append(grammar.split_lines(text))
        try:
            self._pass_over(source)
            super()._lines(text, source, problems, own=own)
        finally:
            self._texts.pop()

    def _pass_over(self, source: Source) -> None:
        """Say which lines mean nothing: LXC reads only those that begin with lxc."""
        for number, line in enumerate(self._texts[-1], 1):
            word = line.strip(" \t\r\n")
            if word and word[0] != "#" and not word.startswith("lxc.") and len(self.problems) < grammar.MOST_PROBLEMS:
                place = grammar.BadLine("", path=source.path, number=number, text=line.rstrip("\r\n")[: grammar.LONGEST_LINE])
                hint = 'every key begins with "lxc.", a comment with "#"'
                if number == 1 and word.startswith(_BYTE_ORDER_MARK):
                    hint = "remove the byte order mark (U+FEFF) that an editor wrote before it"
                found = Problem(WARNING, 'the line is passed over, as it does not begin with "lxc."', remedy=hint, place=place)
                found.included = source.chain()
                self.problems.append(found)

    def _assign(self, key: str, text: str, problems: list[ConfigError] | None = None) -> str:
        source = self._source
        if source is None:
            return super()._assign(key, text, problems)
        line = self._texts[-1][source.number - 1].rstrip("\r\n") if source.number <= len(self._texts[-1]) else ""
        mine = Assignment(source, source.number, line, key, text)
        name = super()._assign(key, text, problems)
        if self.assignments and self.assignments[-1].number == mine.number and self.assignments[-1].source is source:
            mine = self.assignments[-1]  # an old name, which was assigned again by its present one
            mine.written = key
        else:
            self.assignments.append(mine)
        mine.key = name
        return name

    def use(self, config: Config) -> None:
        """Go on with a configuration in memory that came from this file and may have been changed since.

        What was wrong in the text is forgotten: it could be loaded.
        """
        self._values, self._nets, self._backend, self._where = config._values, config._nets, config._backend, config._where
        self.problems.clear()

    def report(self, severity: str, key: str, message: str, *, value: str = "", remedy: str = "", word: str = "") -> Problem:
        """Add a problem of a key's last line, that with this value where several have the key.

        Not added: what was told already, and what is beyond grammar.MOST_PROBLEMS of its severity. What no line has set, as an
        option of a command, has no place.
        """
        placed = bool(self.where(key))
        for one in self.assignments[self._indexed :]:
            self._places[one.key, None] = self._places[one.key, one.value] = one
        self._indexed = len(self.assignments)
        line = self._places.get((key, value)) if value else None
        if placed:
            line = line or self._places.get((key, None))
        place = None
        if line is not None:
            place = grammar.BadLine("", path=line.source.path, number=line.number, text=line.text, key=key, word=word or line.value)
        found = Problem(severity, message, key=key, remedy=remedy, place=place)
        if place is None and (placed or not self.is_set(key)):
            found.path = self.path
        found.included = line.included if line is not None else ""
        told = self._told[severity]
        told_as = (key, found.path, found.line, message)
        if told_as not in told and len(told) < grammar.MOST_PROBLEMS:
            told.add(told_as)
            self.problems.append(found)
        return found


def read(path: str) -> Reading:
    """Read a file and find what is wrong in it. Raises ConfigError when the file itself cannot be read."""
    reading = Reading()
    found: list[ConfigError] = []
    try:
        reading.load(path, found)
    except ConfigError as error:
        if not reading.begun:
            raise
        found.append(error)
    reading.problems += [_problem_of(one, reading) for one in found]
    _old_names(reading)
    _cut_names(reading)
    sort(reading)
    return reading


def is_system(path: str) -> bool:
    """Whether a file is one of settings of LXC itself, by its place or its name."""
    return path == system_config() or path.rpartition("/")[2] == "lxc.conf"


def read_system(path: str) -> Reading:
    """Read an lxc.conf and find which lines mean nothing, and why. Raises ConfigError when it cannot be read."""
    reading = Reading()
    reading.path = path
    first: dict[str, int] = {}
    for number, line in enumerate(grammar.read(grammar.Source(path, None)).split("\n"), 1):
        text = line.strip(" \t\r")
        if not text or text[0] == "#" or len(reading.problems) >= grammar.MOST_PROBLEMS:
            continue
        key, equals, value = (part.strip(" \t\r") for part in line.partition("="))
        message, remedy, word = _system_line(key, bool(equals), value, line[-1] in " \t\r")
        if not message and key in first and key != "lxc.hook.create":
            message, remedy, word = f"the line is passed over: line {first[key]} set {key} already", "remove one of them", key
        first.setdefault(key, number)
        if message:
            place = grammar.BadLine("", path=path, number=number, text=line[: grammar.LONGEST_LINE], key=key, word=word)
            reading.problems.append(Problem(WARNING, message, key=key, remedy=remedy, place=place))
    return reading


def _system_line(key: str, equals: bool, value: str, blanks: bool) -> tuple[str, str, str]:
    """What is wrong in a line of an lxc.conf, what to do, and the word that is wrong; ("", "", "") for nothing."""
    if not equals:
        return "the line is passed over, as it has no equals sign", "write ITEM = VALUE, or # before a comment", ""
    if key not in system.KEYS:
        if key in keys.TABLE or legacy.is_legacy(key) or key.startswith(("lxc.net.", *(f"{name}." for name in keys.FAMILIES))):
            return f"{key} is a key of containers: it is passed over here", f"write it into {default_config()} or a container's file", key
        hint = nearest(key, system.KEYS)
        remedy = f"did you mean {hint}?" if hint else "lxc.system.conf(5) lists the items"
        return f'the line is passed over: "{key}" is not an item of lxc.conf', remedy, key
    if blanks:
        return "the blanks or the carriage return at the end of the line are part of the value", "remove them", value
    if value[:1] in ("'", '"'):
        return "the quotes are part of the value", "remove them", value
    return "", "", ""


def sort(reading: Reading) -> None:
    """Problems by file and line, the files in their order of appearance."""
    order = {path: at for at, path in enumerate(dict.fromkeys([reading.path, *(one.path for one in reading.problems)]))}
    reading.problems.sort(key=lambda one: (order[one.path], one.line, one.column))


def _problem_of(error: ConfigError, reading: Reading) -> Problem:
    if not isinstance(error, grammar.BadLine):
        found = Problem(ERROR, error.message, remedy=error.remedy)
        found.path = reading.path
        return found
    reason, _, chain = error.reason.partition(" (included at ")
    found = Problem(ERROR, reason, key=error.key, remedy=error.remedy, place=error)
    found.included = chain.removesuffix(")")
    found.legal = legal(error.key)
    if error.key in system.KEYS:
        found.remedy = f"it is a setting of LXC itself: write it into {system_config()}"
    return found


def legal(key: str) -> str:
    """What a key takes, "" for no key."""
    row = keys.TABLE.get(key)
    if row is None and key.startswith("lxc.net."):
        number, _, subkey = key[8:].partition(".")
        row = network.TABLE.get(subkey) if number.isascii() and number.isdecimal() else None
    if row is None and key in legacy.NAMES:
        row = keys.TABLE.get(legacy.NAMES[key])
    if row is None:
        family = next((name for name in keys.FAMILIES if key.startswith(name + ".") and len(key) > len(name) + 1), "")
        row = keys.FAMILIES.get(family)
    return row.type.legal if row is not None else ""


def _old_names(reading: Reading) -> None:
    for line in reading.assignments:
        if not legacy.is_legacy(line.written):
            continue
        if line.key == line.written:
            message, remedy = f"{line.written} has no meaning any more", "remove the line"
            if line.key == legacy.BACKEND:
                message, remedy = f"{line.written} is a key of LXC 2.0", "write the type before lxc.rootfs.path: TYPE:PATH"
        else:
            message = f"{line.written} is the name of {line.key} before LXC 2.1; later releases refuse it"
            remedy = f"lxc-update-config -c {printable(line.source.path)} renames it"
        place = grammar.BadLine("", path=line.source.path, number=line.number, text=line.text)
        found = Problem(WARNING, message, key=line.key, remedy=remedy, place=place)
        found.width = len(line.written)
        found.included = line.included
        reading.problems.append(found)


def _cut_names(reading: Reading) -> None:
    for line in reading.assignments:
        if line.key.startswith("lxc.net.") and line.key.endswith(_INTERFACES) and byte_length(line.value) > 15:
            remedy = "names of interfaces have at most 15 bytes"
            reading.report(WARNING, line.key, f"the name {line.value} is cut to its first 15 bytes", value=line.value, remedy=remedy)
