# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-start, the container's side: the process that becomes init, from clone3 to execve.

It runs with the host's privileges in a root that the container's owner controls from the moment that root is mounted.
So the door is shut first: nothing is imported, looked up or displayed from files after _shut_the_door(); whatever goes
wrong is sent to the monitor as text.
"""

from __future__ import annotations

import _signal
import os
import sys

from .. import namespaces, paths
from ..confine import caps, lsm, seccomp
from ..errors import LxcError, describe
from ..hooks.run import run_hooks
from ..linux import keyctl, prctl, sched
from ..mounts import auto, dev, ops, plan, rootfs
from ..network import iface
from ..storage import backend as storage_backend
from . import environment, init, limits
from .sync import ERROR, EXEC, GO, IDMAP, MOUNT, READY, Channel, PeerGone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .instance import Instance

DEFAULT_INIT = "/sbin/init"
_MARK_FD = 0


class Arguments:
    """What the child is born with: the monitor's state (a copy), its end of the channel, what it still has to do."""

    __slots__ = ("channel", "later", "lsm_plan", "policy", "run")

    def __init__(
        self, run: Instance, channel: Channel, later: int, policy: seccomp.Program | None, lsm_plan: lsm.Plan
    ) -> None:
        self.run = run
        self.channel = channel
        self.later = later  # CLONE_* bits of the namespaces that it makes itself
        self.policy = policy
        self.lsm_plan = lsm_plan


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
    _kind, devices, _fds = channel.receive(GO)
    assert isinstance(devices, list)
    for net, runtime in zip(conf.nets, devices, strict=True):
        net.runtime.update(runtime)
    _enter_later_namespaces(arguments)
    mapped = bool(conf["lxc.idmap"]) or "user" in conf["lxc.namespace.share"]
    if mapped:
        _become_container_root(conf)
    _check_lxcpath(run, mapped)
    run.hooks.in_child(conf["lxc.environment"])

    # Mounts. Shared ones are made slave first, so that nothing below reaches the host.
    rootfs.slave_all()
    run_hooks(run.hooks, "pre-mount")
    root = rootfs.mount_rootfs(conf)
    if "uts" not in conf["lxc.namespace.share"] and conf["lxc.uts.name"] and run.created_or(sched.CLONE_NEWUTS):
        _socket.sethostname(conf["lxc.uts.name"])
    if not conf["lxc.keyring.session"]:
        keyctl.join_session_keyring()
    if run.has_own_network:
        iface.configure_all(conf.nets)
    if conf["lxc.autodev"]:
        dev.setup_autodev(root, conf)
