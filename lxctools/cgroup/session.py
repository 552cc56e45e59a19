# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cgroups of one container: made with LXC's names, entered, limited, asked for, removed.

The payload gets a folder in every hierarchy. So does the monitor where somebody chose its place (lxc.cgroup.dir and
others). With LXC's own names it gets one where that matters: in the unified hierarchy, or systemd's, by which services are
told apart, and wherever the start came from a cgroup other than the base, whose limits and freezer it must not stay under.
Where it is in the base already it stays there: nobody asks a monitor for its own cgroups.

Moving a process is what costs: the kernel waits for an RCU grace period (6 to 16 ms were measured) before the first write to
any cgroup.procs, and for none at those that follow within about as long (cgroup_threadgroup_rwsem). So all moves of a start
belong together, clone3(CLONE_INTO_CGROUP) costs nothing, and a process that is in a folder already is not written there.
"""

from __future__ import annotations

import errno
import os
import time

from .. import log
from ..config.system import system_value
from ..errors import LxcError, describe
from ..idmap.ranges import to_host
from ..idmap.userns import run_in_userns
from . import devices, folders, limits, names, v1, v2
from .devices_load import DeviceProgram, may_restrict
from .hierarchy import UNIFIED, Hierarchy, Host, delegated_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config.conf import Config
    from ..idmap.ranges import IdMap

_MOST_NAMES = 1000  # NAME and NAME-1 to NAME-999
_PATIENCE = 1.0  # seconds that killed processes have to leave their cgroup, for all hierarchies together
_MONITOR_PATIENCE = 0.2  # the same for what hooks have left running in the monitor's
_YOUNGEST_RUBBISH = 0.1
_DEVICES, _FREEZER = 1, 2


class _Place:
    """What a container has in one hierarchy.

    base: descriptor of the base folder. monitor, limit, inner: folders relative to it, "" while there is none; inner is
    limit's or one below. made: what had to be made, outermost first. limit_fd, fd: descriptors of limit and inner.
    """

    __slots__ = ("base", "fd", "hierarchy", "inner", "limit", "limit_fd", "made", "monitor")

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy
        self.base = folders.open_folder(hierarchy.folder)
        self.monitor = self.limit = self.inner = ""
        self.made: list[str] = []
        self.limit_fd = self.fd = -1

    def open(self, limit: str, inner: str) -> None:
        """Take hold of the payload's folders. Raises OSError."""
        self.limit, self.inner = limit, inner
        self.limit_fd = self.fd = folders.open_folder(limit, self.base)
        if inner != limit:
            self.fd = folders.open_folder(inner, self.base)

    def make(self, path: str) -> None:
        """Make a folder that must be new. Raises FileExistsError, OSError; then nothing is left of it."""
        made = folders.make(self.base, path)
        if self.hierarchy.version == 1 and "cpuset" in self.hierarchy.controllers:
            try:
                v1.prepare_cpuset(self.base, made)
            except OSError:
                folders.remove_empty(self.base, made)
                raise
        self.made += made

    def unmake(self, paths: Sequence[str]) -> None:
        """Remove folders that make() has made, and those above them that it made for them; what is in use stays."""
        mine = [one for one in self.made if any(path == one or path.startswith(one + "/") for path in paths)]
        left = folders.remove_empty(self.base, mine)
        self.made = [one for one in self.made if one in left or one not in mine]

    def enter(self, path: str, pid: int) -> None:
        """Move a process into a folder relative to the base. Raises LxcError."""
        file = f"{path}/cgroup.procs" if path else "cgroup.procs"
        try:
            folders.write(self.base, file, str(pid))
        except OSError as error:
            raise _Refused(
                f"cannot move process {pid} into the cgroup {self.hierarchy.where(path)}: {describe(error)}",
                remedy=_why_not_entered(self.hierarchy, error.errno),
            ) from error

    def close(self) -> None:
        """Close the descriptors."""
        for fd in {self.base, self.limit_fd, self.fd} - {-1}:
            os.close(fd)
        self.base = self.limit_fd = self.fd = -1


class _Refused(LxcError):
    """A cgroup does not take a process."""


def _why_not_entered(hierarchy: Hierarchy, number: int | None) -> str:
    if number == errno.ENOSPC and "cpuset" in hierarchy.controllers:
        return "its cpuset.cpus or cpuset.mems is empty"
    if number == errno.EBUSY and hierarchy.version == 2:
        return "it gives controllers to its children, so that it takes no processes itself (cgroups(7))"
    if number == errno.EACCES:
        return "the cgroup that holds both the old and the new one must be writable, too"
    return ""


class ContainerCgroups:
    """Made by the monitor for each boot. What it makes remove_payload() and remove_monitor() remove; then close().

    command_pid: the waiting lxc-start, or 0. It is left where it is unless the base must be emptied, which the unified
    hierarchy asks for when the base is the caller's own cgroup (lxc.cgroup.relative).
    """

    def __init__(self, conf: Config, name: str, host: Host) -> None:
        """Raises LxcError for names that contradict each other, and when a base folder cannot be opened."""
        self.conf = conf
        self.name = name
        self.host = host
        self.command_pid = 0
        self._names = names.choose(conf, name, system_value("lxc.cgroup.pattern"))
        self._claims: list[folders.Claim] = []
        self._places: list[_Place] = []
        self._program: DeviceProgram | None = None
        self._plan: limits.Plan | None = None
        self._maps: Sequence[IdMap] = ()
        self._inside = False  # the monitor is in its folders
        for hierarchy in host.hierarchies:
            try:
                self._places.append(_Place(hierarchy))
            except OSError as error:
                self.close()
                raise LxcError(f"cannot use the cgroup hierarchy {hierarchy!r}: {describe(error)}") from error

    # -- what a killed monitor has left

    def cleanup_stale(self) -> None:
        """Remove what a monitor of this name that was killed has left. The container must not be running.

        Only folders in which nobody lives in any hierarchy, and which nobody has just made: a container of the same name
        in another lxcpath may be running, or starting.
        """
        for base_name in (self._names.limit, self._names.monitor):
            for path in folders.suffixed(base_name, 1 if self._names.fixed else _MOST_NAMES):
                if not self._drop_rubbish(path):
                    break
        for place in self._places:
            folders.remove_empty(place.base, [self._names.pivot])

    def _drop_rubbish(self, path: str) -> bool:
        """Remove path everywhere if it is in use nowhere; whether there was one."""
        there = [place for place in self._places if _exists(place.base, path)]
        try:
            if there and all(folders.is_rubbish(place.base, path, _YOUNGEST_RUBBISH) for place in there):
                for place in there:
                    folders.remove_tree(place.base, path)
                log.info(f"removed the cgroup {path} that an ended monitor has left")
        except OSError as error:
            log.info(f"the cgroup {path} of an ended monitor stays: {describe(error)}")
        return bool(there)

    # -- the monitor's

    def create_monitor(self) -> None:
        """Make the monitor's folders. Raises LxcError."""
        places = self._monitor_places()
        path = self._make(places, self._names.monitor, "")
        for place in places:
            place.monitor = path

    def _monitor_places(self) -> list[_Place]:
        if self._names.placed:
            return self._places
        kept = [place for place in self._places if place.hierarchy.version == 2]
        kept = kept or [place for place in self._places if "name=systemd" in place.hierarchy.controllers] or self._places[:1]
        away = [place for place in self._places if place.hierarchy.own != place.hierarchy.base and place not in kept]
        return away + kept

    def enter_monitor(self, pid: int) -> None:
        """Move a process into the monitor's folders. Raises LxcError."""
        for place in self._places:
            if place.monitor:
                place.enter(place.monitor, pid)
        if pid == os.getpid():
            self._inside = True
            self._release()

    def leave_monitor(self) -> None:
        """Move this process out of the monitor's folders, so that they can be removed: back to the base, or where a base
        takes no processes to lxc.pivot. Raises LxcError.

        To be called early while something else is waited for: it may take a grace period.
        """
        if not self._inside:
            return
        self._inside = False
        for place in self._places:
            if place.monitor:
                try:
                    place.enter("", os.getpid())
                except _Refused:
                    self._pivot(place)

    def _pivot(self, place: _Place) -> None:
        try:
            folders.make(place.base, self._names.pivot)
        except FileExistsError:
            pass
        except OSError as error:
            raise LxcError(f"cannot make the cgroup {place.hierarchy.where(self._names.pivot)}: {describe(error)}") from error
        place.enter(self._names.pivot, os.getpid())

    def remove_monitor(self) -> None:
        """Leave and remove the monitor's folders; what hooks have left running keeps its folder, with a warning."""
        self.leave_monitor()
        deadline = time.monotonic() + _MONITOR_PATIENCE
        for place in self._places:
            if place.monitor:
                self._remove(place, place.monitor, deadline)
                place.unmake([place.monitor])
                place.monitor = ""

    # -- the payload's

    def create_payload(self) -> None:
        """Make the container's folder in every hierarchy, of one name, and delegate controllers to it. Raises LxcError."""
        limit = self._make(self._places, self._names.limit, self._names.inner)
        inner = f"{limit}/{self._names.inner}" if self._names.inner else limit
        for place in self._places:
            try:
                place.open(limit, inner)
            except OSError as error:
                raise LxcError(f"cannot open the cgroup {place.hierarchy.where(limit)}: {describe(error)}") from error
        if self.host.layout == UNIFIED:
            self._delegate(self._places[-1])

    def _delegate(self, place: _Place) -> None:
        above = os.path.dirname(place.inner)
        try:
            try:
                v2.delegate(place.base, above)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                # Processes in the base stand in the way, and those of the start are among them.
                self.enter_monitor(os.getpid())
                if self.command_pid > 0:
                    self.enter_monitor(self.command_pid)
                v2.delegate(place.base, above)
        except OSError as error:
            folder = place.hierarchy.where("" if error.filename == "." else str(error.filename))
            busy = error.errno == errno.EBUSY
            raise LxcError(
                f"cannot give controllers to the children of the cgroup {folder}: {describe(error)}",
                remedy="processes live in it: start from a cgroup of its own, as with systemd-run --scope" if busy else "",
            ) from error

    def clone_fd(self) -> int:
        """The folder in which clone3(CLONE_INTO_CGROUP) can make init, or -1; it stays ours."""
        return next((place.fd for place in self._places if place.hierarchy.version == 2), -1)

    @property
    def has_v1(self) -> bool:
        """Whether there are version 1 hierarchies, which clone3 cannot place a process in."""
        return any(place.hierarchy.version == 1 for place in self._places)

    def enter_payload(self, pid: int, *, unified: bool = True) -> None:
        """Move init into the container's folders; unified: that of version 2 as well, clone3 has not. Raises LxcError."""
        for place in self._places:
            if place.hierarchy.version == 1 or unified:
                place.enter(place.inner, pid)
        self._release()

    def chown_payload(self, maps: Sequence[IdMap]) -> None:
        """Let the container's root manage its cgroup: the group of the folder and of what can be delegated becomes its own.

        The owner stays who starts it. A file that this kernel does not have is passed over.
        """
        self._maps = maps
        inside = 0 if to_host(maps, "g", 0) is not None else self.conf["lxc.init.gid"]
        gid = to_host(maps, "g", inside)
        if gid is None:
            return
        for place in self._places:
            files = ("cgroup.procs", "tasks") if place.hierarchy.version == 1 else delegated_files()
            try:
                if os.geteuid() == 0:
                    _give(place.fd, gid, files)
                else:
                    run_in_userns(maps, _give, place.fd, inside, files)
            except (OSError, LxcError) as error:
                where = place.hierarchy.where(place.inner)
                log.warn(f"the container cannot manage its cgroup {where}: {describe(error)}")

    def remove_payload(self) -> None:
        """Remove the container's folders; one in which a process still lives stays, with a warning."""
        if self._program is not None:
            self._program.close()
            self._program = None
        deadline = time.monotonic() + _PATIENCE
        for place in self._places:
            if place.limit:
                self._remove(place, place.limit, deadline)
            place.unmake([path for path in place.made if path != place.monitor])
            place.limit = place.inner = ""

    # -- making and removing

    def _make(self, places: list[_Place], wanted: str, inner: str) -> str:
        """Make a folder of one name in all places, with inner in it: the first name that is free everywhere."""
        for path in folders.suffixed(wanted, 1 if self._names.fixed else _MOST_NAMES):
            if self._try(places, path, inner):
                return path
        if self._names.fixed:
            raise LxcError(f"the cgroup {wanted} exists already", remedy="another container uses it; choose another name")
        raise LxcError(f"the cgroups {wanted} to {wanted}-{_MOST_NAMES - 1} exist already", remedy="remove unused ones")

    def _try(self, places: list[_Place], path: str, inner: str) -> bool:
        """Make path in all places or, where that fails, in none. Raises LxcError for what another name does not help."""
        done: list[_Place] = []
        taken = False
        try:
            for place in places:
                done.append(place)
                try:
                    place.make(path)
                except FileExistsError:
                    done.pop()
                    taken = True
                    return False
                if place is places[0]:
                    self._claims.append(folders.Claim(place.base, path))
                if inner:
                    place.make(f"{path}/{inner}")
        except OSError as error:
            taken = True
            full = error.errno == errno.EAGAIN
            raise LxcError(
                f"cannot make the cgroup {done[-1].hierarchy.where(path)}: {describe(error)}",
                remedy="cgroup.max.descendants or cgroup.max.depth of a folder above it is reached" if full else "",
            ) from error
        finally:
            if taken:
                for place in done:
                    place.unmake([path, f"{path}/{inner}"])
        return True

    def _release(self) -> None:
        for claim in self._claims:
            claim.release()
        self._claims.clear()

    def _remove(self, place: _Place, path: str, deadline: float) -> None:
        shown = place.hierarchy.where(path)
        try:
            if folders.remove_tree(place.base, path, deadline):
                return
            log.warn(f"the cgroup {shown} stays: {_inhabitants(place.base, path)}")
        except PermissionError as error:
            # What the container's root has made below belongs to it alone.
            if os.geteuid() == 0 or not self._maps:
                log.warn(f"the cgroup {shown} stays: {describe(error)}")
                return
            try:
                run_in_userns(self._maps, folders.remove_tree, place.base, path, deadline)
            except (OSError, LxcError) as again:
                log.warn(f"the cgroup {shown} stays: {describe(again)}")
        except OSError as error:
            log.warn(f"the cgroup {shown} stays: {describe(error)}")

    # -- limits

    def setup_limits(self) -> None:
        """Set every limit but those of devices, before init is moved under them. Raises LxcError naming key and file.

        Keys of the cgroup version that this host does not control by are translated, each with a warning (limits.py).
        """
        plan = self._limits()
        for key, value, reason, remedy in plan.problems:
            raise LxcError(f"cannot set {self._assignment(key, value)}: {reason}", remedy=remedy)
        for key, value, note in plan.notes:
            log.warn(f"{self._assignment(key, value)} {note}")
        for setting in plan.settings:
            self._limit(setting)

    def _limits(self) -> limits.Plan:
        if self._plan is None:
            unified = self.host.layout == UNIFIED
            core = not unified and self.host.unified is not None
            self._plan = limits.plan(self.conf["lxc.cgroup"], self.conf["lxc.cgroup2"], unified=unified, core=core)
        return self._plan

    def setup_device_limits(self) -> None:
        """Set the limits of devices, after the container's own nodes have been made. Raises LxcError."""
        rules = self._limits().devices
        if self.host.layout == UNIFIED:
            self._program = DeviceProgram(self._places[-1].limit_fd, devices.from_config(rules))
            self._program.enforce()
            return
        for key, value in rules:
            try:
                text = devices.text_v1(value)
            except ValueError as error:
                raise LxcError(f"cannot set {self._assignment(key, value)}: {error}") from None
            self._limit(limits.Setting(key, value, [(f"devices.{key.partition('.devices.')[2]}", text)]))

    def _limit(self, setting: limits.Setting) -> None:
        """Write the first of a setting's files that is there. Raises LxcError."""
        attempt = f"cannot set {self._assignment(setting.key, setting.value)}"
        place = self._place_of(setting.choices[0][0], attempt)
        file, text = next((choice for choice in setting.choices if _exists(place.limit_fd, choice[0])), setting.choices[0])
        path = f"{place.hierarchy.where(place.limit)}/{file}"
        try:
            folders.write(place.limit_fd, file, text)
        except PermissionError as error:
            if not file.startswith("devices."):
                raise LxcError(f'{attempt}: writing "{text}" to {path}: {describe(error)}') from error
            log.warn(f"{attempt}: {describe(error)}")  # nested in a container that may not
        except OSError as error:
            raise LxcError(
                f'{attempt}: writing "{text}" to {path}: {describe(error)}',
                remedy="this kernel has no such file" if error.errno == errno.ENOENT else "",
            ) from error

    def _place_of(self, file: str, attempt: str) -> _Place:
        controller = file.partition(".")[0]
        if self.host.layout == UNIFIED or controller == "cgroup":
            place = next((place for place in self._places if place.hierarchy.version == 2), None)
        else:
            place = self._find(controller)
        if place is None or "/" in file:
            what = f"the {controller} controller is not usable on this host" if place is None else "it is no file's name"
            raise LxcError(f"{attempt}: {what}", remedy="remove the key, or mount the controller")
        return place

    def _assignment(self, key: str, value: str) -> str:
        where = self.conf.where(key)
        return f"{key} = {value} ({where})" if where else f"{key} = {value}"

    def change_device_rule(self, kind: str, major: int, minor: int, access: str, allow: bool) -> None:
        """Add a device rule on a running container of a unified host; -1 is any. Raises LxcError."""
        if self._program is None:
            raise LxcError("device rules can be changed on a running container of a unified host only")
        self._program.change(kind, major, minor, access, allow)

    # -- asking

    def _find(self, controller: str) -> _Place | None:
        """Where a controller is; "" is a version 2 hierarchy without any. On a unified host it has devices and freezer, too."""
        unified = next((place for place in self._places if place.hierarchy.version == 2), None)
        if not controller:
            return unified if unified is not None and not unified.hierarchy.controllers else None
        for place in self._places:
            if controller in place.hierarchy.controllers:
                return place
        extra = {"devices": _DEVICES, "freezer": _FREEZER}.get(controller, 0)
        return unified if extra & self.utilities else None

    @property
    def layout(self) -> int:
        """0 legacy, 1 hybrid, 2 unified."""
        return self.host.layout

    @property
    def utilities(self) -> int:
        """What the unified hierarchy is used for without a controller: bit 0 device programs, bit 1 freezing."""
        if self.host.layout != UNIFIED:
            return 0
        return _FREEZER | (_DEVICES if may_restrict() else 0)

    def path(self, controller: str, *, limit: bool) -> str | None:
        """The folder relative to the hierarchy's root; liblxc puts a slash before it except on a unified host."""
        place = self._find(controller)
        if place is None or not place.limit:
            return None
        relative = f"{place.hierarchy.base}/{place.limit if limit else place.inner}".strip("/")
        return relative if self.host.layout == UNIFIED else "/" + relative

    def fd(self, controller: str, *, limit: bool) -> tuple[int, int] | None:
        """(descriptor, file system magic) of the folder with a controller; the descriptor stays ours."""
        place = self._find(controller)
        if place is None or place.fd < 0:
            return None
        return (place.limit_fd if limit else place.fd), place.hierarchy.magic

    def unified_fd(self, *, limit: bool) -> int:
        """The folder on a unified host, or -1; the descriptor stays ours."""
        if self.host.layout != UNIFIED:
            return -1
        return self._places[-1].limit_fd if limit else self._places[-1].fd

    def ctx_fds(self) -> list[int]:
        """The processes' folder in every hierarchy, in the hierarchies' order; the descriptors stay ours."""
        return [place.fd for place in self._places if place.fd >= 0]

    def mount_data(self) -> list[tuple[str, list[str], int, str]]:
        """For mounting inside: (mount point on the host, controllers, version, the container's path below it) each."""
        rows = []
        for place in self._places:
            point = place.hierarchy.mountpoint
            below = place.hierarchy.where(place.inner)[len(point) :].strip("/")
            rows.append((point, place.hierarchy.controllers, place.hierarchy.version, below))
        return rows

    # -- freezing

    def freeze(self, seconds: float = 0) -> bool:
        """Freeze the container; True once it is frozen. seconds: how long to wait for that, below 0 for ever. OSError."""
        return self._freezer(True, seconds)

    def unfreeze(self, seconds: float = 0) -> bool:
        """Thaw the container; True once it is thawed. seconds: how long to wait for that, below 0 for ever. OSError."""
        return self._freezer(False, seconds)

    def _freezer(self, frozen: bool, seconds: float) -> bool:
        unified = self.unified_fd(limit=True)
        if unified >= 0:
            return v2.freeze(unified, frozen, seconds)
        place = self._find("freezer")
        if place is None or place.limit_fd < 0:
            raise OSError(errno.ENOENT, "no freezer controller on this host")
        return v1.freeze(place.limit_fd, frozen, seconds)

    def close(self) -> None:
        """Close the descriptors; a second time does nothing."""
        self._release()
        if self._program is not None:
            self._program.close()
            self._program = None
        for place in self._places:
            place.close()
        self._places = []


def _exists(base: int, path: str) -> bool:
    try:
        os.stat(path, dir_fd=base)
    except OSError:
        return False
    return True


def _give(folder: int, gid: int, files: Sequence[str]) -> None:
    """chown to this group and let it write: the folder, and those of the files that are there. Raises OSError."""
    os.chown(".", -1, gid, dir_fd=folder)
    os.chmod(".", 0o775, dir_fd=folder)
    for file in files:
        try:
            os.chown(file, -1, gid, dir_fd=folder)
            os.chmod(file, 0o664, dir_fd=folder)
        except OSError:
            pass  # not every kernel has each, and one that is missing limits only what the container can do itself


def _inhabitants(base: int, path: str) -> str:
    """Who keeps a folder from being removed, for a message."""
    try:
        folder = folders.open_folder(path, base)
        try:
            pids = folders.processes(folder)
        finally:
            os.close(folder)
    except OSError as error:
        return describe(error)
    shown = " ".join(str(pid) for pid in pids[:8])
    return f"it still has processes: {shown}{' ...' if len(pids) > 8 else ''}" if pids else "it is in use"
