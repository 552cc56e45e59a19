# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mount options as mount(8) and lxc.container.conf(5) write them, read and judged."""

from __future__ import annotations

from .. import log
from ..errors import LxcError
from . import mount

_ATIME = mount.MOUNT_ATTR__ATIME

# word: (MOUNT_ATTR_* to set, to clear). Words are whole words, so that rootcontext=... is not taken for ro.
_FLAGS = {
    "ro": (mount.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, mount.MOUNT_ATTR_RDONLY),
    "nosuid": (mount.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, mount.MOUNT_ATTR_NOSUID),
    "nodev": (mount.MOUNT_ATTR_NODEV, 0),
    "dev": (0, mount.MOUNT_ATTR_NODEV),
    "noexec": (mount.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, mount.MOUNT_ATTR_NOEXEC),
    "nosymfollow": (mount.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "nodiratime": (mount.MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, mount.MOUNT_ATTR_NODIRATIME),
}
# One field of three values: each replaces the others.
_ATIMES = {
    "noatime": mount.MOUNT_ATTR_NOATIME,
    "atime": mount.MOUNT_ATTR_RELATIME,
    "relatime": mount.MOUNT_ATTR_RELATIME,
    "norelatime": mount.MOUNT_ATTR_STRICTATIME,
    "strictatime": mount.MOUNT_ATTR_STRICTATIME,
    "nostrictatime": mount.MOUNT_ATTR_RELATIME,
}
PROPAGATION = {
    "shared": mount.MS_SHARED,
    "private": mount.MS_PRIVATE,
    "slave": mount.MS_SLAVE,
    "unbindable": mount.MS_UNBINDABLE,
}
_IGNORED = frozenset(("sync", "async", "dirsync", "lazytime", "mand", "nomand", "remount"))
# Words of fstab(5) that mount(8) and its callers read and no file system knows.
_FOR_MOUNT8 = frozenset(("auto", "noauto", "nofail", "_netdev", "user", "nouser", "users", "owner", "group"))


class Options:
    """What a comma-separated list of mount options asks for.

    set, clear: MOUNT_ATTR_* that were asked for. atime: the access time mode or None. data: (name, value|None) pairs for
    the file system. propagation: (MS_* flag, recursive) or None. create: "", "dir" or "file".
    idmap: "", "container" or the path of a user namespace. dev: `dev` was asked for, so a bind mount does not inherit nodev.
    """

    __slots__ = (
        "atime",
        "bind",
        "clear",
        "create",
        "data",
        "dev",
        "idmap",
        "move",
        "optional",
        "propagation",
        "recursive",
        "relative",
        "set",
    )

    def __init__(self) -> None:
        self.set = 0
        self.clear = 0
        self.atime: int | None = None
        self.data: list[tuple[str, str | None]] = []
        self.propagation: tuple[int, bool] | None = None
        self.bind = False
        self.recursive = False
        self.move = False
        self.create = ""
        self.optional = False
        self.relative = False
        self.idmap = ""
        self.dev = False

    @property
    def attributes(self) -> int:
        """MOUNT_ATTR_* for a new file system's mount."""
        return self.set | (self.atime or 0)

    @property
    def read_only(self) -> bool:
        """Whether `ro` is in force."""
        return bool(self.set & mount.MOUNT_ATTR_RDONLY)


def parse_options(text: str) -> Options:
    """Read mount options; the last of two that contradict each other wins. Raises LxcError for a bad LXC option."""
    result = Options()
    for word in split_options(text):
        name, equals, value = word.partition("=")
        if word in _FLAGS:
            on, off = _FLAGS[word]
            result.set = (result.set | on) & ~off
            result.clear = (result.clear | off) & ~on
            if word in ("dev", "nodev"):
                result.dev = word == "dev"
        elif word in _ATIMES:
            result.atime = _ATIMES[word]
        elif word in ("bind", "rbind"):
            result.bind = True
            result.recursive = word == "rbind"
        elif word == "move":
            result.move = True
        elif word in PROPAGATION:
            result.propagation = (PROPAGATION[word], False)
        elif word[:1] == "r" and word[1:] in PROPAGATION:
            result.propagation = (PROPAGATION[word[1:]], True)
        elif word in _IGNORED or word in _FOR_MOUNT8 or name.startswith("x-"):
            log.info(f'the mount option "{word}" has no effect in a container')
        elif word == "optional":
            result.optional = True
        elif word == "relative":
            result.relative = True
        elif name == "create" and equals:
            if value not in ("dir", "file"):
                raise LxcError(f'mount option "{word}": only create=dir and create=file are known')
            result.create = value
        elif name == "idmap" and equals:
            if not value:
                raise LxcError('mount option "idmap=": "container" or the path of a user namespace must follow')
            result.idmap = value
        elif word not in ("", "defaults"):
            result.data.append((name, value if equals else None))
    return result


def split_options(text: str) -> list[str]:
    """The words of an option list; commas inside double quotes (SELinux contexts) do not separate, the quotes go."""
    if '"' not in text:
        return text.split(",")
    words = [""]
    quoted = False
    for char in text:
        if char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            words.append("")
        else:
            words[-1] += char
    return words
