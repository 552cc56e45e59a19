# SPDX-License-Identifier: LGPL-2.1-or-later
"""The configured mounts as data: lxc.mount.fstab and lxc.mount.entry lines, read and judged, nothing done.

A line is that of fstab(5): source, target, type, options; two more fields are accepted and ignored. Blanks in a field are
written \\040 (tab \\011, newline \\012, backslash \\134).
"""

from __future__ import annotations

import os

from .. import log
from ..errors import LxcError, describe
from ..linux.mountopts import Options, parse_options
from ..linux.proc import unescape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.conf import Config

class MountEntry:
    """One mount: source and fstype as written, target below the container's root, options as a record.

    where: the line it comes from, for every message about it.
    """

    __slots__ = ("fstype", "options", "source", "target", "where")

    def __init__(self, source: str, target: str, fstype: str, options: Options, where: str) -> None:
        self.source = source
        self.target = target
        self.fstype = fstype
        self.options = options
        self.where = where

    def describe(self) -> str:
        """The mount in words, for the log."""
        kind = "bind mount" if self.options.bind else self.fstype
        return f"{kind} of {self.source} on /{self.target.lstrip('/')} ({self.where})"


class Targets:
    """How the target of a line becomes a path below the container's root.

    A relative one is below it. An absolute one must name the root's own folder (LXCPATH/NAME/rootfs or lxc.rootfs.path), a
    habit of old configurations; others are ignored with a warning, as LXC does. Without a root of its own the container
    mounts on the host's (private) tree.
    """

    __slots__ = ("prefixes", "rootless")

    def __init__(self, rootfs_path: str, lxcpath: str, name: str) -> None:
        self.rootless = not rootfs_path
        folders = [f"{lxcpath.rstrip('/')}/{name}/rootfs", rootfs_path.rstrip("/")]
        self.prefixes = [folder for folder in folders if folder.startswith("/")]

    def inside(self, target: str, where: str) -> str | None:
        """The path inside, or None for a target that is passed over. Raises LxcError for one that leaves the root."""
        if self.rootless:
            return "/" + target.lstrip("/")
        if target.startswith("/"):
            for prefix in self.prefixes:
                if target == prefix or target.startswith(prefix + "/"):
                    target = target[len(prefix) :]
                    break
            else:
                log.warn(f'Ignoring mount point "{target}": it is not below the container\'s root ({where})')
                return None
        parts = [part for part in target.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise LxcError(
                f'{where}: the mount point "{target}" leaves the container\'s root',
                remedy='write it without ".."',
            )
        if not parts:
            raise LxcError(f"{where}: the container's root itself cannot be a mount point")
        return "/".join(parts)


def parse_line(line: str, where: str, targets: Targets) -> MountEntry | None:
    """Read one line; None for a comment, an empty line and a passed-over target. Raises LxcError naming where."""
    fields = [field for field in line.replace("\t", " ").split(" ") if field]
    if not fields or fields[0].startswith("#"):
        return None
    if len(fields) < 3:
        raise LxcError(f"{where}: a mount needs source, target, type and options, as in fstab(5)")
    source, target, fstype = (unescape(os.fsencode(field)) for field in fields[:3])
    try:
        options = parse_options(unescape(os.fsencode(fields[3])) if len(fields) > 3 else "")
    except LxcError as error:
        raise LxcError(f"{where}: {error.message}") from None
    if options.idmap and not options.bind:
        raise LxcError(f"{where}: idmap= needs bind or rbind")
    if options.idmap and options.relative:
        raise LxcError(f"{where}: idmap= and relative exclude each other")
    inside = targets.inside(target, where)
    return None if inside is None else MountEntry(source, inside, fstype, options, where)


def parse_fstab(text: str, origin: str, targets: Targets) -> list[MountEntry]:
    """The mounts of a file's text. Raises LxcError naming origin:line."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        entry = parse_line(line, f"{origin}:{number}", targets)
        if entry is not None:
            found.append(entry)
    return found


def entries(conf: Config, lxcpath: str, name: str, *, nesting: bool = False) -> list[MountEntry]:
    """All configured mounts in the order of mounting: lxc.mount.fstab, lxc.mount.entry, shmounts.

    nesting: an AppArmor profile that allows containers inside is in use (lxc.apparmor.allow_nesting): unrestricted /proc
    and /sys are added below /dev/.lxc, without which the kernel refuses them to an unprivileged inner container.
    Raises LxcError naming the line.
    """
    targets = Targets(conf["lxc.rootfs.path"], lxcpath, name)
    found: list[MountEntry] = []
    fstab = conf["lxc.mount.fstab"]
    if fstab:
        found += parse_fstab(_read(fstab), fstab, targets)
    lines = list(conf["lxc.mount.entry"])
    shmounts = conf["lxc.mount.auto"].shmounts
    if shmounts is not None:
        host, container = (part.replace("\\", "\\134").replace(" ", "\\040") for part in shmounts)
        lines.append(f"{host} {container.lstrip('/')} none bind,create=dir")
    if nesting:
        lines.append("proc dev/.lxc/proc proc create=dir,optional")
        lines.append("sys dev/.lxc/sys sysfs create=dir,optional")
    for line in lines:
        entry = parse_line(line, f'lxc.mount.entry = "{line.strip()}"', targets)
        if entry is not None:
            found.append(entry)
    return found


def _read(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise LxcError(f"cannot read lxc.mount.fstab: {describe(error)}", remedy="correct the path or remove the key") from error
    with open(fd, "rb", buffering=0) as file:
        return os.fsdecode(file.readall())
