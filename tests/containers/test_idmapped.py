# SPDX-License-Identifier: LGPL-2.1-or-later
"""Idmapped mounts: of the root and of entries."""

from __future__ import annotations

import os
from typing import Any

import pytest

from lxctools.errors import LxcError
from lxctools.linux import mount, sched
from lxctools.mounts import idmapped, rootfs
from tests.forked import forked

from .box import HOST_ID, NS, Box, ids_written, inside, rows

pytestmark = pytest.mark.root


# -- idmapped mounts


def userns_fd() -> int:
    """A user namespace with the container's maps."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    done_reader, done = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        sched.unshare(sched.CLONE_NEWUSER)
        os.write(writer, b"x")
        os.read(done_reader, 1)
        os._exit(0)
    os.read(reader, 1)
    ids_written(pid)
    fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    os.write(done, b"x")
    os.waitpid(pid, 0)
    return fd


def test_an_idmapped_entry(box: Box) -> None:
    conf = box.conf(f"lxc.mount.entry = {box.source} mnt none bind,ro,idmap=container,create=dir")

    def child() -> tuple[int, str]:
        namespace = userns_fd()
        root = rootfs.mount_rootfs(conf)
        box.entries(root, conf, lambda wanted: idmapped.open_mount(wanted, namespace))
        return (box.mnt / "mnt" / "file").stat().st_uid, rows(str(box.mnt))["/mnt"][0]

    assert inside(child) == (HOST_ID, "ro,idmapped")


def test_an_idmapped_root(box: Box) -> None:
    (box.rootfs / "file").touch()
    conf = box.conf("lxc.rootfs.options = idmap=container")

    def child() -> int:
        namespace = userns_fd()
        rootfs.mount_rootfs(conf, None, lambda wanted: idmapped.open_mount(wanted, namespace))
        return (box.mnt / "file").stat().st_uid

    assert inside(child) == HOST_ID


def test_an_idmapped_mount_is_attached_from_the_containers_side(box: Box) -> None:
    """The monitor makes it, who is root in the user namespace only attaches it: seen from there, root owns the files."""
    os.chown(box.rootfs, HOST_ID, HOST_ID)
    (box.rootfs / "mnt").mkdir()
    conf = box.conf(f"lxc.mount.entry = {box.source} mnt none bind,nosuid,idmap=container")

    def child() -> tuple[int, str]:
        namespace = userns_fd()
        tree = idmapped.open_mount((str(box.source), False, "container", mount.MOUNT_ATTR_NOSUID, 0, False, "x"), namespace)

        def attach() -> tuple[int, str]:
            root = rootfs.mount_rootfs(conf)
            box.entries(root, conf, lambda _wanted: os.dup(tree))
            return (box.mnt / "mnt" / "file").stat().st_uid, rows(str(box.mnt))["/mnt"][0]

        sched.setns(namespace, sched.CLONE_NEWUSER)
        sched.unshare(NS)
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        return attach()

    assert forked(child) == (0, "rw,nosuid,idmapped")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (("/no/such", False, "container", 0, 0, False, "the line"), "No such file"),
        (("/proc", False, "container", 0, 0, False, "the line"), "Invalid argument"),
        (("/", False, "/no/such", 0, 0, False, "the line"), "No such file"),
    ],
)
def test_idmapped_mounts_that_fail_name_their_line(wanted: Any, words: str) -> None:
    def child() -> tuple[str, int]:
        namespace = userns_fd()
        optional = idmapped.open_mount((*wanted[:5], True, "x"), namespace)
        try:
            idmapped.open_mount(wanted, namespace)
        except LxcError as error:
            return str(error), optional
        return "", optional

    message, optional = inside(child)
    assert words in message
    assert "(the line)" in message
    assert optional == -1


def test_idmap_container_needs_a_user_namespace() -> None:
    with pytest.raises(LxcError, match="needs a container with a user namespace"):
        idmapped.open_mount(("/", False, "container", 0, 0, False, "x"), -1)
