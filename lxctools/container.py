# SPDX-License-Identifier: LGPL-2.1-or-later
"""Container: the public Python API, with the method names of python3-lxc.

A thin face over the packages below it: each method imports its implementation and calls it, so that a question to a
monitor does not load the start path. Unlike python3-lxc the methods raise the reason (LxcError and its subclasses)
instead of returning False.

A container is its name and its lxcpath; "running" is what its monitor says, "defined" is a file LXCPATH/NAME/config.
"""

from __future__ import annotations

import os

from . import paths, states
from .errors import Denied, LxcError, NotDefined, NotRunning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from .config.check import Reading
    from .config.conf import Config
    from .config.peek import Peek
    from .lifecycle import exchange
    from .lifecycle.copy import Source
    from .lifecycle.snapshot import Snapshot
    from .protocol.question import Ahead
    from .runtime.daemon import Report
    from .runtime.events import Event
    from .runtime.networks import Network

FOREVER = -1
ANY_TTY = -1


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
        names.update(paths.defined_in(lxcpath))
    return tuple(sorted(names, key=os.fsencode))


def get_global_config_item(key: str) -> str:
    """A value of lxc.conf. Raises KeyError for unknown and unset keys."""
    from .config.system import system_value

    value = system_value(key)
    if value is None:
        raise KeyError(f"Invalid configuration key: {key}")
    return value


def check_config(path: str, lxcpath: str = "", name: str = "") -> Reading:
    """What is wrong in a configuration, and what this host lacks for it; name: of the container whose it is.

    Without a name, an lxc.conf is read as settings of LXC itself.

    Raises ConfigError when the file cannot be read.
    """
    from .runtime.check import check_file

    return check_file(path, lxcpath, name)


class Container:
    """One container. timeout: seconds that one question to its monitor may take. rcfile: see load_config(). Raises LxcError for that."""

    __slots__ = ("_ahead", "_config", "_rcfile", "lxcpath", "name", "timeout")

    def __init__(self, name: str, config_path: str | None = None, *, timeout: float = 10.0, rcfile: str | None = None) -> None:
        self.name = name
        self.lxcpath = config_path if config_path is not None else get_global_config_item("lxc.lxcpath")
        self.timeout = timeout
        self._ahead: Ahead | None = None
        self._config: Config | None = None
        self._rcfile = ""
        if rcfile is not None:
            self.load_config(rcfile)

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

        number = client.state(self.name, self.lxcpath, timeout=self.timeout, ahead=self._ahead)
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

        return client.init_pid(self.name, self.lxcpath, timeout=self.timeout, ahead=self._ahead) or -1

    def ask_ahead(self, *, state: bool = False, init_pid: bool = False, keys: Iterable[str] = ()) -> None:
        """Send questions to its monitor now, but those asked before whose answers nobody has read, and read the answers when
        they are asked for, each once; with none, give up those not read. For many containers: all are asked before the first
        is waited for. Never waits, never fails.
        """
        from .protocol import client, question

        requests = client.requests(state=state, init_pid=init_pid, keys=keys)
        if self._ahead is None:
            self._ahead = question.Ahead(self.name, self.lxcpath)
        if requests:
            self._ahead.send(requests)
        else:
            self._ahead.close()

    @property
    def controllable(self) -> bool:
        """False only when it runs and its monitor refuses the caller."""
        try:
            self.require_control()
        except Denied:
            return False
        return True

    def require_defined(self) -> None:
        """Raise NotDefined unless it has a configuration on disk."""
        if not self.defined:
            raise NotDefined(f"{self.name} doesn't exist", remedy=f"lxc-ls -P {self.lxcpath} lists what does")

    def require_running(self) -> None:
        """Raise NotRunning unless it runs."""
        if not self.running:
            why = "" if self.defined else f": it is not defined in {self.lxcpath}"
            raise NotRunning(f"{self.name} is not running{why}")

    def require_control(self) -> None:
        """Raise Denied when it runs and its monitor refuses the caller. Raises TimedOut."""
        from .protocol import client

        client.may_control(self.name, self.lxcpath, timeout=self.timeout)

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

        Only where one is missing the whole check is loaded. Raises Misconfigured.
        """
        from .runtime import missing

        if missing.something_is(self.config) and os.path.isfile(self.config_file_name):  # a pipe can be read once
            from .runtime.check import refuse

            refuse(self.config, self.config_file_name, self.lxcpath, self.name, own_file=not self._rcfile)

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

        return client.config_item(self.name, self.lxcpath, key, timeout=self.timeout, ahead=self._ahead)

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
            self.name, self.lxcpath, config_file=config_file, template=template, template_args=list(args),
            backend=backend, backend_opts=backend_options or {}, progress=not quiet,
        )  # fmt: skip

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
        from .lifecycle.copy import Wishes, copy

        chosen = dict.fromkeys(flags, True) | wishes
        where = config_path or self.lxcpath
        copy(self._source(), newname, where, Wishes(backend=bdevtype, **chosen))  # type: ignore[arg-type]
        return Container(newname, where)

    def clone_once(
        self,
        use: Callable[[Container], int],
        newname: str = "",
        *,
        config_path: str = "",
        bdevtype: str = "",
        mounts: Sequence[tuple[str, ...]] = (),
        tmpfs: bool = False,
        keep_data: bool = False,
        layer_fstab: bool = False,
        prefix: str = "",
        suffix: int = 6,
        **wishes: object,
    ) -> int:
        """Make a snapshot of it that is removed when it ends, and return what use() makes of it: start it, for one.

        mounts: arguments of lifecycle.ephemeral.Mount; tmpfs, keep_data, layer_fstab: fields of its Extras; wishes: of
        lifecycle.copy.Wishes. Without a newname: prefix (default: NAME_) and that many random letters. Raises LxcError; then there is
        none, unless keep_data.
        """
        from .lifecycle import ephemeral
        from .lifecycle.copy import Wishes

        where = config_path or self.lxcpath
        name = newname or ephemeral.free_name(prefix or f"{self.name}_", where, suffix)
        extras = ephemeral.Extras(
            mounts=[ephemeral.Mount(*mount) for mount in mounts], tmpfs=tmpfs, keep_data=keep_data, layer_fstab=layer_fstab
        )
        wanted = Wishes(snapshot=True, backend=bdevtype, **wishes)  # type: ignore[arg-type]
        return ephemeral.lend(self._source(), name, where, wanted, extras, lambda: use(Container(name, where)))

    def _source(self) -> Source:
        from .lifecycle.copy import Source

        return Source(self.name, self.lxcpath, self.config if self._rcfile else None)

    def export(self, path: str, **wishes: bool) -> None:
        """Write it to a file, "-" for standard output. wishes: fields of lifecycle.export.Wishes. Raises LxcError."""
        from .lifecycle.export import Wishes, export

        export(self._source(), path, Wishes(**wishes))

    def rename(self, new_name: str) -> Container:
        """Give it another name. Raises LxcError; then it has the old one."""
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
        self, cmd: Sequence[str] = (), *, useinit: bool = False, daemonize: bool = True, close_fds: bool = False, pidfile: str = "",
        report: Report | None = None,
    ) -> int:  # fmt: skip
        """Start it. A daemon: 0 once it is RUNNING. In the foreground: when it has ended, with the exit status.

        useinit: run cmd under our own init, as lxc-execute does. report: this process, a fork made for it, becomes the
        monitor. Raises LxcError with the reason.
        """
        from .cgroup.settle import Settling

        self._refuse_what_is_missing()
        self._settle()
        settling = Settling()
        settling.begin()
        try:
            if self.config["lxc.ephemeral"]:
                from .lifecycle import destroy  # for its end: a monitor loads nothing

                assert destroy
            from .runtime.start import start

            return start(
                self.name, self.lxcpath, self.config, argv=list(cmd), foreground=not daemonize, execute=useinit,
                pidfile=pidfile, close_fds=close_fds, destroy=self._destroy_ephemeral, report=report, settling=settling,
            )  # fmt: skip
        finally:
            settling.close()

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
        from .runtime import gate

        if not options.get("elevate_cgroup"):
            gate.settling.begin()
        try:
            from .runtime.attach import AttachOptions, attach

            chosen = AttachOptions()
            chosen.argv = list(cmd)
            for field, value in options.items():
                setattr(chosen, field, value)
            return attach(self.name, self.lxcpath, chosen)
        finally:
            gate.settling.close()

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
        self, sources: Sequence[str], path: str, *, mode: int | None = None, uid: int | None = None, gid: int | None = None,
        recursive: bool = False, parents: bool = False,
    ) -> None:  # fmt: skip
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

        Raises LxcError; what was typed is in the folder then.
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

        return client.cgroup_item(self.name, self.lxcpath, item, timeout=self.timeout)

    def set_cgroup_item(self, item: str, value: str) -> None:
        """Write a cgroup file such as memory.max in its limit cgroup; version 2 has devices.allow and devices.deny, too.

        Raises OSError, and ValueError or LxcError for a device rule that cannot be set.
        """
        from .runtime import cgroup_item

        cgroup_item.write(self.name, self.lxcpath, item, value, timeout=self.timeout)

    def add_device(self, device: str, name: str = "") -> None:
        """Give it a network interface of ours, or a node like that of the host and leave to use it. Raises LxcError."""
        from .runtime import device as devices

        devices.give(self.name, self.lxcpath, device, name or device)

    def remove_device(self, device: str, name: str = "") -> None:
        """Take back an interface, or remove a node and the leave to use it. Raises LxcError."""
        from .runtime import device as devices

        devices.take_back(self.name, self.lxcpath, device, name or device)

    def get_interfaces(self) -> tuple[str, ...]:
        """The names of the interfaces in its network namespace, sorted; () when stopped."""
        network = self._network()
        return network.interfaces if network else ()

    def get_ips(self, interface: str | None = None, family: str | None = None) -> tuple[str, ...]:
        """Its addresses, sorted: IPv4 and IPv6 except link-local ones, of all interfaces but lo.

        interface: of this one only. family: "inet" or "inet6". () when stopped.
        """
        network = self._network()
        return network.ips(interface=interface, family=family) if network else ()

    def _network(self) -> Network | None:
        pid = self.init_pid
        return look_into_networks({pid: pid}).get(pid)


def look_into_networks(
    pids: Mapping[int, int], pidfds: Mapping[int, int] | None = None, proc: int | None = None
) -> dict[int, Network]:
    """See runtime.networks.look_into. Raises OSError."""
    from .runtime.networks import look_into

    return look_into(pids, pidfds, proc)


def as_json(data: object, indent: int | None = None) -> str:
    """For --json: one line, or indented by so many blanks; letters beyond ASCII, and bytes that are no text, as escapes."""
    import json

    return json.dumps(data, indent=indent)


def peek_at(keys: Iterable[str]) -> Peek:
    """A reader of these keys only, for many containers on disk."""
    from .config.peek import Peek

    return Peek(frozenset(keys))


def import_container(
    path: str, name: str = "", config_path: str = "", *, backend: str = "dir", backend_opts: dict[str, str] | None = None, quiet: bool = False
) -> str:
    """Make a container of a file of Container.export(), "-" for standard input; returns its name. Raises LxcError."""
    from .lifecycle.import_ import import_container

    where = config_path or get_global_config_item("lxc.lxcpath")
    return import_container(path, name, where, backend=backend, backend_opts=backend_opts, quiet=quiet)


def show_template_help(template: str) -> None:
    """Let a template print its help on our standard streams; nothing when there is no such template."""
    from .template.run import show_help

    show_help(template)


def watch(lxcpaths: Sequence[str]) -> Iterator[Event]:
    """The events of all containers of these lxcpaths, as they happen. Raises LxcError when lxc-monitord ends."""
    from .runtime import events

    return events.watch(lxcpaths)


def preload_for_starting(first: Container) -> None:
    """Load what starts containers, and what the first of them needs, for many forks that each start one."""
    from .cgroup.settle import Settling

    settling = Settling()
    settling.begin()
    try:
        from .config import conf
        from .runtime import missing, start

        assert conf and missing
        start.warm_up(first.config)
    except (LxcError, OSError):
        pass  # its own start says so
    finally:
        settling.close()
