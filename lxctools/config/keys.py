# SPDX-License-Identifier: LGPL-2.1-or-later
"""THE table of configuration keys: name, value type, old name, help. Everything else is derived from it.

Network keys are in net.py. A family (a name that ends in a dot) takes any text after the dot.
"""

from __future__ import annotations

from .. import paths
from . import values as v

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .values import Kind


class Key:
    """One row. family: the name is a prefix, and the values are (rest of the name, value) pairs."""

    __slots__ = ("family", "help", "kind", "name", "old", "unset")

    def __init__(self, name: str, kind: Kind, help_: str, old: str = "", unset: object = None) -> None:
        self.family = name.endswith(".")
        self.name = name.rstrip(".")
        self.kind = kind
        self.help = help_
        self.old = old
        self.unset = kind.unset if unset is None else unset


_HOOKS = {
    "pre-start": "on the host, before anything of the container exists",
    "pre-mount": "in the container's namespaces, before its root is mounted",
    "mount": "in the container's namespaces, after all mounts and before pivot_root",
    "autodev": "after the mount hooks, when /dev is an empty tmpfs",
    "start-host": "on the host, just before init is executed",
    "start": "inside the container, just before init is executed",
    "stop": "on the host, after init's end, with the namespaces still alive",
    "post-stop": "on the host, after the container has stopped",
    "clone": "on the host, when the container has been copied",
    "destroy": "on the host, before the container is removed",
}

ROWS = (
    Key("lxc.include", v.PATH, "read this file, or every *.conf file of this folder, at this point"),
    Key("lxc.arch", v.ARCHITECTURE, "the architecture that the container's programs see"),
    Key("lxc.uts.name", v.STRING64, "host name", "lxc.utsname"),
    Key("lxc.ephemeral", v.BOOL, "destroy the container when it stops"),
    Key("lxc.group", v.WORDS, "groups for lxc-autostart and lxc-ls"),
    Key("lxc.start.auto", v.BOOL, "start with the host"),
    Key("lxc.start.delay", v.UINT, "seconds to wait after the start"),
    Key("lxc.start.order", v.INT, "lower is started earlier"),
    Key("lxc.monitor.unshare", v.UINT, "the monitor gets a mount namespace of its own"),
    Key("lxc.monitor.signal.pdeath", v.DEATH_SIGNAL, "signal to init when the monitor dies"),
    Key("lxc.init.cmd", v.STRING, "program and arguments of init", "lxc.init_cmd"),
    Key("lxc.execute.cmd", v.STRING, "program for lxc-execute"),
    Key("lxc.init.cwd", v.PATH, "working folder of init"),
    Key("lxc.init.uid", v.IDENTIFIER, "user id of init", "lxc.init_uid"),
    Key("lxc.init.gid", v.IDENTIFIER, "group id of init", "lxc.init_gid"),
    Key("lxc.init.groups", v.GROUPS, "supplementary groups of init"),
    Key("lxc.no_new_privs", v.BOOL, "no program gains privileges by execve"),
    Key("lxc.sched.core", v.BOOL, "a core scheduling domain of its own"),
    Key("lxc.signal.halt", v.SIGNAL, "signal for a clean shutdown", "lxc.haltsignal"),
    Key("lxc.signal.reboot", v.SIGNAL, "signal for a reboot", "lxc.rebootsignal"),
    Key("lxc.signal.stop", v.SIGNAL, "signal that kills the container", "lxc.stopsignal"),
    Key("lxc.environment", v.ENVIRONMENT, "environment of init, hooks and attached programs"),
    Key("lxc.environment.runtime", v.ENVIRONMENT, "environment of init and attached programs only"),
    Key("lxc.environment.hooks", v.ENVIRONMENT, "environment of the container's hooks only"),
    Key("lxc.keyring.session", v.BOOL, "keep the session keyring of the caller"),
    Key("lxc.prlimit.", v.STRING, "resource limit of init, SOFT[:HARD]", "lxc.limit"),
    Key("lxc.sysctl.", v.STRING, "value below /proc/sys, set inside"),
    Key("lxc.proc.", v.STRING, "value below /proc/PID of init"),
    Key("lxc.time.offset.boot", v.DURATION, "offset of the boot clock"),
    Key("lxc.time.offset.monotonic", v.DURATION, "offset of the monotonic clock"),
    Key("lxc.log.file", v.PATH, "log file", "lxc.logfile"),
    Key("lxc.log.level", v.LOG_LEVEL, "least level that is logged", "lxc.loglevel"),
    Key("lxc.log.syslog", v.FACILITY, "log to syslog with this facility", "lxc.syslog"),
    Key("lxc.console.path", v.PATH, "terminal or file for the console, or none", "lxc.console"),
    Key("lxc.console.logfile", v.PATH, "file that the console's output is appended to"),
    Key("lxc.console.buffer.size", v.BYTE_SIZE, "size of the console's ring buffer"),
    Key("lxc.console.size", v.BYTE_SIZE, "size limit of the console's log file"),
    Key("lxc.console.rotate", v.BOOL, "keep one old console log"),
    Key("lxc.tty.max", v.UINT, "number of ttys", "lxc.tty"),
    Key("lxc.tty.dir", v.STRING255, "folder below /dev for console and ttys", "lxc.devttydir"),
    Key("lxc.pty.max", v.UINT, "number of ptys of the container's devpts", "lxc.pts"),
    Key("lxc.autodev", v.BOOL_ON, "a minimal /dev on a tmpfs"),
    Key("lxc.autodev.tmpfs.size", v.TMPFS_SIZE, "bytes of that tmpfs"),
    Key("lxc.mount.fstab", v.PATH_REQUIRED, "a file of mounts", "lxc.mount"),
    Key("lxc.mount.entry", v.LINES, "a mount, as a line of fstab"),
    Key("lxc.mount.auto", v.MOUNT_AUTO, "proc, sys, cgroup mounted by itself"),
    Key("lxc.rootfs.path", v.ROOTFS, "the root file system", "lxc.rootfs"),
    Key("lxc.rootfs.mount", v.PATH, "where it is mounted while the container is made", "", paths.ROOTFS_MOUNT),
    Key("lxc.rootfs.options", v.ROOTFS_OPTIONS, "mount options of the root"),
    Key("lxc.rootfs.managed", v.BOOL_ALWAYS_ON, "0: lxc-destroy leaves the root alone"),
    Key("lxc.idmap", v.IDMAP, "map of user (u) or group (g) ids: kind, id inside, id outside, count", "lxc.id_map"),
    Key("lxc.namespace.clone", v.NAMESPACE_WORDS, "exactly these namespaces are made"),
    Key("lxc.namespace.keep", v.NAMESPACE_WORDS, "all namespaces but these are made"),
    Key("lxc.namespace.share.", v.STRING, "take this namespace from a container, process or file"),
    Key("lxc.cap.drop", v.CAPABILITY_WORDS, "capabilities that the container does not have"),
    Key("lxc.cap.keep", v.CAPABILITY_WORDS, "the only capabilities that the container has"),
    Key("lxc.cgroup.dir", v.RELATIVE_PATH, "folder for the container's cgroups"),
    Key("lxc.cgroup.dir.container", v.RELATIVE_PATH, "the payload's cgroup"),
    Key("lxc.cgroup.dir.container.inner", v.FILE_NAME, "cgroup below it in which the processes are"),
    Key("lxc.cgroup.dir.monitor", v.RELATIVE_PATH, "the monitor's cgroup"),
    Key("lxc.cgroup.dir.monitor.pivot", v.RELATIVE_PATH, "where the monitor goes at the end"),
    Key("lxc.cgroup.relative", v.BOOL, "start from the caller's cgroup"),
    Key("lxc.cgroup2.", v.STRING, "value of a file of the unified hierarchy"),
    Key("lxc.cgroup.", v.STRING, "value of a file of a version 1 controller"),
    *(Key(f"lxc.hook.{name}", v.LINES, f"program to run {when}") for name, when in _HOOKS.items()),
    Key("lxc.hook.version", v.BOOL, "1: hooks get variables instead of arguments"),
    Key("lxc.apparmor.profile", v.STRING, "AppArmor profile", "lxc.aa_profile"),
    Key("lxc.apparmor.allow_incomplete", v.BOOL, "accept a kernel without mount mediation", "lxc.aa_allow_incomplete"),
    Key("lxc.apparmor.allow_nesting", v.BOOL, "allow containers inside"),
    Key("lxc.apparmor.raw", v.LINES, "line of the generated profile"),
    Key("lxc.selinux.context", v.STRING, "SELinux context", "lxc.se_context"),
    Key("lxc.selinux.context.keyring", v.STRING, "SELinux context of the keyring"),
    Key("lxc.seccomp.profile", v.PATH, "seccomp policy file", "lxc.seccomp"),
    Key("lxc.seccomp.allow_nesting", v.BOOL, "load the policy also when already confined"),
    Key("lxc.seccomp.notify.proxy", v.NOTIFY_PROXY, "who answers seccomp notifications"),
    Key("lxc.seccomp.notify.cookie", v.STRING, "text sent with every notification"),
)

BY_NAME = {row.name: row for row in ROWS if not row.family}
# The longest prefix first, so that lxc.cgroup2 is never taken for lxc.cgroup.
FAMILIES = tuple(sorted((row for row in ROWS if row.family), key=lambda row: -len(row.name)))
HOOKS = tuple(_HOOKS)
OLD_NAMES = {row.old: row for row in ROWS if row.old}


def find(name: str) -> tuple[Key, str] | None:
    """(row, rest): the row of a full name; rest is what follows the dot in a family, "" otherwise."""
    row = BY_NAME.get(name)
    if row is not None:
        return row, ""
    for family in FAMILIES:
        if name == family.name:
            return family, ""
        if name.startswith(family.name + ".") and len(name) > len(family.name) + 1:
            return family, name[len(family.name) + 1 :]
    return None
