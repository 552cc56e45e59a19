# SPDX-License-Identifier: LGPL-2.1-or-later
"""What this host lacks for a configuration: the questions of a start, asked beforehand and all of them.

Each check looks at one part of the host by the function that the start itself uses, and reports what it would refuse as an
error, what it would pass over as a warning. Nothing is changed. What a pre-start hook may still make is a warning.
"""

from __future__ import annotations

import _socket
import os
import stat

from .. import paths, process
from ..cgroup import devices, hierarchy, names
from ..cgroup import limits as cgroup_limits
from ..config.check import ERROR, WARNING, Misconfigured, Reading, is_system, read, read_system, sort
from ..config.system import system_value
from ..confine import apparmor, limits, seccomp, selinux
from ..errors import LxcError
from ..idmap import ranges
from ..linux import open as linux_open
from ..linux import rtnetlink
from ..mounts import plan
from ..network import address, iface, veth
from ..protocol import client
from ..storage import backend
from . import spaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.conf import Config
    from ..config.net import Net

_AT_START = ("pre-start", "pre-mount", "mount", "autodev", "start-host")
_HELPERS = ("newuidmap", "newgidmap")
_NEEDS_LINK = ("macvlan", "ipvlan", "vlan", "phys")


def check_host(reading: Reading, lxcpath: str = "", name: str = "") -> None:
    """Add the problems of this host to a reading. name: of a container; without it the file is a part of configurations."""
    severity = WARNING if reading["lxc.hook.pre-start"] else ERROR
    if name:
        _rootfs(reading, severity)
        _init(reading)
    _networks(reading, severity)
    _cgroups(reading, name or "NAME")
    _security_modules(reading)
    _seccomp(reading)
    _mounts(reading, lxcpath, name or "NAME", severity)
    _hooks(reading)
    _ids(reading)
    _namespaces(reading, lxcpath)
    _limits(reading)
    _files(reading)
    sort(reading)


def check_file(path: str, lxcpath: str = "", name: str = "") -> Reading:
    """What is wrong in a configuration, and what this host lacks for it; see container.check_config. Raises ConfigError."""
    if not name and is_system(path):
        return read_system(path)
    reading = read(path)
    check_host(reading, lxcpath, name)
    return reading


def refuse(config: Config, path: str, lxcpath: str, name: str, *, own_file: bool) -> None:
    """Raise Misconfigured for all the errors of a configuration in use. path: the file it came from; own_file: the container's."""
    reading = read(path)
    reading.use(config)
    check_host(reading, lxcpath, name)
    problems = [one for one in reading.problems if one.severity == ERROR]
    if not problems:
        return
    first = problems[0]
    place = f"{first.where()}: " if first.path else ""
    line = f"{first.text.strip()}: " if first.text else ""
    remedy = first.remedy
    if len(problems) > 1:
        words = f"-P {lxcpath} {name}" if own_file else path
        remedy += f"{'; ' if remedy else ''}and {len(problems) - 1} more: lxc-config check {words}"
    raise Misconfigured(paths.printable(f"{place}{line}{first.message}"), paths.printable(remedy), problems)


def _report(reading: Reading, severity: str, key: str, error: LxcError, value: str = "") -> None:
    reading.report(severity, key, error.message, value=value, remedy=error.remedy)


def _rootfs(reading: Reading, severity: str) -> None:
    path = reading["lxc.rootfs.path"]
    key = "lxc.rootfs.path"
    if not path:
        if reading["lxc.autodev"]:
            reading.report(ERROR, key, "there is no lxc.rootfs.path: the container would run on the host's own files", remedy="set it")
        return
    if os.path.realpath(path) == "/":
        reading.report(ERROR, key, "it is the host's own root", remedy="name a folder of the container's own")
        return
    try:
        module = backend.for_config(reading)
        if not module.exists(path):
            reading.report(severity, key, f"the root file system {path} does not exist", remedy="correct the path, or create it")
    except LxcError as error:
        _report(reading, severity, key, error)
    target = reading["lxc.rootfs.mount"]
    if target != paths.ROOTFS_MOUNT and not os.path.isdir(target):
        reading.report(ERROR, "lxc.rootfs.mount", f"the folder {target or '(empty)'} does not exist", remedy="create it")


def _init(reading: Reading) -> None:
    path = reading["lxc.rootfs.path"]
    if not path or not os.path.isdir(path):
        return
    words = reading["lxc.init.cmd"].split()
    program = words[0].strip("'\"") if words else "/sbin/init"
    if not program.startswith("/"):
        return
    try:
        root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.close(linux_open.openat2(root, program, os.O_PATH, resolve=linux_open.RESOLVE_IN_ROOT))
    except FileNotFoundError:
        remedy = "set lxc.init.cmd to a program of the container"
        reading.report(WARNING, "lxc.init.cmd", f"there is no {program} in the root file system {path}", remedy=remedy)
    except OSError:
        pass  # not ours to look into
    finally:
        os.close(root)


def _networks(reading: Reading, severity: str) -> None:
    for net in reading.nets:
        key = f"lxc.net.{net.index}"
        try:
            iface.load([net.type])
        except LxcError as error:
            _report(reading, ERROR, f"{key}.type", error)
        _link(reading, net, key, severity)
        for subkey, wanted in (("mtu", veth.wanted_mtu if net.type == "veth" else None), ("hwaddr", address.wanted_address)):
            try:
                if wanted is not None:
                    wanted(net)
            except LxcError as error:
                _report(reading, ERROR, f"{key}.{subkey}", error)


def _link(reading: Reading, net: Net, key: str, severity: str) -> None:
    link = net["link"]
    if not net.uses_link:
        return
    if not link:
        if net.type in _NEEDS_LINK:
            reading.report(ERROR, f"{key}.type", f"a network of type {net.type} needs {key}.link", remedy="name an interface of the host")
        return
    if not _exists(link):
        here = sorted(name for _index, name in _socket.if_nameindex() if name != "lo")
        bridges = [name for name in here if _is_bridge(name)]
        shown = ", ".join((bridges if net.type == "veth" else here)[:8])
        remedy = "run `lxc-net start`, or name an existing one" + (f": {shown}" if shown else "")
        what = "bridge" if net.type == "veth" else "interface"
        reading.report(severity, f"{key}.link", f'{what} "{link}" does not exist', remedy=remedy)
    elif net.type == "veth" and net["veth.mode"] == "bridge" and not _is_bridge(link):
        kind = _kind(link)
        what = "an Open vSwitch bridge, which is not supported yet" if kind == "openvswitch" else "not a bridge"
        remedy = f"name a bridge of the kernel, or set {key}.veth.mode = router"
        reading.report(ERROR, f"{key}.link", f'the interface "{link}" is {what}', remedy=remedy)


def _exists(link: str) -> bool:
    try:
        return _socket.if_nametoindex(link) > 0
    except OSError:
        return False


def _is_bridge(link: str) -> bool:
    return os.path.isdir(f"/sys/class/net/{link}/bridge")


def _kind(link: str) -> str:
    """The interface's kind as the kernel names it, "" when it does not say."""
    try:
        with rtnetlink.Rtnl() as rtnl:
            found = rtnl.link(link)
    except OSError:
        return ""
    return found.kind if found is not None else ""


def _cgroups(reading: Reading, name: str) -> None:
    try:
        names.choose(reading, name, system_value("lxc.cgroup.pattern"))
    except LxcError as error:
        _report(reading, ERROR, "lxc.cgroup.dir" if reading["lxc.cgroup.dir"] else "lxc.cgroup.dir.container", error)
    try:
        host = hierarchy.detect(relative=bool(reading["lxc.cgroup.relative"]))
    except LxcError as error:
        _report(reading, ERROR, "lxc.cgroup.relative", error)
        return
    unified = host.layout == hierarchy.UNIFIED
    core = not unified and host.unified is not None
    made = cgroup_limits.plan(reading["lxc.cgroup"], reading["lxc.cgroup2"], unified=unified, core=core)
    for key, value, reason, remedy in made.problems:
        reading.report(ERROR, key, reason, value=value, remedy=remedy)
    for key, value, note in made.notes:
        reading.report(WARNING, key, f"{key} {note}", value=value)
    controllers = {name for one in host.hierarchies for name in one.controllers} | {"cgroup"} | ({"devices", "freezer"} if unified else set())
    for setting in made.settings:
        controller = setting.choices[0][0].partition(".")[0]
        if controller not in controllers:
            remedy = "it may be switched off: see /proc/cgroups and the kernel's command line"
            reading.report(ERROR, setting.key, f"this host has no usable {controller} controller", value=setting.value, remedy=remedy)
    for key, value in made.devices:
        try:
            devices.from_config([(key, value)])
        except LxcError as error:
            _report(reading, ERROR, key, error, value)


def _security_modules(reading: Reading) -> None:
    profile, context = reading["lxc.apparmor.profile"], reading["lxc.selinux.context"]
    if apparmor.enabled():
        try:
            apparmor.wanted(reading)
        except LxcError as error:
            _report(reading, ERROR, "lxc.apparmor.profile", error)
    elif profile not in ("", "unconfined", "unchanged"):
        reading.report(WARNING, "lxc.apparmor.profile", f"this kernel has no AppArmor: {profile} is passed over")
    if context and not selinux.enabled():
        reading.report(WARNING, "lxc.selinux.context", f"this kernel has no SELinux: {context} is passed over")


def _seccomp(reading: Reading) -> None:
    try:
        seccomp.compile_for(reading)
    except LxcError as error:
        _report(reading, ERROR, "lxc.seccomp.profile", error)


def _mounts(reading: Reading, lxcpath: str, name: str, severity: str) -> None:
    key = "lxc.mount.entry"
    rootfs = reading["lxc.rootfs.path"]
    targets = plan.Targets(rootfs or "/", lxcpath, name)
    for line in reading[key]:
        try:
            entry = plan.parse_line(line, key, targets)
        except LxcError as error:
            reading.report(ERROR, key, error.message.removeprefix(f"{key}: "), value=line, remedy=error.remedy)
            continue
        if entry is None and line.strip() and not line.strip().startswith("#") and lxcpath:
            remedy = "write the target relative to the container's root, without a slash before it"
            reading.report(WARNING, key, "the mount is passed over: its target is not below the container's root", value=line, remedy=remedy)
        if entry is None or not entry.options.bind or entry.options.optional or entry.options.relative:
            continue
        source = entry.source
        if source.startswith("/") and not os.path.lexists(source):
            remedy = "create it, or add the option optional"
            found = reading.report(severity, key, f"the source {source} does not exist", value=line, remedy=remedy)
            at = found.text.find(source)
            if at >= 0:
                found.column, found.width = at + 1, len(source)
    fstab = reading["lxc.mount.fstab"]
    if fstab and not os.access(fstab, os.R_OK):
        reading.report(severity, "lxc.mount.fstab", f"the file {fstab} cannot be read", remedy="correct the path or remove the key")


def _hooks(reading: Reading) -> None:
    for kind in (*_AT_START, "stop", "post-stop", "clone", "destroy"):
        for line in reading[f"lxc.hook.{kind}"]:
            _program(reading, f"lxc.hook.{kind}", line, ERROR if kind in _AT_START else WARNING)
    for net in reading.nets:
        for script in ("script.up", "script.down"):
            if net[script]:
                _program(reading, f"lxc.net.{net.index}.{script}", net[script], ERROR if script == "script.up" else WARNING)


def _program(reading: Reading, key: str, line: str, severity: str) -> None:
    """A hook's program, where its line begins with a plain path: everything else is the shell's affair."""
    word = line.split()[0] if line.split() else ""
    if not word.startswith("/") or any(letter in "'\"$`\\;&|<>()*?[" for letter in word):
        return
    try:
        mode = os.stat(word).st_mode
    except OSError as error:
        remedy = "correct the path or remove the line"
        reading.report(severity, key, f"cannot run {word}: {error.strerror}", value=line, remedy=remedy, word=word)
        return
    if stat.S_ISDIR(mode) or not os.access(word, os.X_OK):
        reading.report(severity, key, f"cannot run {word}: it is not executable", value=line, remedy=f"chmod +x {word}", word=word)


def _ids(reading: Reading) -> None:
    maps = reading["lxc.idmap"]
    if not maps:
        return
    wrong = ranges.check(maps)
    if wrong:
        reading.report(ERROR, "lxc.idmap", wrong)
    if os.geteuid() != 0 and any(row.count > 1 for row in maps):
        for helper in _HELPERS:
            if process.find(helper) is None:
                reading.report(ERROR, "lxc.idmap", f"{helper} is missing", remedy="install the package uidmap")


def _namespaces(reading: Reading, lxcpath: str) -> None:
    try:
        spaces.to_create(reading)
    except LxcError as error:
        offsets = reading["lxc.time.offset.boot"] or reading["lxc.time.offset.monotonic"]
        key = "lxc.time.offset.boot" if offsets else "lxc.namespace.clone" if reading["lxc.namespace.clone"] else "lxc.idmap"
        _report(reading, ERROR, key, error)
    for kind, reference in reading["lxc.namespace.share"].items():
        missing = reference.isdecimal() and not os.path.exists(f"/proc/{reference}")
        if missing or (reference.startswith("/") and not os.path.exists(reference)):
            remedy = "name a process, a container or a file of /proc/PID/ns"
            reading.report(ERROR, f"lxc.namespace.share.{kind}", f"there is no {'process ' if missing else ''}{reference}", remedy=remedy)
        elif not reference.isdecimal() and not reference.startswith("/"):
            folder, _, other = reference.rpartition("/")
            _shared_container(reading, kind, reference, f"{folder or lxcpath}/{other}" if folder or lxcpath else "")


def _shared_container(reading: Reading, kind: str, reference: str, folder: str) -> None:
    """Whether a container whose namespace is shared is there, and runs; folder: its own, "" where that is not known."""
    key = f"lxc.namespace.share.{kind}"
    if not folder:
        return
    if not os.path.isdir(folder):
        reading.report(ERROR, key, f"there is no container {reference}: {folder} does not exist", remedy="name a container that exists")
        return
    try:
        running = client.init_pid(os.path.basename(folder), os.path.dirname(folder))
    except LxcError as error:
        _report(reading, WARNING, key, error)
        return
    if not running:
        reading.report(WARNING, key, f"the container {reference} is not running: a start is refused until it is", remedy="start it first")


def _limits(reading: Reading) -> None:
    for name, _soft, _hard in reading["lxc.prlimit"]:
        if limits.number_of(name) is None:
            reading.report(ERROR, f"lxc.prlimit.{name}", f"Unknown resource {name}", remedy=limits.KNOWN, word=name)


def _files(reading: Reading) -> None:
    """Log files, whose folder must be there."""
    path = reading["lxc.console.logfile"]
    folder = os.path.dirname(path)
    if path and not os.path.isdir(folder or "."):
        reading.report(ERROR, "lxc.console.logfile", f"the folder {folder} does not exist", remedy="create it")
