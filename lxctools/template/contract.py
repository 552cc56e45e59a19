# SPDX-License-Identifier: LGPL-2.1-or-later
"""What our templates share: the arguments of the contract, the container's configuration, ownership."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from .. import files, paths
from ..config.conf import Config
from ..errors import LxcError, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """A parser with the options that lxc-create passes."""
    result = argparse.ArgumentParser(prog=f"lxc-{name}", description=description, allow_abbrev=True)
    contract = result.add_argument_group("given by lxc-create")
    contract.add_argument("-n", "--name", required=True, help="the container's name")
    contract.add_argument("-p", "--path", required=True, help="the container's folder")
    contract.add_argument("--rootfs", default="", help="the folder to fill; default: that of the configuration")
    contract.add_argument("--mapped-uid", type=int, default=-1, help="the caller's user id in this user namespace")
    contract.add_argument("--mapped-gid", type=int, default=-1, help="the caller's group id in this user namespace")
    return result


def main(run: Callable[[list[str]], None], prog: str) -> None:
    """Run a template: an error is one line and status 1."""
    try:
        run(sys.argv[1:])
    except (LxcError, OSError) as error:
        sys.stderr.write(f"{prog}: {error if isinstance(error, LxcError) else describe(error)}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


class Target:
    """The container that is filled: its folder, configuration file and root file system."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.name: str = options.name
        self.folder: str = options.path
        self.config = f"{self.folder}/config"
        self.mapped_uid: int = options.mapped_uid
        self.mapped_gid: int = options.mapped_gid
        conf = Config.read(self.config) if os.path.exists(self.config) else Config()
        self.conf = conf
        self.rootfs: str = options.rootfs or conf["lxc.rootfs.path"] or f"{self.folder}/rootfs"
        os.makedirs(self.rootfs, 0o755, exist_ok=True)
        if os.path.realpath(self.rootfs) == "/":
            raise LxcError("refusing to fill the host's own root")

    @property
    def mapped(self) -> bool:
        """Whether this runs in a user namespace for a container with id maps."""
        return self.mapped_uid >= 0

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the root file system, folders included."""
        place = f"{self.rootfs}/{path}"
        os.makedirs(os.path.dirname(place), 0o755, exist_ok=True)
        if os.path.islink(place):
            os.unlink(place)
        with open(place, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(place, mode)

    def link(self, path: str, target: str) -> None:
        """A symbolic link in the root file system, in the place of what is there."""
        place = f"{self.rootfs}/{path}"
        os.makedirs(os.path.dirname(place), 0o755, exist_ok=True)
        if os.path.lexists(place):
            os.unlink(place)
        os.symlink(target, place)

    def configure(self, lines: list[str]) -> None:
        """Append lines to the container's configuration, and give it back to the caller."""
        with open(self.config, "rb") as file:
            text = file.read()
        if text and not text.endswith(b"\n"):
            text += b"\n"
        text += "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
        files.write_atomic(self.config, text, 0o640)
        if self.mapped:
            os.chown(self.config, self.mapped_uid, self.mapped_gid)


def fragment(name: str) -> str:
    """The line that includes one of our configuration fragments.

    They name each other by their installed folder; a checkout uses copies that name its own.
    """
    folder = paths.CONFIG
    if paths.IN_CHECKOUT:
        folder = _render_fragments()
    return f"lxc.include = {folder}/{name}"


def _render_fragments() -> str:
    checkout = os.path.dirname(paths.CONFIG)
    folder = f"{checkout}/build/config"
    for source, _folders, names in os.walk(paths.CONFIG):
        for name in names:
            if not name.endswith((".conf", ".seccomp")):
                continue
            path = f"{source}/{name}"
            place = f"{folder}{path[len(paths.CONFIG) :]}"
            if os.path.exists(place) and os.stat(place).st_mtime >= os.stat(path).st_mtime:
                continue
            with open(path, encoding="utf-8") as file:
                text = file.read()
            text = text.replace("/usr/share/lxc/config/", f"{folder}/").replace("/usr/share/lxc/hooks/", f"{paths.HOOKS}/")
            os.makedirs(os.path.dirname(place), 0o755, exist_ok=True)
            files.write_atomic(place, text.encode(), 0o644)
    return folder


def host_architecture() -> str:
    """Debian's name of this machine's architecture."""
    machine = os.uname().machine
    known = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "ppc64le": "ppc64el", "i686": "i386"}
    return known.get(machine, machine)


def run(*argv: str, env: dict[str, str] | None = None, stdout: int | None = None) -> None:
    """Run a program with our streams. Raises LxcError when it is missing or fails."""
    try:
        done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=stdout, check=False)
    except FileNotFoundError:
        raise LxcError(f"{argv[0]} is not installed", remedy=f"apt-get install {os.path.basename(argv[0])}") from None
    if done.returncode:
        raise LxcError(f"{' '.join(argv)} ended with status {done.returncode}")
