# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finding and running a template.

A template is a program that fills a root file system: `lxc-NAME --path=LXCPATH/NAME --name=NAME --rootfs=FOLDER WORDS...`,
with `--mapped-uid X --mapped-gid Y` after them for a container with id maps, in which case it runs as root of a user
namespace with these maps. It runs in a pid and mount namespace of its own, so that nothing of it survives its end or ours:

    lxc-create ── clone3 ──> init ── fork ──> template
                              reaps; dies with lxc-create, and takes the namespace along
"""

from __future__ import annotations

import _signal
import os
import select

from .. import paths, process
from ..errors import LxcError, describe
from ..idmap import apply as idmap_apply
from ..idmap.ranges import to_ns, with_caller
from ..linux import detached, mount, prctl, propagation, sched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from ..idmap.ranges import IdMap

_NEW = sched.CLONE_NEWNS | sched.CLONE_NEWPID
_GO = b"+"
_CHUNK = 65536
_TAIL = 4096  # bytes of output kept for the error message
_GRACE = 5000  # milliseconds for an interrupted template to remove what it made elsewhere, such as a half-made archive


def find_template(name: str) -> str:
    """The path of a template: an absolute one, or lxc-NAME in the templates' folder. Raises LxcError naming where it looked."""
    path = name if name.startswith("/") else f"{paths.TEMPLATES}/lxc-{name}"
    if os.path.isfile(path) and os.access(path, os.X_OK):
        return path
    why = "it is not executable" if os.path.isfile(path) else "no such file"
    raise LxcError(f'bad template: {name}: Template "{name}" not found ({path}: {why})', remedy=_known())


def show_help(name: str) -> None:
    """Let a template print its help on our standard streams; nothing when there is no such template."""
    try:
        path = find_template(name)
    except LxcError:
        return
    os.waitpid(process.spawn([path, "-h"]), 0)


def _known() -> str:
    try:
        found = sorted(entry[4:] for entry in os.listdir(paths.TEMPLATES) if entry.startswith("lxc-"))
    except OSError:
        found = []
    return f"there are: {' '.join(found)}, none" if found else f"there are no templates in {paths.TEMPLATES}"


class _Program:
    """What is run: path, argv, environment; maps of its user namespace or []; where its output goes."""

    __slots__ = ("argv", "environment", "maps", "path", "quiet", "rootfs", "tree")

    def __init__(self, path: str, arguments: Sequence[str], maps: Sequence[IdMap], *, quiet: bool) -> None:
        self.path = path
        self.maps = with_caller(maps, os.geteuid(), os.getegid()) if maps else []
        self.argv = [os.path.basename(path), *arguments]
        if maps:
            uid = to_ns(self.maps, "u", os.geteuid())
            gid = to_ns(self.maps, "g", os.getegid())
            self.argv = [path, *arguments, "--mapped-uid", str(uid), "--mapped-gid", str(gid)]
        self.environment = process.callers_environment()
        self.quiet = quiet
        self.tree = -1  # a mount to attach on the folder rootfs
        self.rootfs = ""


def run_template(
    path: str, name: str, folder: str, rootfs: str, words: Sequence[str], maps: Sequence[IdMap], *, quiet: bool, tree: int = -1
) -> None:
    """Run a template to its end; quiet: its output is not shown. Raises LxcError with how it ended and its last words.

    tree: the root file system as a mount, which is attached on the folder rootfs for the template alone; -1: rootfs is it.

    It has our standard streams. Only a stderr that is no terminal (a log, a program that calls us) goes through our hands,
    so that the error can quote its last line. An exception here, such as that of a signal, ends everything it started.
    """
    program = _Program(path, [f"--path={folder}", f"--name={name}", f"--rootfs={rootfs}", *words], maps, quiet=quiet)
    program.tree, program.rootfs = tree, rootfs
    keep = quiet or not os.isatty(2)
    go, start = os.pipe2(os.O_CLOEXEC)
    told, tell = os.pipe2(os.O_CLOEXEC)
    output, sink = os.pipe2(os.O_CLOEXEC) if keep else (-1, -1)
    mine, theirs = [start, told, output], [go, tell, sink]
    pid = 0
    try:
        pid, pidfd = sched.clone3(_NEW | (sched.CLONE_NEWUSER if maps else 0))
        if pid == 0:
            os.close(start)
            _be_init(program, go, tell, sink)
        mine.append(pidfd)
        _close(theirs)
        if program.maps:
            idmap_apply.write_maps(pid, program.maps)
        os.write(start, _GO)
        tail = _watch(pidfd, output, show=not quiet)
        _, pid = os.waitpid(pid, 0), 0
        status = os.read(told, 16)
    except OSError as error:
        raise LxcError(f"cannot run the template {path}: {describe(error)}") from error
    finally:
        _close(theirs)
        if pid > 0:
            _end(pid, mine)
        _close(mine)
    code = os.waitstatus_to_exitcode(int(status)) if status else -int(_signal.SIGKILL)
    if code != 0:
        ended = process.Result(program.argv, code, tail).why()
        raise LxcError(f"Failed to create container from template: {path} {ended}")


def _end(pid: int, mine: list[int]) -> None:
    """End a template that is under way: asked first, then killed, and the pid namespace with its init."""
    os.close(mine.pop(0))  # one that does not run yet ends by this
    os.kill(pid, _signal.SIGTERM)
    pidfd = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.poll(_GRACE)
    os.close(pidfd)
    os.kill(pid, _signal.SIGKILL)
    os.waitpid(pid, 0)


def _close(fds: list[int]) -> None:
    while fds:
        fd = fds.pop()
        if fd >= 0:
            os.close(fd)


def _watch(pidfd: int, output: int, *, show: bool) -> bytes:
    """Wait for init's end; pass on what comes by output to stderr where wanted, and return its end."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    if output >= 0:
        os.set_blocking(output, False)
        poller.register(output, select.POLLIN)
    tail = b""
    while True:
        ready = [fd for fd, _ in poller.poll()]
        while output >= 0:
            try:
                data = os.read(output, _CHUNK)
            except BlockingIOError:
                break
            if not data:
                poller.unregister(output)
                output = -1
                break
            tail = (tail + data)[-_TAIL:]
            if show:
                _pass_on(data)
        if pidfd in ready:
            return tail


def _pass_on(data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(2, view) :]
    except OSError:
        pass  # nobody reads our stderr: the template need not suffer


def _be_init(program: _Program, go: int, tell: int, sink: int) -> NoReturn:
    """Pid 1 of the template's namespace: runs it, reaps, tells its wait status. Never returns."""
    try:
        prctl.set_pdeathsig(_signal.SIGKILL)
        if os.read(go, 1) != _GO:
            os._exit(1)  # lxc-create died
        for number in (_signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGHUP):
            _signal.signal(number, _signal.SIG_IGN)
        _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGTERM,))
        if program.maps:
            os.setgroups([])
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            prctl.set_pdeathsig(_signal.SIGKILL)  # cleared by the change of ids
        propagation.slave_all()
        if program.tree >= 0:
            _attach(program.tree, program.rootfs)
        _mount_proc()
        os.umask(0o022)
        _direct_output(sink, quiet=program.quiet)
        child = os.fork()
        if child == 0:
            _exec(program)
        _signal.signal(_signal.SIGTERM, lambda _number, _frame: os.kill(child, _signal.SIGTERM))
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (_signal.SIGTERM,))
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == child:
                os.write(tell, str(status).encode())
                break
    except OSError as error:
        os.write(2, f"cannot run the template {program.path}: {describe(error)}\n".encode("utf-8", "backslashreplace"))
        os.write(tell, b"256")
    finally:
        os._exit(0)


def _attach(tree: int, rootfs: str) -> None:
    target = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    detached.attach(tree, target)
    os.close(target)


def _mount_proc() -> None:
    try:
        mount.mount("proc", "/proc", "proc", mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC)
    except PermissionError:
        pass  # a user namespace where parts of /proc are covered (a nested container): the outer one shows other numbers


def _direct_output(sink: int, *, quiet: bool) -> None:
    if quiet:
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
    elif sink >= 0:
        os.dup2(sink, 2)


def _exec(program: _Program) -> NoReturn:
    """Become the template, with default signal dispositions. Never returns."""
    try:
        for number in process.ALL_SIGNALS:
            _signal.signal(number, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        os.execve(program.path, program.argv, program.environment)
    except OSError as error:
        why = describe(error)
        if isinstance(error, FileNotFoundError):
            why += " (the interpreter that its first line names?)"
        os.write(2, f"cannot execute {program.path}: {why}\n".encode("utf-8", "backslashreplace"))
    finally:
        os._exit(126)
