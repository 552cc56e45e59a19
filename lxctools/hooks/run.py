# SPDX-License-Identifier: LGPL-2.1-or-later
"""Running hooks: their arguments, environment and failure (both lxc.hook.version 0 and 1).

A value is a shell command: `/bin/sh -c "exec VALUE ARGUMENTS"`. Version 0 passes NAME, section and type and then the
extra arguments; version 1 passes the extra arguments only and puts the others into variables. Every hook gets a fresh
environment (in C LXC values of an earlier device or boot stay visible). Output goes to the log.

Also runs in the container's child after the door is shut: everything is imported here.
"""

from __future__ import annotations

import os

from .. import log, process
from ..errors import LxcError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..config.conf import Config
    from ..config.net import Net

SHELL = "/bin/sh"
_PARENT_KNOWN = ("veth", "macvlan", "phys")


class HookContext:
    """Whose hooks are run, and what they are told. export() adds variables that stay until the boot is forgotten."""

    __slots__ = ("_boot", "_caller", "_entries", "conf", "lxcpath", "name", "version")

    def __init__(self, name: str, lxcpath: str, conf: Config, caller: dict[str, str] | None = None) -> None:
        """caller: the environment that hooks inherit; default: this process's."""
        self.name = name
        self.lxcpath = lxcpath
        self.conf = conf
        self.version: int = conf["lxc.hook.version"]
        self._caller = dict(os.environ if caller is None else caller)
        self._boot: dict[str, str] = {}
        self._entries: list[str] = []

    def export(self, variable: str, value: str) -> None:
        """Set a variable for the hooks of this boot from now on."""
        self._boot[variable] = value

    def set_target(self, target: str) -> None:
        """LXC_TARGET of the stop and post-stop hooks: stop or reboot."""
        self._boot["LXC_TARGET"] = target

    def forget_boot(self) -> None:
        """The boot is over: its variables are not those of the next one."""
        self._boot.clear()
        self._entries = []

    def in_child(self, entries: Sequence[str]) -> None:
        """From now on hooks run inside: they get the entries of lxc.environment too."""
        self._entries = list(entries)

    def namespace_arguments(self, namespace_paths: dict[str, str]) -> list[str]:
        """The extra arguments of a stop hook of version 0: `NAMESPACE:PATH` for each."""
        return [] if self.version else [f"{name}:{path}" for name, path in namespace_paths.items()]

    def environment(self) -> dict[str, str]:
        """The variables of every hook of a start."""
        result = self.outside()
        result["LXC_CGNS_AWARE"] = "1"
        if log.file_fd() >= 0:
            result["LXC_LOG_LEVEL"] = log.LEVELS[log.level()]
        result["LXC_HOOK_VERSION"] = str(self.version)
        result.update(self._boot)
        for entry in self._entries:
            name, _, value = entry.partition("=")
            result[name] = value
        return result

    def outside(self) -> dict[str, str]:
        """The variables of every hook; those of creation, copy and destruction have no others."""
        conf = self.conf
        result = dict(self._caller)
        result["LXC_NAME"] = self.name
        result["LXC_CONFIG_FILE"] = conf.path or f"{self.lxcpath}/{self.name}/config"
        result["LXC_ROOTFS_MOUNT"] = conf["lxc.rootfs.mount"]
        if conf["lxc.rootfs.path"]:
            result["LXC_ROOTFS_PATH"] = conf["lxc.rootfs.path"]
        if conf["lxc.console.path"]:
            result["LXC_CONSOLE"] = conf["lxc.console.path"]
        if conf["lxc.console.logfile"]:
            result["LXC_CONSOLE_LOGPATH"] = conf["lxc.console.logfile"]
        return result


def run_hooks(
    context: HookContext, hook: str, extra: Iterable[str] = (), environment: dict[str, str] | None = None
) -> None:
    """Run every line of lxc.hook.HOOK in order. Raises LxcError for the first that fails; the others are not run.

    environment: instead of that of the hooks of a start.
    """
    lines = context.conf[f"lxc.hook.{hook}"]
    if not lines:
        return
    if environment is None:
        environment = context.environment()
    arguments = list(extra)
    for line in lines:
        run_line(line, context.name, context.version, "lxc", hook, arguments, environment, f"lxc.hook.{hook}")


def run_script(context: HookContext, net: Net, event: str, extra: Sequence[str]) -> None:
    """Run a network device's script.up or script.down (event: up, down). Raises LxcError when it fails."""
    line = net[f"script.{event}"]
    if not line:
        return
    environment = context.environment()
    if context.version:
        environment["LXC_NET_TYPE"] = net.type
        if net.type in _PARENT_KNOWN and net["link"]:
            environment["LXC_NET_PARENT"] = net["link"]
        if net.type == "veth" and net.runtime.get("pair"):
            environment["LXC_NET_PEER"] = str(net.runtime["pair"])
    key = f"lxc.net.{net.index}.script.{event}"
    run_line(line, context.name, context.version, "net", event, list(extra), environment, key)


def run_line(
    line: str,
    name: str,
    version: int,
    section: str,
    hook: str,
    extra: Sequence[str],
    environment: dict[str, str],
    key: str,
) -> None:
    """Run one hook value. Raises LxcError naming the key, the value, how it ended and its last words."""
    words = list(extra)
    if version:
        environment = {**environment, "LXC_HOOK_TYPE": hook, "LXC_HOOK_SECTION": section}
    else:
        words = [name, section, hook, *words]
    command = " ".join(["exec", line, *(_quote(word) for word in words)])
    log.debug(f"running {key} = {line}")
    try:
        result = process.run([SHELL, "-c", command], env=environment, stdin=None)
    except LxcError as error:
        raise type(error)(f"{key} = {line} failed: {error.message}", remedy=error.remedy) from error
    if result.output:
        log.debug(f"Script {command} produced output: {result.text().rstrip()}")
    if result.status != 0:
        raise LxcError(
            f"{key} = {line} failed: it {result.why()}",
            remedy="its whole output is in the log at level DEBUG",
        )


def _quote(word: str) -> str:
    """A word for the shell; an empty one vanishes, as it does for C LXC's unquoted arguments."""
    if word and all(character.isalnum() or character in "_./:-+,@%=" for character in word):
        return word
    return "'" + word.replace("'", "'\\''") + "'" if word else ""
