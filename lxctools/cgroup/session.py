# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cgroups of one container: made with liblxc's names, entered, limited, asked for, removed.

The payload gets a folder in every hierarchy. The monitor gets one only where it matters who it is (the unified hierarchy and
systemd's own): each write to a version 1 cgroup.procs costs a millisecond of RCU grace periods, and nothing is limited for it.
"""

from __future__ import annotations

import os
import time

from .. import log
from ..config.system import system_value
from ..errors import LxcError, describe
from ..files import write_value
from ..idmap.ranges import IdMap, to_host
from ..linux import bpf, proc
from . import devices
from .hierarchy import UNIFIED, Hierarchy, Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.conf import Config

_MOST_SUFFIXES = 1000
_REMOVAL_PATIENCE = 2.0
_DELEGATED = ("cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "memory.oom.group", "tasks")
_DEVICES, _FREEZER = 1, 2


class _Group:
    """A container's folder in one hierarchy: the limits' and, below it, the processes'; with their descriptors."""

    __slots__ = ("fd", "hierarchy", "inner", "limit", "limit_fd")

    def __init__(self, hierarchy: Hierarchy, limit: str, inner: str) -> None:
        self.hierarchy = hierarchy
        self.limit = limit  # relative to the base
        self.inner = f"{limit}/{inner}" if inner else limit
        self.limit_fd = _open(f"{hierarchy.folder}/{self.limit}")
        self.fd = _open(f"{hierarchy.folder}/{self.inner}") if inner else self.limit_fd

    def close(self) -> None:
        if self.fd != self.limit_fd:
            os.close(self.fd)
        os.close(self.limit_fd)


def _open(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


class ContainerCgroups:
    """Made by the monitor; the descriptors live until close()."""

    def __init__(self, conf: Config, name: str, host: Host) -> None:
        self.conf = conf
        self.name = name
        self.host = host
        self._monitor: list[tuple[Hierarchy, str]] = []
        self._groups: list[_Group] = []
        self._rules = devices.RuleList()
        self._program = -1
        self._names()

    # -- names

    def _names(self) -> None:
        """The folders' names; explicit ones get no suffix. Raises LxcError for a contradiction."""
        conf = self.conf
        directory = conf["lxc.cgroup.dir"]
        monitor, container = conf["lxc.cgroup.dir.monitor"], conf["lxc.cgroup.dir.container"]
        self._inner: str = conf["lxc.cgroup.dir.container.inner"]
        self._pivot = "lxc.pivot"
        self._explicit = bool(monitor or container)
        if self._explicit:
            if directory:
                raise LxcError("lxc.cgroup.dir conflicts with lxc.cgroup.dir.container and lxc.cgroup.dir.monitor")
            if not (monitor and container):
                raise LxcError("lxc.cgroup.dir.container and lxc.cgroup.dir.monitor must both be set")
            self._monitor_name, self._payload_name = monitor, container
            if conf["lxc.cgroup.dir.monitor.pivot"]:
                self._pivot = f"{conf['lxc.cgroup.dir.monitor.pivot']}/lxc.pivot"
            return
        pattern = system_value("lxc.cgroup.pattern")
        if directory:
            self._monitor_name = f"{directory}/lxc.monitor.{self.name}"
            self._payload_name = f"{directory}/lxc.payload.{self.name}"
            self._pivot = f"{directory}/lxc.pivot"
        elif pattern:
            place = pattern.strip("/").replace("%n", self.name)
            self._monitor_name, self._payload_name = f"{place}/monitor", f"{place}/payload"
        else:
            self._monitor_name, self._payload_name = f"lxc.monitor.{self.name}", f"lxc.payload.{self.name}"

    def cleanup_stale(self) -> None:
        """Remove what a killed monitor of this container left and nobody lives in; it does not run now."""
        for hierarchy in self.host.hierarchies:
            for name in (self._monitor_name, self._payload_name):
                folder = f"{hierarchy.folder}/{name}"
                if self._explicit:
                    _remove_empty(folder)
                    continue
                parent, last = os.path.split(folder)
                try:
                    entries = os.listdir(parent)
                except FileNotFoundError:
                    continue
                for entry in entries:
                    if entry == last or (entry.startswith(last + "-") and entry[len(last) + 1 :].isdecimal()):
                        _remove_empty(f"{parent}/{entry}")

    # -- making

    def create_monitor(self) -> None:
        """The monitor's folders. Raises LxcError."""
        chosen = [h for h in self.host.hierarchies if h.version == 2 or "name=systemd" in h.controllers]
        chosen = chosen or self.host.hierarchies[:1]
        name = self._make(chosen, self._monitor_name)
        self._monitor = [(hierarchy, name) for hierarchy in chosen]

    def enter_monitor(self, pid: int) -> None:
        """Move a process into the monitor's folders. Raises LxcError."""
        for hierarchy, name in self._monitor:
            _enter(f"{hierarchy.folder}/{name}", pid)

    def create_payload(self) -> None:
        """The container's folder in every hierarchy, of one name. Raises LxcError."""
        name = self._make(self.host.hierarchies, self._payload_name, self._inner)
        try:
            self._groups = [_Group(hierarchy, name, self._inner) for hierarchy in self.host.hierarchies]
        except OSError as error:
            raise LxcError(f"cannot open the container's cgroup: {describe(error)}") from error

    def _make(self, hierarchies: list[Hierarchy], name: str, inner: str = "") -> str:
        """Make a new folder of one name in all of them; taken somewhere, the next suffix is tried everywhere."""
        for suffix in range(_MOST_SUFFIXES):
            candidate = f"{name}-{suffix}" if suffix else name
            made: list[str] = []
            taken = False
            try:
                for hierarchy in hierarchies:
                    made += self._make_one(hierarchy, candidate)
                    if inner:
                        made += self._make_one(hierarchy, f"{candidate}/{inner}")
                return candidate
            except FileExistsError as error:
                taken = True
                if self._explicit:
                    raise LxcError(
                        f"the cgroup {error.filename} exists already", remedy="another container uses it, or remove it"
                    ) from None
            except OSError as error:
                raise LxcError(
                    f"cannot make the cgroup {error.filename or candidate}: {describe(error)}",
                    remedy="is the hierarchy mounted read-write, and not at its limit of descendants?",
                ) from error
            finally:
                if taken:
                    for folder in reversed(made):
                        _rmdir(folder)
        raise LxcError(f"every cgroup name from {name} to {name}-{_MOST_SUFFIXES - 1} is taken")

    def _make_one(self, hierarchy: Hierarchy, name: str) -> list[str]:
        """Make the folders of a relative path, the last one anew; returns what was made. Raises OSError."""
        made = []
        place = hierarchy.folder
        parts = name.split("/")
        for index, part in enumerate(parts):
            self._prepare_parent(hierarchy, place)
            place = f"{place}/{part}"
            try:
                os.mkdir(place, 0o755)
                made.append(place)
            except FileExistsError:
                if index == len(parts) - 1:
                    for folder in reversed(made):
                        _rmdir(folder)
                    raise
            if "cpuset" in hierarchy.controllers and hierarchy.version == 1:
                _fill_cpuset(place)
        return made

    def _prepare_parent(self, hierarchy: Hierarchy, folder: str) -> None:
        """Let the children of this folder have what it has: delegation (v2), inherited cpusets (v1)."""
        if hierarchy.version == 2:
            if self.host.layout == UNIFIED:
                _delegate(folder)
        elif "cpuset" in hierarchy.controllers and folder == hierarchy.folder:
            try:
                if proc.read(f"{folder}/cgroup.clone_children").strip() == b"0":
                    _write(f"{folder}/cgroup.clone_children", "1")
            except OSError as error:
                log.debug(f"cpusets are not inherited below {folder}: {describe(error)}")

    # -- entering

    @property
    def has_v1(self) -> bool:
        """Whether there are version 1 hierarchies, which clone3 cannot place a process in."""
        return any(h.version == 1 for h in self.host.hierarchies)

    def clone_fd(self) -> int:
        """The unified folder for CLONE_INTO_CGROUP, or -1."""
        for group in self._groups:
            if group.hierarchy.version == 2:
                return group.fd
        return -1

    def enter_payload(self, pid: int, *, unified: bool) -> None:
        """Move init into the container's folders; unified: also that one (clone3 did not). Raises LxcError."""
        for group in self._groups:
            if group.hierarchy.version == 1 or unified:
                _enter(f"{group.hierarchy.folder}/{group.inner}", pid)

    def chown_payload(self, maps: list[IdMap]) -> None:
        """Give the container's root its cgroup: the folder and what the kernel lists as delegatable."""
        gid = to_host(maps, "g", 0)
        if gid is None:
            return
        for group in self._groups:
            folder = f"{group.hierarchy.folder}/{group.inner}"
            try:
                os.chown(folder, -1, gid)
                os.chmod(folder, 0o775)
            except OSError as error:
                log.warn(f"the container cannot manage its cgroup {folder}: {describe(error)}")
            for file in _DELEGATED:
                try:
                    os.chown(f"{folder}/{file}", -1, gid)
                    os.chmod(f"{folder}/{file}", 0o664)
                except OSError:
                    pass  # not every hierarchy has each

    # -- limits

    def setup_limits(self) -> None:
        """Every limit but the devices'. Raises LxcError naming key and value."""
        unified_host = self.host.layout == UNIFIED
        for file, value in self.conf["lxc.cgroup2"]:
            if file.startswith("devices."):
                continue
            if not unified_host:
                log.warn(f"lxc.cgroup2.{file} is passed over: this host has version 1 controllers")
                continue
            self._limit(f"lxc.cgroup2.{file}", "", file, value)
        entries = self.conf["lxc.cgroup"]
        # The kernel refuses memory.memsw.limit_in_bytes below memory.limit_in_bytes: the latter comes first.
        for file, value in sorted(entries, key=lambda entry: entry[0] == "memory.memsw.limit_in_bytes"):
            if file.startswith("devices."):
                continue
            if unified_host:
                log.warn(f"lxc.cgroup.{file} is passed over: this host has the unified hierarchy only")
                continue
            self._limit(f"lxc.cgroup.{file}", file.partition(".")[0], file, value)

    def _limit(self, key: str, controller: str, file: str, value: str) -> None:
        group = self._find(controller)
        if group is None:
            raise LxcError(f"{key} = {value}: this host has no {controller} controller")
        try:
            write_value(group.limit_fd, file, value)
        except OSError as error:
            raise LxcError(f"{key} = {value}: {describe(error)}", remedy="see the kernel's documentation of this file") from error

    def setup_device_limits(self) -> None:
        """The devices' limits, last: before, the container's nodes had to be made. Raises LxcError."""
        if self.host.layout == UNIFIED:
            self._rules = devices.from_config(self.conf["lxc.cgroup2"])
            if self._rules.restricts:
                self._load_program()
            return
        group = self._find("devices")
        for file, value in self.conf["lxc.cgroup"]:
            if not file.startswith("devices."):
                continue
            if group is None:
                raise LxcError(f"lxc.cgroup.{file} = {value}: this host has no devices controller")
            try:
                write_value(group.limit_fd, file, devices.text_v1(value))
            except ValueError as error:
                raise LxcError(f"lxc.cgroup.{file} = {value}: {error}") from None
            except PermissionError as error:
                log.warn(f"lxc.cgroup.{file} = {value}: {describe(error)}")
            except OSError as error:
                raise LxcError(f"lxc.cgroup.{file} = {value}: {describe(error)}") from error

    def _load_program(self) -> None:
        group = self._find("")
        assert group is not None
        folder = os.open(f"/proc/self/fd/{group.limit_fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            program = bpf.load_device_program(devices.compile_program(self._rules))
            try:
                bpf.attach_device_program(folder, program, self._program)
            except OSError:
                if self._program < 0:
                    os.close(program)
                    raise
                bpf.attach_device_program(folder, program)  # no replacing on this kernel: both must allow
        except OSError as error:
            raise LxcError(f"cannot restrict the container's devices: {describe(error)}") from error
        finally:
            os.close(folder)
        if self._program >= 0:
            os.close(self._program)
        self._program = program

    def change_device_rule(self, kind: str, major: int, minor: int, access: str, allow: bool) -> None:
        """Add a rule to the running container. Raises LxcError, ValueError."""
        if not self._rules.restricts:
            # Nothing was configured, so everything is allowed; the one rule must not turn that round.
            self._rules.allow_by_default = True
            self._rules.switched = True
        bits = sum({"r": devices.READ, "w": devices.WRITE, "m": devices.MKNOD}[letter] for letter in set(access))
        self._rules.add(devices.Rule(kind, major, minor, bits, allow))
        self._load_program()

    # -- asking

    def _find(self, controller: str) -> _Group | None:
        """The group of a controller; "" is the unified hierarchy, which on a pure host also has devices and freezer."""
        for group in self._groups:
            if controller in group.hierarchy.controllers:
                return group
        for group in self._groups:
            if group.hierarchy.version == 2:
                pure = self.host.layout == UNIFIED and controller in ("devices", "freezer")
                if not controller or pure:
                    return group
        return None

    @property
    def layout(self) -> int:
        """0 legacy, 1 hybrid, 2 unified."""
        return self.host.layout

    @property
    def utilities(self) -> int:
        """What the unified hierarchy does for us: bit 0 device programs, bit 1 freezing."""
        return _DEVICES | _FREEZER if self.host.layout == UNIFIED else 0

    def path(self, controller: str, *, limit: bool) -> str | None:
        """The folder relative to the hierarchy's root; liblxc puts a slash before it except on a pure unified host."""
        group = self._find(controller)
        if group is None:
            return None
        place = group.limit if limit else group.inner
        relative = f"{group.hierarchy.base}/{place}".strip("/")
        return relative if self.host.layout == UNIFIED else "/" + relative

    def fd(self, controller: str, *, limit: bool) -> tuple[int, int] | None:
        """(descriptor, file system magic) of a controller's folder."""
        group = self._find(controller)
        if group is None:
            return None
        return (group.limit_fd if limit else group.fd), group.hierarchy.magic

    def unified_fd(self, *, limit: bool) -> int:
        """The folder on a pure unified host, or -1."""
        if self.host.layout != UNIFIED or not self._groups:
            return -1
        return self._groups[0].limit_fd if limit else self._groups[0].fd

    def ctx_fds(self) -> list[int]:
        """The processes' folder of every hierarchy, in the hierarchies' order."""
        return [group.fd for group in self._groups]

    def mount_data(self) -> list[tuple[str, list[str], int, str]]:
        """For mounting inside: (mount point on the host, controllers, version, the container's path below it) each."""
        return [
            (
                group.hierarchy.mountpoint,
                group.hierarchy.controllers,
                group.hierarchy.version,
                f"{group.hierarchy.base}/{group.inner}".strip("/"),
            )
            for group in self._groups
        ]

    # -- freezing (pure unified host, without waiting)

    def freeze(self) -> None:
        """Ask the kernel to freeze. Raises OSError."""
        write_value(self.unified_fd(limit=True), "cgroup.freeze", "1")

    def unfreeze(self) -> None:
        """Thaw, on whatever hierarchy has the freezer. Raises OSError."""
        unified = self.unified_fd(limit=True)
        if unified >= 0:
            write_value(unified, "cgroup.freeze", "0")
            return
        group = self._find("freezer")
        if group is not None:
            write_value(group.limit_fd, "freezer.state", "THAWED")

    # -- the end

    def remove_payload(self) -> None:
        """Remove the container's folders; what a leftover process still holds stays, with a warning."""
        if self._program >= 0:
            os.close(self._program)
            self._program = -1
        for group in self._groups:
            folder = f"{group.hierarchy.folder}/{group.limit}"
            if not _remove_patiently(folder):
                log.warn(f"the cgroup {folder} stays: a process is still in it")

    def remove_monitor(self) -> None:
        """Leave and remove the monitor's folders: to the base where a process may be there, else to lxc.pivot."""
        for hierarchy, name in self._monitor:
            try:
                _enter(hierarchy.folder, os.getpid())
            except LxcError:
                pivot = f"{hierarchy.folder}/{self._pivot}"
                os.makedirs(pivot, 0o755, exist_ok=True)
                _enter(pivot, os.getpid())
            folder = f"{hierarchy.folder}/{name}"
            if not _remove_patiently(folder):
                log.warn(f"the cgroup {folder} stays: a process is still in it")
        self._monitor = []

    def close(self) -> None:
        """Close the descriptors."""
        for group in self._groups:
            group.close()
        self._groups = []


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _enter(folder: str, pid: int) -> None:
    try:
        _write(f"{folder}/cgroup.procs", str(pid))
    except OSError as error:
        raise LxcError(f"cannot move process {pid} into the cgroup {folder}: {describe(error)}") from error


def _delegate(folder: str) -> None:
    """Enable for the children every controller that this folder has."""
    try:
        available = proc.read(f"{folder}/cgroup.controllers").decode().split()
        enabled = proc.read(f"{folder}/cgroup.subtree_control").decode().split()
        missing = [name for name in available if name not in enabled]
        if missing:
            _write(f"{folder}/cgroup.subtree_control", " ".join(f"+{name}" for name in missing))
    except OSError as error:
        raise LxcError(f"cannot delegate controllers below the cgroup {folder}: {describe(error)}") from error


def _fill_cpuset(folder: str) -> None:
    """A version 1 cpuset without processors or memory nodes takes no process: copy the parent's."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        if not proc.read(f"{folder}/{file}").strip():
            _write(f"{folder}/{file}", proc.read(f"{os.path.dirname(folder)}/{file}").decode().strip())


def _rmdir(folder: str) -> bool:
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _remove_empty(folder: str) -> bool:
    """Remove a folder and those below it as far as they are empty; True when it is gone."""
    if _rmdir(folder):
        return True
    try:
        with os.scandir(folder) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return False
    for path in below:
        _remove_empty(path)
    return _rmdir(folder)


def _remove_patiently(folder: str) -> bool:
    """Processes that have just been killed leave their cgroup a little later: try again for a while."""
    deadline = time.monotonic() + _REMOVAL_PATIENCE
    pause = 0.001
    while not _remove_empty(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    return True


