# SPDX-License-Identifier: LGPL-2.1-or-later
"""A user who has subordinate ids, in a throw-away root: what he makes without being root."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests import host

UID, FIRST = 2000, 300000
HOME = Path("/home/u")
LXCPATH = HOME / ".local/share/lxc"
TEMPLATE = HOME / "template"


def prepare() -> None:
    """Make the user, his default configuration, and TEMPLATE. Only in a throw-away root."""
    with open("/etc/passwd", "a", encoding="ascii") as file:
        file.write(f"u:x:{UID}:{UID}::{HOME}:/bin/sh\n")
    with open("/etc/group", "a", encoding="ascii") as file:
        file.write(f"u:x:{UID}:\n")
    for name in ("subuid", "subgid"):
        Path(f"/etc/{name}").write_text(f"u:{FIRST}:65536\n")
    settings, runtime = HOME / ".config/lxc", Path(f"/run/user/{UID}")
    for folder in (settings, runtime):
        folder.mkdir(parents=True)
    (settings / "default.conf").write_text("".join(f"lxc.idmap = {kind} 0 {FIRST} 65536\n" for kind in "ug"))
    TEMPLATE.write_text(
        '#!/bin/sh\nfor word; do case $word in --rootfs=*) root=${word#--rootfs=};; esac; done\n'
        'mkdir "$root/etc" && echo c1 >"$root/etc/hostname" && echo x >"$root/etc/secret" && chmod 600 "$root/etc/secret"\n'
    )
    TEMPLATE.chmod(0o755)
    for top in (HOME, runtime):
        for folder, _folders, names in os.walk(top):
            for path in (folder, *(f"{folder}/{name}" for name in names)):
                os.chown(path, UID, UID)


def run(*argv: object) -> subprocess.CompletedProcess[bytes]:
    """A command as this user."""
    who = ("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--reset-env", "env", f"XDG_RUNTIME_DIR=/run/user/{UID}")
    return host.run(*who, f"HOME={HOME}", *argv, cwd=str(HOME))


def listing() -> list[str]:
    """Mode, owner and name of everything in his containers' folder."""
    found = host.run("find", LXCPATH, "-printf", "%M %U:%G %P\n", check=True).stdout.decode()
    return sorted(found.splitlines(), key=lambda line: line.split(" ", 2)[2])
