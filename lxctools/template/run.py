# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finding and running a template.

A template is a program that fills a root file system: `lxc-NAME --path=LXCPATH/NAME --name=NAME --rootfs=FOLDER WORDS...`,
with `--mapped-uid X --mapped-gid Y` after them for a container with id maps, in which case it runs in a user namespace with
these maps. It runs in a pid and mount namespace of its own, so that nothing of it survives its end or ours.
"""

from __future__ import annotations

import _signal
import os

from .. import paths, process
from ..errors import LxcError, describe
from ..idmap import apply as idmap_apply
from ..idmap.ranges import IdMap, to_ns, with_caller
from ..linux import mount, prctl, sched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_NEW = sched.CLONE_NEWNS | sched.CLONE_NEWPID


def find_template(name: str) -> str:
    """The path of a template: an absolute one, or lxc-NAME in the templates' folder. Raises LxcError naming where it looked."""
    path = name if name.startswith("/") else f"{paths.TEMPLATES}/lxc-{name}"
    if os.path.isfile(path) and os.access(path, os.X_OK):
        return path
    why = "it is not executable" if os.path.isfile(path) else "no such file"
    raise LxcError(f'bad template: {name}: Template "{name}" not found ({path}: {why})', remedy=_known())


def _known() -> str:
    try:
        found = sorted(entry[4:] for entry in os.listdir(paths.TEMPLATES) if entry.startswith("lxc-"))
    except OSError:
        found = []
    return f"there are: {' '.join(found)}, none" if found else f"there are no templates in {paths.TEMPLATES}"


def run_template(
    path: str, name: str, folder: str, rootfs: str, words: Sequence[str], maps: Sequence[IdMap], *, quiet: bool
) -> None:
    """Run a template to its end. Raises LxcError with how it ended; an exception here ends everything it started."""
    arguments = [f"--path={folder}", f"--name={name}", f"--rootfs={rootfs}", *words]
    all_maps = with_caller(maps, os.geteuid(), os.getegid()) if maps else []
    if maps:
        uid = to_ns(all_maps, "u", os.geteuid())
        gid = to_ns(all_maps, "g", os.getegid())
        arguments += ["--mapped-uid", str(uid), "--mapped-gid", str(gid)]
    argv = [path if maps else os.path.basename(path), *arguments]
    environment = process.callers_environment()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        pid, pidfd = sched.clone3(_NEW | (sched.CLONE_NEWUSER if maps else 0))
    except OSError as error:
        raise LxcError(f"cannot run the template {path}: {describe(error)}") from error
    if pid == 0:
        os.close(writer)
        _be_init(reader, path, argv, environment, mapped=bool(maps), quiet=quiet)
    os.close(pidfd)
    ended = False
    try:
        os.close(reader)
        if maps:
            idmap_apply.write_maps(pid, all_maps)
        os.write(writer, b"+")
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        ended = True
    finally:
        os.close(writer)
        if not ended:
            os.kill(pid, _signal.SIGKILL)  # the pid namespace goes with its init
            os.waitpid(pid, 0)
    if status != 0:
        how = f"was terminated by signal {status - 128}" if status > 128 else f"exited with status {status}"
        raise LxcError(
            f"the template {path} {how}",
            remedy="" if not quiet else "run it again without -q to see what it says",
        )


def _be_init(
    reader: int, path: str, argv: list[str], environment: dict[str, str], *, mapped: bool, quiet: bool
) -> None:
    """Pid 1 of the template's namespace: runs it, reaps, hands its status on. Never returns."""
    status = 1
    try:
        prctl.set_pdeathsig(_signal.SIGKILL)
        if not os.read(reader, 1):
            os._exit(1)  # the creator died
        if mapped:
            os.setgroups([])
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            prctl.set_pdeathsig(_signal.SIGKILL)  # cleared by the change of ids
        mount.mount(None, "/", None, mount.MS_SLAVE | mount.MS_REC)
        mount.mount("proc", "/proc", "proc", mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC)
        os.umask(0o022)
        if quiet:
            null = os.open("/dev/null", os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
        for number in (_signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM):
            _signal.signal(number, _signal.SIG_IGN)
        program = os.fork()
        if program == 0:
            for number in process.ALL_SIGNALS:
                _signal.signal(number, _signal.SIG_DFL)
            _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
            os.execve(path, argv, environment)
        while True:
            pid, wait_status = os.waitpid(-1, 0)
            if pid == program:
                code = os.waitstatus_to_exitcode(wait_status)
                status = code if code >= 0 else 128 - code
                break
    except OSError as error:
        os.write(2, f"cannot run the template {path}: {describe(error)}\n".encode("utf-8", "backslashreplace"))
    finally:
        os._exit(status)
