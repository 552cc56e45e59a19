# SPDX-License-Identifier: LGPL-2.1-or-later
"""The environments of init and of attached programs (LXC behaviour; lxc-attach(1), lxc.container.conf(5))."""

from __future__ import annotations

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


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
