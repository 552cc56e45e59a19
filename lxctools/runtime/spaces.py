# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which namespaces a container gets: created, shared with another container or process, or the host's own.

Rules: lxc.namespace.clone, .keep and .share.* of lxc.container.conf(5); LXC behaviour for the defaults.
"""

from __future__ import annotations

import os

from .. import log, namespaces
from ..errors import LxcError, describe
from ..protocol import client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.conf import Config

_ALWAYS = ("mnt", "pid", "uts", "ipc")


def to_create(conf: Config) -> int:
    """The CLONE_* bits of the namespaces that this container gets for itself."""
    shared = set(conf["lxc.namespace.share"])
    available = {row.name for row in namespaces.NAMESPACES if os.path.exists(f"/proc/self/ns/{row.proc}")}
    mapped = bool(conf["lxc.idmap"])
    offsets = bool(conf["lxc.time.offset.boot"] or conf["lxc.time.offset.monotonic"])
    chosen = set(conf["lxc.namespace.clone"])
    kept = set(conf["lxc.namespace.keep"])
    if chosen:
        wanted = chosen
    elif kept:
        # "All but these": a user namespace without a map would only make the start fail, and one is never implied.
        wanted = available - kept - ({"user"} if not mapped else set()) - ({"time"} if not offsets else set())
        if offsets and "time" in kept:
            raise LxcError("lxc.time.offset.* cannot be set while lxc.namespace.keep keeps the time namespace")
    else:
        wanted = set(_ALWAYS)
        if mapped:
            wanted.add("user")
        if not only_host_network(conf):
            wanted.add("net")
        if "cgroup" in available:
            wanted.add("cgroup")
        if offsets:
            wanted.add("time")
    missing = wanted - available - shared
    if missing:
        raise LxcError(f"this kernel has no {', '.join(sorted(missing))} namespace")
    return sum(row.flag for row in namespaces.NAMESPACES if row.name in wanted - shared)


def only_host_network(conf: Config) -> bool:
    """Whether every network device is of type none, so that the container lives in the host's network namespace."""
    types = [net.type for net in conf.nets]
    return bool(types) and all(kind == "none" for kind in types)


def open_shared(conf: Config, lxcpath: str) -> list[tuple[str, int, int]]:
    """Open what lxc.namespace.share.* names: (namespace, CLONE_* bit, descriptor), in the order to enter them.

    A reference is a path, a process id of the host, or the name of a running container: NAME in the same lxcpath, or
    LXCPATH/NAME. Raises LxcError naming the key and the reference.
    """
    result: list[tuple[str, int, int]] = []
    shared = conf["lxc.namespace.share"]
    for row in namespaces.NAMESPACES:
        if row.name not in shared:
            continue
        reference = shared[row.name]
        key = f"lxc.namespace.share.{row.name} = {reference}"
        try:
            fd = os.open(_path(reference, row.proc, key, lxcpath), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            for _name, _flag, opened in result:
                os.close(opened)
            raise LxcError(f"cannot share a namespace ({key}): {describe(error)}") from error
        result.append((row.name, row.flag, fd))
    return result


def _path(reference: str, proc_name: str, key: str, lxcpath: str) -> str:
    if reference.startswith("/"):
        folder, _, other = reference.rpartition("/")
        if not os.path.isdir(reference):
            return reference
        # An absolute LXCPATH/NAME of a container.
        pid = client.init_pid(other, folder)
    elif reference.isdecimal() and int(reference) > 0:
        pid = int(reference)
    else:
        folder, _, other = reference.rpartition("/")
        pid = client.init_pid(other, folder or lxcpath)
    if not pid:
        raise LxcError(
            f'cannot share a namespace ({key}): container "{reference}" is not running', remedy="start it first"
        )
    return f"/proc/{pid}/ns/{proc_name}"


def keep(pid: int, flags: int) -> dict[str, int]:
    """Descriptors of a process's namespaces, for those in flags; they keep the namespaces alive for the stop hooks."""
    result: dict[str, int] = {}
    for row in namespaces.NAMESPACES:
        if flags & row.flag:
            try:
                result[row.name] = os.open(f"/proc/{pid}/ns/{row.proc}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                log.warn(f"the {row.name} namespace cannot be kept for the stop hooks: {describe(error)}")
    return result
