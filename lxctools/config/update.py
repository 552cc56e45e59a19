# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-update-config: the names of LXC 1.0 and 2.0 in a configuration replaced by the present ones.

As LXC's own: an untyped root gets a type, lines without a successor go, networks are numbered in their order, names in
commented settings are renamed too. Where that loses something, this does not; docs/differences.md lists it.
"""

from __future__ import annotations

import os
import stat

from .. import files
from ..errors import ConfigError, os_path
from . import grammar, legacy, writer
from .grammar import setting
from .mount import STORAGE_TYPES
from .values import BadValue


def convert(text: str, strange: list[str] | None = None) -> str:
    """The text with the present names in place of the old ones, everything else as it stands.

    strange: collects the old names that no LXC knows, which are left alone.
    """
    lines = grammar.split_lines(text)
    backend = ""
    for line in lines:
        key, value = setting(line)
        if key == legacy.BACKEND:
            backend = value
    networks = legacy.Networks()
    networks.reserve(lines)
    result = []
    for line in lines:
        key, value = setting(line)
        commented = not key
        if commented:
            key, value = setting(line.lstrip(" \t").lstrip("#"))
        if key in legacy.IGNORED or key == legacy.BACKEND:
            continue
        if legacy.is_legacy(key):
            try:
                name = (networks.copy() if commented else networks).modern(key)  # a comment makes none
            except BadValue:
                result.append(line)
                if strange is not None and not commented:
                    strange.append(key)
                continue
            line = line.replace(key, name, 1)
            if name == "lxc.rootfs.path" and value:
                line = _typed(line, value, backend)
            key = name
        if not commented:
            _follow(key, value, networks)
        result.append(line)
    return "".join(result)


def _follow(key: str, value: str, networks: legacy.Networks) -> None:
    """Keep account of the networks that the lines so far make."""
    if key == "lxc.net":
        networks.emptied()
    elif key.startswith("lxc.net."):
        digits, _, subkey = key[8:].partition(".")
        index = legacy.number(digits)
        if index >= 0 and value and subkey:
            networks.there(index)
            if subkey == "type":
                networks.began(index)


def _typed(line: str, path: str, backend: str) -> str:
    """The line of lxc.rootfs.path with a storage type before the path; what is no folder is left to be detected."""
    if path.partition(":")[0] in STORAGE_TYPES:
        return line
    if not backend and (path.startswith("/dev/") or os.path.isfile(path)):
        return line
    head, equals, tail = line.partition("=")
    return head + equals + tail.replace(path, f"{backend or 'dir'}:{path}", 1)


def update(path: str) -> list[str]:
    """Convert a file in place; what it held is kept as PATH.backup. Returns the names that no LXC knows.

    A backup that is there already is replaced, but not when there is nothing to convert: a second run would lose the
    original. Raises ConfigError; then the file is as it was.
    """
    text = grammar.read(grammar.Source(path, None))
    strange: list[str] = []
    converted = convert(text, strange)
    backup = path + ".backup"
    if converted != text or not os.path.lexists(backup):
        try:
            _keep(path, backup, text.encode("utf-8", "surrogateescape"))
        except OSError as error:
            reason = grammar.describe_errno(error)
            raise ConfigError(f'cannot keep a copy of the configuration as "{os_path(backup)}": {reason}') from error
    if converted != text:
        writer.save(path, converted)
    return strange


def _keep(path: str, backup: str, data: bytes) -> None:
    """Write the backup, with the mode of the file as far as the umask lets it. Raises OSError."""
    if os.path.islink(backup):  # it is the name that is ours, not what somebody let it lead to
        os.unlink(backup)
    files.write_atomic(backup, data, stat.S_IMODE(os.stat(path).st_mode))
