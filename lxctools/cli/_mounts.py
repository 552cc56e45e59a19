# SPDX-License-Identifier: LGPL-2.1-or-later
"""The mounts of an ephemeral copy: TYPE=SRC[:DST[:OPTION]], with commas between. All functions raise BadValue."""

from __future__ import annotations

from ._options import BadValue

# (type, source, target without a slash at its begin, "rw" or "ro"): what container.Container.clone_once() takes.
Mount = tuple[str, str, str, str]
_MOST = {"bind": 3, "overlay": 2}


def mounts(text: str) -> list[Mount]:
    """-m of lxc-copy: one or more."""
    return [_mount(item) for item in text.split(",") if item]


def _mount(item: str) -> Mount:
    kind, equals, rest = item.partition("=")
    if kind not in _MOST:
        raise BadValue(f'-m "{item}": "{kind}" is no type of mount: bind or overlay')
    fields = [field for field in rest.split(":") if field]
    if not equals or not fields:
        raise BadValue(f'-m "{item}": the folder to mount is missing: {kind}=SRC')
    return made(kind, fields, f'-m "{item}"')


def made(kind: str, fields: list[str], what: str) -> Mount:
    """A mount from SRC, DST and option. what: for the message. LXC behaviour: SRC is absolute, with a slash or without."""
    option = ""
    if kind == "bind" and len(fields) > 1 and (option := _option(fields[-1])):
        fields = fields[:-1]
    if len(fields) > 2:
        if kind == "bind" and len(fields) == _MOST[kind]:
            raise BadValue(f'{what}: "{fields[-1]}" is neither ro nor rw')
        raise BadValue(f"{what}: Excess elements in mount specification")
    source, target = (_path(path, what) for path in (fields[0], fields[-1]))
    return kind, source, target.lstrip("/"), option or "rw"


def _option(text: str) -> str:
    """The option that this is the begin of, or ""."""
    return next((option for option in ("ro", "rw") if option.startswith(text)), "")


def _path(path: str, what: str) -> str:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts:
        raise BadValue(f"{what}: the root folder cannot be mounted, nor mounted on")
    if ".." in parts:
        raise BadValue(f'{what}: write the path without ".."')
    return "/" + "/".join(parts)
