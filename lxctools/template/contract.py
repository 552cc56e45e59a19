# SPDX-License-Identifier: LGPL-2.1-or-later
"""What our templates share: the arguments that lxc-create passes, the container's configuration, errors as one line."""

from __future__ import annotations

import _signal
import argparse
import os
import select
import sys
import time

from .. import paths, process
from ..config import grammar
from ..config.conf import Config
from ..errors import LxcError, describe
from ..progress import Progress
from .rootfs import Rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType
    from typing import NoReturn

_WITH_ADDRESS = ("veth", "macvlan", "vlan")  # network types whose hardware address is ours to choose
_VENDOR = "00:16:3e"
_SIGNAL_BASE = 128
_BEAT = 200  # milliseconds
_PATIENCE = 2.0  # seconds for killed programs to be gone


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """A wrong option is an error as any other: one line and status 1."""
        raise LxcError(message, remedy=f"{self.prog} -h lists the options")


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """A parser with the options that lxc-create passes."""
    result = _Parser(prog=f"lxc-{name}", description=description, usage="lxc-create -t %(prog)s -- [OPTIONS]")
    result.usage = f"lxc-create -n NAME -t {name} -- [OPTIONS]"
    contract = result.add_argument_group("given by lxc-create")
    contract.add_argument("-n", "--name", required=True, help="the container's name")
    contract.add_argument("-p", "--path", required=True, help="the container's folder")
    contract.add_argument("--rootfs", default="", help="the folder to fill; default: that of the configuration")
    contract.add_argument("--mapped-uid", type=int, default=-1, help="the caller's user id in this user namespace")
    contract.add_argument("--mapped-gid", type=int, default=-1, help="the caller's group id in this user namespace")
    return result


def main(run: Callable[[list[str]], None], prog: str) -> NoReturn:
    """Run a template: an error is one line and status 1; a signal that ends it lets it clean up first."""
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
        _signal.signal(number, _interrupt)
    try:
        run(sys.argv[1:])
    except LxcError as error:
        _say(f"{prog}: {error}")
        sys.exit(1)
    except OSError as error:
        _say(f"{prog}: {describe(error)}")
        sys.exit(1)
    except _Interrupted as error:
        sys.exit(_SIGNAL_BASE + error.number)
    sys.exit(0)


class _Interrupted(BaseException):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _interrupt(number: int, _frame: FrameType | None) -> None:
    for other in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
        _signal.signal(other, _signal.SIG_IGN)  # a second one must not interrupt the cleaning up
    raise _Interrupted(number)


def _say(text: str) -> None:
    os.write(2, f"{text}\n".encode("utf-8", "backslashreplace"))


class Target:
    """The container that is filled: its folder, its configuration so far, its root file system."""

    __slots__ = ("conf", "config", "folder", "mapped", "mapped_gid", "mapped_uid", "name", "rootfs")

    def __init__(self, options: argparse.Namespace) -> None:
        self.name: str = options.name
        self.folder: str = options.path
        self.config = f"{self.folder}/config"
        self.mapped_uid: int = options.mapped_uid
        self.mapped_gid: int = options.mapped_gid
        # Whether this runs in a user namespace, for a container with id maps.
        self.mapped = self.mapped_uid >= 0
        self.conf = Config.read(self.config) if os.path.exists(self.config) else Config()
        self.rootfs = Rootfs(options.rootfs or self.conf["lxc.rootfs.path"] or f"{self.folder}/rootfs")

    def configure(self, distribution: Sequence[str], container: Sequence[str]) -> None:
        """Write the container's configuration: what the distribution wants, then what stood there, then lines of ours.

        The order lets the user's own settings win over the included ones; the network comes last, each interface with a
        hardware address that stays the same, so that a DHCP server gives it the same address each time. Raises OSError.
        """
        before = ""
        if os.path.exists(self.config):
            with open(self.config, "rb") as file:
                before = file.read().decode("utf-8", "surrogateescape")
        head, own, network = _sections(before)
        kept = [line for line in distribution if line not in own]
        network += self._hardware_addresses()
        text = "".join(f"{line}\n" for line in head)
        for title, lines in (
            ("Distribution configuration", kept),
            ("Container specific configuration", [*own, *container]),
            ("Network configuration", network),
        ):
            if lines:
                text += ("\n" if text else "") + f"# {title}\n" + "".join(f"{line}\n" for line in lines)
        # In place: its owner and mode stay, and a creation that is cut off here is undone as a whole.
        with open(os.open(self.config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640), "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
        if self.mapped:
            os.chown(self.config, self.mapped_uid, self.mapped_gid)

    def _hardware_addresses(self) -> list[str]:
        return [
            f"lxc.net.{net.index}.hwaddr = {_VENDOR}:{os.urandom(3).hex(':')}"
            for net in self.conf.nets
            if net.type in _WITH_ADDRESS and not net["hwaddr"]
        ]


def _sections(text: str) -> tuple[list[str], list[str], list[str]]:
    """A configuration as lines: comments at its top, settings, settings of the network. A comment stays above its line."""
    head: list[str] = []
    own: list[str] = []
    network: list[str] = []
    waiting: list[str] = []
    for line in text.splitlines():
        try:
            found = grammar.parse_line(line)
        except ValueError:
            found = ("", "")  # lxc-create has read it: cannot be
        if found is None:
            if line.strip():
                waiting.append(line)
            elif waiting and not own and not network:
                head += waiting  # a paragraph of its own
                waiting = []
            continue
        part = network if found[0].startswith("lxc.net") else own
        part += [*waiting, line]
        waiting = []
    return head, own + waiting, network


def fragment(name: str) -> str:
    """The line that includes one of our configuration fragments.

    They name each other by their installed folder; a checkout uses copies that name its own. Raises OSError.
    """
    return f"lxc.include = {fragments_folder()}/{name}"


def fragments_folder() -> str:
    """Where our configuration fragments are. Raises OSError."""
    return _render_fragments() if paths.IN_CHECKOUT else paths.CONFIG


def _render_fragments() -> str:
    checkout = os.path.dirname(paths.CONFIG)
    folder = f"{checkout}/build/config"
    owner = os.stat(checkout)
    for source, _folders, names in os.walk(paths.CONFIG):
        for name in names:
            if name.endswith((".conf", ".seccomp")):
                path = f"{source}/{name}"
                _render(path, folder + path[len(paths.CONFIG) :], folder, owner)
    return folder


def _render(path: str, place: str, folder: str, owner: os.stat_result) -> None:
    if os.path.exists(place) and os.stat(place).st_mtime >= os.stat(path).st_mtime:
        return
    with open(path, encoding="utf-8") as file:
        text = file.read()
    text = text.replace("/usr/share/lxc/config/", f"{folder}/").replace("/usr/share/lxc/hooks/", f"{paths.HOOKS}/")
    os.makedirs(os.path.dirname(place), 0o755, exist_ok=True)
    temporary = f"{place}.{os.urandom(6).hex()}"  # not the process id: templates run in pid namespaces
    with open(temporary, "x", encoding="utf-8") as file:
        file.write(text)
    for made in (temporary, os.path.dirname(place), folder, os.path.dirname(folder)):
        if os.stat(made).st_uid != owner.st_uid:
            os.chown(made, owner.st_uid, owner.st_gid)  # made by a container's root, in its user namespace
    os.rename(temporary, place)


_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv8l": "armhf",
    "armv7l": "armhf",
    "ppc64le": "ppc64el",
    "i386": "i386",
    "i486": "i386",
    "i586": "i386",
    "i686": "i386",
}


def debian_architecture(machine: str) -> str:
    """Debian's name of an architecture that the kernel names machine (uname -m)."""
    return _ARCHITECTURES.get(machine, machine)


def run(
    *argv: str, env: Mapping[str, str] | None = None, stdin: int | None = -1, stdout: int | None = None, remedy: str = ""
) -> None:
    """Run a program with our standard output and error (None) or another descriptor. Raises LxcError unless it exits with 0."""
    status = _wait(process.spawn(argv, env=env, stdin=stdin, stdout=stdout, setsid=True))
    if status:
        how = f"exited with status {status}" if status > 0 else f"was terminated by signal {-status}"
        raise LxcError(f"{' '.join(argv[:4])}{' ...' if len(argv) > 4 else ''} {how}", remedy=remedy)


def _wait(pid: int, beat: Callable[[], object] | None = None) -> int:
    """Wait for the end of a child, the leader of a session; its exit status, or minus the signal.

    When we are interrupted, the child and what it started are killed first: what they made is removed by who called.
    """
    pidfd = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        while not poller.poll(_BEAT if beat else None):
            if beat:
                beat()
    except BaseException:
        _kill_group(pid)
        raise
    finally:
        os.close(pidfd)
        status = os.waitpid(pid, 0)[1]
    return os.waitstatus_to_exitcode(status)


def _kill_group(pid: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    os.killpg(pid, _signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    while time.monotonic() < deadline:
        try:
            os.killpg(pid, _signal.SIGKILL)
        except ProcessLookupError:
            return
        if _only_zombie(pid):
            return
        time.sleep(0.01)


def _only_zombie(group: int) -> bool:
    """Whether the leader, which we have not waited for yet, is all that is left of a process group."""
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) != group:
            try:
                if os.getpgid(int(name)) == group:
                    return False
            except ProcessLookupError:
                continue
    return True


def unpack(archive: str, folder: str, excludes: Sequence[str], *, stdin: int | None = -1) -> None:
    """Unpack an archive of any compression that tar knows, ids as numbers, file capabilities included. Raises LxcError.

    archive: a path, or "-" for the descriptor stdin. excludes: patterns from the archive's top, as ./dev/*.
    """
    argv = ["tar", "-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=security.capability", "--xattrs-include=user.*"]
    argv += ["--anchored", *(f"--exclude={pattern}" for pattern in excludes), "-f", archive, "-C", folder]
    with Progress(f"unpacking into {folder}") as beat:
        status = _wait(process.spawn(argv, stdin=stdin, setsid=True), lambda: beat(0))
    if status:
        shown = "the kept archive" if archive == "-" else archive
        raise LxcError(f"tar could not unpack {shown} into {folder}: status {status}", remedy="its own message tells why")
