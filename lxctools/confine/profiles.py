# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-apparmor-load: load the AppArmor profiles of lxc-start and of containers, for lxc.service.

The profiles are those that LXC's packages install; what is not there, or is switched off by a link in
/etc/apparmor.d/disable, is passed over. A kernel that does not mediate mounts cannot confine a container, and has nothing loaded.
"""

from __future__ import annotations

import os
import sys

from .. import log, process
from ..errors import LxcError
from . import apparmor

PROFILES = ("usr.bin.lxc-start", "lxc-containers")
_FOLDER = "/etc/apparmor.d"
_PARSER = "apparmor_parser"
_PATIENCE = 300  # seconds; a slow machine compiles for a while
_USAGE = "usage: lxc-apparmor-load"


def main(argv: list[str]) -> int:
    """The program; returns its exit status."""
    log.setup("lxc-apparmor-load")
    if len(argv) > 1:
        print(_USAGE, file=sys.stderr)
        return 2
    try:
        load()
    except LxcError as error:
        print(f"lxc-apparmor-load: {error}", file=sys.stderr)
        return 1
    return 0


def load(root: str = "") -> None:
    """Replace the profiles in the kernel by those on disk, all that can be. root: as in apparmor. Raises LxcError naming the others."""
    if not apparmor.mediates_mounts(root):
        return
    folder = f"{root}{_FOLDER}"
    names = [name for name in PROFILES if os.path.exists(f"{folder}/{name}") and not os.path.lexists(f"{folder}/disable/{name}")]
    files = [f"{folder}/{name}" for name in names]
    if not files:
        return
    if process.find(_PARSER) is None:
        raise LxcError(f"cannot load {' '.join(files)}: there is no {_PARSER}", remedy="install the package apparmor")
    failed = []
    for path in files:
        done = process.run([_PARSER, "--replace", "--write-cache", path], timeout=_PATIENCE)
        if done.status != 0:
            failed.append(f"{path}: {_PARSER} {done.why()}")
    if failed:
        raise LxcError(f"cannot load AppArmor profiles: {'; '.join(failed)}", remedy=f"try: {_PARSER} -Q FILE")
