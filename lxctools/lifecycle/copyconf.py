# SPDX-License-Identifier: LGPL-2.1-or-later
"""The configuration of a copy: what names the source names the copy, and nothing else changes.

Rewritten are lxc.rootfs.path, lxc.uts.name, hooks and lxc.mount.fstab in the source's folder (their files are copied), upper and work folders
of overlay mounts in it, and hardware addresses. Not rewritten, as in C LXC: logs, includes, bind mounts, everything else.
"""

from __future__ import annotations

import os
import stat

from .. import files
from ..config import net
from ..errors import LxcError, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.conf import Config

_NEW_ADDRESS = "00:16:3e:xx:xx:xx"  # Xen's prefix, LXC's since ever; up to LXC 6.0.3
_ADDRESS_LENGTH = 17


class Move:
    """From which container's folder to which. work: where files are written, if the new folder is not in place yet."""

    __slots__ = ("copied", "new", "new_name", "old", "work")

    def __init__(self, old: str, new: str, new_name: str, work: str = "") -> None:
        self.old = old
        self.new = new
        self.new_name = new_name
        self.work = work or new
        self.copied: dict[str, str] = {}  # file of the source's folder -> name in the new one

    def path(self, path: str) -> str:
        """A path in the old folder as one in the new folder; others as they are."""
        if path == self.old or path.startswith(self.old + "/"):
            return self.new + path[len(self.old) :]
        return path

    def file(self, path: str) -> str:
        """Copy a file into the new folder, once, and return its new path there. Raises LxcError."""
        if path not in self.copied:
            base = name = os.path.basename(path)
            number = 0
            while name in self.copied.values() or os.path.lexists(f"{self.work}/{name}"):
                number += 1
                name = f"{base}.{number}"
            try:
                with open(path, "rb", buffering=0) as source:  # not shutil: it and what it loads take 8 ms
                    files.write_atomic(f"{self.work}/{name}", source.readall())
                    os.chmod(f"{self.work}/{name}", stat.S_IMODE(os.fstat(source.fileno()).st_mode))
            except OSError as error:
                raise LxcError(f"cannot copy {path}, which the configuration names: {describe(error)}") from error
            self.copied[path] = name
        return f"{self.new}/{self.copied[path]}"


def rewrite(conf: Config, move: Move, value: str, *, keep_name: bool, keep_mac: bool, copy_files: bool = True) -> str:
    """The text of the copy's configuration. value: its lxc.rootfs.path. Raises LxcError.

    copy_files: copy hooks and fstab into the new folder; without, they are there already.
    """
    raw = conf.raw
    raw.remove(lambda key: key == "lxc.rootfs.path")
    if value:
        raw.append("lxc.rootfs.path", value)
    if not keep_name:
        raw.remove(lambda key: key == "lxc.uts.name")
        raw.append("lxc.uts.name", move.new_name)
    raw.replace(lambda key: key.startswith("lxc.hook."), lambda text: _hook(text, move, copy_files))
    fstab = conf["lxc.mount.fstab"]
    if fstab and copy_files and os.path.exists(fstab):
        raw.remove(lambda key: key == "lxc.mount.fstab")
        raw.append("lxc.mount.fstab", move.file(fstab))
    elif fstab:
        raw.replace(lambda key: key == "lxc.mount.fstab", move.path)
    raw.replace(lambda key: key == "lxc.mount.entry", lambda text: _overlay_mount(text, move))
    if not keep_mac:
        raw.replace(lambda key: key.startswith("lxc.net.") and key.endswith(".hwaddr"), _address)
    return conf.write_text()


def _hook(text: str, move: Move, copy_files: bool) -> str:
    """A hook's value; its first word may be a file of the source's folder."""
    word, blank, rest = text.partition(" ")
    if not word.startswith(move.old + "/"):
        return text
    inside_rootfs = word.startswith(move.old + "/rootfs/")
    if copy_files and not inside_rootfs and os.path.isfile(word):
        return move.file(word) + blank + rest
    return move.path(word) + blank + rest


def _overlay_mount(text: str, move: Move) -> str:
    if " overlay" not in text:
        return text
    words = text.split(" ")
    for at, word in enumerate(words):
        options = word.split(",")
        for place, option in enumerate(options):
            name, equals, path = option.partition("=")
            if name in ("upperdir", "workdir") and equals:
                options[place] = f"{name}={move.path(path)}"
        words[at] = ",".join(options)
    return " ".join(words)


def _address(text: str) -> str:
    return net.expand_hwaddr(_NEW_ADDRESS) if len(text) == _ADDRESS_LENGTH else text
