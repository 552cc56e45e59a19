# SPDX-License-Identifier: LGPL-2.1-or-later
"""The value types of the configuration: how a text becomes a value, and how liblxc prints it back.

A kind is one object; keys.py names it in each row. parse() raises ValueError with the reason (without key and line,
which the caller adds). No regular expressions: this module is on every command's path.
"""

from __future__ import annotations

import _signal
import os

from ..idmap.ranges import IdMap
from ..linux.caps import NUMBERS as CAPABILITIES
from ..linux.caps import last_cap
from ..namespaces import NAMESPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

Value = object
UNLIMITED = -1
_PAGE = 4096
_SPACES = " \t\n\v\f\r"


class Kind:
    """A value type.

    parse: text to value. show: value to the text of get_config_item. unset: the value of a key that is not set.
    empty: the value that an empty text gives, or REFUSED. many: texts accumulate in a list (parse then gives a list that
    is added).
    """

    __slots__ = ("empty", "many", "name", "parse", "show", "unset")

    def __init__(
        self,
        name: str,
        parse: Callable[[str], Value],
        show: Callable[[Value], str],
        unset: Value,
        *,
        many: bool = False,
        empty: Value = None,
    ) -> None:
        self.name = name
        self.parse = parse
        self.show = show
        self.unset = unset
        self.many = many
        self.empty = unset if empty is None else empty


class Refused:
    """Marks a kind for which an empty text is an error."""


REFUSED = Refused()


def number(text: str) -> int:
    """An integer as strtoul(3) with base 0 reads it: 0x hexadecimal, a leading 0 octal, one sign, the whole text."""
    rest = text.lstrip(_SPACES)
    sign = 1
    if rest[:1] in ("+", "-"):
        sign = -1 if rest[0] == "-" else 1
        rest = rest[1:]
    if rest[:2].lower() == "0x":
        digits, base = rest[2:], 16
    elif rest[:1] == "0" and len(rest) > 1:
        digits, base = rest[1:], 8
    else:
        digits, base = rest, 10
    if not digits.isascii() or not digits.isalnum():
        raise ValueError(f'"{text}" is not a number')
    try:
        return sign * int(digits, base)
    except ValueError:
        raise ValueError(f'"{text}" is not a number') from None


def _uint(text: str) -> int:
    value = number(text)
    if "-" in text or value > 0xFFFFFFFF:
        raise ValueError(f'"{text}" is not a number from 0 to 4294967295')
    return value


def _int(text: str) -> int:
    value = number(text)
    if not -(1 << 31) <= value < 1 << 31:
        raise ValueError(f'"{text}" is out of range')
    return value


def _bool(text: str) -> int:
    value = _uint(text)
    if value > 1:
        raise ValueError(f'"{text}" is neither 0 nor 1')
    return value


def u16(text: str) -> int:
    """An unsigned number of 16 bits."""
    value = number(text)
    if not text or "-" in text or value > 0xFFFF:
        raise ValueError(f'"{text}" is not a number from 0 to 65535')
    return value


def _signed(value: Value) -> str:
    """LXC prints ids as C ints."""
    assert isinstance(value, int)
    return str(value - (1 << 32) if value & 0x80000000 else value)


def path(text: str) -> str:
    """A path without doubled slashes, `.` components and a trailing slash; `..` stays. Nothing is looked up."""
    if not text or ("//" not in text and "./" not in text and text[-1] not in "/."):
        result = text
    else:
        kept = [part for part in text.split("/") if part not in ("", ".")]
        result = "/".join(kept)
        if text.startswith("/"):
            result = "/" + result
        elif not result:
            result = "."
    if len(os.fsencode(result)) >= 4096:
        raise ValueError("the path is longer than 4095 bytes")
    return result


def _relative(text: str) -> str:
    if text.startswith("/"):
        raise ValueError("paths may not be absolute")
    if ".." in text:
        raise ValueError('paths may not walk upwards via "../"')
    return path(text)


def _file_name(text: str) -> str:
    if text.startswith("/"):
        raise ValueError("paths may not be absolute")
    if "/" in text or text in (".", ".."):
        raise ValueError("must be a single directory name")
    return text


def _limited(most: int) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if len(os.fsencode(text)) > most:
            raise ValueError(f"{text} is too long (>= {most + 1})")
        return text

    return parse


def _signals() -> dict[str, int]:
    names = (
        "HUP INT QUIT ILL ABRT FPE KILL SEGV PIPE ALRM TERM USR1 USR2 CHLD CONT STOP TSTP TTIN TTOU TRAP BUS STKFLT URG "
        "XCPU XFSZ VTALRM PROF WINCH IO POLL PWR SYS"
    ).split()
    found = {name: getattr(_signal, "SIG" + name) for name in names if hasattr(_signal, "SIG" + name)}
    found.update(IOT=_signal.SIGABRT, CLD=_signal.SIGCHLD, STKFLT=16)
    return found


def signal(text: str) -> int:
    """A signal: a number, SIGNAME in any case, SIGRTMIN+n or SIGRTMAX-n."""
    if text[:1].isdigit():
        return _uint(text)
    upper = text.upper()
    if upper.startswith("SIG"):
        name = upper[3:]
        known = _signals()
        if name in known:
            return known[name]
        for prefix, base, direction in (("RTMIN+", _signal.SIGRTMIN, 1), ("RTMAX-", _signal.SIGRTMAX, -1)):
            offset = name[len(prefix) :]
            if name.startswith(prefix) and offset.isdecimal() and int(offset) <= _signal.SIGRTMAX - _signal.SIGRTMIN:
                return base + direction * int(offset)
    raise ValueError(f'"{text}" is not a signal: a number, SIGTERM, SIGRTMIN+3')


def byte_size(text: str) -> int:
    """The size of a console log or buffer: at least a page, rounded up to a power of two; `auto` is 128 KiB."""
    if text == "auto":
        return 1 << 17
    digits = text.rstrip(_SPACES)
    scale = 1
    if digits[-2:].isalpha() and len(digits) > 2:
        suffix, digits = digits[-2:].upper(), digits[:-2]
        try:
            scale = {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}[suffix]
        except KeyError:
            raise ValueError(f'"{text}" is not a size: a number of bytes, or with kB, MB or GB') from None
    elif digits[-1:].isalpha() and not digits.lower().startswith("0x"):
        digits = digits[:-1]  # a single letter is dropped: LXC behaviour
    value = number(digits.rstrip(_SPACES)) * scale
    if value < 0:
        raise ValueError(f'"{text}" is negative')
    value = max(value, _PAGE)
    return 1 << (value - 1).bit_length()


def rlimit(text: str) -> tuple[int, int]:
    """SOFT[:HARD]; a number or `unlimited` (UNLIMITED)."""
    soft_text, _, hard_text = text.partition(":")

    def one(part: str) -> int:
        part = part.strip(_SPACES)
        if part == "unlimited":
            return UNLIMITED
        if not part.isdecimal() or not part.isascii():
            raise ValueError(f'"{text}" is not a limit: SOFT or SOFT:HARD, numbers or "unlimited"')
        return int(part)

    soft = one(soft_text)
    hard = one(hard_text) if hard_text.strip(_SPACES) else soft
    if hard != UNLIMITED and (soft == UNLIMITED or soft > hard):
        raise ValueError(f'"{text}": the soft limit is above the hard one')
    return soft, hard


def show_rlimit(value: tuple[int, int]) -> str:
    """As liblxc prints it."""
    texts = ["unlimited" if number_ == UNLIMITED else str(number_) for number_ in value]
    return texts[0] if texts[0] == texts[1] else ":".join(texts)


def _idmap(text: str) -> list[IdMap]:
    words = text.split()
    if not words or words[0] not in ("u", "g"):
        raise ValueError(f"Invalid id mapping type: {words[0] if words else ''}")
    if len(words) != 4:
        raise ValueError("Failed to parse id mappings: a line is `u|g NSID HOSTID COUNT`")
    numbers = []
    for what, word in zip(("nsid", "hostid", "id mapping range"), words[1:], strict=True):
        if word[0] in "+-":
            raise ValueError(f"Failed to parse {what}: {word}")
        try:
            numbers.append(number(word))
        except ValueError:
            raise ValueError(f"Failed to parse {what}: {word}") from None
    return [IdMap(words[0], *numbers)]


def _duration(text: str) -> int:
    """[-]N UNIT in nanoseconds."""
    stripped = text.strip(_SPACES)
    for suffix, scale in (("ns", 1), ("us", 1000), ("ms", 10**6), ("s", 10**9), ("m", 60 * 10**9), ("h", 3600 * 10**9)):
        if stripped.endswith(suffix):
            digits = stripped[: -len(suffix)].rstrip(_SPACES)
            if digits.lstrip("-").isdecimal() and digits.count("-") <= 1:
                return int(digits) * scale
            break
    raise ValueError(f'"{text}" is not a duration: a number and one of h m s ms us ns')


def _show_duration(value: Value) -> str:
    assert isinstance(value, int)
    seconds, rest = divmod(value, 10**9)
    return f"{value}ns" if rest or not seconds else f"{seconds}s"


def _words(text: str) -> list[str]:
    return text.split()


def _groups(text: str) -> list[int]:
    groups = []
    for word in text.split(","):
        try:
            groups.append(_uint(word.strip(" \t")))
        except ValueError:
            raise ValueError(f"Failed to parse group {word}") from None
    return groups


def _environment(text: str) -> list[str]:
    """NAME=VALUE, or NAME for the value that the reading process has; unset there it is passed over."""
    if "=" in text:
        return [text]
    value = os.environ.get(text)
    return [] if value is None else [f"{text}={value}"]


def _capabilities(text: str) -> list[str]:
    words = text.split()
    for word in words:
        if word != "none" and word not in CAPABILITIES:
            try:
                known = 0 <= number(word) <= last_cap()
            except ValueError:
                known = False
            if not known:
                raise ValueError(f"Invalid capability specified: {word}")
    return words


def _namespaces(text: str) -> list[str]:
    names = {row.name for row in NAMESPACES}
    words = [word.lower() for word in text.split()]
    for word in words:
        if word not in names:
            raise ValueError(f'Invalid namespace name "{word}": one of {" ".join(row.name for row in NAMESPACES)}')
    return words


def _show_namespaces(value: Value) -> str:
    assert isinstance(value, list)
    return "".join(f"{row.name}\n" for row in NAMESPACES if row.name in value)


_32BIT = frozenset(
    "arm armel armhf armv7l athlon i386 i486 i586 i686 linux32 mips mipsel ppc powerpc x32 x86".split()
)
_64BIT = frozenset(
    "aarch64 amd64 arm64 linux64 loongarch64 loong64 mips64 mips64el ppc64 ppc64el ppc64le powerpc64 riscv64 s390x "
    "x86_64".split()
)


def architecture(text: str) -> str:
    """A name of lxc.arch; reads back as i686 or x86_64, for all that have that word size."""
    if text in _32BIT:
        return "i686"
    if text in _64BIT:
        return "x86_64"
    raise ValueError(f'Unsupported personality "{text}"')


_LOG_LEVELS = ("TRACE", "DEBUG", "INFO", "NOTICE", "WARN", "ERROR", "CRIT", "ALERT", "FATAL")


def _log_level(text: str) -> str:
    if text[:1].isdigit():
        value = _uint(text)
        if value > 8:
            raise ValueError(f"Invalid log priority {value}")
        return _LOG_LEVELS[value]
    if text.upper() not in _LOG_LEVELS:
        raise ValueError(f"Invalid log priority {text}: one of {' '.join(_LOG_LEVELS)}")
    return text.upper()


FACILITIES = {"daemon": 3 << 3, **{f"local{number_}": (16 + number_) << 3 for number_ in range(8)}}


def _facility(text: str) -> str:
    if text.lower() not in FACILITIES:
        raise ValueError(f'"{text}" is not a syslog facility: daemon, local0 ... local7')
    return text


class MountAuto:
    """lxc.mount.auto: what is mounted by itself.

    proc "" rw mixed; sys "" rw ro mixed; cgroup "" or noSpec ro rw mixed, of kind cgroup, cgroup-full or cgroup2, with
    force; shmounts (host folder, container folder) or None.
    """

    __slots__ = ("cgroup", "cgroup_kind", "force", "proc", "shmounts", "sys")

    def __init__(self) -> None:
        self.proc = ""
        self.sys = ""
        self.cgroup = ""
        self.cgroup_kind = "cgroup"
        self.force = False
        self.shmounts: tuple[str, str] | None = None

    def take(self, word: str) -> None:
        """Apply one word; the last of a family counts. Raises ValueError."""
        family, _, mode = word.partition(":")
        if family == "proc" and mode in ("", "mixed", "rw"):
            self.proc = mode or "mixed"
        elif family == "sys" and mode in ("", "mixed", "ro", "rw"):
            self.sys = mode or "mixed"
        elif family in ("cgroup", "cgroup-full", "cgroup2"):
            modes = mode.split(":") if mode else []
            force = "force" in modes
            modes = [part for part in modes if part != "force"]
            allowed = ("ro",) if family == "cgroup2" else ("ro", "rw", "mixed")
            if len(modes) > 1 or (modes and modes[0] not in allowed) or word.endswith(":"):
                raise ValueError(f'Invalid filesystem to automount "{word}"')
            self.cgroup = modes[0] if modes else "noSpec"
            self.cgroup_kind = family
            self.force = force or family == "cgroup2"
        elif family == "shmounts" and mode:
            host, _, inside = mode.partition(":")
            if not host:
                raise ValueError(f'Invalid filesystem to automount "{word}"')
            self.shmounts = (host, inside or "/dev/.lxc-mounts")
        else:
            raise ValueError(f'Invalid filesystem to automount "{word}"')

    def __str__(self) -> str:
        words = []
        if self.proc:
            words.append(f"proc:{self.proc}")
        if self.sys:
            words.append(f"sys:{self.sys}")
        if self.cgroup and not self.force:
            words.append(self.cgroup_kind if self.cgroup == "noSpec" else f"{self.cgroup_kind}:{self.cgroup}")
        return " ".join(words)


def _mount_auto(text: str) -> list[str]:
    words = text.split()
    trial = MountAuto()
    for word in words:
        trial.take(word)
    return words


def _show_mount_auto(value: Value) -> str:
    return str(mount_auto(value))


def mount_auto(words: Value) -> MountAuto:
    """The record that these words make."""
    assert isinstance(words, list)
    result = MountAuto()
    for word in words:
        result.take(word)
    return result


BACKENDS = ("btrfs", "dir", "loop", "lvm", "nbd", "overlay", "overlayfs", "rbd", "zfs")


def rootfs(text: str) -> tuple[str, str]:
    """[TYPE:]PATH as (type, path); only a known type is one."""
    kind, colon, rest = text.partition(":")
    return (kind, path(rest)) if colon and kind in BACKENDS else ("", path(text))


def _rootfs_options(text: str) -> str:
    for word in text.split(","):
        if word in ("optional", "relative") or word.startswith("create="):
            raise ValueError("Invalid LXC specific mount option for rootfs mount")
        if word == "idmap=":
            raise ValueError('Missing idmap path for "idmap=<path>" LXC specific mount option')
    return text


def _notify_proxy(text: str) -> str:
    if not text.startswith("unix:") or not 0 < len(os.fsencode(text[5:])) < 108:
        raise ValueError(f'"{text}" is not unix:/PATH or unix:@NAME of at most 107 bytes')
    return text


def _show_text(value: Value) -> str:
    return str(value)


def _show_lines(value: Value) -> str:
    assert isinstance(value, list)
    return "".join(f"{entry}\n" for entry in value)


def _identity(text: str) -> str:
    return text


def _one(text: str) -> list[str]:
    return [text]


STRING = Kind("string", _identity, _show_text, "")
STRING64 = Kind("string of at most 64 bytes", _limited(64), _show_text, "")
STRING255 = Kind("string of at most 255 bytes", _limited(255), _show_text, "")
PATH = Kind("path", path, _show_text, "")
PATH_REQUIRED = Kind("path", path, _show_text, "", empty=REFUSED)
RELATIVE_PATH = Kind("relative path", _relative, _show_text, "")
FILE_NAME = Kind("folder name", _file_name, _show_text, "")
BOOL = Kind("0 or 1", _bool, _show_text, 0)
BOOL_ON = Kind("0 or 1", _bool, _show_text, 1, empty=0)
BOOL_ALWAYS_ON = Kind("0 or 1", _bool, _show_text, 1)
UINT = Kind("number", _uint, _show_text, 0)
IDENTIFIER = Kind("user or group id", _uint, _signed, 0)
INT = Kind("signed number", _int, _show_text, 0)
TMPFS_SIZE = Kind("number of bytes", _int, _show_text, 0, empty=500000)
SIGNAL = Kind("signal", signal, _show_text, 0)
DEATH_SIGNAL = Kind("signal", signal, _show_text, _signal.SIGKILL + 0, empty=0)
BYTE_SIZE = Kind("size", byte_size, _show_text, 0)
DURATION = Kind("duration", _duration, _show_duration, 0)
WORDS = Kind("words", _words, _show_lines, [], many=True)
LINES = Kind("text", _one, _show_lines, [], many=True)
ENVIRONMENT = Kind("NAME=VALUE", _environment, _show_lines, [], many=True)
GROUPS = Kind("group ids", _groups, lambda value: ",".join(_signed(g) for g in value), [], many=True)  # type: ignore[attr-defined]
IDMAP = Kind("id map", _idmap, lambda value: "\n".join(str(row) for row in value), [], many=True)  # type: ignore[attr-defined]
CAPABILITY_WORDS = Kind("capabilities", _capabilities, _show_lines, [], many=True)
NAMESPACE_WORDS = Kind("namespaces", _namespaces, _show_namespaces, [], many=True)
MOUNT_AUTO = Kind("automatic mounts", _mount_auto, _show_mount_auto, [], many=True)
ARCHITECTURE = Kind("architecture", architecture, _show_text, "", empty=REFUSED)
LOG_LEVEL = Kind("log level", _log_level, _show_text, "NOTSET")
FACILITY = Kind("syslog facility", _facility, _show_text, "")
ROOTFS = Kind("[TYPE:]PATH", rootfs, lambda value: value[1], ("", ""))  # type: ignore[index]
ROOTFS_OPTIONS = Kind("mount options", _rootfs_options, _show_text, "")
NOTIFY_PROXY = Kind("unix:ADDRESS", _notify_proxy, lambda value: str(value).removeprefix("unix:").removeprefix("@"), "")
