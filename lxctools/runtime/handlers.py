# SPDX-License-Identifier: LGPL-2.1-or-later
"""The monitor's answers: one function a command of the command socket (the table is at the end).

Framing, credentials and waiting clients are the server's (protocol/server.py); here is what each command means.
A refusal is a negative errno in the reply's ret, as liblxc's clients expect it.
"""

from __future__ import annotations

import _signal
import errno
import os

from .. import log, states
from ..errors import LxcError, describe
from ..protocol import commands
from ..protocol.server import HOLD, Reply, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .instance import Instance



def table(run: Instance) -> dict[int, Callable[[Request], Reply]]:
    """Command number -> the function that answers it for this container."""
    return {number: _bind(run, function) for number, function in _FUNCTIONS.items()}


def _bind(run: Instance, function: Callable[[Instance, Request], Reply]) -> Callable[[Request], Reply]:
    def answer(request: Request) -> Reply:
        return function(run, request)

    return answer


def _get_state(run: Instance, _request: Request) -> Reply:
    return Reply(value=run.state)


def _get_init_pid(run: Instance, _request: Request) -> Reply:
    return Reply(value=run.init_pid)


def _get_init_pidfd(run: Instance, _request: Request) -> Reply:
    if run.init_pidfd < 0:
        return Reply(ret=-errno.EBADF)
    return Reply(fds=[run.init_pidfd])


def _get_clone_flags(run: Instance, _request: Request) -> Reply:
    return Reply(value=run.created_namespaces)


def _text(value: str) -> Reply:
    return Reply(payload=os.fsencode(value) + b"\0")


def _get_name(run: Instance, _request: Request) -> Reply:
    return _text(run.name)


def _get_lxcpath(run: Instance, _request: Request) -> Reply:
    return _text(run.lxcpath)


def _cgroup_path(run: Instance, request: Request, *, limit: bool) -> Reply:
    controller = os.fsdecode(request.payload.rstrip(b"\0"))
    if request.payload and not request.payload.endswith(b"\0"):
        return Reply(ret=-errno.EINVAL)
    path = run.cgroups.path(controller, limit=limit) if run.cgroups is not None else None
    if path is None:
        return Reply(close=True)  # the end of file is how "not found" is told
    return _text(path)


def _get_cgroup(run: Instance, request: Request) -> Reply:
    return _cgroup_path(run, request, limit=False)


def _get_limit_cgroup(run: Instance, request: Request) -> Reply:
    return _cgroup_path(run, request, limit=True)


def _cgroup2_fd(run: Instance, *, limit: bool) -> Reply:
    fd = run.cgroups.unified_fd(limit=limit) if run.cgroups is not None else -1
    return Reply(fds=[fd]) if fd >= 0 else Reply(ret=-errno.EINVAL)


def _get_cgroup2_fd(run: Instance, _request: Request) -> Reply:
    return _cgroup2_fd(run, limit=False)


def _get_limit_cgroup2_fd(run: Instance, _request: Request) -> Reply:
    return _cgroup2_fd(run, limit=True)


def _cgroup_fd(run: Instance, request: Request, *, limit: bool) -> Reply:
    """One hierarchy's directory by controller; the reply is as long as the smaller of the two structures."""
    raw = request.payload[: commands.CGROUP_FD.size].ljust(commands.CGROUP_FD.size, b"\0")
    _layout, _utilities, kind, _fd, name = commands.CGROUP_FD.unpack(raw)
    controller = os.fsdecode(name.split(b"\0", 1)[0])
    if not controller:
        return Reply(ret=-errno.EINVAL)
    if run.cgroups is None:
        return Reply(ret=-errno.ENOENT)
    found = run.cgroups.fd(controller, limit=limit)
    if found is None:
        return Reply(ret=-errno.ENOENT)
    fd, magic = found
    if kind not in (0, magic):
        return Reply(ret=-errno.EINVAL)
    payload = commands.CGROUP_FD.pack(run.cgroups.layout, run.cgroups.utilities, magic, commands.UNUSED_FD, name)
    return Reply(payload=payload[: len(request.payload)], fds=[fd])


def _get_cgroup_fd(run: Instance, request: Request) -> Reply:
    return _cgroup_fd(run, request, limit=False)


def _get_limit_cgroup_fd(run: Instance, request: Request) -> Reply:
    return _cgroup_fd(run, request, limit=True)


def _get_cgroup_ctx(run: Instance, request: Request) -> Reply:
    fds = run.cgroups.ctx_fds() if run.cgroups is not None else []
    if not fds or run.cgroups is None:
        return Reply(ret=-errno.ENOENT)
    numbers = [commands.UNUSED_FD] * 20
    payload = commands.CGROUP_CTX.pack(run.cgroups.layout, run.cgroups.utilities, len(fds), *numbers)
    return Reply(payload=payload[: len(request.payload)], fds=fds)


def _get_config_item(run: Instance, request: Request) -> Reply:
    """The running configuration, with what the start has chosen; unknown and unset keys cannot be told apart."""
    key = os.fsdecode(request.payload.split(b"\0", 1)[0])
    try:
        value = run.conf.text(key)
    except LxcError:
        value = ""
    return _text(value) if value else Reply(ret=-errno.ENOENT)


def _stop(run: Instance, _request: Request) -> Reply:
    """lxc.signal.stop to init, and thaw it so that the signal arrives; the connection is held until the end."""
    number = run.conf["lxc.signal.stop"] or _signal.SIGKILL
    try:
        _signal.pidfd_send_signal(run.init_pidfd, number)
    except OSError as error:
        return Reply(ret=-(error.errno or errno.EINVAL))
    if run.cgroups is not None:
        try:  # whoever froze it: the signal must arrive
            run.cgroups.unfreeze()
        except (OSError, LxcError) as error:
            log.warn(f"thawing the container to stop it failed: {describe(error)}")
    return HOLD


def _get_tty_fd(run: Instance, request: Request) -> Reply:
    """The console's proxy or a tty's master for the life of the connection."""
    number = request.value
    try:
        if number == 0:
            if run.console is None:
                return Reply(ret=-errno.EBADF)
            fd = run.console.open_proxy()
            return Reply(value=0, fds=[fd], keep=run.console.close_proxy, close_fds=True)
        if run.ttys is None:
            return Reply(ret=-errno.EBADF)
        number, fd = run.ttys.take(number)
    except OSError as error:
        return Reply(ret=-(error.errno or errno.EBADF))
    ttys = run.ttys
    return Reply(value=number, fds=[fd], keep=lambda: ttys.release(number))


def _console_log(run: Instance, request: Request) -> Reply:
    if len(request.payload) != commands.CONSOLE_LOG_REQUEST.size:
        return Reply(ret=-errno.EINVAL)
    clear, read, most, _write_logfile = commands.CONSOLE_LOG_REQUEST.unpack(request.payload)
    ring = run.console.ring if run.console is not None else None
    if ring is None:
        return Reply(ret=-errno.EFAULT)
    data = b""
    if read:
        data = ring.read(most)
        if not data:
            return Reply(ret=-errno.ENODATA)
    if clear:
        ring.clear()
    return Reply(payload=data)


def _serve_state_clients(run: Instance, request: Request) -> Reply:
    """Somebody else (a freezing client) changed the state: remember it and tell those who wait."""
    if not 0 <= request.value < len(states.STATES):
        return Reply(ret=-errno.EINVAL)
    run.state = states.RUNNING if request.value == states.THAWED else request.value
    assert run.server is not None
    run.server.announce(request.value, run.name)
    return Reply()


def _freeze(run: Instance, request: Request) -> Reply:
    return _freezer(run, request, freeze=True)


def _unfreeze(run: Instance, request: Request) -> Reply:
    return _freezer(run, request, freeze=False)


def _freezer(run: Instance, request: Request, *, freeze: bool) -> Reply:
    """Unified hierarchy only, and without waiting: the loop must serve on. Does not change the reported state."""
    if run.cgroups is None or run.cgroups.unified_fd(limit=True) < 0:
        return Reply(ret=-errno.ENOENT)
    try:
        if freeze:
            run.cgroups.freeze()
        else:
            run.cgroups.unfreeze()
    except OSError as error:
        return Reply(ret=-(error.errno or errno.EINVAL))
    return Reply()


def _get_devpts_fd(run: Instance, _request: Request) -> Reply:
    return Reply(fds=[run.devpts_fd]) if run.devpts_fd >= 0 else Reply(ret=-errno.EBADF)


def _get_seccomp_notify_fd(run: Instance, _request: Request) -> Reply:
    return Reply(fds=[run.seccomp_fd]) if run.seccomp_fd >= 0 else Reply(ret=-errno.EBADF)


def _add_bpf_device_cgroup(run: Instance, request: Request) -> Reply:
    if len(request.payload) != commands.DEVICE_RULE.size or run.cgroups is None or run.cgroups.unified_fd(limit=True) < 0:
        return Reply(ret=-1)
    kind, major, minor, access, allow = commands.DEVICE_RULE.unpack(request.payload)
    try:
        run.cgroups.change_device_rule(kind.decode("ascii"), major, minor, access.rstrip(b"\0").decode("ascii"), bool(allow))
    except (OSError, LxcError, UnicodeDecodeError) as error:
        log.error(f"changing the device rules failed: {describe(error)}")
        return Reply(ret=-1)
    return Reply()


def _no_listener(_run: Instance, _request: Request) -> Reply:
    return Reply(ret=-errno.EINVAL)


_FUNCTIONS: dict[int, Callable[[Instance, Request], Reply]] = {
    commands.GET_TTY_FD: _get_tty_fd,
    commands.STOP: _stop,
    commands.GET_STATE: _get_state,
    commands.GET_INIT_PID: _get_init_pid,
    commands.GET_CLONE_FLAGS: _get_clone_flags,
    commands.GET_CGROUP: _get_cgroup,
    commands.GET_CONFIG_ITEM: _get_config_item,
    commands.GET_NAME: _get_name,
    commands.GET_LXCPATH: _get_lxcpath,
    commands.CONSOLE_LOG: _console_log,
    commands.SERVE_STATE_CLIENTS: _serve_state_clients,
    commands.SECCOMP_NOTIFY_ADD_LISTENER: _no_listener,
    commands.ADD_BPF_DEVICE_CGROUP: _add_bpf_device_cgroup,
    commands.FREEZE: _freeze,
    commands.UNFREEZE: _unfreeze,
    commands.GET_CGROUP2_FD: _get_cgroup2_fd,
    commands.GET_INIT_PIDFD: _get_init_pidfd,
    commands.GET_LIMIT_CGROUP: _get_limit_cgroup,
    commands.GET_LIMIT_CGROUP2_FD: _get_limit_cgroup2_fd,
    commands.GET_DEVPTS_FD: _get_devpts_fd,
    commands.GET_SECCOMP_NOTIFY_FD: _get_seccomp_notify_fd,
    commands.GET_CGROUP_CTX: _get_cgroup_ctx,
    commands.GET_CGROUP_FD: _get_cgroup_fd,
    commands.GET_LIMIT_CGROUP_FD: _get_limit_cgroup_fd,
    commands.GET_SYSTEMD_SCOPE: _no_listener,
}
