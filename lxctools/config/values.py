# SPDX-License-Identifier: LGPL-2.1-or-later
"""The types of scalar and list values: how each is read from a line, and how it is printed again.

A type is a pair: parse(text) makes the value and raises BadValue with the reason, format(value) gives the text that
liblxc's get_config_item returns. Where repeated lines add up, join(old, new) says how. Text is never empty when parse
is called: what an empty value means is the key's affair (keys.py). The rules are those of lxc.container.conf(5) and of
C LXC's parser; where C takes a value that cannot have been meant, this is stricter and says so.
"""

from __future__ import annotations

import os

from .. import log
from ..idmap import ranges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_SPACE = " \t\n\v\f\r"
PATH_MAX = 4096
UINT_MAX = 2**32 - 1
INT_MIN, INT_MAX = -(2**31), 2**31 - 1
UNLIMITED = -1


class BadValue(ValueError):
    """A value that a key does not accept: the reason, what to write instead, and the word of the value that is wrong."""

    def __init__(self, reason: str, remedy: str = "", word: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.word = word


class Type:
    """A value type.

    name: as in the manual. legal: what may be written, for messages and the manual. default: the value when unset.
    join: None when the last line wins.
    """

    __slots__ = ("default", "format", "join", "legal", "name", "parse", "words")

    def __init__(
        self,
        name: str,
        legal: str,
        parse: Callable[[str], Any],
        format: Callable[[Any], str] = str,
        *,
        default: Any = "",
        join: Callable[[Any, Any], Any] | None = None,
        words: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.legal = legal
        self.parse = parse
        self.format = format
        self.default = default
        self.join = join
        self.words = words


class Members:
    """The values of a family, such as lxc.cgroup2.*, by member, in the order in which they were given.

    repeat: the values of a member add up; else the last one stays, at the place of the first.
    """

    __slots__ = ("_count", "_found", "_repeat")

    def __init__(self, repeat: bool) -> None:
        self._repeat = repeat
        self._count = 0
        self._found: dict[str, list[tuple[int, str, Any]]] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def put(self, member: str, value: Any) -> None:
        """One more value."""
        self._count += 1
        old = self._found.get(member)
        if old is None:
            self._found[member] = [(self._count, member, value)]
        elif self._repeat:
            old.append((self._count, member, value))
        else:
            old[0] = (old[0][0], member, value)

    def drop(self, member: str) -> None:
        """Forget a member's values."""
        self._found.pop(member, None)

    def of(self, member: str) -> list[Any]:
        """A member's values."""
        return [entry[2] for entry in self._found.get(member, ())]

    def pairs(self) -> list[tuple[str, Any]]:
        """(member, value) of all."""
        entries = [entry for found in self._found.values() for entry in found]
        entries.sort(key=lambda entry: entry[0])
        return [entry[1:] for entry in entries]

    def copy(self) -> Members:
        """One that changes to this one do not reach."""
        other = Members(self._repeat)
        other._count = self._count
        other._found = {member: found.copy() for member, found in self._found.items()}
        return other


# -- words and numbers -------------------------------------------------------------------------------------------------


def split_words(text: str) -> list[str]:
    """The words between spaces and tabs; no other character separates."""
    return [word for word in text.replace("\t", " ").split(" ") if word]


def c_number(text: str, low: int = -(2**63), high: int = 2**64 - 1, what: str = "a number") -> int:
    """A number as C's strtol base 0 reads it (0x.., 0.. for octal, leading blanks, a sign), of low to high."""
    digits = text.lstrip(_SPACE)
    sign = digits[:1]
    if sign in ("+", "-"):
        digits = digits[1:]
    base = 10
    if digits[:2] in ("0x", "0X"):
        digits, base = digits[2:], 16
    elif len(digits) > 1 and digits[0] == "0":
        digits, base = digits[1:], 8
    # isalnum: int() would take underscores and signs; the length keeps int() fast.
    if digits.isascii() and digits.isalnum() and len(digits.lstrip("0")) <= 24:
        try:
            value = int(digits, base)
        except ValueError:
            pass
        else:
            if sign == "-":
                value = -value
            if low <= value <= high and not (sign == "-" and low >= 0):
                return value
    raise BadValue(f'"{text}" is not {what}', word=text)


def _uint(text: str) -> int:
    return c_number(text, 0, UINT_MAX, f"a number of 0 to {UINT_MAX}")


def _int(text: str) -> int:
    return c_number(text, INT_MIN, INT_MAX, f"a number of {INT_MIN} to {INT_MAX}")


def _positive(text: str) -> int:
    return c_number(text, 1, INT_MAX, f"a number of 1 to {INT_MAX}")


def _bool(text: str) -> int:
    if text in ("0", "1"):
        return int(text)
    return c_number(text, 0, 1, "0 or 1")


def _signed(value: int) -> str:
    """liblxc prints some numbers through a signed int."""
    return str(value - 2**32 if value > INT_MAX else value)


def _vlan(text: str) -> int:
    return c_number(text, 0, 4094, "a VLAN id of 0 to 4094")


def _vlan_or_none(text: str) -> int:
    return -1 if text == "none" else _vlan(text)


# -- strings -----------------------------------------------------------------------------------------------------------


def _same(text: str) -> str:
    return text


def byte_length(text: str) -> int:
    """How many bytes it is in a file."""
    return len(text.encode("utf-8", "surrogateescape"))


def limited(name: str, most: int) -> Type:
    """A string of at most that many bytes."""

    def parse(text: str) -> str:
        if byte_length(text) > most:
            raise BadValue(f"{byte_length(text)} bytes are too long: at most {most}")
        return text

    return Type(name, f"a text of at most {most} bytes", parse)


def simplify(text: str) -> str:
    """A path without repeated slashes, "." components and trailing slashes; ".." and links are left alone."""
    if "//" in text or "/." in text or text[-1:] == "/" or text[:2] == "./":
        parts = [part for part in text.split("/") if part and part != "."]
        text = ("/" if text[0] == "/" else "") + "/".join(parts) or "."
    return text


def _path(text: str) -> str:
    text = simplify(text)
    if len(text) >= PATH_MAX // 4 and byte_length(text) >= PATH_MAX:
        raise BadValue(f"the path is too long: at most {PATH_MAX - 1} bytes")
    return text


def _relative_path(text: str) -> str:
    if text[0] == "/":
        raise BadValue("the path may not be absolute", "a cgroup folder is named from the root of the cgroup tree")
    if ".." in text:
        raise BadValue('the path may not walk upwards via "../"', word="..")
    return _path(text)


def _file_name(text: str) -> str:
    if text[0] == "/":
        raise BadValue("the path may not be absolute", "a cgroup folder is named from the root of the cgroup tree")
    if "/" in text or text in (".", ".."):
        raise BadValue("must be a single directory name", word="/" if "/" in text else text)
    return text


def interface_name(text: str) -> str:
    """The kernel's names have at most 15 bytes; LXC cuts longer ones, and says so."""
    data = text.encode("utf-8", "surrogateescape")
    if len(data) < 16:
        return text
    log.error(f'Network device name "{text}" is too long (>= 16): cut to its first 15 bytes')
    return data[:15].decode("utf-8", "surrogateescape")


def _environment(text: str) -> list[str]:
    """NAME=VALUE, or NAME with the value it has in our environment.

    C LXC fails to load the whole configuration when such a variable is unset; then every cron job does.
    """
    if "=" in text:
        return [text]
    value = os.environ.get(text)
    if value is None:
        log.info(f"lxc.environment = {text}: not set here, left out")
        return []
    return [f"{text}={value}"]


def _unix_address(text: str) -> str:
    """The address without "unix:"; "@" stands for the abstract namespace. sun_path has 108 bytes, one for the end."""
    if not text.startswith("unix:") or text[5:6] not in ("/", "@") or text == "unix:@":
        raise BadValue(f'"{text}" is not unix:/PATH or unix:@NAME', word=text)
    if byte_length(text) - 5 > 107:
        raise BadValue("the address is too long: at most 107 bytes after unix:")
    return text[5:]


# -- lists -------------------------------------------------------------------------------------------------------------


def _one(text: str) -> list[str]:
    return [text]


def _extend(old: list[Any], new: list[Any]) -> list[Any]:
    old.extend(new)
    return old


def lines(items: Iterable[object]) -> str:
    """Each followed by a newline, as liblxc prints most lists."""
    return "".join([f"{item}\n" for item in items])


def joined(items: Iterable[object]) -> str:
    """With newlines between them only, as liblxc prints lxc.idmap and the lists of a network."""
    return "\n".join([str(item) for item in items])


def _groups(text: str) -> list[int]:
    words = [word for word in text.split(",") if word]
    if not words:
        raise BadValue(f'"{text}" names no group: numbers with commas between them')
    return [c_number(word, 0, UINT_MAX, "a group id") for word in words]


def _idmap(text: str) -> list[ranges.IdMap]:
    try:
        return [ranges.parse(text)]
    except ValueError as error:
        raise BadValue(str(error), "write for example: u 0 100000 65536") from None


# -- enumerations ------------------------------------------------------------------------------------------------------


def enumeration(default: str, *words: str) -> Type:
    """One of these words, as written."""

    def parse(text: str) -> str:
        if text in words:
            return text
        raise BadValue(f'"{text}" is not one of: {" ".join(words)}', _nearest(text, words), text)

    return Type(f"enum({'|'.join(words)})", "one of: " + " ".join(words), parse, default=default, words=words)


def nearest(word: str, choices: Iterable[str]) -> str:
    """The choice that a typing error would turn into this word, or ""."""
    best, best_cost = "", max(1, min(4, len(word) // 3)) + 1
    for choice in choices:
        if abs(len(choice) - len(word)) < best_cost:
            cost = _distance(word, choice, best_cost)
            if cost < best_cost:
                best, best_cost = choice, cost
    return best


def _distance(first: str, second: str, enough: int) -> int:
    """Insertions, deletions, changes and swaps of neighbours between two words; `enough` when it is not less."""
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, one in enumerate(first, 1):
        before, above, row = row, before, [i]
        for j, two in enumerate(second, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (one != two))
            if i > 1 and j > 1 and one == second[j - 2] and first[i - 2] == two:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
        if min(row) >= enough:
            return enough
    return row[-1]


def _nearest(text: str, words: Iterable[str]) -> str:
    found = nearest(text.lower(), words)
    return f"did you mean {found}?" if found else ""


_ARCH_32 = "arm armel armhf armv7l athlon i386 i486 i586 i686 linux32 mips mipsel ppc powerpc x32 x86".split()
_ARCH_64 = (
    "aarch64 amd64 arm64 linux64 loongarch64 loong64 mips64 mips64el ppc64 ppc64el ppc64le powerpc64 riscv64 s390x x86_64"
).split()


def architecture(text: str) -> str:
    """A name of lxc.arch as "x86_64" or "i686", which stand for the word size of any machine. Raises BadValue."""
    if text in _ARCH_64:
        return "x86_64"
    if text in _ARCH_32:
        return "i686"
    raise BadValue(f'Unsupported personality "{text}"', _nearest(text, _ARCH_32 + _ARCH_64), text)


def _log_level(text: str) -> int:
    """Numbers 0 to 8 or names; liblxc's words are those of log.LEVELS."""
    if text[0].isdecimal():
        return c_number(text, 0, 8, "a log level: 0 to 8, or " + " ".join(log.LEVELS[:9]))
    upper = text.upper()
    if upper in log.LEVELS[:9]:
        return log.LEVELS.index(upper)
    raise BadValue(f'"{text}" is not a log level: {" ".join(log.LEVELS[:9])}', _nearest(upper, log.LEVELS[:9]), text)


def _level_name(number: int) -> str:
    return log.LEVELS[number]


_FACILITIES = ("daemon", *(f"local{n}" for n in range(8)))


def _facility(text: str) -> str:
    if text.lower() not in _FACILITIES:
        raise BadValue(f'"{text}" is not a syslog facility: {" ".join(_FACILITIES)}', word=text)
    return text


# -- quantities --------------------------------------------------------------------------------------------------------

_UNITS = {"": 1, "B": 1, "K": 2**10, "KB": 2**10, "M": 2**20, "MB": 2**20, "G": 2**30, "GB": 2**30}


def _size(text: str, what: str) -> int:
    """Bytes: a number, perhaps blanks, and perhaps B, K, KB, M, MB, G or GB in any case (powers of 1024).

    C LXC takes K, M and G alone for no unit, so that its 1M is one byte.
    """
    text = text.strip(" \t")
    hexadecimal = text[:2] in ("0x", "0X")
    for letters in (2, 1, 0):
        unit = text[len(text) - letters :].upper()
        if unit in _UNITS and len(unit) == letters and not (hexadecimal and letters == 1):
            try:
                return c_number(text[: len(text) - letters].rstrip(" \t"), 0, 2**63 - 1) * _UNITS[unit]
            except BadValue:
                break
    raise BadValue(f'"{text}" is not {what}', "units are KB, MB and GB", text)


_PAGE = 4096  # liblxc asks sysconf(); larger pages only make the buffer larger


def _buffer_size(text: str) -> int:
    """A size raised to a page and rounded up to a power of two."""
    size = 131072 if text == "auto" else _size(text, "a size: auto, or a number with KB, MB or GB")
    if size > 2**62:
        raise BadValue(f'"{text}" is too large', word=text)
    return _PAGE if size <= _PAGE else 1 << (size - 1).bit_length()


def _tmpfs_size(text: str) -> int:
    if text.lstrip(_SPACE)[:1] == "-":
        raise BadValue(f'"{text}" is not a size in bytes', word=text)
    return _size(text, "a size: bytes, or a number with KB, MB or GB")


class Duration(int):
    """Nanoseconds; `whole` when they were given in seconds, minutes or hours, which is how they are printed."""

    whole: bool = False


_SECONDS = {"h": 3600, "m": 60, "s": 1}
_FRACTIONS = {"ms": 10**6, "us": 10**3, "ns": 1}


def _duration(text: str) -> Duration:
    body = text.lstrip(_SPACE)
    digits = body.lstrip("+-")
    number = digits.rstrip("hmsnu").rstrip(" ")
    unit = digits[len(number) :].strip(" ")
    scale = _SECONDS.get(unit, 0) * 10**9 or _FRACTIONS.get(unit, 0)
    if not scale or not number.isascii() or not number.isdecimal() or len(body) - len(digits) > 1 or len(number) > 30:
        raise BadValue(f'"{text}" is not a time offset: a number and one of the units h m s ms us ns', word=text)
    value = int(number) * (-1 if body[0] == "-" else 1)
    counted = value * (_SECONDS.get(unit) or _FRACTIONS[unit])
    if not -(2**63) <= counted < 2**63:
        raise BadValue(f'"{text}" is too large', word=text)
    result = Duration(value * scale)
    result.whole = unit in _SECONDS
    return result


def _duration_text(value: int) -> str:
    if getattr(value, "whole", False) and value:
        return f"{value // 10**9}s"
    return f"{int(value)}ns"


def _limit(text: str, whole: str) -> int:
    if text == "unlimited":
        return UNLIMITED
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 24 or int(digits) > 2**64 - 1:
        raise BadValue(f'"{whole}" is not a limit: SOFT[:HARD], each a number or unlimited', word=text)
    value = -int(digits) if text[0] == "-" else int(digits)
    value %= 2**64  # as strtoull: -1 is what the kernel calls unlimited
    return UNLIMITED if value == 2**64 - 1 else value


def _rlimit(text: str) -> tuple[int, int]:
    """SOFT[:HARD]; a single one is both. A missing soft limit is 0, a missing hard one the soft one (as in C LXC)."""
    soft, colon, hard = text.partition(":")
    soft, hard = soft.strip(_SPACE), hard.strip(_SPACE)
    low = _limit(soft, text) if soft or not colon else 0
    return low, _limit(hard, text) if hard else low


def _rlimit_text(value: tuple[int, int]) -> str:
    soft, hard = ("unlimited" if number == UNLIMITED else str(number) for number in value)
    return soft if soft == hard else f"{soft}:{hard}"


# -- the types that rows name ------------------------------------------------------------------------------------------

BOOL = Type("bool01", "0 or 1", _bool, default=0)
UINT = Type("uint", f"a number of 0 to {UINT_MAX}", _uint, default=0)
ID = Type("uint", f"a number of 0 to {UINT_MAX}", _uint, _signed, default=0)
INT = Type("int", f"a number of {INT_MIN} to {INT_MAX}", _int, default=0)
POSITIVE = Type("int>0", "a number above 0", _positive, lambda n: str(n) if n else "", default=0)
VLAN = Type("u16<=4094", "0 to 4094", _vlan, default=0)
VLANS = Type("u16<=4094", "0 to 4094", lambda text: [_vlan(text)], joined, default=(), join=_extend)
VLAN_OR_NONE = Type("none|u16<=4094", "none, or 0 to 4094", _vlan_or_none, lambda v: "" if v is None else str(v), default=None)
STRING = Type("string", "any text", _same)
STRINGS = Type("string", "any text", _one, lines, default=(), join=_extend)
PATH = Type("path", "a path", _path)
INCLUDE = Type("include", "a file, or a folder of *.conf files", _same)
RELATIVE_PATH = Type("relpath", "a path that does not begin with / nor contain ..", _relative_path)
FILE_NAME = Type("filename", "a single name", _file_name)
INTERFACE = Type("ifname", "a name of at most 15 bytes", interface_name)
COMMAND_LINE = Type("cmdline", "a program and its arguments", _same)
HOOK = Type("hook-cmd", "a shell command", _same)
HOOKS = Type("hook-cmd", "a shell command", _one, lines, default=(), join=_extend)
WORDS = Type("list-ws", "words with blanks between them", split_words, lines, default=(), join=_extend)
GROUPS = Type("list-uint-comma", "numbers with commas between them", _groups,
              lambda ids: ",".join([_signed(number) for number in ids]), default=(), join=_extend)  # fmt: skip
FSTAB_LINES = Type("fstab-line", "a line of fstab(5)", _one, lines, default=(), join=_extend)
ENVIRONMENT = Type("env", "NAME=VALUE, or NAME to take over", _environment, lines, default=(), join=_extend)
UNIX_ADDRESS = Type("unix-addr", "unix:/PATH or unix:@NAME", _unix_address)
IDMAP = Type("idmap", "u|g FIRST-INSIDE FIRST-OUTSIDE COUNT", _idmap, joined, default=(), join=_extend)
ARCH = Type("arch", "one of: " + " ".join(_ARCH_32 + _ARCH_64), architecture, words=(*_ARCH_32, *_ARCH_64))
LOG_LEVEL = Type("loglevel", "0 to 8 or one of: " + " ".join(log.LEVELS[:9]), _log_level, _level_name, default=log.NOTSET)
SYSLOG = Type("syslog-facility", "one of: " + " ".join(_FACILITIES), _facility, words=_FACILITIES)
BUFFER_SIZE = Type("bytesize", "auto, or a number with KB, MB or GB", _buffer_size, default=0)
TMPFS_SIZE = Type("int", "bytes, or a number with KB, MB or GB", _tmpfs_size, default=0)
DURATION = Type("duration", "a number and one of the units h m s ms us ns", _duration, _duration_text, default=0)
RLIMIT = Type("rlimit", "SOFT[:HARD], each a number or unlimited", _rlimit, _rlimit_text, default=())


def _nothing(text: str) -> str:
    raise BadValue("must not have a value: an empty one clears", word=text)


NOTHING = Type("clear-only", "nothing", _nothing)
