# SPDX-License-Identifier: LGPL-2.1-or-later
"""Start-host and stop hook: the host's dhclient gets the container an address, for images that bring no DHCP client.

It runs in the container's network and host name, with the host's files; its own are kept in the folder hook beside the
container's configuration. dhclient-script, beside this hook, puts into effect what it is told.
"""

from __future__ import annotations

import os
import signal

from .. import paths
from ..errors import LxcError, describe
from ..linux import proc
from ..process import Result, find
from ..process import run as run_program
from . import invocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "dhclient"
_CONF = "/etc/lxc/dhclient.conf"
_APPARMOR = "/sys/kernel/security/apparmor"
_PATIENCE = 120.0  # seconds; dhclient itself gives up after 60 when its configuration does not say another
_LOG = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


def run(words: list[str], environment: Mapping[str, str], conf: str = _CONF) -> int:
    """Start or stop dhclient. Raises LxcError, OSError. conf: the administrator's configuration of it."""
    call = invocation.Invocation(words, environment)
    call.expect("start-host", "stop")
    (_start if call.type == "start-host" else _stop)(call, conf)
    return 0


def _start(call: invocation.Invocation, conf: str) -> None:
    pid = call.variable("LXC_PID")
    spaces = f"/proc/{pid}/ns"
    if not pid.isdigit() or not os.path.exists(f"{spaces}/net"):
        raise LxcError(f"cannot start dhclient for {call.name}: there is no process {pid}")
    if _same(f"{spaces}/net", "/proc/self/ns/net"):
        raise LxcError(
            f"cannot start dhclient for {call.name}: it would change the host's own network, which the container shares",
            remedy="give the container an lxc.net.0.type of its own, or take the hook away",
        )
    folder = os.path.join(call.folder(), "hook")
    os.makedirs(folder, exist_ok=True)
    enter = ["--uts", "--net"]
    if not _same(f"{spaces}/user", "/proc/self/ns/user"):
        enter.append("--user")
        _give(folder, pid)
    if _running(folder, f"{spaces}/net"):
        invocation.say(NAME, f"dhclient of {call.name} runs already")
        return
    _forget(folder)  # of a dhclient that is no more
    rootfs = call.rootfs()
    if not os.path.isdir(rootfs):
        rootfs = f"/proc/{pid}/root"
    done = _dhclient(call, [*enter, "--target", pid], "-1", rootfs, conf)
    if done.status != 0:
        remedy = "is there a DHCP server at the container's network (systemctl status lxc-net)? -l DEBUG keeps hook/dhclient.log"
        raise LxcError(f"no address for {call.name}: dhclient {done.why()}", remedy=remedy)


def _stop(call: invocation.Invocation, conf: str) -> None:
    given = call.namespaces()
    folder = os.path.join(call.folder(), "hook")
    net = given.get("net", "")
    if not os.path.lexists(os.path.join(folder, "dhclient.pid")):
        return
    if not net:
        raise LxcError(f"cannot stop dhclient of {call.name}: LXC named no network namespace")
    pid = _running(folder, net)
    if pid:
        enter = [f"--{kind}={given[kind]}" for kind in ("uts", "net") if kind in given]
        if "user" in given and not _same(given["user"], "/proc/self/ns/user"):
            enter.append(f"--user={given['user']}")
        try:
            done = _dhclient(call, enter, "-r", call.rootfs(), conf)
            if done.status != 0:
                invocation.say(NAME, f"the lease of {call.name} was not given back: dhclient {done.why()}")
        finally:
            if _running(folder, net) == pid:
                os.kill(pid, signal.SIGTERM)
    _forget(folder)


def _dhclient(call: invocation.Invocation, enter: list[str], action: str, rootfs: str, conf: str) -> Result:
    path = f"{call.environment.get('PATH') or os.defpath}:/usr/sbin:/sbin"
    programs = {}
    for name, package in (("nsenter", "util-linux"), ("dhclient", "isc-dhcp-client")):
        program = find(name, path)
        if program is None:
            raise LxcError(f"cannot get an address for {call.name}: {name} is missing", remedy=f"install the package {package} on the host")
        programs[name] = program
    argv = [programs["nsenter"], *enter, "--"]
    unconfined = find("aa-exec", path) if os.path.isdir(_APPARMOR) else None
    if unconfined:
        argv += [unconfined, "-p", "unconfined"]  # Debian's profile of dhclient knows neither our files nor our script
    folder = os.path.join(call.folder(), "hook")
    argv += [programs["dhclient"], action]
    if os.path.exists(conf):
        argv += ["-cf", conf]
    argv += ["-pf", os.path.join(folder, "dhclient.pid"), "-lf", os.path.join(folder, "dhclient.leases")]
    argv += ["-e", f"ROOTFS={rootfs}", "-sf", os.path.join(paths.HOOKS, "dhclient-script"), "-v"]
    done = run_program(argv, env=call.environment, timeout=_PATIENCE)
    if call.verbose():
        with open(os.open(os.path.join(folder, "dhclient.log"), _LOG, 0o644), "ab") as log:
            log.write(done.output)
    return done


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samestat(os.stat(one), os.stat(other))
    except FileNotFoundError:
        return False


def _running(folder: str, net: str) -> int:
    """The pid in dhclient.pid if it is a dhclient in that network namespace, else 0: the number may be another's by now."""
    try:
        fd = os.open(os.path.join(folder, "dhclient.pid"), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            pid = int(file.read(32))
        if pid > 1 and proc.read(f"/proc/{pid}/comm").strip() == b"dhclient" and _same(f"/proc/{pid}/ns/net", net):
            return pid
    except (OSError, ValueError):
        pass
    return 0


def _forget(folder: str) -> None:
    try:
        os.unlink(os.path.join(folder, "dhclient.pid"))
    except FileNotFoundError:
        pass


def _give(folder: str, pid: str) -> None:
    """Let the container's root, as which dhclient runs, write its files."""
    root = next((outside for inside, outside, _ in proc.id_map(f"/proc/{pid}/uid_map") if inside == 0), None)
    if root is None or os.geteuid() != 0:
        return
    try:
        os.chown(folder, root, -1, follow_symlinks=False)
    except OSError as error:
        raise LxcError(f"cannot give {folder} to the container's root: {describe(error)}") from error


def main() -> None:
    """The hook's program."""
    invocation.main(run, NAME)
