# SPDX-License-Identifier: LGPL-2.1-or-later
"""The end of a container: after init has gone, or after a start that failed on the way.

The order is LXC's (network down, STOPPING, stop hooks, cgroups, STOPPED, post-stop hooks); hooks and other programs rely on
it. Every step runs whatever the others did: a failing one is logged.
"""

from __future__ import annotations

import _signal
import os

from .. import log, states
from ..config.net import Net
from ..errors import LxcError, describe
from ..hooks.run import run_hooks, run_script
from ..network import iface
from ..protocol import monitor as broadcast
from .instance import REBOOT, STOP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..cgroup.session import ContainerCgroups
    from .instance import Instance


def target_of(wait_status: int) -> str:
    """STOP or REBOOT: a reboot(2) inside a pid namespace ends its init by SIGHUP, a halt by SIGINT (reboot(2))."""
    if os.WIFSIGNALED(wait_status):
        number = os.WTERMSIG(wait_status)
        if number == _signal.SIGHUP:
            log.info("init asked for a reboot")
            return REBOOT
        if number == _signal.SIGSYS:
            log.notice("init was ended by its seccomp policy (SIGSYS)")
        elif number != _signal.SIGINT:
            log.notice(f"init was ended by signal {number}")
    else:
        log.notice(f"init exited with status {os.WEXITSTATUS(wait_status)}")
    return STOP


def kill_init(run: Instance) -> None:
    """End and reap the init of a start that failed."""
    if run.init_pid <= 0:
        return
    try:
        _signal.pidfd_send_signal(run.init_pidfd, _signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended by itself
    run.exit_status = os.waitpid(run.init_pid, 0)[1]
    run.init_pid = 0


def wind_up(run: Instance, target: str) -> str:
    """Give back everything; returns the target, which a failing post-stop hook turns from REBOOT into STOP."""
    hooks = run.hooks
    _step("taking down the network", _network, run)
    run.announce(states.STOPPING)
    hooks.set_target(target)
    _step("stop hooks", run_hooks, hooks, "stop", hooks.namespace_arguments(run.namespace_paths()))
    cgroups, run.cgroups = run.cgroups, None
    if cgroups is not None:
        _step("removing the payload cgroup", cgroups.remove_payload)
        if target == REBOOT:
            _leave_monitor_cgroup(cgroups)
    run.close_fd("pin_fd")
    if target == REBOOT:
        run.announce(states.STOPPED)
    else:
        # The closed socket is what "stopped" means to clients; waiting ones are let go after the post-stop hooks.
        if run.server is not None:
            run.server.stop_listening()
        run.state = states.STOPPED
        _step("telling lxc-monitord", broadcast.publish_state, run.lxcpath, run.name, states.STOPPED)
    for fd in run.namespace_fds.values():
        os.close(fd)
    failed = _step("post-stop hooks", run_hooks, hooks, "post-stop")
    if failed and target == REBOOT:
        log.error("the container is not started again because a post-stop hook failed")
        target = STOP
    run.namespace_fds.clear()
    hooks.forget_boot()
    if run.ttys is not None:
        _step("closing ttys", run.ttys.close)
        run.ttys = None
    if run.console is not None:
        _step("closing the console", run.console.close)
        run.console = None
    for attribute in ("devpts_fd", "seccomp_fd", "init_pidfd"):
        run.close_fd(attribute)
    run.init_pid = 0
    if target == STOP and run.request.destroy is not None and run.conf["lxc.ephemeral"]:
        _step("destroying the ephemeral container", run.request.destroy)
    if run.server is not None:
        run.server.close_all(keep_reboot_waiters=target == REBOOT)
    if target == STOP and cgroups is not None:
        # Nobody waits for this one, and leaving a cgroup costs a grace period of the kernel's.
        _leave_monitor_cgroup(cgroups)
    return target


def _leave_monitor_cgroup(cgroups: ContainerCgroups) -> None:
    _step("removing the monitor cgroup", cgroups.remove_monitor)
    _step("closing cgroups", cgroups.close)


def _network(run: Instance) -> None:
    if not run.network_made:
        return
    run.network_made = False
    for name, path in run.namespace_paths().items():
        run.hooks.export(f"LXC_{name.upper()}_NS", path)

    def script(net: Net, event: str, extra: list[str]) -> None:
        run_script(run.hooks, net, event, extra)

    iface.teardown_all(run.conf.nets, script)


def _step(what: str, function: Callable[..., object], *args: object) -> bool:
    """Run one step of the end; True when it failed (logged)."""
    try:
        function(*args)
    except (OSError, LxcError) as error:
        log.error(f"{what} failed: {describe(error)}")
        return True
    return False
