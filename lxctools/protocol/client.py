# SPDX-License-Identifier: LGPL-2.1-or-later
"""Questions to a container's monitor, ours or liblxc's: one connection each, every one with a time limit in seconds.

No monitor is not an error: the functions answer None. They raise Denied when the monitor refuses the caller or is not the
container's, TimedOut when it does not answer, LxcError when it answers with a failure that None does not stand for.
Descriptors that are returned are close-on-exec and the caller's.
"""

from __future__ import annotations

import _struct
import errno
import os
import select
import time

from ..errors import Denied, LxcError, TimedOut
from . import commands, question
from .question import NOT_RUNNING, PATIENCE, Ahead, Limit, ask, close_all, connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterable

# How long init may take to obey the stop signal, and then the monitor with its hooks to give everything back.
STOP_PATIENCE = 60.0
CLEANUP_PATIENCE = 600.0

# What monitors that do not know a command answer; those before 4.0.7 just close.
_NOT_KNOWN = (-errno.ENOSYS, -errno.EOPNOTSUPP)

# -- numbers and texts


def ahead(
    name: str, lxcpath: str, *, state: bool = False, init_pid: bool = False, clone_flags: bool = False, keys: Iterable[str] = ()
) -> Ahead:
    """Send these questions now; the functions that are given the result take their answers from it. Never waits, never fails."""
    sent = Ahead(name, lxcpath)
    sent.send(requests(state=state, init_pid=init_pid, clone_flags=clone_flags, keys=keys))
    return sent


def requests(
    *, state: bool = False, init_pid: bool = False, clone_flags: bool = False, keys: Iterable[str] = ()
) -> list[tuple[int, bytes]]:
    """These questions as Ahead.send() takes them."""
    numbers = ((state, commands.GET_STATE), (init_pid, commands.GET_INIT_PID), (clone_flags, commands.GET_CLONE_FLAGS))
    return [(command, b"") for wanted, command in numbers if wanted] + [(commands.GET_CONFIG_ITEM, _text(key)) for key in keys]


def _text(value: str) -> bytes:
    return os.fsencode(value) + b"\0"


def _number(name: str, lxcpath: str, command: int, timeout: float, ahead: Ahead | None = None) -> int | None:
    reply = ask(name, lxcpath, command, timeout=timeout, ahead=ahead)
    if reply is None:
        return None
    if reply.ret < 0:
        raise _failure(name, command, reply.ret)
    return reply.value


def _failure(name: str, command: int, ret: int) -> LxcError:
    return LxcError(f"the monitor of {name} answers {commands.NAMES[command]} with: {os.strerror(-ret)}")


def state(name: str, lxcpath: str, *, timeout: float = PATIENCE, ahead: Ahead | None = None) -> int | None:
    """The state's number."""
    return _number(name, lxcpath, commands.GET_STATE, timeout, ahead)


def init_pid(name: str, lxcpath: str, *, timeout: float = PATIENCE, ahead: Ahead | None = None) -> int | None:
    """The process id of init in the monitor's pid namespace."""
    pid = _number(name, lxcpath, commands.GET_INIT_PID, timeout, ahead)
    return pid if pid is not None and pid > 0 else None


def may_control(name: str, lxcpath: str, *, timeout: float = PATIENCE) -> None:
    """Raise Denied when a monitor refuses the caller; no monitor refuses nobody."""
    ask(name, lxcpath, commands.GET_INIT_PID, timeout=timeout)


def clone_flags(name: str, lxcpath: str, *, timeout: float = PATIENCE, ahead: Ahead | None = None) -> int | None:
    """The CLONE_* bits of the namespaces that are the container's own."""
    flags = _number(name, lxcpath, commands.GET_CLONE_FLAGS, timeout, ahead)
    return None if flags is None else flags & 0xFFFFFFFF


def config_item(name: str, lxcpath: str, key: str, *, timeout: float = PATIENCE, ahead: Ahead | None = None) -> str | None:
    """A value of the running configuration; None also for an unknown or empty one."""
    reply = ask(name, lxcpath, commands.GET_CONFIG_ITEM, payload=_text(key), timeout=timeout, ahead=ahead)
    return None if reply is None or reply.ret < 0 or not reply.payload else reply.text()


def systemd_scope(name: str, lxcpath: str, *, timeout: float = PATIENCE) -> str | None:
    """The scope unit that a user's container on a pure unified hierarchy lives in; None for all others."""
    reply = ask(name, lxcpath, commands.GET_SYSTEMD_SCOPE, timeout=timeout)
    return None if reply is None or reply.ret < 0 or not reply.payload else reply.text()


def whose(address: bytes, *, timeout: float = PATIENCE) -> tuple[str, str] | None:
    """(name, lxcpath) of the container whose command socket this is; None when nobody answers."""
    shown = os.fsdecode(address.replace(b"\0", b"@"))
    place = ask(shown, "", commands.GET_LXCPATH, address=address, timeout=timeout)
    name = ask(shown, "", commands.GET_NAME, address=address, timeout=timeout) if place else None
    return None if place is None or name is None else (name.text(), place.text())


# -- descriptors


def _fd_of(name: str, lxcpath: str, command: int, timeout: float) -> int | None:
    reply = ask(name, lxcpath, command, timeout=timeout)
    return None if reply is None else reply.fd()


def init_pidfd(name: str, lxcpath: str, *, timeout: float = PATIENCE) -> int | None:
    """A pidfd of init; None also from monitors that have none to give."""
    return _fd_of(name, lxcpath, commands.GET_INIT_PIDFD, timeout)


def devpts_fd(name: str, lxcpath: str, *, timeout: float = PATIENCE) -> int | None:
    """The container's devpts directory."""
    return _fd_of(name, lxcpath, commands.GET_DEVPTS_FD, timeout)


def seccomp_notify_fd(name: str, lxcpath: str, *, timeout: float = PATIENCE) -> int | None:
    """The seccomp listener of init."""
    return _fd_of(name, lxcpath, commands.GET_SECCOMP_NOTIFY_FD, timeout)


def tty(name: str, lxcpath: str, number: int = -1, *, timeout: float = PATIENCE) -> tuple[_socket.socket, int, int] | None:
    """(connection, master, number) of a tty: 0 the console, -1 the first free one; None without a monitor.

    The tty is taken as long as the connection lives. Raises LxcError when it is refused.
    """
    reply = ask(name, lxcpath, commands.GET_TTY_FD, number, keep=True, timeout=timeout)
    if reply is None:
        return None
    if reply.sock is None or len(reply.fds) != 1:
        if reply.sock is not None:
            reply.sock.close()
        close_all(reply.fds)
        which = "the console" if number == 0 else "any tty" if number < 0 else f"tty {number}"
        raise LxcError(
            f"Denied access to tty: the monitor of {name} does not give out {which}",
            remedy="it is in use, or does not exist: lxc.tty.max sets their number",
        )
    reply.sock.settimeout(None)
    return reply.sock, reply.fds[0], reply.value


# -- cgroups


def cgroup(name: str, lxcpath: str, controller: str, *, limit: bool = False, timeout: float = PATIENCE) -> str | None:
    """The payload's path in a controller's hierarchy, relative to the hierarchy's root; limit: that of its limits."""
    payload = _text(controller) if controller else b""
    wanted = (commands.GET_LIMIT_CGROUP, commands.GET_CGROUP) if limit else (commands.GET_CGROUP,)
    for command in wanted:  # monitors before 4.0.3 do not know the first
        reply = ask(name, lxcpath, command, payload=payload, timeout=timeout)
        if reply is not None and reply.ret >= 0 and reply.payload:
            return reply.text()
    return None


def cgroup2_fd(name: str, lxcpath: str, *, limit: bool = False, timeout: float = PATIENCE) -> int | None:
    """The payload's (or its limits') directory on a pure unified hierarchy; None on any other layout."""
    if limit:
        reply = ask(name, lxcpath, commands.GET_LIMIT_CGROUP2_FD, timeout=timeout)
        if reply is not None and reply.ret not in _NOT_KNOWN:
            return reply.fd()
    return _fd_of(name, lxcpath, commands.GET_CGROUP2_FD, timeout)


def cgroup_fd(name: str, lxcpath: str, controller: str, *, limit: bool = False, timeout: float = PATIENCE) -> int | None:
    """The directory of one controller; limit: where its limits are set, else where the processes are."""
    ours, other = commands.GET_CGROUP_FD, commands.GET_LIMIT_CGROUP_FD
    if limit:
        ours, other = other, ours
    request = commands.CGROUP_FD.pack(0, 0, 0, commands.UNUSED_FD, os.fsencode(controller))
    reply = ask(name, lxcpath, ours, payload=request, timeout=timeout)
    if reply is None or reply.ret in _NOT_KNOWN:  # a monitor before 4.0.7
        fd = cgroup2_fd(name, lxcpath, limit=limit, timeout=timeout)
        return fd if fd is not None else _open_cgroup(name, lxcpath, controller, limit, timeout)
    fd = reply.fd()
    if fd is None or not _is_other(fd, name, lxcpath, controller, limit, timeout):
        return fd
    reply = ask(name, lxcpath, other, payload=request, timeout=timeout)
    better = None if reply is None else reply.fd()
    if better is None:
        return fd
    os.close(fd)
    return better


def cgroup_item(name: str, lxcpath: str, item: str, *, timeout: float = PATIENCE) -> str | None:
    """The content of a file of its limit cgroup, such as memory.max; None when there is none. Raises OSError."""
    folder = cgroup_fd(name, lxcpath, item.partition(".")[0], limit=True, timeout=timeout)
    if folder is None:
        return None
    try:
        fd = os.open(item, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
        with open(fd, "rb", buffering=0) as file:
            return file.readall().decode("ascii", "replace")
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return None
        raise
    finally:
        os.close(folder)


def _is_other(fd: int, name: str, lxcpath: str, controller: str, limit: bool, timeout: float) -> bool:
    """Whether this is not the directory asked for: liblxc's monitors swap the two (seen up to 7.0).

    It shows with lxc.cgroup.dir.container.inner only, which excludes the usual name of the directory.
    """
    path = os.readlink(f"/proc/self/fd/{fd}")
    if path.rpartition("/")[2].startswith("lxc.payload."):
        return False
    wanted = cgroup(name, lxcpath, controller, limit=limit, timeout=timeout)
    return wanted is not None and not path.endswith("/" + wanted.strip("/"))


def cgroup_ctx(name: str, lxcpath: str, *, timeout: float = PATIENCE) -> tuple[int, int, list[int]] | None:
    """(layout, utilities, a directory of each hierarchy) of the payload; None when there is nothing to join."""
    request = bytes(commands.CGROUP_CTX.size)
    reply = ask(name, lxcpath, commands.GET_CGROUP_CTX, payload=request, timeout=timeout)
    if reply is None or reply.ret in _NOT_KNOWN:
        return _ctx_of_old_monitor(name, lxcpath, timeout)
    if reply.ret == -errno.ENOENT:
        return None
    layout, utilities, count = _struct.unpack_from("<iII", reply.payload.ljust(commands.CGROUP_CTX.size, b"\0"))
    if reply.ret < 0 or count != len(reply.fds):
        close_all(reply.fds)
        raise _failure(name, commands.GET_CGROUP_CTX, min(reply.ret, 0) or -errno.EINVAL)
    return layout, utilities, reply.fds


def _ctx_of_old_monitor(name: str, lxcpath: str, timeout: float) -> tuple[int, int, list[int]] | None:
    """The same from a monitor before 4.0.7: the unified directory, or each hierarchy's by its path."""
    fd = cgroup2_fd(name, lxcpath, timeout=timeout)
    if fd is not None:
        return 2, 0, [fd]
    fds = []
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        controllers = [line.split(":", 2)[1].split(",")[0] for line in file]
    for controller in controllers:
        fd = _open_cgroup(name, lxcpath, controller, False, timeout)
        if fd is not None:
            fds.append(fd)
    return (1 if "" in controllers else 0, 0, fds) if fds else None


def _open_cgroup(name: str, lxcpath: str, controller: str, limit: bool, timeout: float) -> int | None:
    """The directory that the monitor names, found through the mount table; None when it is not there."""
    path = cgroup(name, lxcpath, controller, limit=limit, timeout=timeout)
    mountpoint = None if path is None else _hierarchy(controller)
    if path is None or mountpoint is None:
        return None
    try:
        return os.open(f"{mountpoint}/{path.strip('/')}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None


def _hierarchy(controller: str, table: str = "/proc/self/mountinfo") -> str | None:
    """Where a v1 controller's hierarchy is mounted, or for "" the unified one (proc_pid_mountinfo(5))."""
    with open(table, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            mount, _, source = line.partition(" - ")
            kind, _device, options = (source.split() + ["", "", ""])[:3]
            if kind == "cgroup2" if not controller else kind == "cgroup" and controller in options.split(","):
                return mount.split(" ")[4].replace("\\040", " ")
    return None


def add_device_rule(
    name: str,
    lxcpath: str,
    kind: str,
    major: int,
    minor: int,
    access: str,
    *,
    allow: bool,
    timeout: float = PATIENCE,
) -> bool:
    """Change a device rule on a pure unified hierarchy.

    kind is a, b or c; -1 is any number; access is up to three of rwm. False when the monitor did not do it, or there is
    none.
    """
    rule = commands.DEVICE_RULE.pack(kind.encode(), major, minor, access.encode(), int(allow))
    reply = ask(name, lxcpath, commands.ADD_BPF_DEVICE_CGROUP, payload=rule, timeout=timeout)
    return reply is not None and reply.ret == 0


def monitor_freeze(name: str, lxcpath: str, *, frozen: bool, limit: int = 0, timeout: float = PATIENCE) -> bool | None:
    """Have the monitor write cgroup.freeze and wait limit milliseconds (-1 without end); None without a monitor.

    False: it cannot (any layout but pure unified). The state that the monitor reports does not change, and nobody is told:
    lxc-freeze does both itself (runtime/freeze.py).
    """
    command = commands.FREEZE if frozen else commands.UNFREEZE
    reply = ask(name, lxcpath, command, limit, timeout=timeout)
    return None if reply is None else reply.ret == 0


def add_seccomp_listener(name: str, lxcpath: str, listener: int, *, timeout: float = PATIENCE) -> None:
    """Give the monitor the listener of an attached process's policy. Raises LxcError when it has no use for it."""
    reply = ask(name, lxcpath, commands.SECCOMP_NOTIFY_ADD_LISTENER, listener, timeout=timeout, fd=listener)
    if reply is not None and reply.ret < 0:
        raise _failure(name, commands.SECCOMP_NOTIFY_ADD_LISTENER, reply.ret)


# -- orders and events


def stop(
    name: str,
    lxcpath: str,
    *,
    wait: bool = True,
    timeout: float = STOP_PATIENCE,
    cleanup: float = CLEANUP_PATIENCE,
) -> None:
    """Have the monitor send its stop signal to init, and wait until it has given everything back.

    timeout: seconds for init to end; cleanup: then for the monitor to close the connection, which it does after its hooks. A
    monitor inside a longer-lived program (an API user) never closes it: then the container counts as stopped when its command
    socket has gone and that time is over. Raises Denied, TimedOut, LxcError when init cannot be signalled or reboots instead.
    """
    pidfd = init_pidfd(name, lxcpath) if wait else None
    sock = connect(name, lxcpath)
    try:
        if sock is not None:
            question.send(sock, Limit(PATIENCE), commands.STOP, 0)
            if wait:
                _wait_stopped(sock, pidfd, name, lxcpath, timeout, cleanup)
    except TimeoutError:
        raise Limit(PATIENCE).error(name) from None
    except OSError as error:
        if error.errno not in NOT_RUNNING:
            raise
    finally:
        if sock is not None:
            sock.close()
        if pidfd is not None:
            os.close(pidfd)


def _wait_stopped(sock: _socket.socket, pidfd: int | None, name: str, lxcpath: str, timeout: float, cleanup: float) -> None:
    started_by = question.listener(sock)
    poller = select.poll()
    poller.register(sock.fileno(), select.POLLIN)
    if pidfd is not None:
        poller.register(pidfd, select.POLLIN)
    else:
        timeout += cleanup  # the two cannot be told apart
    alive = True
    deadline = time.monotonic() + timeout
    while True:
        events = dict(poller.poll(max(0, int((deadline - time.monotonic()) * 1000))))
        if sock.fileno() in events:
            reply = question.read(sock, Limit(PATIENCE), name)
            if reply is not None and reply.ret == -errno.EPERM:
                raise question.denied(name)
            if reply is not None and reply.ret < 0:
                raise LxcError(f"the monitor of {name} cannot signal its init: {os.strerror(-reply.ret)}")
            break
        if not events and alive and pidfd is not None:
            raise TimedOut(
                f"init of {name} did not end within {timeout:g} s after the stop signal",
                remedy="lxc.signal.stop may be one that it ignores, or a process hangs in the kernel",
            )
        if not events:
            if _bound_by(name, lxcpath) is None:
                return
            raise TimedOut(f"the monitor of {name} has not ended {cleanup:g} s after its init", remedy="a hook may hang")
        if alive and pidfd is not None:
            poller.unregister(pidfd)
            alive = False
            deadline = time.monotonic() + cleanup
    if _bound_by(name, lxcpath) == started_by:
        raise LxcError(f"{name} was rebooted instead of stopped", remedy="stop it again")


def _bound_by(name: str, lxcpath: str) -> tuple[int, int, int] | None:
    """(pid, uid, gid) that the command socket was bound by, or None."""
    sock = connect(name, lxcpath)
    if sock is None:
        return None
    found = question.listener(sock)
    sock.close()
    return found


def add_state_client(
    name: str, lxcpath: str, wanted: dict[int, int], *, timeout: float | None = PATIENCE
) -> _socket.socket | int | None:
    """Ask to be told of states: {state: 1, or 2 for "not even now, and across a reboot"}.

    Returns the state when it is reached already, else the connection on which one message will come; None without a
    monitor. timeout None waits as long as the monitor starts: it answers when the container runs.
    """
    request = commands.STATE_SET.pack(*(wanted.get(number, 0) for number in range(8)))
    reply = ask(name, lxcpath, commands.ADD_STATE_CLIENT, payload=request, timeout=timeout, keep=True)
    if reply is None:
        return None
    if reply.sock is None:
        raise _failure(name, commands.ADD_STATE_CLIENT, reply.ret)
    if reply.value < 8:
        reply.sock.close()
        return reply.value
    reply.sock.settimeout(None)
    return reply.sock


def serve_state_clients(name: str, lxcpath: str, state_number: int, *, timeout: float = PATIENCE) -> None:
    """Tell the monitor that the caller has changed the container's state."""
    ask(name, lxcpath, commands.SERVE_STATE_CLIENTS, state_number, timeout=timeout)


def console_log(name: str, lxcpath: str, *, clear: bool, read: bool, most: int = 0, timeout: float = PATIENCE) -> bytes | None:
    """The console's ring buffer; b"" when it is empty, None without a monitor. Raises LxcError without a buffer."""
    request = commands.CONSOLE_LOG_REQUEST.pack(int(clear), int(read), most, 0)
    reply = ask(name, lxcpath, commands.CONSOLE_LOG, payload=request, timeout=timeout)
    if reply is None:
        return None
    if reply.ret == -errno.ENODATA:
        return b""
    if reply.ret < 0:
        raise LxcError(
            f"{name} keeps no console log: {os.strerror(-reply.ret)}",
            remedy="set lxc.console.buffer.size before the start",
        )
    return reply.payload


# -- who runs


def active(lxcpath: str, table: str | int = "/proc/net/unix") -> list[str]:
    """The names of the containers of this lxcpath that have a monitor, in the order found. table: a path or descriptor.

    From the kernel's list of sockets; a hashed address is asked whose it is. Both a listening and a connected socket show
    the same name.
    """
    prefix = b"@" + os.fsencode(lxcpath.rstrip("/") or "/") + b"/"
    hashed = b"@lxc/"
    suffix = b"/command"
    found: dict[bytes, None] = {}
    asked: set[bytes] = set()
    with open(table, "rb", buffering=0) as file:
        data = file.readall()
    if prefix not in data and hashed not in data:
        return []
    for line in data.splitlines():
        start = line.find(b" @")
        if start < 0 or not line.endswith(suffix):
            continue
        socket_name = line[start + 1 :]
        if socket_name.startswith(prefix):
            name = socket_name[len(prefix) : -len(suffix)]
            if name and b"/" not in name:
                found[name] = None
        elif socket_name.startswith(hashed) and socket_name.count(b"/") == 2 and socket_name not in asked:
            asked.add(socket_name)
            name_of_ours = _name_if_in(lxcpath, b"\0" + socket_name[1:])
            if name_of_ours is not None:
                found[name_of_ours] = None
    return [os.fsdecode(name) for name in found]


def _name_if_in(lxcpath: str, address: bytes) -> bytes | None:
    """The name of the container with this hashed address if it is in lxcpath; one that does not answer is in none."""
    try:
        answer = whose(address, timeout=1.0)
    except (Denied, TimedOut):
        return None
    if answer is None or answer[1].rstrip("/") != lxcpath.rstrip("/"):
        return None
    name = os.fsencode(answer[0])
    return name if commands.address(name, os.fsencode(answer[1])) == address else None  # anybody could claim it
