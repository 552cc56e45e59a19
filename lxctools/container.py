# SPDX-License-Identifier: LGPL-2.1-or-later
"""Container: the public Python API, with the method names of python3-lxc.

A thin face over the packages below it: each method imports its implementation and calls it, so that a question to a
monitor does not load the start path. Unlike python3-lxc the methods raise the reason (LxcError and its subclasses)
instead of returning False.

A container is its name and its lxcpath; "running" is what its monitor says, "defined" is a file LXCPATH/NAME/config.
"""

from __future__ import annotations

import errno
import os

from . import states
from .errors import ConfigError, Denied, LxcError, NotRunning, describe
from .paths import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from .config.check import Problem, Reading
    from .config.conf import Config
    from .config.peek import Peek
    from .lifecycle import exchange
    from .lifecycle.snapshot import Snapshot

FOREVER = -1
ANY_TTY = -1
LOOPBACK = "lo"


def list_containers(active: bool = True, defined: bool = True, config_path: str | None = None) -> tuple[str, ...]:
    """The sorted names of the containers of a lxcpath: those with a monitor and/or those with a configuration.

    A lxcpath that does not exist has none. Raises OSError when it cannot be read.
    """
    lxcpath = config_path or get_global_config_item("lxc.lxcpath")
    names: set[str] = set()
    if active:
        from .protocol import client

        names.update(client.active(lxcpath))
    if defined:
        names.update(_defined(lxcpath))
    return tuple(sorted(names, key=os.fsencode))


def _defined(lxcpath: str) -> list[str]:
    try:
        entries = os.listdir(lxcpath or ".")
    except (FileNotFoundError, NotADirectoryError):
        return []
    exists = os.path.exists
    return [entry for entry in entries if entry[0] != "." and exists(f"{lxcpath}/{entry}/config")]


def get_global_config_item(key: str) -> str:
    """A value of lxc.conf. Raises KeyError for unknown and unset keys."""
    from .config.system import system_value

    value = system_value(key)
    if value is None:
        raise KeyError(f"Invalid configuration key: {key}")
    return value


class Misconfigured(ConfigError):
    """A configuration that a start refuses. problems: what is wrong in it, not empty. lister: the command that lists them all."""

    def __init__(self, problems: Sequence[Problem], lister: str) -> None:
        first = problems[0]
        place = f"{first.where()}: " if first.path else ""
        line = f"{first.text.strip()}: " if first.text else ""
        remedy = first.remedy
        if len(problems) > 1:
            remedy += f"{'; ' if remedy else ''}and {len(problems) - 1} more: {lister}"
        super().__init__(printable(f"{place}{line}{first.message}"), remedy=printable(remedy))
        self.problems = problems


def check_config(path: str, lxcpath: str = "", name: str = "") -> Reading:
    """What is wrong in a configuration, and what this host lacks for it; name: of the container whose it is.

    Without a name, an lxc.conf is read as settings of LXC itself.

    Raises ConfigError when the file cannot be read.
    """
    from .config.check import is_system, read, read_system
    from .runtime.check import check_host

    if not name and is_system(path):
        return read_system(path)
    reading = read(path)
    check_host(reading, lxcpath, name)
    return reading


class Container:
    """One container. timeout: how long one question to its monitor may take, in seconds."""

    __slots__ = ("_config", "_rcfile", "lxcpath", "name", "timeout")

    def __init__(self, name: str, config_path: str | None = None, *, timeout: float = 10.0) -> None:
        self.name = name
        self.lxcpath = config_path if config_path is not None else get_global_config_item("lxc.lxcpath")
        self.timeout = timeout
        self._config: Config | None = None
        self._rcfile = ""

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def config_file_name(self) -> str:
        """The file its configuration is read from."""
        return self._rcfile or f"{self.lxcpath}/{self.name}/config"

    @property
    def defined(self) -> bool:
        """Whether it has a configuration on disk."""
        return os.path.exists(self.config_file_name)

    @property
    def state_number(self) -> int:
        """The state's number in states.STATES. Raises Denied, TimedOut."""
        from .protocol import client

        number = client.state(self.name, self.lxcpath, timeout=self.timeout)
        return states.STOPPED if number is None else number

    @property
    def state(self) -> str:
        """The state's name; STOPPED without a monitor."""
        return states.name(self.state_number)

    @property
    def running(self) -> bool:
        """Whether its state is anything but STOPPED."""
        return self.state_number != states.STOPPED

    @property
    def init_pid(self) -> int:
        """The process id of its init on this host, or -1."""
        from .protocol import client

        return client.init_pid(self.name, self.lxcpath, timeout=self.timeout) or -1

    @property
    def controllable(self) -> bool:
        """False only when it runs and its monitor refuses the caller."""
        try:
            self.require_control()
        except Denied:
            return False
        return True

    def require_running(self) -> None:
        """Raise NotRunning unless it runs."""
        if not self.running:
            why = "" if self.defined else f": it is not defined in {self.lxcpath}"
            raise NotRunning(f"{self.name} is not running{why}")

    def require_control(self) -> None:
        """Raise Denied when it runs and its monitor refuses the caller."""
        from .protocol import client

        client.may_control(self.name, self.lxcpath)

    # -- configuration ---------------------------------------------------------------------------------------------

    @property
    def config(self) -> Config:
        """The configuration on disk, read once; an empty one when it is not defined. Raises ConfigError."""
        if self._config is None:
            from .config.conf import Config

            self._config = Config.read(self.config_file_name) if self.defined else Config()
        return self._config

    def check_config(self) -> Reading:
        """All that is wrong with its configuration and what this host lacks for it. Raises ConfigError: it cannot be read."""
        return check_config(self.config_file_name, self.lxcpath, self.name)

    def _refuse_what_is_missing(self) -> None:
        """Before a start: a root file system or an interface that is not there, with everything else that is wrong.

        Asking for these costs microseconds; only where one is missing the whole check is loaded. Raises Misconfigured.
        """
        config = self.config
        if config["lxc.hook.pre-start"]:
            return  # which may make them
        missing = self._root_is_missing()
        for net in config.nets:
            missing = missing or (bool(net["link"]) and net.uses_link and not os.path.exists(f"/sys/class/net/{net['link']}"))
        if missing and os.path.isfile(self.config_file_name):  # a pipe can be read once
            from .config.check import read
            from .runtime.check import check_host

            reading = read(self.config_file_name)
            reading.use(config)
            check_host(reading, self.lxcpath, self.name)
            errors = [one for one in reading.problems if one.severity == "error"]
            if errors:
                raise Misconfigured(errors, self._lister())

    def _lister(self) -> str:
        """The command that lists what is wrong with its configuration."""
        words = [self._rcfile] if self._rcfile else ["-P", self.lxcpath, self.name]
        return f"lxc-config check {' '.join(words)}"

    def _root_is_missing(self) -> bool:
        """Whether its backend, which a start loads anyway, does not find the root file system."""
        config = self.config
        path = config["lxc.rootfs.path"]
        if not path.startswith("/"):
            return False
        from .storage.backend import for_config

        try:
            return not for_config(config).exists(path)
        except LxcError:
            return True

    def load_config(self, path: str) -> None:
        """Use this file as the container's configuration from now on (--rcfile). Raises LxcError."""
        from .config.conf import Config

        try:
            self._config = Config.read(path)
        except LxcError as error:
            raise type(error)(f'Failed to load rcfile "{path}": {error.message}', remedy=error.remedy) from error
        self._rcfile = os.path.abspath(path)

    def get_config_item(self, key: str) -> str:
        """The value on disk, as liblxc prints it. Raises ConfigError for an unknown key."""
        return self.config.text(key)

    def set_config_item(self, key: str, value: str | Sequence[str]) -> None:
        """Replace a value in memory; a sequence sets the items of a list. Raises ConfigError."""
        self.config.replace(key, [value] if isinstance(value, str) else value)

    def append_config_item(self, key: str, value: str) -> None:
        """Set a value in memory, or add an item to a list. Raises ConfigError."""
        self.config.set(key, value)

    def clear_config_item(self, key: str) -> None:
        """Unset a value in memory. Raises ConfigError."""
        self.config.clear(key)

    def get_keys(self, key: str = "") -> list[str]:
        """The names of all keys, or the parts that may follow one such as lxc.net.0. Raises ConfigError where none may."""
        return self.config.keys(key)

    def save_config(self, path: str | None = None) -> None:
        """Write the configuration to its file, under the container's lock, or to another one. Raises LxcError, OSError."""
        from .locks import ContainerLock

        if path is not None:
            self.config.save(path)
            return
        os.makedirs(os.path.dirname(self.config_file_name), 0o770, exist_ok=True)
        with ContainerLock(self.lxcpath, self.name):
            self.config.save(self.config_file_name)

    def rootfs_directory(self) -> str:
        """The folder that is its root file system; "" for a backend that must be mounted first, and without one."""
        config = self.config
        path: str = config["lxc.rootfs.path"]
        return path if config.rootfs_type in ("", "dir") else ""

    def get_running_config_item(self, key: str) -> str | None:
        """The value that the monitor uses; None for an empty or unknown key and without a monitor."""
        from .protocol import client

        return client.config_item(self.name, self.lxcpath, key, timeout=self.timeout)

    # -- life ------------------------------------------------------------------------------------------------------

    def create(
        self,
        template: str | None = None,
        args: Sequence[str] = (),
        *,
        config_file: str | None = None,
        backend: str = "dir",
        backend_options: dict[str, str] | None = None,
        quiet: bool = False,
    ) -> None:
        """Make it from a template. Raises LxcError; then nothing is left of it."""
        from .lifecycle.create import create

        create(
            self.name,
            self.lxcpath,
            config_file=config_file,
            template=template,
            template_args=list(args),
            backend=backend,
            backend_opts=backend_options or {},
            progress=not quiet,
        )

    def destroy(self, *, force: bool = False) -> None:
        """Remove it. force: stop it first. Raises LxcError."""
        from .lifecycle.destroy import destroy

        destroy(self.name, self.lxcpath, force=force)

    def destroy_with_snapshots(self, *, force: bool = False) -> None:
        """Remove it with its snapshots and the containers whose root file system needs its own. Raises LxcError."""
        from .lifecycle.removal import destroy_all

        destroy_all(self.name, self.lxcpath, force=force)

    def belongings(self, *, snapshots: bool = False) -> list[tuple[str, str]]:
        """What destroy() would remove, or with snapshots destroy_with_snapshots(): (what, path) in order. Raises LxcError."""
        from .lifecycle.removal import plan

        return plan(self.name, self.lxcpath, snapshots=snapshots)

    def clone(self, newname: str, flags: Sequence[str] = (), *, config_path: str = "", bdevtype: str = "", **wishes: object) -> Container:
        """Copy it. flags: of lifecycle.copy.Wishes, such as "snapshot", "keep_name"; wishes: its other fields.

        Returns the new container. Raises LxcError; then there is none.
        """
        from .lifecycle.copy import Source, Wishes, copy

        chosen = dict.fromkeys(flags, True) | wishes
        where = config_path or self.lxcpath
        source = Source(self.name, self.lxcpath, self.config if self._rcfile else None)
        copy(source, newname, where, Wishes(backend=bdevtype, **chosen))  # type: ignore[arg-type]
        return Container(newname, where)

    def export(self, path: str, **wishes: bool) -> None:
        """Write it to a file, "-" for standard output. wishes: fields of lifecycle.export.Wishes. Raises LxcError."""
        from .lifecycle.copy import Source
        from .lifecycle.export import Wishes, export

        export(Source(self.name, self.lxcpath, self.config if self._rcfile else None), path, Wishes(**wishes))

    def rename(self, new_name: str) -> Container:
        """Give it another name. Raises LxcError; then it has the old one."""
        from . import paths
        from .lifecycle.recover import settle
        from .lifecycle.rename import rename

        paths.check_name(new_name)
        settle(self.name, self.lxcpath)
        settle(new_name, self.lxcpath)
        rename(self.name, self.lxcpath, new_name)
        return Container(new_name, self.lxcpath)

    def snapshot(self, comment_path: str = "", *, quiet: bool = False) -> str:
        """Make a snapshot and return its name. comment_path: a file whose content is kept with it. Raises LxcError."""
        from .lifecycle.snapshot import create

        return create(self.name, self.lxcpath, comment=comment_path, quiet=quiet)

    def snapshot_list(self) -> list[Snapshot]:
        """Its snapshots, oldest number first. Raises LxcError."""
        from .lifecycle.snapshot import snapshots

        return snapshots(self.name, self.lxcpath)

    def snapshot_restore(self, snapname: str, newname: str | None = None, *, quiet: bool = False) -> None:
        """Make newname, or without one this container again, from a snapshot. Raises LxcError; then all is as before."""
        from .lifecycle.snapshot import restore

        restore(self.name, self.lxcpath, snapname, newname, quiet=quiet)

    def snapshot_destroy(self, snapname: str) -> None:
        """Remove a snapshot. Raises LxcError."""
        from .lifecycle.snapshot import remove

        remove(self.name, self.lxcpath, snapname)

    def snapshot_destroy_all(self) -> None:
        """Remove every snapshot; one that cannot be removed does not keep the others. Raises LxcError."""
        from .lifecycle.snapshot import remove_all

        remove_all(self.name, self.lxcpath)

    def start(
        self,
        cmd: Sequence[str] = (),
        *,
        useinit: bool = False,
        daemonize: bool = True,
        close_fds: bool = False,
        pidfile: str = "",
    ) -> int:
        """Start it. A daemon: 0 once it is RUNNING. In the foreground: when it has ended, with the exit status.

        useinit: run cmd under our own init, as lxc-execute does. Raises LxcError with the reason.
        """
        from .cgroup.settle import Settling

        self._refuse_what_is_missing()
        settling = Settling()
        settling.begin()
        self._settle()
        from .runtime.start import start

        settling.wait()
        return start(
            self.name,
            self.lxcpath,
            self.config,
            argv=list(cmd),
            foreground=not daemonize,
            execute=useinit,
            pidfile=pidfile,
            close_fds=close_fds,
            destroy=self._destroy_ephemeral,
        )

    def _settle(self) -> None:
        """A start does not begin with what a killed restore or renaming has left half done."""
        folder = f"{self.lxcpath}/{self.name}"
        if any(os.path.lexists(f"{folder}/{mark}") for mark in (".restore", ".rename")):
            from .lifecycle.recover import settle

            settle(self.name, self.lxcpath)

    def _destroy_ephemeral(self) -> None:
        from .lifecycle.destroy import destroy

        destroy(self.name, self.lxcpath, hooks=False)

    def refuse_half_created(self) -> None:
        """Raises LxcError when its creation goes on, or was interrupted."""
        from .runtime.start import refuse_half_created

        refuse_half_created(self.name, self.lxcpath)

    def stop(self, *, wait: bool = True) -> None:
        """Kill it (lxc.signal.stop) and wait until its monitor has cleaned up. Raises LxcError."""
        from .runtime.stop import stop

        stop(self.name, self.lxcpath, wait=wait)

    def shutdown(self, timeout: int = FOREVER) -> bool:
        """Send lxc.signal.halt and wait that many seconds; 0 does not wait. False when it still runs then."""
        from .runtime.stop import shutdown

        return shutdown(self.name, self.lxcpath, self.config, timeout)

    def reboot(self, timeout: int = 0) -> bool:
        """Send lxc.signal.reboot and wait that many seconds for the new RUNNING; 0 does not wait."""
        from .runtime.stop import reboot

        return reboot(self.name, self.lxcpath, self.config, timeout)

    def freeze(self) -> None:
        """Stop all its processes. Raises NotRunning, LxcError."""
        from .runtime.freeze import freeze

        freeze(self.name, self.lxcpath)

    def unfreeze(self) -> None:
        """Let its processes go on; nothing to do unless it is frozen."""
        from .runtime.freeze import unfreeze

        unfreeze(self.name, self.lxcpath)

    def wait(self, wanted: Sequence[int], timeout: float = FOREVER) -> bool:
        """Wait until it is in one of these states (numbers); False when the time is over or it ended otherwise."""
        from .runtime.wait import wait

        return wait(self.name, self.lxcpath, wanted, timeout)

    def attach(self, cmd: Sequence[str] = (), **options: object) -> int:
        """Run a program inside, or without one the user's shell; returns its exit status, 128 + n for signal n.

        options: fields of runtime.attach.AttachOptions. Raises NotRunning, Denied, LxcError.
        """
        from .runtime.attach import AttachOptions, attach

        chosen = AttachOptions()
        chosen.argv = list(cmd)
        for field, value in options.items():
            setattr(chosen, field, value)
        return attach(self.name, self.lxcpath, chosen)

    def console_getfd(self, ttynum: int = ANY_TTY) -> tuple[int, int]:
        """(master, keeper) of a tty; it is free again when the keeper, a descriptor too, is closed. Raises LxcError."""
        from .protocol import client

        found = client.tty(self.name, self.lxcpath, ttynum)
        if found is None:
            raise NotRunning(f"{self.name} is not running")
        connection, master, _number = found
        return master, connection.detach()

    def console(self, ttynum: int = ANY_TTY, *, escape: int = 1) -> int:
        """Connect stdin and stdout to a tty until the escape (a control character, then q) or the tty's end.

        0 is the console, ANY_TTY the first free tty; escape below 0 turns it off. Raises LxcError.
        """
        from .terminal.proxy import console

        return console(self.name, self.lxcpath, ttynum, escape=escape)

    def console_log(self, *, read: bool = True, clear: bool = False) -> bytes | None:
        """Take what is in the monitor's buffer of the console, and clear it; None when it does not run.

        Each byte is handed out once. Raises LxcError when it keeps no buffer.
        """
        from .protocol import client

        return client.console_log(self.name, self.lxcpath, clear=clear, read=read, timeout=self.timeout)

    # -- its files -------------------------------------------------------------------------------------------------

    def push_files(
        self,
        sources: Sequence[str],
        path: str,
        *,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        recursive: bool = False,
        parents: bool = False,
    ) -> None:
        """Copy files of the host ("-": standard input) to a path in it, running or not. Raises LxcError.

        uid, gid: numbers in the container, 0 for new files. parents: make the folders that are missing.
        """
        from .lifecycle import exchange, transfer

        owner = transfer.Owner(mode, uid, gid)
        exchange.push(self._files(), sources, path, owner, recursive=recursive, parents=parents)

    def pull_files(self, paths: Sequence[str], target: str, *, mode: int | None = None, recursive: bool = False) -> None:
        """Copy files out of it, running or not, to a path of the host ("-": standard output). Raises LxcError."""
        from .lifecycle import exchange

        exchange.pull(self._files(), paths, target, mode=mode, recursive=recursive)

    def edit_file(self, path: str, editor: str, folder: str) -> bool:
        """Run an editor (a shell command) on one of its files, in an empty private folder of the host; whether it was changed.

        Raises LxcError; the text is in the folder then.
        """
        from .lifecycle import exchange

        return exchange.edit(self._files(), path, editor, folder)

    def _files(self) -> exchange.Container:
        from .lifecycle import exchange

        return exchange.Container(self.name, self.lxcpath, self.config)

    # -- what it uses ----------------------------------------------------------------------------------------------

    def get_cgroup_item(self, item: str) -> str | None:
        """The content of a cgroup file such as memory.max in its limit cgroup; None when there is none, also no more.

        Raises OSError when it cannot be read.
        """
        from .protocol import client

        controller = item.partition(".")[0]
        found = client.cgroup_fd(self.name, self.lxcpath, controller, limit=True, timeout=self.timeout)
        if found is None:
            return None
        try:
            fd = os.open(item, os.O_RDONLY | os.O_CLOEXEC, dir_fd=found)
            with open(fd, "rb", buffering=0) as file:
                return file.readall().decode("ascii", "replace")
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):
                return None
            raise
        finally:
            os.close(found)

    def set_cgroup_item(self, item: str, value: str) -> None:
        """Write a cgroup file such as memory.max in its limit cgroup; version 2 has devices.allow and devices.deny, too.

        Raises NotRunning, OSError, and ValueError or LxcError for a device rule that cannot be set.
        """
        from .protocol import client

        found = client.cgroup_fd(self.name, self.lxcpath, item.partition(".")[0], limit=True, timeout=self.timeout)
        try:
            if found is None:
                raise FileNotFoundError(f"{self.name} has no cgroup with {item}")
            fd = os.open(item, os.O_WRONLY | os.O_CLOEXEC, dir_fd=found)
        except FileNotFoundError:
            if item not in ("devices.allow", "devices.deny"):
                raise
            self._set_device_rule(value, allow=item == "devices.allow")
            return
        finally:
            if found is not None:
                os.close(found)
        try:
            os.write(fd, os.fsencode(value))
        finally:
            os.close(fd)

    def _set_device_rule(self, text: str, *, allow: bool) -> None:
        """On a pure unified hierarchy the monitor keeps the rules."""
        from .cgroup.devices import parse
        from .protocol import client

        rule = parse(text, allow)
        access = "".join(letter for letter, bit in (("r", 2), ("w", 4), ("m", 1)) if rule.access & bit)
        where = (self.name, self.lxcpath, rule.kind, rule.major, rule.minor, access)
        if not client.add_device_rule(*where, allow=allow, timeout=self.timeout):
            raise LxcError(f"the monitor of {self.name} did not take the device rule {text}")

    def add_device(self, device: str, name: str = "") -> None:
        """Give it a network interface of ours, or a node like that of the host and leave to use it. Raises LxcError."""
        from .runtime import device as devices

        name = name or device
        if "/" not in device and devices.is_interface(device):
            devices.move_in(self.name, self.lxcpath, device, name)
            return
        mode, number = devices.node_numbers(device)
        devices.make_node(self.name, self.lxcpath, name, mode, number)
        self._permit(devices.rule_of(mode, number), "devices.allow")

    def remove_device(self, device: str, name: str = "") -> None:
        """Take back an interface, or remove a node and the leave to use it. Raises LxcError."""
        from .runtime import device as devices

        name = name or device
        if "/" not in device and devices.move_out(self.name, self.lxcpath, device, name):
            return
        mode, number = devices.node_numbers(device)
        devices.remove_node(self.name, self.lxcpath, name)
        self._permit(devices.rule_of(mode, number), "devices.deny")

    def _permit(self, rule: str, item: str) -> None:
        try:
            self.set_cgroup_item(item, rule)
        except OSError as error:
            raise LxcError(f"cannot write {rule} to {item}: {describe(error)}") from error

    def get_interfaces(self) -> tuple[str, ...]:
        """The names of the interfaces in its network namespace, sorted; () when stopped."""
        network = self._network()
        return network.interfaces if network else ()

    def get_ips(self, interface: str | None = None, family: str | None = None) -> tuple[str, ...]:
        """Its addresses, sorted: IPv4 and IPv6 except link-local ones, of all interfaces but lo.

        interface: of this one only. family: "inet" or "inet6". () when stopped.
        """
        network = self._network()
        return select_ips(network.addresses, interface=interface, family=family) if network else ()

    def _network(self) -> Network | None:
        pid = self.init_pid
        fd = open_network(pid) if pid > 0 else None
        if fd is None:
            return None
        home = open_network()
        assert home is not None
        try:
            return networks_of({pid: fd}, home)[pid]
        finally:
            os.close(fd)
            os.close(home)


class Network:
    """What is in a network namespace: addresses as (interface, "inet" or "inet6", address), names of interfaces."""

    __slots__ = ("addresses", "interfaces")

    def __init__(self, addresses: Sequence[tuple[str, str, str]], interfaces: Sequence[str]) -> None:
        self.addresses = addresses
        self.interfaces = tuple(interfaces)


def open_network(pid: int = 0, proc: int | None = None) -> int | None:
    """A process's network namespace as a descriptor; our own without pid. None when it has ended, or is not ours.

    proc: a descriptor of /proc, where the current root has none that shows us.
    """
    try:
        where = "/proc/" if proc is None else ""
        return os.open(f"{where}{pid or 'self'}/ns/net", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    except OSError:
        return None


def networks_of(targets: Mapping[int, int], home: int) -> dict[int, Network | None]:
    """What is in network namespaces, given as descriptors (or pidfds); None for one that may not be entered.

    The process visits each to open a netlink socket there, and returns to home. Raises OSError when it cannot return.
    """
    from .linux import rtnetlink, sched

    result: dict[int, Network | None] = {}
    try:
        for key, fd in targets.items():
            try:
                sched.setns(fd, sched.CLONE_NEWNET)
                with rtnetlink.Rtnl() as rtnl:
                    result[key] = Network(rtnl.addr_list(), sorted({link.name for link in rtnl.links()}))
            except OSError:
                result[key] = None
    finally:
        sched.setns(home, sched.CLONE_NEWNET)
    return result


def select_ips(
    addresses: Iterable[tuple[str, str, str]], *, interface: str | None = None, family: str | None = None
) -> tuple[str, ...]:
    """Those of (interface, family, address) that LXC lists, sorted as text."""
    return tuple(
        sorted(
            address
            for name, kind, address in addresses
            if (name == interface if interface else name != LOOPBACK)
            and family in (None, kind)
            and not (kind == "inet6" and address[:3].lower() in ("fe8", "fe9", "fea", "feb"))
        )
    )


def as_json(data: object) -> str:
    """For --json: one line; letters beyond ASCII, and bytes that are no text, as escapes."""
    import json

    return json.dumps(data)


def peek_at(keys: Iterable[str]) -> Peek:
    """A reader of these keys only, for many containers on disk."""
    from .config.peek import Peek

    return Peek(frozenset(keys))


def name_filter(pattern: str, *, whole: bool = False) -> Callable[[str], bool]:
    """A test of names by a POSIX extended regular expression. whole: anchored at both ends, as lxc-monitor does it.

    Raises ValueError when it is not one.
    """
    from .linux.regex import Regex

    return Regex(f"^{pattern}$" if whole else pattern).search


def import_container(path: str, name: str = "", config_path: str = "", *, backend: str = "dir", quiet: bool = False) -> str:
    """Make a container of a file of Container.export(), "-" for standard input; returns its name. Raises LxcError."""
    from .lifecycle.import_ import import_container

    where = config_path or get_global_config_item("lxc.lxcpath")
    return import_container(path, name, where, backend=backend, quiet=quiet)


def show_template_help(template: str) -> None:
    """Let a template print its help on our standard streams; nothing when there is no such template."""
    from .template.run import find_template

    try:
        path = find_template(template)
    except LxcError:
        return
    from . import process

    pid = process.spawn([path, "-h"])
    os.waitpid(pid, 0)


class Event:
    """What lxc-monitord tells: a new state, or (is_exit) the wait status of a container's init."""

    __slots__ = ("is_exit", "lxcpath", "name", "value")

    def __init__(self, lxcpath: str, name: str, value: int, *, is_exit: bool) -> None:
        self.lxcpath = lxcpath
        self.name = name
        self.value = value
        self.is_exit = is_exit


def watch(lxcpaths: Sequence[str]) -> Iterator[Event]:
    """The events of all containers of these lxcpaths, as they happen. Raises LxcError when lxc-monitord ends."""
    import select

    from .protocol import commands, monitor

    poller = select.poll()
    subscriptions = {}
    for lxcpath in lxcpaths:
        subscription = monitor.subscribe(lxcpath)
        subscriptions[subscription.fileno()] = subscription
        poller.register(subscription, select.POLLIN)
    while True:
        for fd, _events in poller.poll():
            subscription = subscriptions[fd]
            for event in subscription.events():
                if event.kind in (commands.MESSAGE_STATE, commands.MESSAGE_EXIT):
                    is_exit = event.kind == commands.MESSAGE_EXIT
                    yield Event(subscription.lxcpath, event.name, event.value, is_exit=is_exit)


def quit_monitord(lxcpath: str) -> bool:
    """Tell the lxc-monitord of a lxcpath to end; False when none runs."""
    from .protocol import monitor

    return monitor.quit_monitord(lxcpath)


def preload_for_nesting() -> int:
    """Import what lxc-ls uses inside containers, where nothing may be imported; a descriptor of /proc for use there."""
    from .config import conf, peek
    from .linux import rtnetlink, sched
    from .protocol import client
    from .runtime import inside

    assert conf and peek and rtnetlink and sched and client and inside
    return os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def preload_for_starting(first: Container) -> None:
    """Load what starts containers, and what the first of them needs, for many forks that each start one."""
    from .cgroup.settle import Settling

    settling = Settling()
    settling.begin()
    from .config import conf
    from .runtime import start

    assert conf
    settling.wait()
    try:
        start.warm_up(first.config)
    except (LxcError, OSError):
        pass  # its own start says so


def look_inside(container: Container, function: Callable[[], object], timeout: float) -> object:
    """The plain data that function() returns in the container's user, network and mount namespaces; None on failure."""
    from .linux import sched
    from .protocol import client
    from .runtime import inside

    flags = client.clone_flags(container.name, container.lxcpath)
    if not flags or not flags & sched.CLONE_NEWNS:
        return None  # it sees our own files
    pidfd = client.init_pidfd(container.name, container.lxcpath)
    if pidfd is None:
        return None
    try:
        return inside.in_container(pidfd, flags, function, timeout)
    finally:
        os.close(pidfd)


def look_into_tree(folder: int, function: Callable[[], object], timeout: float) -> object:
    """The plain data that function() returns with this folder (a descriptor) as root directory; None on failure."""
    from .runtime import inside

    return inside.in_root(folder, function, timeout)
