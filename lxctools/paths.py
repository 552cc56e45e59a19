# SPDX-License-Identifier: LGPL-2.1-or-later
"""The folders and files that are fixed at installation, and the per-user ones; what may be the name of a container's folder.

A checkout (templates/ beside the package) uses its own templates, hooks and config fragments; what pip installed those in the
package's folder _share; any other installation those below its prefix, which `make install` writes into _prefix.py.
"""

from __future__ import annotations

import os
import sys

from .errors import LxcError, os_path

_here = os.path.dirname(os.path.abspath(__file__))
_beside = os.path.dirname(_here)

# The folder that may hold templates/, hooks/, config/ and bin/ as a checkout does.
_tree = _here + "/_share" if os.path.isdir(_here + "/_share") else _beside
IN_CHECKOUT = os.path.isdir(_tree + "/templates") and (_tree != _beside or os.path.isfile(_tree + "/pyproject.toml"))
if IN_CHECKOUT:
    PREFIX = "/usr"
    TEMPLATES = _tree + "/templates"
    HOOKS = _tree + "/hooks"
    CONFIG = _tree + "/config"
    BIN = LIBEXEC = _tree + "/bin"
else:
    try:
        # What make install wrote.
        from ._prefix import PREFIX as _installed  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        _installed = "/usr"
    PREFIX = _installed
    TEMPLATES = PREFIX + "/share/lxc/templates"
    HOOKS = PREFIX + "/share/lxc/hooks"
    CONFIG = PREFIX + "/share/lxc/config"
    BIN = PREFIX + "/bin"
    LIBEXEC = PREFIX + "/libexec/lxc"

MULTIARCH = getattr(sys.implementation, "_multiarch", "")
ROOTFS_MOUNT = f"/usr/lib/{MULTIARCH}/lxc/rootfs" if MULTIARCH else "/usr/lib/lxc/rootfs"
GLOBAL_LXCPATH = "/var/lib/lxc"
GLOBAL_CONFIG = "/etc/lxc/lxc.conf"
GLOBAL_DEFAULT = "/etc/lxc/default.conf"
LOGPATH = "/var/log/lxc"
CACHE = "/var/cache/lxc"
MONITORD = LIBEXEC + "/lxc-monitord"


def home() -> str:
    """$HOME as LXC reads it: unset counts as "/", empty stays empty."""
    return os.environ.get("HOME", "/")


def is_root() -> bool:
    """LXC decides by the effective uid."""
    return os.geteuid() == 0


def default_lxcpath() -> str:
    """The built-in lxc.lxcpath of the caller."""
    return GLOBAL_LXCPATH if is_root() else home() + "/.local/share/lxc"


def system_config() -> str:
    """lxc.conf of the caller."""
    return GLOBAL_CONFIG if is_root() else home() + "/.config/lxc/lxc.conf"


def default_config() -> str:
    """default.conf of the caller (built-in value of lxc.default_config)."""
    return GLOBAL_DEFAULT if is_root() else home() + "/.config/lxc/default.conf"


def runtime_dir() -> str:
    """RUN of the protocol: where locks and the monitor FIFO live.

    /run where the caller may write there, else $XDG_RUNTIME_DIR, else $HOME/.cache/lxc/run/ (LXC tests the owner only
    and then fails for users whose group is 0; writability is what it means).
    """
    if is_root() or os.access("/run", os.W_OK):
        return "/run"
    return os.environ.get("XDG_RUNTIME_DIR") or home() + "/.cache/lxc/run/"


def defined_in(lxcpath: str) -> list[str]:
    """The names of a lxcpath's containers with a configuration, in the folder's order; none in one that is not there. Raises OSError."""
    try:
        entries = os.listdir(lxcpath or ".")
    except (FileNotFoundError, NotADirectoryError):
        return []
    exists = os.path.exists
    return [entry for entry in entries if entry[0] != "." and exists(f"{lxcpath}/{entry}/config")]


# A cgroup of the container is called lxc.payload.NAME, and a folder name has at most 255 bytes.
LONGEST_NAME = 255 - len("lxc.payload.")


def check_name(name: str, *, new: bool = True, exit_code: int = 1) -> None:
    """Refuse a name that cannot be a container's folder; new: and one that we would not give one. Raises LxcError."""
    reason = ""
    if not name:
        reason = "it is empty"
    elif "/" in name:
        reason = "it contains a slash"
    elif name in (".", ".."):
        reason = "it is a relative path"
    elif new:
        reason = _why_not_new(name)
    if reason:
        raise LxcError(
            f'invalid container name "{printable(name)}": {reason}',
            remedy=f"letters, digits, '-', '_' and '.', at most {LONGEST_NAME} bytes",
            exit_code=exit_code,
        )


def _why_not_new(name: str) -> str:
    size = len(os.fsencode(name))
    if size > LONGEST_NAME:
        return f"it has {size} bytes"
    if any("\udc80" <= letter <= "\udcff" for letter in name):
        return "it is not valid UTF-8"
    if name.startswith("."):
        return "it begins with a dot, so that no list would show it"
    if any(letter < " " or letter == "\x7f" for letter in name):
        return "it contains a control character"
    return ""


def printable(text: str) -> str:
    """Text for messages and terminals: bytes that are no text, and control characters, as escapes."""
    decoded = os_path(text)
    return decoded if decoded.isprintable() else "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in decoded)
