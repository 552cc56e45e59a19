# SPDX-License-Identifier: LGPL-2.1-or-later
"""The environments of the programs that we execute (runtime.md sections 18 and 24.5 of LXC's behaviour).

The interpreter may have put LC_CTYPE into os.environ (PEP 538) and would hand it on; what the caller really had is
in /proc/self/environ, which the kernel keeps as it was at our own execve(2).
"""

from __future__ import annotations

import os

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def callers_environment() -> dict[str, str]:
    """The environment with which this program was executed, bytes as surrogates."""
    try:
        with open("/proc/self/environ", "rb", buffering=0) as file:
            raw = file.readall()
    except OSError:
        return dict(os.environ)
    result = {}
    for entry in raw.split(b"\0"):
        name, equals, value = entry.partition(b"=")
        if equals:
            result[os.fsdecode(name)] = os.fsdecode(value)
    return result


def apply(environment: dict[str, str], entries: Iterable[str]) -> None:
    """Put lxc.environment entries (NAME=VALUE) into environment; a later one wins."""
    for entry in entries:
        name, _, value = entry.partition("=")
        environment[name] = value


def of_init(entries: Iterable[str], ttys: Iterable[str]) -> dict[str, str]:
    """What init gets: lxc.environment, container=lxc, the tty list; nothing of the host's."""
    environment: dict[str, str] = {}
    apply(environment, entries)
    environment["container"] = "lxc"
    names = " ".join(ttys)
    if names:
        environment["container_ttys"] = names
    return environment


def of_attached(
    caller: Mapping[str, str], *, keep: bool, keep_vars: Iterable[str], entries: Iterable[str], set_vars: Iterable[str]
) -> dict[str, str]:
    """What an attached program gets.

    keep: the caller's whole environment; otherwise only keep_vars of it, and the default PATH unless PATH was kept.
    Then container=lxc, the entries of lxc.environment, and set_vars (NAME=VALUE sets, a bare NAME removes).
    """
    if keep:
        environment = dict(caller)
    else:
        environment = {name: caller[name] for name in keep_vars if name in caller}
        environment.setdefault("PATH", DEFAULT_PATH)
    environment["container"] = "lxc"
    apply(environment, entries)
    for entry in set_vars:
        name, equals, value = entry.partition("=")
        if equals:
            environment[name] = value
        else:
            environment.pop(name, None)
    return environment
