# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc.conf: the settings of LXC itself, as opposed to those of a container.

One file counts: /etc/lxc/lxc.conf for root, ~/.config/lxc/lxc.conf for others. Its grammar is not that of a container's
configuration: the first line of a key wins, values are taken as they stand up to the end of the line (quotes, blanks at the
end and all), and lines of unknown keys are passed over. So a key of our own can stand there without disturbing C LXC.
"""

from __future__ import annotations

import os

from .. import log, paths
from ..errors import ConfigError, os_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Default = str | Callable[[], str] | None


class SystemKey:
    """One row: name, default (a text, a function that gives it, or None for unset), since, summary."""

    __slots__ = ("default", "name", "since", "summary")

    def __init__(self, name: str, default: Default, since: str, summary: str) -> None:
        self.name = name
        self.default = default
        self.since = since
        self.summary = summary


# The first seven are those that lxc-config -l lists, in its order.
ROWS = (
    SystemKey("lxc.default_config", paths.default_config, "0.8", "Configuration that lxc-create begins with."),
    SystemKey("lxc.lxcpath", paths.default_lxcpath, "0.8", "Folder of the containers."),
    SystemKey("lxc.bdev.lvm.vg", "lxc", "1.0", "LVM volume group for new containers."),
    SystemKey("lxc.bdev.lvm.thin_pool", "lxc", "1.0", "LVM thin pool for new containers."),
    SystemKey("lxc.bdev.zfs.root", "lxc", "1.0", "ZFS dataset below which new containers get theirs."),
    SystemKey("lxc.cgroup.use", None, "1.0", "Cgroup controllers to use, with commas between them; unset: all."),
    SystemKey("lxc.cgroup.pattern", None, "1.0", "Cgroup of a container; %n stands for its name."),
    SystemKey("lxc.bdev.rbd.rbdpool", "lxc", "2.0", "Ceph RBD pool for new containers."),
    SystemKey("lxc.bdev.rbd.rbduser", None, "6.0.6", "Ceph user."),
    SystemKey(
        "lxc.hook.create",
        None,
        "",
        "Command run when lxc-create has made a container; every line counts. C LXC passes over this key.",
    ),
)
KEYS = tuple(row.name for row in ROWS)
_DEFAULTS = {row.name: row.default for row in ROWS}
_read: dict[str, list[tuple[str, str]]] = {}


def parse(text: str) -> list[tuple[str, str]]:
    """The (key, value) pairs of an lxc.conf's text that are settings of a known key, in order."""
    found = []
    lines = text.split("\n")
    for at, line in enumerate(lines):
        name, equals, value = line.partition("=")
        key = name.strip(" \t")
        # "KEY =" at the very end of the file, without a newline, is passed over by liblxc.
        if equals and key in _DEFAULTS and (value or at < len(lines) - 1):
            value = value.lstrip(" \t")
            found.append((key, (value.rstrip("/") or value[:1]) if key == "lxc.lxcpath" else value))
    return found


def _settings(path: str) -> list[tuple[str, str]]:
    """What the file sets, read once; nothing without a file. Raises ConfigError for one that cannot be read."""
    if path not in _read:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
            try:
                chunks = []
                while chunk := os.read(fd, 1 << 16):
                    chunks.append(chunk)
            finally:
                os.close(fd)
            text = b"".join(chunks).decode("utf-8", "surrogateescape")
        except (FileNotFoundError, NotADirectoryError):
            text = ""
        except PermissionError as error:  # as after sudo -u in a home folder that is closed to that user
            log.warn(f"cannot read {os_path(path)}: {error.strerror}; the defaults are used")
            text = ""
        except OSError as error:
            raise ConfigError(f'cannot read the system configuration "{os_path(path)}": {error.strerror}') from error
        _read[path] = parse(text)
    return _read[path]


def system_values(key: str, path: str = "") -> list[str]:
    """Every value that the file gives to a key, in order. path: another file than the caller's. Raises ConfigError."""
    return [value for name, value in _settings(path or paths.system_config()) if name == key]


def system_value(key: str, path: str = "") -> str | None:
    """The first value that the file gives to a key, its default without one, None when it has none or is unknown.

    path: another file than the caller's. Raises ConfigError for a file that cannot be read.
    """
    for value in system_values(key, path):
        return value
    default = _DEFAULTS.get(key)
    return default() if callable(default) else default


def forget() -> None:
    """Read the files again next time."""
    _read.clear()
