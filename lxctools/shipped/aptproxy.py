# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pre-start hook: apt in the container uses the proxy that squid-deb-proxy-client gave to the host or finds now.

A container without apt, or whose root file system is no folder yet, starts without it.
"""

from __future__ import annotations

import os
import stat

from .. import files
from ..errors import LxcError, describe
from ..process import run as run_program
from ..template.rootfs import Rootfs
from . import invocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "squid-deb-proxy-client"
_CONF = "/etc/apt/apt.conf.d/50squid-deb-proxy"
_DISCOVER = "/usr/share/squid-deb-proxy-client/apt-avahi-discover"
_PATIENCE = 30.0  # seconds for the search of the network


def run(words: list[str], environment: Mapping[str, str], conf: str = _CONF, discover: str = _DISCOVER) -> int:
    """Write the proxy of the host, if it has one. Raises LxcError, OSError. conf, discover: files of the host."""
    call = invocation.Invocation(words, environment)
    call.expect("pre-start")
    path = call.rootfs()
    text = _setting(conf, discover)
    if not text:
        return 0
    if not os.path.isabs(path) or not os.path.isdir(path):
        invocation.say(NAME, f"{path} is no folder: the container starts without the proxy of the host")
        return 0
    with Rootfs(path) as root:
        if not root.exists(os.path.dirname(_CONF)):
            invocation.say(NAME, f"no apt in {path}: the container starts without the proxy of the host")
            return 0
        try:
            root.write(_CONF, text)
        except OSError as error:
            raise LxcError(f"cannot write {_CONF} in {path}: {describe(error)}") from error
    return 0


def _setting(conf: str, discover: str) -> str:
    """The text of apt's configuration; empty when there is no proxy."""
    if os.path.isfile(conf):
        return files.read_text(conf)
    try:
        if not stat.S_ISREG(os.stat(discover).st_mode):
            return ""
    except FileNotFoundError:
        return ""  # the package is not installed
    found = run_program([discover], timeout=_PATIENCE)
    if found.status != 0:
        invocation.say(NAME, f"no proxy found: {discover} {found.why()}")
        return ""
    proxy = (found.text().split() or [""])[-1]
    if not proxy:
        return ""
    if not proxy.isprintable() or '"' in proxy or "://" not in proxy:  # it came from anybody in the local network
        raise LxcError(f"refusing what {discover} found: {proxy!r} is no address of a proxy", remedy=f"write the right one into {_CONF}")
    return f'// Found by the host when the container started.\nAcquire::http::Proxy "{proxy}";\n'


def main() -> None:
    """The hook's program."""
    invocation.main(run, NAME)
