# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table of configuration keys: the one place where a key is described.

From a row follow reading, printing, clearing, the default, lxc-info -c, the order of get_keys, the old name, and the
key's entry in lxc.container.conf(5). To add a key, add a row; the rows are in the order in which liblxc lists keys.
The keys of one network, lxc.net.N.*, are in net.py.

A row whose name ends in ".*" is a family: the text after the last fixed dot names a cgroup file, a limit and so on. The
row without ".*" stands for all of them together.
"""

from __future__ import annotations

from ..paths import ROOTFS_MOUNT
from . import kernel as k
from . import mount as m
from . import values as v

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NEWEST = "7.0"  # the release whose keys are all in the tables
REFUSED = ("an empty value is refused",)  # for Key.empty
UNSET = ("an empty value unsets",)


class Key:
    """One row.

    name, type, since (the first release with this name), summary. unit: of the value. legacy: its name before LXC 2.1.
    default: the value when unset, the type's unless given. empty: what "KEY =" in a file stores; UNSET removes the value.
    repeat: lines of a family member add up. readable: get_config_item answers. excludes: a key that may not be set too.
    only: the network type that this key of a network belongs to.
    """

    __slots__ = (
        "default",
        "empty",
        "excludes",
        "legacy",
        "name",
        "only",
        "readable",
        "repeat",
        "since",
        "summary",
        "type",
        "unit",
    )

    def __init__(
        self,
        name: str,
        type: v.Type,
        since: str,
        summary: str,
        *,
        unit: str = "",
        legacy: str = "",
        default: Any = None,
        empty: Any = UNSET,
        repeat: bool = False,
        readable: bool = True,
        excludes: str = "",
        only: str = "",
    ) -> None:
        self.name = name
        self.type = type
        self.since = since
        self.summary = summary
        self.unit = unit
        self.legacy = legacy
        self.default = type.default if default is None else default
        self.empty = empty
        self.repeat = repeat or type.join is not None
        self.readable = readable
        self.excludes = excludes
        self.only = only


_ONLY_CLEAR = "An empty value clears all of them; reading lists all as full assignments."

KEYS = (
    Key("lxc.arch", v.ARCH, "0.7.3",
        "Architecture that the container's programs see, by personality(2). Reads back as i686 or x86_64 only.", empty=REFUSED),
    Key("lxc.apparmor.profile", v.STRING, "2.1",
        "AppArmor profile: a name, unconfined, unchanged or generated. Unset: lxc-container-default-cgns, or "
        "lxc-container-default where the kernel has no cgroup namespaces.", legacy="lxc.aa_profile"),
    Key("lxc.apparmor.allow_incomplete", v.BOOL, "2.1",
        "1: start although the kernel's AppArmor cannot mediate mounts.", legacy="lxc.aa_allow_incomplete"),
    Key("lxc.apparmor.allow_nesting", v.BOOL, "3.1",
        "1: the generated profile lets containers run in this one, and proc and sys are mounted once more below /dev/.lxc."),
    Key("lxc.apparmor.raw", v.STRINGS, "3.1", "A line for the generated AppArmor profile."),
    Key("lxc.autodev.tmpfs.size", v.TMPFS_SIZE, "4.0", "Size of the tmpfs on /dev; unset or 0 is 500000.",
        unit="bytes", empty=500000),
    Key("lxc.autodev", v.BOOL, "0.9", "1: mount a tmpfs on /dev and fill it. An empty value is 0.", default=1, empty=0),
    Key("lxc.cap.drop", k.DROPPED_CAPABILITIES, "0.6", "Capabilities that the container does not get.",
        excludes="lxc.cap.keep"),
    Key("lxc.cap.keep", k.KEPT_CAPABILITIES, "1.0",
        "The only capabilities that the container gets; the word none empties the list before it, so none alone drops all.",
        excludes="lxc.cap.drop"),
    Key("lxc.cgroup2.*", v.STRING, "3.0",
        "A value for the file * of the container's cgroup (v2). devices.allow and devices.deny become a BPF program.",
        repeat=True),
    Key("lxc.cgroup2", v.NOTHING, "3.0", _ONLY_CLEAR),
    Key("lxc.cgroup.dir.monitor.pivot", v.RELATIVE_PATH, "5.0",
        "Cgroup into which the monitor moves while it removes the others."),
    Key("lxc.cgroup.dir.monitor", v.RELATIVE_PATH, "5.0",
        "The monitor's cgroup; set together with lxc.cgroup.dir.container."),
    Key("lxc.cgroup.dir.container.inner", v.FILE_NAME, "5.0",
        "A cgroup below the container's in which it is rooted, so that it cannot change its limits."),
    Key("lxc.cgroup.dir.container", v.RELATIVE_PATH, "5.0",
        "The container's cgroup; set together with lxc.cgroup.dir.monitor."),
    Key("lxc.cgroup.dir", v.RELATIVE_PATH, "2.1",
        "Cgroup that holds those of the container, DIR/lxc.payload.NAME, and of its monitor, DIR/lxc.monitor.NAME. Not "
        "together with lxc.cgroup.dir.container."),
    Key("lxc.cgroup.relative", v.BOOL, "3.1", "1: make the cgroups below the caller's, not below the root cgroup."),
    Key("lxc.cgroup.*", v.STRING, "0.6", "A value for the file * of the container's cgroups (v1).", repeat=True),
    Key("lxc.cgroup", v.NOTHING, "0.6", _ONLY_CLEAR),
    Key("lxc.console.buffer.size", v.BUFFER_SIZE, "3.0",
        "Size of the console's ring buffer, rounded up to a power of two of a page or more; auto is 131072.", unit="bytes"),
    Key("lxc.console.logfile", v.PATH, "1.0.6", "File to which the console's output is appended."),
    Key("lxc.console.path", v.PATH, "2.1",
        "Terminal or file that the console is connected to; none: the container has no console.", legacy="lxc.console"),
    Key("lxc.console.rotate", v.BOOL, "3.0", "1: the console's log file may be moved to FILE.1 when it is full."),
    Key("lxc.console.size", v.BUFFER_SIZE, "3.0",
        "Size at which the console's log file is full, as lxc.console.buffer.size.", unit="bytes"),
    Key("lxc.sched.core", v.BOOL, "4.0.11",
        "1: no process of others runs on the same core as the container's at the same time; needs a pid namespace."),
    Key("lxc.environment.runtime", v.ENVIRONMENT, "7.0", "As lxc.environment, for init and lxc-attach only."),
    Key("lxc.environment.hooks", v.ENVIRONMENT, "7.0", "As lxc.environment, for hooks inside the container only."),
    Key("lxc.environment", v.ENVIRONMENT, "1.1",
        "Variable for init, lxc-attach and the hooks inside the container. NAME alone takes the value that it has where the "
        "configuration is read, and is left out when it has none there."),
    Key("lxc.ephemeral", v.BOOL, "2.0", "1: the container is destroyed once it has stopped."),
    Key("lxc.execute.cmd", v.COMMAND_LINE, "3.0", "Program that lxc-execute runs when none is given."),
    Key("lxc.group", v.WORDS, "1.0", "Groups of the container, for lxc-autostart and lxc-ls."),
    Key("lxc.hook.autodev", v.HOOKS, "0.9", "Run in the container's mount namespace when /dev was filled by lxc.autodev."),
    Key("lxc.hook.clone", v.HOOKS, "1.0", "Run for the new container when this one is copied."),
    Key("lxc.hook.destroy", v.HOOKS, "2.0", "Run on the host when the container is destroyed."),
    Key("lxc.hook.mount", v.HOOKS, "0.8", "Run in the container's mount namespace after the mounts, before its root is entered."),
    Key("lxc.hook.post-stop", v.HOOKS, "0.8", "Run on the host when all is taken down."),
    Key("lxc.hook.pre-mount", v.HOOKS, "0.9", "Run in the container's mount namespace before its root is mounted."),
    Key("lxc.hook.pre-start", v.HOOKS, "0.8", "Run on the host before anything of the container exists."),
    Key("lxc.hook.start", v.HOOKS, "0.8", "Run inside the container, just before its init."),
    Key("lxc.hook.start-host", v.HOOKS, "3.0", "Run on the host when the container is set up, just before its init."),
    Key("lxc.hook.stop", v.HOOKS, "2.0",
        "Run on the host when the container has ended, with paths of its namespaces as further arguments."),
    Key("lxc.hook.version", v.BOOL, "3.0", "How hooks are told: 0 by arguments, 1 by environment variables."),
    Key("lxc.hook", v.NOTHING, "1.1", "An empty value clears the hooks of all kinds.", readable=False),
    Key("lxc.idmap", v.IDMAP, "2.1",
        "Range of user (u) or group (g) ids: first inside, first on the host, how many. With any, the container gets a user "
        "namespace.", legacy="lxc.id_map"),
    Key("lxc.include", v.INCLUDE, "0.9",
        "File, or folder of *.conf files, to be read here. Its text is not written back when the configuration is saved.",
        repeat=True, readable=False),
    Key("lxc.init.cmd", v.COMMAND_LINE, "2.1", "Program that the container begins with; unset: /sbin/init.",
        legacy="lxc.init_cmd"),
    Key("lxc.init.gid", v.ID, "2.1", "Group id of init inside the container.", legacy="lxc.init_gid"),
    Key("lxc.init.groups", v.GROUPS, "4.0.10", "Further group ids of init."),
    Key("lxc.init.uid", v.ID, "2.1", "User id of init inside the container.", legacy="lxc.init_uid"),
    Key("lxc.init.cwd", v.PATH, "3.0", "Folder in which init starts; made when missing."),
    Key("lxc.keyring.session", v.BOOL, "4.0",
        "0 or unset: init gets a session keyring of its own; 1: it keeps the caller's. (LXC's manual says the opposite.)"),
    Key("lxc.log.file", v.PATH, "2.1", "File that the log of the container's commands goes to.", legacy="lxc.logfile"),
    Key("lxc.log.level", v.LOG_LEVEL, "2.1", "Least important records that are logged, by name or as 0 (TRACE) to 8 (FATAL).",
        legacy="lxc.loglevel"),
    Key("lxc.log.syslog", v.SYSLOG, "2.1", "Also log to syslog, with this facility.", legacy="lxc.syslog"),
    Key("lxc.monitor.unshare", v.ID, "2.0",
        "Not 0: the monitor gets a mount namespace of its own before the first hook."),
    Key("lxc.monitor.signal.pdeath", k.SIGNAL, "3.1",
        "Signal that init gets when its monitor dies; 0: the container outlives its monitor.", default=9, empty=0),
    Key("lxc.mount.auto", m.AUTOMOUNT, "1.0",
        "What is mounted without further description: proc, sys, cgroups, and a folder to share mounts with the host. Of "
        "each the last word counts."),
    Key("lxc.mount.entry", v.FSTAB_LINES, "0.6", "A mount, as a line of fstab(5)."),
    Key("lxc.mount.fstab", v.PATH, "2.1", "File of mounts in the format of fstab(5).", legacy="lxc.mount", empty=REFUSED),
    Key("lxc.namespace.clone", k.NAMESPACE_LIST, "3.0", "The namespaces that the container gets, and no others.",
        excludes="lxc.namespace.keep"),
    Key("lxc.namespace.keep", k.NAMESPACE_LIST, "3.0", "The namespaces that the container shares with its creator.",
        excludes="lxc.namespace.clone"),
    Key("lxc.namespace.share.*", k.NAMESPACE_REFERENCE, "3.0",
        "Join the namespace * of a process, a container, or a namespace file."),
    Key("lxc.time.offset.boot", v.DURATION, "5.0",
        "Offset of the container's CLOCK_BOOTTIME; with one, it gets a time namespace.", unit="h m s ms us ns"),
    Key("lxc.time.offset.monotonic", v.DURATION, "5.0",
        "Offset of the container's CLOCK_MONOTONIC; with one, it gets a time namespace.", unit="h m s ms us ns"),
    Key("lxc.net", v.NOTHING, "2.1", "An empty value removes all networks, one of lxc.net.N that network; reading lists their types.",
        legacy="lxc.network"),
    Key("lxc.no_new_privs", v.BOOL, "2.1", "1: no program of the container gains privileges by execve(2)."),
    Key("lxc.prlimit.*", v.RLIMIT, "2.1",
        "Resource limit of init: * is the name in setrlimit(2) in lower case without RLIMIT_.", legacy="lxc.limit.*"),
    Key("lxc.prlimit", v.NOTHING, "2.1", _ONLY_CLEAR, legacy="lxc.limit"),
    Key("lxc.pty.max", v.UINT, "2.1", "Not 0: the container gets its own /dev/pts with that many terminals and lxc.tty.max.",
        legacy="lxc.pts"),
    Key("lxc.rootfs.managed", v.BOOL, "3.1", "0: LXC neither changes nor removes the storage of the root file system.",
        default=1),
    Key("lxc.rootfs.mount", v.PATH, "0.7", "Folder where the root file system is mounted before it is entered.",
        default=ROOTFS_MOUNT, empty=""),
    Key("lxc.rootfs.options", m.MOUNT_OPTIONS, "1.0", "Mount options of the root file system."),
    Key("lxc.rootfs.path", m.ROOTFS, "2.1",
        "The root file system: its storage type, a colon, and its source; without a type the source decides. Reads back "
        "without the type.", legacy="lxc.rootfs"),
    Key("lxc.seccomp.allow_nesting", v.BOOL, "3.2", "1: load the seccomp policy although a filter is in force already."),
    Key("lxc.seccomp.notify.cookie", v.STRING, "3.2", "Text that goes with each notification to the proxy."),
    Key("lxc.seccomp.notify.proxy", v.UNIX_ADDRESS, "3.2", "Socket that gets the system calls of the policy's notify rules."),
    Key("lxc.seccomp.profile", v.PATH, "2.1", "File of the seccomp policy.", legacy="lxc.seccomp"),
    Key("lxc.selinux.context.keyring", v.STRING, "4.0", "SELinux context of the session keyring."),
    Key("lxc.selinux.context", v.STRING, "2.1", "SELinux context of the container's init.", legacy="lxc.se_context"),
    Key("lxc.signal.halt", k.SIGNAL, "2.1",
        "Signal for a clean shutdown; 0 or unset: SIGRTMIN+3 where init awaits it, else SIGPWR.", legacy="lxc.haltsignal"),
    Key("lxc.signal.reboot", k.SIGNAL, "2.1", "Signal for a reboot; 0 or unset: SIGINT.", legacy="lxc.rebootsignal"),
    Key("lxc.signal.stop", k.SIGNAL, "2.1", "Signal that ends the container at once; 0 or unset: SIGKILL.",
        legacy="lxc.stopsignal"),
    Key("lxc.start.auto", v.BOOL, "1.0", "1: lxc-autostart starts it."),
    Key("lxc.start.delay", v.ID, "1.0", "How long lxc-autostart waits after it.", unit="seconds"),
    Key("lxc.start.order", v.INT, "1.0", "Its place in lxc-autostart: lower numbers come first."),
    Key("lxc.tty.dir", v.limited("string[255]", 255), "2.1", "Folder below /dev for the console and the terminals.",
        legacy="lxc.devttydir"),
    Key("lxc.tty.max", v.UINT, "2.1", "How many terminals /dev/tty1 and so on it gets.", legacy="lxc.tty"),
    Key("lxc.uts.name", v.limited("string[64]", 64), "2.1", "Host name; unset: that of the host.", legacy="lxc.utsname"),
    Key("lxc.sysctl.*", v.STRING, "3.0", "A value for the kernel parameter * inside the container."),
    Key("lxc.sysctl", v.NOTHING, "3.0", _ONLY_CLEAR),
    Key("lxc.proc.*", v.STRING, "3.0", "A value for /proc/PID/* of the container's init.", repeat=True),
    Key("lxc.proc", v.NOTHING, "3.0", _ONLY_CLEAR),
)  # fmt: skip

TABLE = {row.name: row for row in KEYS if row.name[-1] != "*"}
FAMILIES = {row.name[:-2]: row for row in KEYS if row.name[-1] == "*"}
HOOKS = tuple(row.name for row in KEYS if row.name.startswith("lxc.hook.") and row.name != "lxc.hook.version")

# What get_keys(BASE) of liblxc answers; autodevtmpfssize is no hook, but clients have always been told of it.
SUBKEYS = {
    "lxc.apparmor": "allow_incomplete allow_nesting profile raw",
    "lxc.cgroup": "dir",
    "lxc.selinux": "context context.keyring",
    "lxc.mount": "auto entry fstab",
    "lxc.rootfs": "mount options path",
    "lxc.uts": "name",
    "lxc.hook": "autodev autodevtmpfssize clone destroy mount post-stop pre-mount pre-start start-host start stop",
    "lxc.cap": "drop keep",
    "lxc.console": "logfile path",
    "lxc.environment": "runtime hooks",
    "lxc.seccomp": "profile",
    "lxc.signal": "halt reboot stop",
    "lxc.start": "auto delay order",
    "lxc.monitor": "unshare",
    "lxc.keyring": "session",
}
