# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a shipped hook was called, by either version of the hook interface, and how it ends.

Version 0 gives the container's name, the section, the type and what follows as words after those of the configuration;
version 1 gives the first three as variables. lxc-copy sets no LXC_HOOK_VERSION: there LXC_HOOK_TYPE tells them apart.
"""

from __future__ import annotations

import os
import sys

from ..errors import LxcError, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn


class Invocation:
    """name, section, type of the hook, and the words that follow them."""

    __slots__ = ("environment", "extra", "name", "section", "type")

    def __init__(self, words: list[str], environment: Mapping[str, str]) -> None:
        """words: the arguments without the hook's own. Raises LxcError when LXC did not make this call."""
        self.environment = environment
        version = environment.get("LXC_HOOK_VERSION") or ("1" if environment.get("LXC_HOOK_TYPE") else "0")
        if version not in ("0", "1"):
            raise LxcError(f"unknown version {version!r} of the hook interface", remedy="set lxc.hook.version to 0 or 1")
        if version == "1":
            self.name = environment.get("LXC_NAME", "")
            self.section = environment.get("LXC_HOOK_SECTION", "")
            self.type = environment.get("LXC_HOOK_TYPE", "")
            self.extra = words
        elif len(words) >= 3:
            self.name, self.section, self.type, *self.extra = words
        else:
            raise LxcError("not called by LXC: the container's name, the section and the type are missing", remedy=_REMEDY)

    def expect(self, *types: str) -> None:
        """Raises LxcError unless this is a hook of one of the types."""
        if self.section != "lxc" or self.type not in types:
            said = f"lxc.hook.{self.type}" if self.section == "lxc" else f"section {self.section!r}, type {self.type!r}"
            raise LxcError(f"called as {said}", remedy=f"name it in {' and '.join(f'lxc.hook.{kind}' for kind in types)}")

    def variable(self, name: str) -> str:
        """A variable that LXC sets. Raises LxcError when it is missing."""
        value = self.environment.get(name)
        if not value:
            raise LxcError(f"{name} is not set", remedy=_REMEDY)
        return value

    def rootfs(self) -> str:
        """LXC_ROOTFS_PATH without the name of the storage backend. Raises LxcError."""
        path = self.variable("LXC_ROOTFS_PATH")
        kind, colon, rest = path.partition(":")
        return rest if colon and "/" not in kind else path

    def folder(self) -> str:
        """The container's folder, that of its configuration. Raises LxcError."""
        return os.path.dirname(self.variable("LXC_CONFIG_FILE"))

    def namespaces(self) -> dict[str, str]:
        """The namespaces that stop hooks get, kind to path: words of version 0 ("mnt:/proc/7/fd/3"), variables of both."""
        found = {kind: path for kind, colon, path in (word.partition(":") for word in self.extra) if colon and kind in _NAMESPACES}
        for kind in _NAMESPACES:
            path = self.environment.get(f"LXC_{kind.upper()}_NS")
            if path:
                found.setdefault(kind, path)
        return found

    def verbose(self) -> bool:
        """Whether the container's log has the level at which the hooks that start programs keep a log of these."""
        return self.environment.get("LXC_LOG_LEVEL") in ("DEBUG", "TRACE")


_NAMESPACES = ("user", "mnt", "pid", "uts", "ipc", "net", "cgroup", "time")
_REMEDY = "name this program in an lxc.hook key of a container's configuration"


def say(hook: str, text: str) -> None:
    """One line on stderr, which LXC puts into the container's log."""
    sys.stderr.write(f"{hook}: {text}\n")


def main(run: Callable[[list[str], Mapping[str, str]], int], hook: str) -> NoReturn:
    """Run a hook to its exit status; an error is one line and the status that it carries, 1 unless it says another."""
    try:
        status = run(sys.argv[1:], os.environ)
    except LxcError as error:
        say(hook, str(error))
        status = error.exit_code
    except OSError as error:
        say(hook, describe(error))
        status = 1
    sys.exit(status)
