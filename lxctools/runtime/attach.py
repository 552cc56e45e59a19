# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-attach, the side that stays outside.

    lxc-attach ── spawn (sealed) ──> entrant ── clone3(CLONE_PARENT) ──> the program, our child
      asks the monitor and /proc,      joins the namespaces, exits
      moves the entrant into the
      container's cgroups, then
      sends it the plan

The entrant's interpreter starts while this side collects what it needs. What happens inside is in entrant.py.
"""

from __future__ import annotations

import _signal
import errno
import os

from .. import namespaces
from ..config import values
from ..config.conf import Config
from ..confine import caps, limits, lsm, seccomp
from ..errors import LxcError, NotRunning, describe
from ..linux import proc, sched, tty
from ..process import callers_environment, exit_status
from ..protocol import client
from ..terminal.proxy import Proxy
from . import environment, gate
from .sync import Channel, PeerGone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..protocol.question import Ahead

NOT_EXECUTABLE = 126
NOT_FOUND = 127

_KEYS = ("lxc.arch", "lxc.seccomp.profile", "lxc.sched.core", "lxc.no_new_privs")  # as the container was started
_PERSONALITIES = {"i686": sched.PER_LINUX32, "x86_64": sched.PER_LINUX}

# What the entrant says and hears (the same channel class as a start, other words).
PLAN = "PLAN"
PID = "PID"
LABEL = "LABEL"
LISTENER = "LISTENER"
FAILED = "FAILED"

class AttachOptions:
    """What lxc-attach's options say. Fields keep their defaults unless set."""

    __slots__ = (
        "arch",
        "argv",
        "clear_env",
        "context",
        "cwd",
        "elevate_cap",
        "elevate_cgroup",
        "elevate_lsm",
        "gid",
        "groups",
        "keep_vars",
        "namespaces",
        "pty_log",
        "rcfile",
        "remount",
        "set_vars",
        "stdio",
        "uid",
    )

    def __init__(self) -> None:
        self.argv: list[str] = []  # empty: the user's shell
        self.namespaces = 0  # CLONE_* bits; 0: all of the container's
        self.elevate_cgroup = False
        self.elevate_cap = False
        self.elevate_lsm = False
        self.clear_env = False
        self.keep_vars: list[str] = []
        self.set_vars: list[str] = []
        self.uid: int | None = None
        self.gid: int | None = None
        self.groups: list[int] = []
        self.arch = ""  # a name of lxc.arch
        self.remount = False
        self.context = ""
        self.rcfile = ""
        self.pty_log = ""
        self.cwd = ""
        self.stdio: tuple[int, int, int] = (0, 1, 2)


class _Target:
    """What the host's /proc says about the container's init; read through one descriptor of /proc/PID."""

    __slots__ = ("bounding", "fd", "gid", "has_user_map", "label", "pid", "uid")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.fd = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        status = proc.status(pid, dir_fd=self.fd)
        self.bounding = int(status["CapBnd"], 16)
        self.uid = int(status["Uid"].split()[0])
        self.gid = int(status["Gid"].split()[0])

    def close(self) -> None:
        os.close(self.fd)

    def foreign(self, flags: int) -> int:
        """Those of flags whose namespace is not the one we are in ourselves."""
        result = 0
        for row in namespaces.NAMESPACES:
            if flags & row.flag:
                theirs = os.stat(f"ns/{row.proc}", dir_fd=self.fd)
                ours = os.stat(f"/proc/self/ns/{row.proc}")
                if (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino):
                    result |= row.flag
        return result

    def first_ids(self) -> tuple[int, int]:
        """The ids to become in the container's user namespace: 0 where mapped, else those of init."""
        return self._inside("uid_map", self.uid), self._inside("gid_map", self.gid)

    def _inside(self, which: str, host_id: int) -> int:
        fd = os.open(which, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.fd)
        with os.fdopen(fd) as file:
            rows = [[int(word) for word in line.split()] for line in file]
        if any(inside == 0 for inside, _outside, _count in rows):
            return 0
        for inside, outside, count in rows:
            if outside <= host_id < outside + count:
                return inside + host_id - outside
        return 0


def attach(name: str, lxcpath: str, options: AttachOptions) -> int:
    """Run a program in a running container and return the exit status for the shell: its own, or 128 + signal.

    126 and 127 when it cannot be executed or is not found. Raises NotRunning, Denied, TimedOut, LxcError.
    """
    questions = client.ahead(name, lxcpath, init_pid=True, clone_flags=not options.namespaces, keys=_KEYS)
    try:
        pid = client.init_pid(name, lxcpath, ahead=questions)
        if not pid:
            raise NotRunning(
                f'failed to get the init pid: container "{name}" is not running', remedy=f"lxc-start -n {name} first"
            )
        entrant = gate.take()
        try:
            return _attach(name, lxcpath, pid, options, entrant, questions)
        finally:
            entrant.close()
    finally:
        questions.close()


def _attach(
    name: str, lxcpath: str, pid: int, options: AttachOptions, entrant: gate.Entrant, questions: Ahead
) -> int:
    opened: list[int] = []
    target: _Target | None = None
    terminal: Proxy | None = None
    try:
        pidfd = client.init_pidfd(name, lxcpath)
        if pidfd is None:  # a monitor without pidfds
            pidfd = os.pidfd_open(pid)
        opened.append(pidfd)
        target = _Target(pid)
        conf = _config_on_disk(name, lxcpath, options)
        flags = target.foreign(options.namespaces or (client.clone_flags(name, lxcpath, ahead=questions) or 0))
        if options.namespaces and not flags:
            # Going on would run the program on the host.
            raise LxcError(
                f"Invalid argument: {name} has none of these namespaces of its own, there is nothing to join",
                remedy="name others with -s",
            )
        running = {key: client.config_item(name, lxcpath, key, ahead=questions) for key in _KEYS}
        if not options.elevate_cgroup:
            _enter_cgroups(name, lxcpath, entrant.pid)
        limits.apply_to(entrant.pid, conf)
        gate.settling.wait()  # one thread again: signals are blocked for a terminal, and would go to the other
        on_terminal = [os.isatty(fd) for fd in options.stdio]
        if options.pty_log and not any(on_terminal):
            _check_log(options.pty_log)
        peer = -1
        if any(on_terminal):
            master, peer = _open_pty(name, lxcpath)
            opened.append(peer)
            terminal = Proxy(
                master,
                stdin=options.stdio[0] if on_terminal[0] else -1,
                stdout=_first_terminal(options, on_terminal),
                log_path=options.pty_log,
            )
        plan = _plan(running, conf, options, target, flags, on_terminal)
        fds = [pidfd, *options.stdio]
        if peer >= 0:
            fds.append(peer)
        entrant.channel.send(PLAN, plan, fds)
        return _watch(entrant, target, plan, terminal)
    finally:
        if terminal is not None:
            terminal.close()
        if target is not None:
            target.close()
        for fd in opened:
            os.close(fd)


def _check_log(path: str) -> None:
    """There is no terminal whose output could be recorded; the file is made all the same, or the command fails."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise LxcError(f"cannot open the log of the terminal {path}: {describe(error)}") from error


def _first_terminal(options: AttachOptions, on_terminal: Sequence[bool]) -> int:
    """Where the pty's output goes: the caller's stdout, or the first of its streams that is a terminal."""
    for index in (1, 2, 0):
        if on_terminal[index]:
            return options.stdio[index]
    return options.stdio[1]


def _config_on_disk(name: str, lxcpath: str, options: AttachOptions) -> Config:
    """The configuration for environment, rlimits and lxc.proc: --rcfile, else the container's file, else empty."""
    path = options.rcfile or f"{lxcpath}/{name}/config"
    if not options.rcfile and not os.path.exists(path):
        return Config()
    try:
        return Config.read(path)
    except LxcError as error:
        if options.rcfile:
            error.message = f"Failed to load rcfile: {error.message}"
        raise


def _enter_cgroups(name: str, lxcpath: str, pid: int) -> None:
    """Put the entrant, and so what it starts, into the container's cgroup of every hierarchy.

    Unified: into the leaf .lxc (a cgroup with controllers enabled for its children may hold no process itself).
    """
    context = client.cgroup_ctx(name, lxcpath)
    if context is None:
        return  # the monitor has no writable hierarchy: nothing to join
    _layout, _utilities, fds = context
    try:
        for fd in fds:
            _enter_cgroup(fd, str(pid).encode())
    finally:
        for fd in fds:
            os.close(fd)


def _enter_cgroup(folder: int, pid: bytes) -> None:
    unified = _exists("cgroup.controllers", folder)
    candidates = [".lxc", "", *(f".lxc-{n}" for n in range(1, 1000))] if unified else [""]
    last: OSError | None = None
    for leaf in candidates:
        try:
            if leaf:
                try:
                    os.mkdir(leaf, 0o755, dir_fd=folder)
                except FileExistsError:
                    pass
            fd = os.open(f"{leaf}/cgroup.procs" if leaf else "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
            try:
                os.write(fd, pid)
            finally:
                os.close(fd)
            return
        except OSError as error:
            last = error
            if leaf != ".lxc" and error.errno != errno.EBUSY:
                break
    raise LxcError(f"cannot move into the container's cgroup: {describe(last) if last else 'no cgroup left'}")


def _exists(entry: str, folder: int) -> bool:
    return os.access(entry, os.F_OK, dir_fd=folder)


def _open_pty(name: str, lxcpath: str) -> tuple[int, int]:
    """A pty pair of the container's devpts, or of the host's when it has none."""
    devpts = client.devpts_fd(name, lxcpath)
    if devpts is None:
        return tty.openpty()
    try:
        return tty.openpty(devpts)
    finally:
        os.close(devpts)


def _plan(
    running: Mapping[str, str | None],
    conf: Config,
    options: AttachOptions,
    target: _Target,
    flags: int,
    on_terminal: Sequence[bool],
) -> dict[str, object]:
    """Everything the entrant needs, as plain data. running: what the monitor says of _KEYS."""
    arch = options.arch or running["lxc.arch"] or ""
    personality = _PERSONALITIES[values.architecture(arch)] if arch else None
    caller = callers_environment()
    variables = environment.of_attached(
        caller,
        keep=not options.clear_env,
        keep_vars=options.keep_vars,
        entries=conf["lxc.environment"],
        set_vars=options.set_vars,
    )
    in_userns = bool(flags & namespaces.by_name("user").flag)
    uid, gid = target.first_ids() if in_userns else (None, None)
    label = None
    program = None
    if not options.elevate_lsm:
        label = lsm.label_for_attach(target.fd, options.context)
        profile = running["lxc.seccomp.profile"]
        if profile:
            policy = Config()
            policy.set("lxc.seccomp.profile", profile)
            program = seccomp.compile_for(policy)
    return {
        "core_of": target.pid if running["lxc.sched.core"] == "1" else 0,
        "flags": flags,
        "cwd": options.cwd or os.getcwd(),
        "remount": options.remount,
        "personality": personality,
        "drop": [] if options.elevate_cap else caps.missing(target.bounding),
        "environment": variables,
        "argv": options.argv,
        "userns": in_userns,
        "first_ids": (uid, gid),
        "groups": options.groups,
        "uid": options.uid,
        "gid": options.gid,
        "label": None if label is None else (label.attribute, label.data),
        "no_new_privs": running["lxc.no_new_privs"] == "1",
        "seccomp": program,
        "on_terminal": list(on_terminal),
    }


def _watch(entrant: gate.Entrant, target: _Target, plan: dict[str, object], terminal: Proxy | None) -> int:
    """From the program's pid to its end."""
    channel = entrant.channel
    pid = 0
    try:
        _kind, payload, _fds = channel.receive(PID, FAILED)
        if _kind == FAILED:
            raise _failure(payload)
        assert isinstance(payload, int)
        pid = payload
        entrant.reap()
        if terminal is not None:
            terminal.prepare()
        elif plan["argv"] is not None:
            for number in (_signal.SIGINT, _signal.SIGQUIT):
                _signal.signal(number, _signal.SIG_IGN)  # typed at a shared terminal they are for the program
        failure = _until_executed(channel, pid, plan)
        pidfd = os.pidfd_open(pid)
        try:
            if terminal is not None:
                terminal.run(pidfd)
        finally:
            os.close(pidfd)
        code = exit_status(os.waitpid(pid, 0)[1])
    except PeerGone:
        raise LxcError("the process that was to enter the container has died") from None
    if failure is not None:
        raise failure
    return code


def _until_executed(channel: Channel, pid: int, plan: dict[str, object]) -> LxcError | None:
    """Serve the program's process until it has executed the program (end of file) or says why not."""
    while True:
        try:
            kind, payload, fds = channel.receive(FAILED, LABEL, LISTENER)
        except PeerGone:
            return None
        if kind == FAILED:
            return _failure(payload)
        if kind == LABEL:
            label = plan["label"]
            assert isinstance(label, tuple)
            attribute, data = label
            # The host's /proc, opened from outside: the container's own could be anything.
            fd = os.open(f"/proc/{pid}/attr/{attribute}", os.O_WRONLY | os.O_CLOEXEC)
            channel.send(LABEL, data, [fd])
            os.close(fd)
        for listener in fds:
            os.close(listener)


def _failure(payload: object) -> LxcError:
    assert isinstance(payload, tuple)
    text, number = payload
    code = {errno.ENOENT: NOT_FOUND, 0: 1}.get(number, NOT_EXECUTABLE)
    return LxcError(text, exit_code=code)
