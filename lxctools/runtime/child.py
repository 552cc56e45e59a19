# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-start, the container's side: the process that becomes init, from clone3 to execve.

It runs with the host's privileges in a root that the container's owner controls from the moment that root is mounted.
So the door is shut first: nothing is imported, looked up or displayed from files after _shut_the_door(); whatever goes
wrong is sent to the monitor as text.
"""

from __future__ import annotations

import _signal
import _socket
import os

from ..confine import caps, limits, lsm
from ..errors import LxcError, describe
from ..hooks.run import run_hooks
from ..linux import keyctl, prctl, sched, seccomp, tty
from ..mounts import auto, dev, ops, plan, rootfs
from ..network import iface
from ..storage import backend as storage_backend
from . import door, environment, init
from .sync import DEVICES, ERROR, EXEC, GO, IDMAP, MOUNT, READY, Channel, PeerGone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from ..config.conf import Config
    from ..mounts.resolve import Root
    from .instance import Instance

DEFAULT_INIT = "/sbin/init"
_PR_LINUX = {"i686": sched.PER_LINUX32, "x86_64": sched.PER_LINUX}


class Arguments:
    """What the child is born with: the monitor's state (a copy), its end of the channel, what it still has to do."""

    __slots__ = ("channel", "label", "later", "policy", "run")

    def __init__(
        self,
        run: Instance,
        channel: Channel,
        later: int,
        policy: tuple[bytes, bool] | None,
        label: lsm.Label | None,
    ) -> None:
        self.run = run
        self.channel = channel
        self.later = later  # CLONE_* bits of the namespaces that it makes itself
        self.policy = policy  # seccomp program, and whether it notifies
        self.label = label


def run_child(arguments: Arguments) -> None:
    """Everything until execve. Never returns: ends with init, or with an ERROR message and exit status 1."""
    try:
        _run(arguments)
    except PeerGone:
        pass  # the monitor is dead; so are we, by its death signal
    except (LxcError, OSError) as error:
        _tell(arguments.channel, error)
    except BaseException as error:
        _tell(arguments.channel, LxcError(f"internal error in the container's start: {type(error).__name__}: {error}"))
    finally:
        os._exit(1)


def _tell(channel: Channel, error: LxcError | OSError) -> None:
    text = error.message if isinstance(error, LxcError) else describe(error)
    remedy = error.remedy if isinstance(error, LxcError) else ""
    try:
        channel.send(ERROR, (text, remedy))
    except (PeerGone, OSError):
        pass


def _run(arguments: Arguments) -> None:
    run, channel = arguments.run, arguments.channel
    conf = run.conf
    _become_a_child(run)
    door.shut()
    channel.receive(GO)
    mapped = bool(conf["lxc.idmap"]) or "user" in conf["lxc.namespace.share"]
    if mapped:
        _become_container_root(conf)
    run.hooks.in_child([*conf["lxc.environment"], *conf["lxc.environment.hooks"]])

    # The root. Shared mounts are made slave first, so that nothing below reaches the host.
    rootfs.slave_all()
    run_hooks(run.hooks, "pre-mount")
    _check_folders(conf)
    nesting = lsm.allows_nesting(conf)  # asked while the host's /sys is in sight
    early: list[object] = []
    root = rootfs.mount_rootfs(conf, _backend(conf), _ask(channel, early), tree=run.root_fd)
    if conf["lxc.uts.name"] and "uts" not in conf["lxc.namespace.share"]:
        _set_host_name(conf["lxc.uts.name"])
    if not conf["lxc.keyring.session"]:
        lsm.prepare_keyring(conf)
        keyctl.join_session_keyring()

    devices = early[0] if early else channel.receive(DEVICES)[1]
    assert isinstance(devices, list)
    for net, runtime in zip(conf.nets, devices, strict=True):
        net.runtime.update(runtime)
    _enter_later_namespaces(arguments)
    if run.created_namespaces & sched.CLONE_NEWNET:
        iface.configure_all(conf.nets)

    # Mounts.
    if conf["lxc.autodev"]:
        dev.setup_autodev(root, conf)
    auto.mount_auto_proc_sys(root, conf, caps.keeps(conf, caps.NET_ADMIN))
    entries = plan.entries(conf, run.lxcpath, run.name, nesting=nesting)
    ops.mount_entries(root, entries, conf["lxc.rootfs.path"], f"{run.lxcpath}/{run.name}", _ask(channel, early))
    assert run.cgroups is not None
    auto.mount_auto_cgroup(
        root,
        conf,
        run.cgroups.mount_data(),
        cgroup_ns=bool(run.created_namespaces & sched.CLONE_NEWCGROUP),
        keep_sys_admin=caps.keeps(conf, caps.SYS_ADMIN),
    )
    run_hooks(run.hooks, "mount")
    rootfs.check_not_overmounted(root)
    if conf["lxc.autodev"]:
        run_hooks(run.hooks, "autodev")
        dev.populate_nodes(root)
    devpts = dev.devpts(root, conf)
    console = _console(run, root, devpts)
    ttys = dev.ttys(root, conf, devpts, conf["lxc.tty.max"], bind=not run.request.execute)
    tty_names = dev.tty_names(ttys)
    devpts = dev.release_devpts(root, conf, devpts)
    if tty_names:
        run.hooks.export("container_ttys", " ".join(tty_names))
    dev.dev_symlinks(root)
    # Opened while this is still the host's /proc: the container's own could be anything.
    attr_fd = -1
    if arguments.label is not None:
        attr_fd = os.open(f"/proc/self/attr/{arguments.label.attribute}", os.O_WRONLY | os.O_CLOEXEC)
    rootfs.pivot(root)
    rootfs.slave_shmounts(root, conf)
    if conf["lxc.autodev"]:
        dev.boot_id(root)

    # Confinement; from here on the host is out of sight.
    if conf["lxc.arch"]:
        sched.personality(_PR_LINUX[conf["lxc.arch"]])
    limits.apply_sysctls(conf)
    caps.drop(caps.to_drop(conf))
    if arguments.label is not None:
        lsm.apply(arguments.label, attr_fd)
        os.close(attr_fd)
    if conf["lxc.no_new_privs"]:
        prctl.set_no_new_privs()
    listener = seccomp.load_program(*arguments.policy) if arguments.policy is not None else -1
    run_hooks(run.hooks, "start")
    _standard_streams(run, console)
    os.setsid()
    _controlling_terminal(run, console)
    _working_folder(conf)

    _ready(channel, run, devpts, listener, console, ttys)
    channel.receive(EXEC)
    variables = environment.of_init([*conf["lxc.environment"], *conf["lxc.environment.runtime"]], tty_names)
    _become_init_user(conf, mapped)
    if run.request.execute:
        channel.close()
        os._exit(init.run(run.request.argv, variables))
    argv = _init_argv(run)
    init.default_signals()
    error = init.execute(argv, variables)
    raise LxcError(
        f'cannot execute init "{argv[0]}": {error.strerror}',
        remedy="lxc.init.cmd, or the command after --, must be a program of the container's root file system",
    )


def _become_a_child(run: Instance) -> None:
    """Default signal dispositions (all stay blocked until init is executed), and death with the monitor."""
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGQUIT, _signal.SIGHUP, _signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)
    _die_with_the_monitor(run.conf)
    # Our copies of what the monitor alone must hold: its end of the channel, above all.
    assert run.channel is not None
    run.channel.close()
    run.command_socket.close()


def _die_with_the_monitor(conf: Config) -> None:
    prctl.set_pdeathsig(conf["lxc.monitor.signal.pdeath"])


def _become_container_root(conf: Config) -> None:
    """In the user namespace: no groups of the host's, the ids of the container's root (or of its init)."""
    try:
        os.setgroups([])
    except PermissionError:
        pass  # denied in this user namespace; the groups are unmapped there anyway
    rows = conf["lxc.idmap"]
    has_root = not rows or any(row.nsid == 0 for row in rows)
    uid, gid = (0, 0) if has_root else (conf["lxc.init.uid"], conf["lxc.init.gid"])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    prctl.set_dumpable(True)
    _die_with_the_monitor(conf)  # the change of ids has cleared it


def _check_folders(conf: Config) -> None:
    """lxc.rootfs.mount and lxc.rootfs.path must be there; the message names the folder that is in the way."""
    path = conf["lxc.rootfs.path"]
    if not path or conf.rootfs_type not in ("", "dir"):
        return
    place = ""
    for part in path.strip("/").split("/")[:-1]:
        place += f"/{part}"
        if not os.access(place, os.X_OK):
            if not os.path.exists(place):
                break
            raise LxcError(
                f"the container's root may not search {place}, in which its root file system {path} is",
                remedy=f"chmod o+x {place}",
            )
    if not os.path.isdir(path):
        raise LxcError(f'the root file system "{path}" does not exist', remedy="check lxc.rootfs.path")


def _backend(conf: Config) -> ModuleType | None:
    """What mounts the root, or None for a folder."""
    path = conf["lxc.rootfs.path"]
    if not path or storage_backend.type_of(conf) == "dir":
        return None
    return storage_backend.for_config(conf)


def _ask(channel: Channel, early: list[object]) -> ops.Ask:
    """How a mount with mapped ids is got: the monitor makes it. Its DEVICES may be on the way already: kept in early."""

    def ask(wanted: tuple[str, bool, str, int, int, bool, str]) -> int:
        channel.send(IDMAP, wanted)
        kind, payload, fds = channel.receive(MOUNT, DEVICES)
        if kind == DEVICES:
            early.append(payload)
            kind, payload, fds = channel.receive(MOUNT)
        return fds[0] if fds else -1

    return ask


def _set_host_name(name: str) -> None:
    try:
        _socket.sethostname(name)
    except OSError as error:
        raise LxcError(f"lxc.uts.name = {name}: {describe(error)}") from error


def _enter_later_namespaces(arguments: Arguments) -> None:
    """The cgroup namespace, whose root is where this process now is, and the time namespace with its offsets."""
    if arguments.later & sched.CLONE_NEWCGROUP:
        sched.unshare(sched.CLONE_NEWCGROUP)
    if not arguments.later & sched.CLONE_NEWTIME:
        return
    sched.unshare(sched.CLONE_NEWTIME)
    conf = arguments.run.conf
    lines = []
    for clock, key in ((7, "lxc.time.offset.boot"), (1, "lxc.time.offset.monotonic")):
        seconds, nanoseconds = divmod(conf[key], 10**9)
        if conf[key]:
            lines.append(f"{clock} {seconds} {nanoseconds}\n")
    try:
        fd = os.open("/proc/self/timens_offsets", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, "".join(lines).encode())
        finally:
            os.close(fd)
        fd = os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
        try:
            sched.setns(fd, sched.CLONE_NEWTIME)
        finally:
            os.close(fd)
    except OSError as error:
        raise LxcError(f"lxc.time.offset: {describe(error)}", remedy="an offset may not make a clock negative") from error


class _Console:
    """The console's pty as the child has it: from the container's devpts (made here), or the host's (inherited)."""

    __slots__ = ("made_here", "master", "slave")

    def __init__(self, master: int, slave: int, *, made_here: bool) -> None:
        self.master = master
        self.slave = slave
        self.made_here = made_here


def _console(run: Instance, root: Root, devpts: int) -> _Console | None:
    conf = run.conf
    if run.console is None:
        return None
    if conf["lxc.pty.max"] > 1 and devpts >= 0:
        console = _Console(*dev.console_from_devpts(devpts), made_here=True)
        dev.bind_console(root, conf, console.slave, devpts)
    else:
        console = _Console(run.console.master, run.console.slave, made_here=False)
        if conf["lxc.autodev"] or root.exists("dev"):
            dev.bind_console(root, conf, console.slave)
    return console


def _standard_streams(run: Instance, console: _Console | None) -> None:
    """Init's streams: the console's pty; for lxc-execute in the foreground only in the place of terminals."""
    if console is None:
        if not run.request.foreground:
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
        return
    for fd in (0, 1, 2):
        if run.request.execute and run.request.foreground and not os.isatty(fd):
            continue
        os.dup2(console.slave, fd)


def _controlling_terminal(run: Instance, console: _Console | None) -> None:
    """In the foreground a shell as init wants job control; a real init opens its terminals itself."""
    if console is None or not run.request.foreground or not os.isatty(0):
        return
    try:
        tty.set_controlling(0)
    except OSError:
        pass  # it controls another session


def _working_folder(conf: Config) -> None:
    folder = conf["lxc.init.cwd"]
    if not folder:
        return
    try:
        os.makedirs(folder, 0o755, exist_ok=True)
        os.chdir(folder)
    except OSError as error:
        raise LxcError(f"lxc.init.cwd = {folder}: {describe(error)}") from error


def _ready(
    channel: Channel, run: Instance, devpts: int, listener: int, console: _Console | None, ttys: list[tuple[int, int]]
) -> None:
    fds = [fd for fd in (devpts, listener) if fd >= 0]
    made_here = console is not None and console.made_here
    if console is not None and made_here:
        fds += [console.master, console.slave]
    for pair in ttys:
        fds += pair
    payload = {
        "devpts": devpts >= 0,
        "listener": listener >= 0,
        "console": made_here,
        "ttys": len(ttys),
        "devices": [net.runtime for net in run.conf.nets],
    }
    channel.send(READY, payload, fds)


def _become_init_user(conf: Config, mapped: bool) -> None:
    """Ownership of the terminals among the standard streams, then init's groups and ids."""
    uid, gid = conf["lxc.init.uid"], conf["lxc.init.gid"]
    for fd in (0, 1, 2):
        if os.isatty(fd):
            try:
                os.fchown(fd, uid, -1)
                os.fchmod(fd, 0o600)
            except OSError:
                pass  # a terminal of the host's, in a user namespace
    groups = conf["lxc.init.groups"]
    try:
        os.setgroups(groups)
    except PermissionError as error:
        if not mapped or groups:
            raise LxcError(f"lxc.init.groups = {','.join(map(str, groups))}: {describe(error)}") from error
    if gid:
        os.setresgid(gid, gid, gid)
    if uid:
        os.setresuid(uid, uid, uid)
        _die_with_the_monitor(conf)  # the change of ids has cleared it


def _init_argv(run: Instance) -> list[str]:
    """Words after --, else lxc.init.cmd, else /sbin/init."""
    if run.request.argv:
        return run.request.argv
    command = run.conf["lxc.init.cmd"]
    return split_command(command) if command else [DEFAULT_INIT]


def split_command(text: str) -> list[str]:
    """Words at blanks; a quote at the beginning of a word groups up to the next one of its kind (LXC behaviour)."""
    words: list[str] = []
    rest = text.lstrip(" \t")
    while rest:
        if rest[0] in "'\"" and rest[0] in rest[1:]:
            word, _, rest = rest[1:].partition(rest[0])
        else:
            word = rest.split(None, 1)[0]
            rest = rest[len(word) :]
        words.append(word)
        rest = rest.lstrip(" \t")
    return words
