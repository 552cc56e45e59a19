# SPDX-License-Identifier: LGPL-2.1-or-later
"""Device nodes and network interfaces of a running container, put in and taken out from outside.

A node is made by a process of ours in the container's mount namespace: whatever links the container has laid, the path
cannot leave what the container sees.
"""

from __future__ import annotations

import errno
import os
import stat

from ..errors import LxcError, NotRunning, describe
from ..linux import rtnetlink, sched
from ..protocol import client
from . import cgroup_item, inside

_PATIENCE = 10.0


def give(name: str, lxcpath: str, device: str, inside_name: str) -> None:
    """Move an interface of ours in, or make a node like that of the host and permit its use. Raises LxcError."""
    if "/" not in device and is_interface(device):
        move_in(name, lxcpath, device, inside_name)
        return
    mode, number = node_numbers(device)
    make_node(name, lxcpath, inside_name, mode, number)
    _rule(name, lxcpath, "devices.allow", rule_of(mode, number))


def take_back(name: str, lxcpath: str, device: str, inside_name: str) -> None:
    """Move an interface of its out, or remove a node and forbid its use. Raises LxcError."""
    if "/" not in device and move_out(name, lxcpath, device, inside_name):
        return
    mode, number = node_numbers(device)
    remove_node(name, lxcpath, inside_name)
    _rule(name, lxcpath, "devices.deny", rule_of(mode, number))


def _rule(name: str, lxcpath: str, item: str, rule: str) -> None:
    try:
        cgroup_item.write(name, lxcpath, item, rule, timeout=_PATIENCE)
    except OSError as error:
        raise LxcError(f"cannot write {rule} to {item}: {describe(error)}") from error


def node_numbers(path: str) -> tuple[int, int]:
    """(mode, device number) of a device node on the host. Raises LxcError."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise LxcError(f"{path} is neither an interface nor a device node of the host: {describe(error)}") from error
    if not stat.S_ISCHR(status.st_mode) and not stat.S_ISBLK(status.st_mode):
        raise LxcError(f"{path} is no device node", remedy="name a character or block device, or a network interface")
    return status.st_mode, status.st_rdev


def rule_of(mode: int, number: int) -> str:
    """The node as the devices controller writes it."""
    return f"{'b' if stat.S_ISBLK(mode) else 'c'} {os.major(number)}:{os.minor(number)} rwm"


def make_node(name: str, lxcpath: str, path: str, mode: int, number: int) -> None:
    """Make the node in the container, in place of what is there; missing folders, too. Raises LxcError, NotRunning."""

    def make() -> str:
        os.umask(0)  # the node gets the mode of the host's
        try:
            os.makedirs(os.path.dirname(path) or "/", 0o755, exist_ok=True)
            if os.path.lexists(path):
                os.unlink(path)
            os.mknod(path, mode, number)
        except OSError as error:
            if error.errno == errno.EOVERFLOW:
                return "the container has a user namespace of its own, where device nodes do not work"
            return describe(error)
        return ""

    _in_its_root(name, lxcpath, make, f"create the device node {path}")


def remove_node(name: str, lxcpath: str, path: str) -> None:
    """Remove a file in the container; a missing one is no failure. Raises LxcError, NotRunning."""

    def remove() -> str:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            return describe(error)
        return ""

    _in_its_root(name, lxcpath, remove, f"remove {path}")


def _in_its_root(name: str, lxcpath: str, function: object, what: str) -> None:
    assert callable(function)
    pidfd = client.init_pidfd(name, lxcpath)
    if pidfd is None:
        raise NotRunning(f"Container {name} is not running")
    try:
        answer = inside.in_container(pidfd, sched.CLONE_NEWNS, function, _PATIENCE)
    finally:
        os.close(pidfd)
    if answer != "":
        why = answer if isinstance(answer, str) else "its mount namespace cannot be entered"
        raise LxcError(f"cannot {what} in {name}: {why}", remedy="lxc.mount.entry binds a node of the host's at the start")


def is_interface(name: str) -> bool:
    """Whether an interface of that name is in our network namespace."""
    with rtnetlink.Rtnl() as rtnl:
        return rtnl.link(name) is not None


class _Networks:
    """The network namespaces of the container and of ours. Raises NotRunning."""

    def __init__(self, name: str, lxcpath: str) -> None:
        pid = client.init_pid(name, lxcpath)
        if not pid:
            raise NotRunning(f"Container {name} is not running")
        flags = os.O_RDONLY | os.O_CLOEXEC
        self.home = os.open("/proc/self/ns/net", flags)
        try:
            self.its = os.open(f"/proc/{pid}/ns/net", flags)
        except OSError as error:
            os.close(self.home)
            raise LxcError(f"cannot open the network namespace of {name}: {describe(error)}") from error

    def close(self) -> None:
        os.close(self.home)
        os.close(self.its)

    def has_its(self, device: str) -> bool:
        return self._link(self._there(), device) is not None

    def _there(self) -> rtnetlink.Rtnl:
        """A netlink socket in the container."""
        sched.setns(self.its, sched.CLONE_NEWNET)
        try:
            return rtnetlink.Rtnl()
        finally:
            sched.setns(self.home, sched.CLONE_NEWNET)

    @staticmethod
    def _link(rtnl: rtnetlink.Rtnl, device: str) -> rtnetlink.Link | None:
        with rtnl:
            return rtnl.link(device)

    def move(self, device: str, new_name: str, *, out: bool) -> None:
        """Take the interface down and move it under its new name. Raises LxcError; then it is where it was."""
        source, target = (self._there(), rtnetlink.Rtnl()) if out else (rtnetlink.Rtnl(), self._there())
        here, there = (self.its, self.home) if out else (self.home, self.its)
        with source, target:
            link = source.link(device)
            if link is None:
                raise LxcError(f'Network device "{device}" not found')
            # The kernel moves first and names then: a name that is taken would leave it there under the old one.
            if target.link(new_name) is not None:
                raise LxcError(f"there is an interface {new_name} already", remedy="give another name as the last word")
            try:
                source.set_link(link.index, up=False)
                source.set_link(link.index, name=new_name, netns_fd=there)
            except OSError as error:
                self._back(source, target, link, here)
                remedy = "wireless and some virtual interfaces cannot be moved" if error.errno == errno.EINVAL else ""
                raise LxcError(f"cannot move interface {device}: {describe(error)}", remedy=remedy) from error

    @staticmethod
    def _back(source: rtnetlink.Rtnl, target: rtnetlink.Rtnl, link: rtnetlink.Link, here: int) -> None:
        try:
            moved = target.link(link.name)
            if source.link(link.name) is None and moved is not None:
                target.set_link(moved.index, netns_fd=here)
            found = source.link(link.name)
            if link.up and found is not None:
                source.set_link(found.index, up=True)
        except OSError:
            pass  # the failure before this one is what is told


def move_in(name: str, lxcpath: str, device: str, new_name: str) -> None:
    """Move an interface of ours into the container. Raises LxcError; then it stays here."""
    networks = _Networks(name, lxcpath)
    try:
        networks.move(device, new_name, out=False)
    finally:
        networks.close()


def move_out(name: str, lxcpath: str, device: str, new_name: str) -> bool:
    """Move an interface of the container's to us; False when it has none of that name. Raises LxcError; then it stays there."""
    networks = _Networks(name, lxcpath)
    try:
        if not networks.has_its(device):
            return False
        networks.move(device, new_name, out=True)
        return True
    finally:
        networks.close()
