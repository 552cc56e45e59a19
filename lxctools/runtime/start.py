# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-start, the monitor's side: from the command to RUNNING, stage by stage, and the loop over reboots.

start() is called by the command; run_monitor() is the life of a monitor; _boot() is the sequence of one boot, and
its counterpart in the container is child.run_child(). The messages between the two are drawn in sync.py.
"""

from __future__ import annotations

import _signal
import os
import select

from .. import files, locks, log, namespaces, paths, states
from ..cgroup import hierarchy
from ..cgroup import limits as cgroup_limits
from ..cgroup.session import ContainerCgroups
from ..config.net import Net
from ..confine import limits, lsm, seccomp
from ..errors import LxcError, describe
from ..hooks.run import run_hooks, run_script
from ..idmap import apply as idmap_apply
from ..idmap.ranges import to_host
from ..idmap.userns import run_in_userns
from ..linux import sched, signals
from ..mounts import idmapped, rootfs
from ..network import iface
from ..process import exit_status
from ..protocol import monitor as broadcast
from ..protocol import server as command_server
from ..storage import backend as storage_backend
from ..terminal.console import Console, TtySlots
from . import child, daemon, end, handlers, monitor, seal, spaces
from .instance import STOP, Instance, Request
from .sync import DEVICES, EXEC, GO, IDMAP, MOUNT, READY, PeerGone, pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..cgroup.settle import Settling
    from ..config.conf import Config
    from ..idmap.ranges import IdMap

_HOSTS_INIT = "/sbin/init"
_CANCELLING = frozenset((_signal.SIGTERM, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGHUP))


def start(
    name: str,
    lxcpath: str,
    conf: Config,
    *,
    argv: Sequence[str] = (),
    foreground: bool = False,
    execute: bool = False,
    pidfile: str = "",
    close_fds: bool = False,
    destroy: Callable[[], None] | None = None,
    report: daemon.Report | None = None,
    settling: Settling | None = None,
) -> int:
    """Start a container.

    argv: the program to run instead of lxc.init.cmd; execute: run it under our own init (lxc-execute).
    pidfile: gets the monitor's pid. close_fds: in the foreground close what was inherited above descriptor 2; a daemon
    always does. destroy: removes the container after its end, for lxc.ephemeral. report: this process becomes the daemon
    and tells its parent by it, so this does not return; what was wrong before that is raised. settling: may have begun to
    take the wait for the first move between cgroups.
    A daemon: returns 0 once the container is RUNNING. Foreground: returns when it has ended, with 0, or for
    execute the program's status. Raises LxcError with the first real reason, AlreadyRunning.
    """
    refuse_half_created(name, lxcpath)
    _refuse_the_hosts_root(name, conf, argv)
    if execute or conf["lxc.hook.start"]:
        _seal()
    request = Request(
        name,
        lxcpath,
        conf,
        argv=argv,
        execute=execute,
        foreground=foreground,
        pidfile=os.path.abspath(pidfile) if pidfile else "",
        destroy=destroy,
    )
    _preload(conf)
    command_socket = command_server.bind(name, lxcpath)
    try:
        if settling is not None:
            settling.wait()  # one thread again
        if foreground:
            if settling is not None:
                settling.close()
            if close_fds:
                daemon.close_inherited({command_socket.fileno(), log.file_fd()})
            else:
                daemon.hide_inherited()
            return run_monitor(request, command_socket, daemon.Report())

        def body(report: daemon.Report) -> int:
            return run_monitor(request, command_socket, report)

        title = f"[lxc monitor] {lxcpath} {name}"
        if report is not None:
            daemon.become(title, [command_socket.fileno()], body, report)
        daemon.daemonize(title, [command_socket.fileno()], body, settling)
        return 0
    finally:
        command_socket.close()


def refuse_half_created(name: str, lxcpath: str) -> None:
    """Raises LxcError when its creation goes on, or was interrupted."""
    found = locks.partial_state(lxcpath, name)
    if found == locks.ONGOING:
        raise LxcError(f'cannot start "{name}": Ongoing container creation detected', remedy="wait for lxc-create to end")
    if found == locks.ABANDONED:
        raise LxcError(
            f'cannot start "{name}": its creation was interrupted and it is incomplete',
            remedy=f"lxc-destroy -n {name}, then lxc-create it again",
        )


def _seal() -> None:
    """Code of the container's will see a process of ours: it must not lead to the host's interpreter."""
    try:
        seal.reexecute()
    except OSError as error:
        raise LxcError(f"cannot protect the host's interpreter from the container: {describe(error)}") from error


def _refuse_the_hosts_root(name: str, conf: Config, argv: Sequence[str]) -> None:
    """Without lxc.rootfs.path the container's root is the host's: its init would boot the host's services a second time,
    empty its /tmp and open its databases. Only a program named on purpose may run there, and, as in LXC, only with
    lxc.autodev = 0. Raises LxcError.
    """
    path = conf["lxc.rootfs.path"]
    if path:
        if os.path.realpath(path) == "/":
            raise LxcError("lxc.rootfs.path is the host's own root", remedy="name a folder of the container's own")
        return
    if conf["lxc.autodev"] or not argv:
        raise LxcError(
            f"{name} has no root file system (lxc.rootfs.path): it would run on the host's own",
            remedy="set lxc.rootfs.path; to run one program on the host's files: lxc.autodev = 0, and name it after --",
        )
    program = argv[0] if "/" in argv[0] else f"{os.path.dirname(_HOSTS_INIT)}/{argv[0]}"
    if os.path.realpath(program) == os.path.realpath(_HOSTS_INIT):
        raise LxcError(
            f"{name} has no root file system (lxc.rootfs.path), and {argv[0]} is the host's own init",
            remedy="set lxc.rootfs.path, or name another program",
        )


def warm_up(conf: Config) -> None:
    """Import and compile what containers like this one need, for the many that are forked off to start. Raises LxcError."""
    _preload(conf)
    seccomp.compile_for(conf)


def _preload(conf: Config) -> None:
    """Import what this container's start, end and reboots need, before the first fork.

    After it no module may be loaded: the package may be upgraded while the monitor lives, and the child is about to
    enter a root that is not ours.
    """
    iface.load({net.type for net in conf.nets})
    cgroup_limits.preload(conf["lxc.cgroup"], conf["lxc.cgroup2"])
    if conf["lxc.rootfs.path"]:
        storage_backend.for_config(conf)
    mountpoint = conf["lxc.rootfs.mount"]
    if mountpoint == paths.ROOTFS_MOUNT and not os.path.isdir(mountpoint):
        os.makedirs(mountpoint, 0o755)  # an installation makes it; a checkout has nobody else to do so


def run_monitor(request: Request, command_socket: command_server.ListeningSocket, report: daemon.Report) -> int:
    """The whole life of a monitor; returns its exit status."""
    run = Instance(request, command_socket, report)
    run.server = command_server.Server(command_socket, handlers.table(run))
    run.server.state = lambda: run.state
    watched = monitor.NOT_BLOCKED - {_signal.SIGWINCH} if request.foreground else monitor.NOT_BLOCKED
    run.old_mask = signals.block_all_but(watched)
    run.signal_fd = signals.signalfd(signals.all_but(watched))
    if request.conf["lxc.log.syslog"]:
        log.open_syslog(request.conf["lxc.log.syslog"])
    if request.pidfile:
        _write_pidfile(request.pidfile)
    try:
        if request.conf["lxc.monitor.unshare"]:
            rootfs.unshare_monitor()
        while True:
            try:
                _boot(run)
            except Exception as error:  # whatever went wrong, everything is given back
                _abort(run, error)
                return 1
            wait_status = monitor.watch(run)
            run.exit_status = wait_status
            broadcast.publish_exit(run.lxcpath, run.name, wait_status)
            if end.wind_up(run, end.target_of(wait_status)) == STOP:
                break
            run.reboots += 1
    finally:
        if request.pidfile:
            files.unlink_quietly(request.pidfile)
        signals.restore(run.old_mask)
        run.close_fd("signal_fd")
    return exit_status(run.exit_status) if request.execute else 0


def _write_pidfile(path: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LxcError(f"cannot write the pid file {path}: {describe(error)}") from error
    os.write(fd, str(os.getpid()).encode())
    os.close(fd)


def _abort(run: Instance, error: BaseException) -> None:
    """A start that failed: tell the clients, end what runs, give everything back, then tell the command why."""
    error = _reason(run, error)
    for state in [states.ABORTING] * (2 if run.init_pid else 1):
        run.announce(state)
    end.kill_init(run)
    if run.channel is not None:
        run.channel.close()
        run.channel = None
    end.wind_up(run, STOP)
    if run.request.foreground:
        raise error
    run.report.failed(error)  # only now: when the command returns, nothing is left


def _reason(run: Instance, error: BaseException) -> BaseException:
    """What a start failed of: the child's last words where it died, else what happened here."""
    if isinstance(error, PeerGone):
        return _last_words(run) or LxcError(_why_child_died(run))
    if run.channel is not None and _child_is_dead(run):
        error = _last_words(run) or error  # what failed here may have failed because of its death
    if isinstance(error, LxcError | OSError):
        return error
    return LxcError(f"internal error in the monitor: {type(error).__name__}: {error}")


def _child_is_dead(run: Instance) -> bool:
    """Whether nothing more can come through the channel."""
    poller = select.poll()
    if run.init_pidfd < 0:
        return False
    poller.register(run.init_pidfd, select.POLLIN)
    return bool(poller.poll(0))


def _last_words(run: Instance) -> LxcError | None:
    """The reason that a dead child has left in the channel."""
    assert run.channel is not None
    while True:
        try:
            _kind, _payload, fds = run.channel.receive(READY, IDMAP)
        except LxcError as error:
            return error
        except (PeerGone, OSError):
            return None
        for fd in fds:
            os.close(fd)


def _why_child_died(run: Instance) -> str:
    if run.init_pid <= 0:
        return "the container's first process could not be made"
    end.kill_init(run)
    code = os.waitstatus_to_exitcode(run.exit_status)
    how = f"exited with status {code}" if code >= 0 else f"was killed by signal {-code}"
    return f"the container's first process {how} before init was executed"


def _boot(run: Instance) -> None:
    """One boot: everything between STARTING and RUNNING. What it makes, end.wind_up() gives back."""
    conf = run.conf
    label = lsm.prepare(conf)
    run.announce(states.STARTING)
    _hooks(run, "pre-start")
    _host_console(run)
    policy = seccomp.compile_for(conf)  # a bad policy fails here, before anything exists
    host = hierarchy.detect(relative=bool(conf["lxc.cgroup.relative"]))
    run.cgroups = ContainerCgroups(conf, run.name, host)
    run.cgroups.command_pid = run.report.command
    run.cgroups.cleanup_stale()
    run.cgroups.create_monitor()
    shared = spaces.open_shared(conf, run.lxcpath)
    flags = spaces.to_create(conf)
    run.pin_fd = rootfs.pin(conf)
    iface.resolve_auto_gateways(conf.nets)
    run.cgroups.create_payload()
    run.root_fd = _open_root(conf)
    try:
        into = _clone(run, flags, shared, policy, label)
    finally:
        run.close_fd("root_fd")
    assert run.channel is not None
    run.namespace_fds = spaces.keep(run.init_pid, run.clone_flags)
    if conf["lxc.sched.core"]:
        _core_scheduling(run.init_pid)
    maps = conf["lxc.idmap"]
    if run.clone_flags & sched.CLONE_NEWUSER:
        idmap_apply.write_maps(run.init_pid, maps)
    limits.apply_to(run.init_pid, conf)
    run.hooks.export("LXC_PID", str(run.init_pid))
    # The child can mount its root while we do the rest; hooks of it must come after the network's scripts.
    wait_with_go = bool(conf["lxc.hook.pre-mount"])
    if not wait_with_go:
        run.channel.send(GO)
    # All moves in one go: the first write to a cgroup.procs waits for a grace period, those right after it do not.
    run.cgroups.enter_monitor(os.getpid())
    run.cgroups.setup_limits()
    run.cgroups.enter_payload(run.init_pid, unified=not into)
    if maps:
        run.cgroups.chown_payload(maps)
    if run.clone_flags & sched.CLONE_NEWNET:
        _create_network(run)
    if wait_with_go:
        run.channel.send(GO)
    run.channel.send(DEVICES, [net.runtime for net in conf.nets])
    ready, fds = _until_ready(run)
    _take(run, ready, fds)
    run.cgroups.setup_device_limits()
    _hooks(run, "start-host")
    run.channel.send(EXEC)
    _until_executed(run)
    if run.console is not None:
        run.console.attach_peer(foreground=run.request.foreground)
    run.announce(states.RUNNING)
    run.report.running()


def _open_root(conf: Config) -> int:
    """The root file system mounted detached, where the root of a container with id maps could not mount it; else -1.

    So is one whose device a process of the container's must not attach.
    """
    if not conf["lxc.rootfs.path"] or os.geteuid() != 0:
        return -1
    module = storage_backend.for_config(conf)
    if not module.INFO.by_monitor and not (module.INFO.host_only and conf["lxc.idmap"]):
        return -1
    return int(module.open_mount(str.__str__(conf["lxc.rootfs.path"]), conf["lxc.rootfs.options"]))


def _core_scheduling(pid: int) -> None:
    """A core scheduling cookie of its own for the container (lxc.sched.core, prctl(2) PR_SCHED_CORE). Raises LxcError."""
    try:
        sched.core_sched_create(pid, sched.PIDTYPE_TGID)
    except OSError as error:
        raise LxcError(
            f"lxc.sched.core: this kernel or machine has no core scheduling: {describe(error)}",
            remedy="it needs Linux 5.14 with CONFIG_SCHED_CORE, and SMT switched on; or set lxc.sched.core = 0",
        ) from error


def _hooks(run: Instance, hook: str) -> None:
    """Hooks of the start can be interrupted: a signal to the monitor cancels the start, a hanging hook included."""
    if run.conf[f"lxc.hook.{hook}"]:
        try:
            with signals.interruptible(_CANCELLING):
                run_hooks(run.hooks, hook)
        except signals.Interrupted as error:
            raise LxcError(f"the start was cancelled by signal {error.args[0]} during the {hook} hooks") from None
    _cancelled(run)


def _cancelled(run: Instance) -> None:
    """Raise when a signal that cancels a start has arrived."""
    for number, _sender in signals.read(run.signal_fd):
        if number in _CANCELLING:
            raise LxcError(f"the start was cancelled by signal {number}")


def _host_console(run: Instance) -> None:
    """The console pty, unless the container's own devpts provides it."""
    conf = run.conf
    if conf["lxc.console.path"] == "none":
        return
    run.console = Console(conf)
    if conf["lxc.pty.max"] <= 1:
        run.console.open_host_pty()
        _give_console(run.console.slave, conf["lxc.idmap"])


def _give_console(slave: int, maps: Sequence[IdMap]) -> None:
    """Give a pty of the host's devpts to the container's root: inside it would be nobody's."""
    uid, gid = to_host(maps, "u", 0), to_host(maps, "g", 0)
    if not maps or uid is None or gid is None:
        return
    try:
        if os.geteuid() == 0:
            os.fchown(slave, uid, gid)
        else:
            os.fchown(slave, -1, os.getegid())  # its group, the host's tty, is not mapped: nobody inside may change it
            run_in_userns(maps, os.fchown, slave, 0, 0)
    except (OSError, LxcError) as error:
        log.warn(f"the console is not the container's root's own: {describe(error)}")


def _clone(
    run: Instance,
    flags: int,
    shared: list[tuple[str, int, int]],
    policy: tuple[bytes, bool] | None,
    label: lsm.Label | None,
) -> bool:
    """Make the process that becomes init, in its namespaces; sets run.init_pid, init_pidfd and channel.

    Returns whether it was born in the unified hierarchy's cgroup.
    """
    ours, theirs = pair()
    run.channel = ours
    assert run.cgroups is not None
    into = run.cgroups.clone_fd()
    # Only the unified hierarchy can be entered by clone3 itself; elsewhere the cgroup namespace must be made after
    # the process was moved, so init does that.
    at_clone = flags if into >= 0 and not run.cgroups.has_v1 else flags & ~sched.CLONE_NEWCGROUP
    at_clone &= ~sched.CLONE_NEWTIME  # its offsets must be written before it is entered
    run.clone_flags = at_clone
    run.created_namespaces = flags
    arguments = child.Arguments(run, theirs, flags & ~at_clone, policy, label)
    try:
        for cgroup_fd in dict.fromkeys((into, -1)):
            try:
                _clone_once(run, at_clone, shared, cgroup_fd, arguments)
            except OSError as error:
                if cgroup_fd < 0:
                    raise LxcError(f"cannot make the container's namespaces: {describe(error)}") from error
                log.debug(f"the kernel does not clone into a cgroup: {describe(error)}")
            else:
                return cgroup_fd >= 0
    finally:
        theirs.close()
        for _name, _flag, fd in shared:
            os.close(fd)
    return False


def _clone_once(
    run: Instance, flags: int, shared: list[tuple[str, int, int]], cgroup_fd: int, arguments: child.Arguments
) -> None:
    if shared:
        run.init_pid = _clone_beside(flags, shared, cgroup_fd, arguments)
        run.init_pidfd = os.pidfd_open(run.init_pid)
        return
    pid, pidfd = sched.clone3(flags, cgroup_fd=cgroup_fd)
    if pid == 0:
        child.run_child(arguments)
    run.init_pid = pid
    run.init_pidfd = pidfd


def _clone_beside(
    flags: int, shared: list[tuple[str, int, int]], into: int, arguments: child.Arguments
) -> int:
    """clone3 from a helper that has joined the shared namespaces; the child is ours (CLONE_PARENT). Returns its pid."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    helper = os.fork()
    if helper == 0:
        try:
            for _name, flag, fd in shared:
                sched.setns(fd, flag)
            pid, _pidfd = sched.clone3(flags | sched.CLONE_PARENT, exit_signal=0, cgroup_fd=into)
        except OSError as error:
            os.write(writer, f"!{describe(error)}".encode("utf-8", "backslashreplace"))
            os._exit(1)
        if pid == 0:
            child.run_child(arguments)
        os.write(writer, str(pid).encode())
        os._exit(0)
    os.close(writer)
    answer = os.read(reader, 4096).decode()
    os.close(reader)
    os.waitpid(helper, 0)
    if not answer or answer.startswith("!"):
        raise LxcError(f"cannot join the shared namespaces: {answer[1:] or 'the helper died'}")
    return int(answer)


def _create_network(run: Instance) -> None:
    run.network_made = True

    def script(net: Net, event: str, extra: list[str]) -> None:
        try:
            with signals.interruptible(_CANCELLING):
                run_script(run.hooks, net, event, extra)
        except signals.Interrupted as error:
            raise LxcError(f"the start was cancelled by signal {error.args[0]} during a network script") from None

    iface.create_all(run.conf.nets, run.init_pid, script, reboot=run.reboots > 0)
    _cancelled(run)


def _wait(run: Instance) -> None:
    """Until the child has said something or has died, or the start is cancelled."""
    assert run.channel is not None
    poller = select.poll()
    poller.register(run.channel.fileno(), select.POLLIN)
    poller.register(run.signal_fd, select.POLLIN)
    while True:
        for fd, _events in poller.poll():
            if fd == run.channel.fileno():
                return
            _cancelled(run)


def _until_ready(run: Instance) -> tuple[dict[str, object], list[int]]:
    """Serve the child's requests until it is READY: (what it tells, descriptors)."""
    channel = run.channel
    assert channel is not None
    while True:
        _wait(run)
        kind, payload, fds = channel.receive(READY, IDMAP)
        if kind == READY:
            assert isinstance(payload, dict)
            return payload, fds
        assert isinstance(payload, tuple)
        mount_fd = idmapped.open_mount(payload, run.namespace_fds.get("user", -1))
        channel.send(MOUNT, None, [mount_fd] if mount_fd >= 0 else [])
        if mount_fd >= 0:
            os.close(mount_fd)


def _take(run: Instance, ready: dict[str, object], fds: list[int]) -> None:
    """What the child made inside: devpts, ttys, console, seccomp listener, final names of the interfaces."""
    waiting = list(fds)

    def take(present: object) -> int:
        return waiting.pop(0) if present else -1

    run.devpts_fd = take(ready["devpts"])
    run.seccomp_fd = take(ready["listener"])
    console_master, console_slave = take(ready["console"]), take(ready["console"])
    if console_master >= 0 and run.console is not None:
        run.console.take_pty(console_master, console_slave)
    count = ready["ttys"]
    assert isinstance(count, int)
    pairs = [(take(True), take(True)) for _ in range(count)]
    run.ttys = TtySlots(pairs)
    devices = ready["devices"]
    assert isinstance(devices, list)
    for net, runtime in zip(run.conf.nets, devices, strict=True):
        net.runtime.update(runtime)
    # Only now do the namespaces exist that init made itself.
    missing = run.created_namespaces & ~run.clone_flags
    run.namespace_fds.update(spaces.keep(run.init_pid, missing))
    kept = run.namespace_fds
    run.namespace_fds = {row.name: kept[row.name] for row in namespaces.NAMESPACES if row.name in kept}
    run.clone_flags = run.created_namespaces


def _until_executed(run: Instance) -> None:
    """The channel's end of file after EXEC means that execve succeeded; a message is the reason why not."""
    channel = run.channel
    assert channel is not None
    _wait(run)
    try:
        channel.receive()
    except PeerGone:
        pass
    channel.close()
    run.channel = None
