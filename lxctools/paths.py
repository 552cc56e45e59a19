# SPDX-License-Identifier: LGPL-2.1-or-later
"""The folders and files that are fixed at installation, and the per-user ones.

A checkout (templates/ beside the package) uses its own templates, hooks and config fragments; an installation
those below its prefix, which `make install` writes into _prefix.py.
"""

from __future__ import annotations

import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))
_beside = os.path.dirname(_here)

IN_CHECKOUT = os.path.isdir(_beside + "/templates") and os.path.isfile(_beside + "/pyproject.toml")
if IN_CHECKOUT:
    PREFIX = "/usr"
    TEMPLATES = _beside + "/templates"
    HOOKS = _beside + "/hooks"
    CONFIG = _beside + "/config"
    LIBEXEC = _beside + "/bin"
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
