# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-attach, the side that goes in: a sealed interpreter (seal.py) that does nothing else.

    receives the plan and its descriptors
    joins the namespaces with one setns(2) on init's pidfd
    clone3(CLONE_PARENT): the program becomes a child of lxc-attach
    tells its pid and exits
                                            the program's process: personality, capabilities, terminal,
                                            ids, LSM label, no_new_privs, seccomp, execve

All imports are at the top of this file, and are done before the plan is read. From setns on nothing is imported or looked up
in files: they are the container's. Users are asked for by running the container's getent, never through NSS.
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import termios

from ..linux import mount, prctl, propagation, sched, seccomp
from . import init
from .door import shut
from .sync import Channel, PeerGone

PLAN = "PLAN"
PID = "PID"
LABEL = "LABEL"
LISTENER = "LISTENER"
FAILED = "FAILED"

_PASSWD_MOST = 1 << 20
_DEFAULT_SHELL = "/bin/sh"


def main(channel_fd: int) -> None:
    """The entrant's whole life; never returns."""
    for entry in os.listdir("/proc/self/fd"):
        if int(entry) > 2 and int(entry) != channel_fd:
            try:
                os.close(int(entry))  # what kept the sealed view alive while the modules were loaded
            except OSError:
                pass  # the descriptor of the listing
    os.set_inheritable(channel_fd, False)
    channel = Channel(_socket.socket(fileno=channel_fd))
    status = 1
    try:
        _enter(channel)
        status = 0
    except PeerGone:
        pass  # lxc-attach was ended
    except OSError as error:
        notes = " ".join(getattr(error, "__notes__", ()))
        _tell(channel, f"cannot enter the container: {error.strerror} {notes}".rstrip(), error.errno or 0)
    finally:
        os._exit(status)


def _tell(channel: Channel, text: str, number: int) -> None:
    try:
        channel.send(FAILED, (text, number))
    except (PeerGone, OSError):
        pass


def _enter(channel: Channel) -> None:
    _kind, plan, fds = channel.receive(PLAN)
    assert isinstance(plan, dict)
    shut()
    prctl.set_dumpable(False)
    pidfd = fds[0]
    if plan["core_of"]:
        sched.core_sched_join(plan["core_of"])
    if plan["flags"]:
        sched.setns(pidfd, plan["flags"])
    os.close(pidfd)
    try:
        os.chdir(plan["cwd"])
    except OSError:
        os.chdir("/")  # the caller's folder does not exist inside
    told, tell = os.pipe2(os.O_CLOEXEC)
    pid, _pidfd = sched.clone3(sched.CLONE_PARENT, exit_signal=0)
    if pid == 0:
        # What it says must come after its pid, though it may be the first to run: the end of file tells.
        os.close(tell)
        os.read(told, 1)
        os.close(told)
        _become(channel, plan, fds[1:])
    channel.send(PID, pid)


def _become(channel: Channel, plan: dict, fds: list[int]) -> None:  # type: ignore[type-arg]
    """The program's process. Never returns."""
    try:
        error = _prepare_and_execute(channel, plan, fds)
        name = plan["argv"][0] if plan["argv"] else _DEFAULT_SHELL
        _tell(channel, f'cannot execute "{name}": {os.strerror(error.errno or 0)}', error.errno or 0)
        os._exit(127 if error.errno == errno.ENOENT else 126)
    except OSError as error:
        notes = " ".join(getattr(error, "__notes__", ()))
        _tell(channel, f"cannot enter the container: {error.strerror} {notes}".rstrip(), 0)
    except BaseException as error:
        _tell(channel, f"internal error while entering: {type(error).__name__}: {error}", 0)
    finally:
        os._exit(1)


def _prepare_and_execute(channel: Channel, plan: dict, fds: list[int]) -> OSError:  # type: ignore[type-arg]
    stdio, pty = fds[:3], fds[3] if len(fds) > 3 else -1
    if plan["remount"]:
        _remount_proc_and_sys()
    if plan["personality"] is not None:
        sched.personality(plan["personality"])
    for capability in plan["drop"]:
        prctl.capbset_drop(capability)
    _terminal(stdio, pty, plan["on_terminal"])
    _ids(plan)
    if plan["label"] is not None:
        channel.send(LABEL)
        _kind, label, label_fds = channel.receive(LABEL)
        assert isinstance(label, bytes)
        os.write(label_fds[0], label)
        os.close(label_fds[0])
    if plan["no_new_privs"]:
        prctl.set_no_new_privs()
    if plan["seccomp"] is not None:
        listener = seccomp.load_program(*plan["seccomp"])
        if listener >= 0:
            channel.send(LISTENER, None, [listener])
            os.close(listener)
    argv = plan["argv"] or [_shell(plan["uid"] if plan["uid"] is not None else os.getuid(), plan["environment"])]
    if plan["gid"] is not None:
        os.setresgid(plan["gid"], plan["gid"], plan["gid"])
    if plan["uid"] is not None:
        os.setresuid(plan["uid"], plan["uid"], plan["uid"])
    init.default_signals()
    return init.execute(argv, plan["environment"])


def _terminal(stdio: list[int], pty: int, on_terminal: list[bool]) -> None:
    """The pty replaces those of the three streams that are terminals; the others stay byte for byte what they are."""
    sources = [pty if is_terminal and pty >= 0 else fd for fd, is_terminal in zip(stdio, on_terminal, strict=True)]
    # Out of the way first, so that no dup2 overwrites a source.
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in sources]
    for number, fd in enumerate(moved):
        os.dup2(fd, number)
    for fd in (*moved, *stdio, pty):
        if fd > 2:
            try:
                os.close(fd)
            except OSError:
                pass  # named twice
    if pty >= 0:
        os.setsid()
        terminal = next(number for number in range(3) if on_terminal[number])
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def _ids(plan: dict) -> None:  # type: ignore[type-arg]
    try:
        os.setgroups(plan["groups"])
    except PermissionError:
        if not plan["userns"]:
            raise
        # setgroups is denied in this user namespace; the groups are unmapped there anyway.
    uid, gid = plan["first_ids"]
    if plan["userns"]:
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def _remount_proc_and_sys() -> None:
    """New instances of /proc and /sys for the joined pid and network namespaces, seen by this process only."""
    sched.unshare(sched.CLONE_NEWNS)
    propagation.slave_all()
    for kind, target in (("proc", "/proc"), ("sysfs", "/sys")):
        try:
            mount.umount2(target, mount.MNT_DETACH)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        mount.mount(kind, target, kind, 0, None)


def _shell(uid: int, environment: dict[str, str]) -> str:
    """The login shell of uid by the container's own user database: getent, else /etc/passwd, else /bin/sh."""
    line = _getent(uid, environment) or _passwd_line(uid)
    fields = line.split(b":")
    shell = os.fsdecode(fields[6].strip()) if len(fields) >= 7 else ""
    return shell or _DEFAULT_SHELL


def _getent(uid: int, environment: dict[str, str]) -> bytes:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(writer, 1)
            null = os.open("/dev/null", os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 2)
            init.default_signals()
            init.execute(["getent", "passwd", str(uid)], environment, "/usr/bin:/bin")
        finally:
            os._exit(127)
    os.close(writer)
    data = b""
    while len(data) < _PASSWD_MOST:
        chunk = os.read(reader, 4096)
        if not chunk:
            break
        data += chunk
    os.close(reader)
    os.waitpid(pid, 0)
    return data.split(b"\n", 1)[0]


def _passwd_line(uid: int) -> bytes:
    wanted = str(uid).encode()
    try:
        fd = os.open("/etc/passwd", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return b""
    try:
        data = os.read(fd, _PASSWD_MOST)
    except OSError:
        return b""
    finally:
        os.close(fd)
    for line in data.split(b"\n"):
        fields = line.split(b":")
        if len(fields) >= 7 and fields[2] == wanted:
            return line
    return b""
