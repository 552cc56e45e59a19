# SPDX-License-Identifier: LGPL-2.1-or-later
"""python3 -m lxctools: which lxctools this is, and what the system provides of what it needs. And the scripts that pip makes."""

from __future__ import annotations

import os
import sys

from . import LXC_VERSION, __version__, paths, process
from .errors import describe
from .linux import seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

USAGE = "usage: python3 -m lxctools [--version]\n"
# Program -> the Debian package that has it, and what cannot be done without it.
PROGRAMS = {
    "newuidmap": ("uidmap", "containers of users other than root"),
    "dnsmasq": ("dnsmasq-base", "lxc-net: addresses and names for containers"),
    "nft": ("nftables", "lxc-net: the way out for containers (or iptables)"),
    "busybox": ("busybox-static", "the template busybox"),
    "mmdebstrap": ("mmdebstrap", "the template debian (or debootstrap)"),
    "xz": ("xz-utils", "the template local: archives with .xz"),
    "zstd": ("zstd", "lxc-export and lxc-import"),
}


def main(argv: list[str]) -> int:
    """The exit status of `python3 -m lxctools`: 0; 2 for what it does not know; 1 if something that any start may need is missing."""
    if argv[1:] == ["--version"]:
        print(f"lxctools {__version__}")
        return 0
    if argv[1:]:
        sys.stderr.write(USAGE)
        return 2
    print(f"lxctools {__version__}, the commands of LXC {LXC_VERSION}, from {os.path.dirname(os.path.abspath(__file__))}")
    complete = True
    for name, found, package, purpose in needs():
        complete = complete and (found or package != "libseccomp2")
        print(f"{'found' if found else 'missing':8}{name:12}{purpose}" + ("" if found else f" [Debian: {package}]"))
    return 0 if complete else 1


def needs() -> list[tuple[str, bool, str, str]]:
    """(name, whether it is here, its Debian package, what needs it) of all that the system must provide."""
    found = [("libseccomp", _has_libseccomp(), "libseccomp2", "containers with lxc.seccomp.profile: all of the templates'")]
    found.append(("pyroute2", _has_pyroute2(), "python3-pyroute2", "lxc-net: the bridge"))
    found += [(name, process.find(name) is not None, *row) for name, row in PROGRAMS.items()]
    return found


def _has_libseccomp() -> bool:
    try:
        seccomp.Library()
    except (OSError, AttributeError):
        return False
    return True


def _has_pyroute2() -> bool:
    """Looked for, not imported: that takes a third of a second."""
    return any(os.path.isdir(f"{folder}/pyroute2") for folder in sys.path)


def launched() -> NoReturn:
    """What a script that pip made does: run the launcher of its name, isolated as the launcher's first line says.

    Neither the environment nor the current folder gets code into a command of root that way.
    """
    name = os.path.basename(sys.argv[0])
    launcher = f"{paths.LIBEXEC}/{name}"
    try:
        with open(launcher, encoding="utf-8") as file:
            flags = file.readline().split()[1:]
        os.execve(sys.executable, [sys.executable, *flags, launcher, *sys.argv[1:]], process.callers_environment())
    except OSError as error:
        sys.exit(f"{name}: cannot run {launcher}: {describe(error)} (install lxctools again)")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
