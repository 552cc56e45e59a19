# SPDX-License-Identifier: LGPL-2.1-or-later
"""Text of a container configuration -> lines, keys and values; the files that lxc.include names; errors with a place.

    file     = line (LF | CR LF | CR) ...
    line     = blanks | comment | foreign | setting
    comment  = [blanks] "#" ...
    setting  = [blanks] "lxc." ... [blanks] "=" [blanks] value [blanks]
    value    = text | "'" text "'" | '"' text '"'

Blanks are spaces and tabs. A line that does not begin with "lxc." is foreign and passed over, as LXC does. There are no
continuation lines, no comments after a value, and no escapes. Bytes that are not UTF-8 pass through (surrogateescape).
"""

from __future__ import annotations

import os
import stat
import time

from ..errors import ConfigError, describe
from ..paths import printable

# What no configuration comes near, so that time and memory stay bounded whatever is read: two seconds and 300 MB.
LARGEST_TREE = 16 << 20  # a file with all that it includes
LONGEST_LINE = 1 << 20
DEEPEST_INCLUDE = 100
MOST_FILES = 10000
MOST_PROBLEMS = 1000  # that are told of one configuration
_PATIENCE = 5.0  # seconds that a pipe may stay empty
_NULL_DEVICE = os.makedev(1, 3)


class BadLine(ConfigError):
    """A line that cannot be used.

    path, number: where it stands, "" and 0 for a value that came from no file. text: the line. column, width: the part
    that is wrong, in characters from 1. key: its key, or "". reason: why, without the place.
    """

    def __init__(
        self, reason: str, *, path: str = "", number: int = 0, text: str = "", key: str = "", word: str = "", remedy: str = ""
    ) -> None:
        self.path = path
        self.number = number
        self.text = text
        self.key = key
        self.reason = reason
        start = _find(text, word, _value_at(text) if word != key else 0) if word else -1
        if start < 0 and word:
            start = _find(text, word)
        if start < 0:
            start, word = len(text) - len(text.lstrip()), text.strip()
        self.column = start + 1
        self.width = max(1, len(word))
        named = "" if not key or key in reason else f"{key}: "
        place = f"{printable(path)}:{number}: " if path else ""
        shown = f', in "{_short(text.strip(), 200)}"' if text else ""
        super().__init__(f"{place}{named}{_short(reason, 600)}{shown}", remedy=_short(remedy, 200))

    def excerpt(self) -> str:
        """The line, and below it a caret under what is wrong; two lines without a final newline."""
        # Of a very long line, what is around the place.
        begin = max(0, self.column - 1 - _EXCERPT // 2) if len(self.text) > _EXCERPT else 0
        part = self.text[begin : begin + _EXCERPT].replace("\t", " ")
        before = printable(part[: self.column - 1 - begin])
        marked = printable(part[self.column - 1 - begin : self.column - 1 - begin + self.width])
        return f"{printable(part)}\n{' ' * len(before)}{'^' * max(1, len(marked))}"


_EXCERPT = 200
_MOST_PLACES = 6  # of a chain of includes that are told


def _short(text: str, most: int) -> str:
    """Printable, and not longer than a message may be."""
    if len(text) > most:
        text = f"{text[: most // 2]}…{text[-(most // 2) :]}"
    return printable(text)


def _find(text: str, word: str, begin: int = 0) -> int:
    """Where the word stands as one of its own, else where it stands at all; -1: nowhere."""
    first = at = text.find(word, begin)
    while at >= 0 and (_in_word(text[at - 1 : at]) or _in_word(text[at + len(word) : at + len(word) + 1])):
        at = text.find(word, at + 1)
    return at if at >= 0 else first


def _in_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"


def _value_at(text: str) -> int:
    return text.find("=") + 1


def split_lines(text: str) -> list[str]:
    """The lines with their line ends, so that "".join() gives the text again. LF, CR LF and CR end a line."""
    if "\r" not in text:
        lines = text.split("\n")
        last = lines.pop()
        result = [line + "\n" for line in lines]
        if last:
            result.append(last)
        return result
    result = []
    begin = 0
    for at, letter in enumerate(text):
        if letter == "\n" or (letter == "\r" and text[at + 1 : at + 2] != "\n"):
            result.append(text[begin : at + 1])
            begin = at + 1
    if begin < len(text):
        result.append(text[begin:])
    return result


def parse_line(line: str) -> tuple[str, str] | None:
    """Key and value of a line; None for blank lines, comments and foreign text. Raises ValueError without a "=".

    The value is "" when nothing or a pair of quotes stands there.
    """
    line = line.strip(" \t\r\n")
    if not line.startswith("lxc."):
        return None
    key, equals, value = line.partition("=")
    if not equals:
        raise NoEquals(line)
    value = value.lstrip(" \t")
    if len(value) > 1 and value[0] in "'\"" and value[-1] == value[0]:
        value = value[1:-1]
    return key.rstrip(" \t"), value


class NoEquals(ValueError):
    """A line that begins with "lxc." and has no equals sign."""

    def __init__(self, line: str) -> None:
        super().__init__(f"Invalid configuration line: {line}")
        self.remedy = "write KEY = VALUE, or # before a comment"


def setting(line: str) -> tuple[str, str]:
    """Key and value of a line, ("", "") for one that sets nothing."""
    try:
        return parse_line(line) or ("", "")
    except ValueError:
        return "", ""


def parse_definition(text: str) -> tuple[str, str]:
    """Key and value of a -s argument: as a line, but nothing else may stand there. Raises ValueError."""
    found = parse_line(text)
    if found is None:
        raise ValueError(f'"{text}" is not KEY=VALUE with a key that begins with lxc.')
    return found


class Source:
    """A file being read: its path, the line that is being worked on, who included it, and which file it is on disk."""

    __slots__ = ("identity", "number", "parent", "path", "text")

    def __init__(self, path: str, parent: Source | None) -> None:
        self.path = path
        self.parent = parent
        self.number = 0
        self.text = ""
        self.identity = (0, 0)

    def depth(self) -> int:
        """How many files are being read, this one included."""
        return 1 + (self.parent.depth() if self.parent else 0)

    def chain(self) -> str:
        """Where this file was included, for error texts; "" for a file of its own."""
        places = []
        source = self.parent
        while source is not None:
            places.append(f"{source.path}:{source.number}")
            source = source.parent
        if len(places) > _MOST_PLACES:
            places[_MOST_PLACES - 1 : -1] = ["…"]
        return ", included at ".join(places)


def read(source: Source) -> str:
    """The text of source.path; sets source.identity.

    Raises ConfigError: unreadable, a folder or device, too large, included by itself, or with a NUL byte before more text
    (C LXC silently ignores what follows one). NUL bytes at the end, which a crash of the host leaves, are cut off.
    """
    path = source.path
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            status = os.fstat(fd)
            _check_kind(status, path)
            source.identity = (status.st_dev, status.st_ino)
            _check_loop(source)
            chunks: list[bytes] = []
            size = 0
            while chunk := _read(fd, path, stat.S_ISFIFO(status.st_mode) and not chunks):
                chunks.append(chunk)
                size += len(chunk)
                if size > LARGEST_TREE:
                    raise ConfigError(f'the configuration "{printable(path)}" is larger than {LARGEST_TREE >> 20} MB')
        finally:
            os.close(fd)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        reason = describe_errno(error)
        raise ConfigError(f'Failed to open the configuration "{printable(path)}": {reason}') from error
    return without_nul(b"".join(chunks).decode("utf-8", "surrogateescape"), path)


def _check_kind(status: os.stat_result, path: str) -> None:
    """Files and pipes are read, and /dev/null; other devices may never end, or never begin. Raises ConfigError."""
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFDIR:
        raise ConfigError(f'the configuration "{printable(path)}" is a folder', remedy="name a file")
    if kind not in (stat.S_IFREG, stat.S_IFIFO) and status.st_rdev != _NULL_DEVICE:
        raise ConfigError(f'the configuration "{printable(path)}" is a device or socket', remedy="name a file")


def _read(fd: int, path: str, first: bool) -> bytes:
    """The next bytes. Of a pipe, the first ones and those of a slow writer are waited for. Raises ConfigError, OSError."""
    end = 0.0
    while True:
        try:
            data = os.read(fd, 1 << 20)
            if data or not first:
                return data
        except BlockingIOError:
            pass
        now = time.monotonic()
        end = end or now + _PATIENCE
        if now > end:
            raise ConfigError(f'the configuration "{printable(path)}" is a pipe into which nothing was written for {_PATIENCE:.0f} s')
        time.sleep(0.01)


def without_nul(text: str, path: str) -> str:
    """The text without NUL bytes at its end. Raises BadLine for one before more text."""
    at = text.find("\0")
    if at < 0:
        return text
    if text[at:].strip("\0 \t\r\n"):
        raise BadLine(
            "a NUL byte: the file is damaged or is not a configuration",
            path=path,
            number=text.count("\n", 0, at) + 1,
            remedy="remove the bytes, or restore the file",
        )
    return text[:at]


def describe_errno(error: OSError | ValueError) -> str:
    """The reason without the path, which the caller names."""
    return getattr(error, "strerror", None) or describe(error)


def _check_loop(source: Source) -> None:
    other = source.parent
    while other is not None:
        if other.identity == source.identity:
            raise ConfigError(f'"{printable(source.path)}" includes itself', remedy="remove this lxc.include")
        other = other.parent
    if source.depth() > DEEPEST_INCLUDE:
        raise ConfigError(f"configurations include each other more than {DEEPEST_INCLUDE} levels deep")


def included_files(value: str) -> list[str]:
    """The files that lxc.include names: the file, or the *.conf files of a folder sorted by name.

    A relative path starts at the current folder of the process, as in LXC. A missing folder named with a final slash
    holds nothing. Raises ConfigError.
    """
    if value[-1] != "/" and not os.path.isdir(value):
        return [value]
    try:
        names = os.listdir(value)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f'cannot read the folder "{printable(value)}": {describe_errno(error)}') from error
    folder = value.rstrip("/") + "/"
    files = [folder + name for name in sorted(names) if name.endswith(".conf") and len(name) > 5]
    return [path for path in files[: MOST_FILES + 1] if not os.path.isdir(path)]
