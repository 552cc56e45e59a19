# SPDX-License-Identifier: LGPL-2.1-or-later
"""/dev: nodes, devpts, console and ttys, of hostile roots too."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lxctools.config.conf import Config
from lxctools.linux import mount, proc, tty
from lxctools.mounts import auto, dev, rootfs
from lxctools.mounts.resolve import Root

from .box import HOST_ID, Box, hierarchies, in_userns, inside, refused, rows

pytestmark = pytest.mark.root


# -- /dev


def device_setup(box: Box, conf: Config) -> Root:
    root = rootfs.mount_rootfs(conf)
    dev.setup_autodev(root, conf)
    return root


def nodes(folder: str) -> dict[str, tuple[int, int, int]]:
    """Device nodes: name -> (major, minor, permissions)."""
    found = {}
    for name in os.listdir(folder):
        status = os.lstat(f"{folder}/{name}")
        if stat.S_ISCHR(status.st_mode):
            found[name] = (os.major(status.st_rdev), os.minor(status.st_rdev), stat.S_IMODE(status.st_mode))
    return found


NODES = {
    "full": (1, 7, 0o666),
    "null": (1, 3, 0o666),
    "random": (1, 8, 0o666),
    "tty": (5, 0, 0o666),
    "urandom": (1, 9, 0o666),
    "zero": (1, 5, 0o666),
}


@pytest.mark.parametrize(("line", "size"), [("", "492k"), ("lxc.autodev.tmpfs.size = 1000000", "980k")])
def test_autodev(box: Box, line: str, size: str) -> None:
    conf = box.conf(*[line] if line else [])

    def child() -> tuple[tuple[str, str, str], dict[str, tuple[int, int, int]], int, bytes]:
        os.umask(0o077)
        root = device_setup(box, conf)
        dev.populate_nodes(root)
        with open(f"{box.mnt}/dev/zero", "rb", buffering=0) as file:
            read = file.read(3)
        mode = stat.S_IMODE(os.stat(f"{box.mnt}/dev/pts").st_mode)
        return rows(str(box.mnt))["/dev"], nodes(f"{box.mnt}/dev"), mode, read

    row, found, _mode, read = inside(child)
    assert row[:2] == ("rw", "tmpfs")
    assert row[2] == f"rw,size={size},mode=755"
    assert found == NODES
    assert read == b"\0\0\0"


def test_nodes_of_an_autodev_hook_stay(box: Box) -> None:
    def child() -> tuple[int, int, int]:
        root = device_setup(box, box.conf())
        os.mknod(f"{box.mnt}/dev/null", stat.S_IFCHR | 0o600, os.makedev(1, 5))
        dev.populate_nodes(root)
        return nodes(f"{box.mnt}/dev")["null"]

    assert inside(child) == (1, 5, 0o600)


def test_nodes_in_a_user_namespace_are_the_hosts(box: Box) -> None:
    os.chown(box.rootfs, HOST_ID, HOST_ID)

    def child() -> tuple[dict[str, str], bytes]:
        root = device_setup(box, box.conf())
        dev.populate_nodes(root)
        with open(f"{box.mnt}/dev/zero", "rb", buffering=0) as file:
            read = file.read(2)
        return {point: row[1] for point, row in rows(f"{box.mnt}/dev").items()}, read

    found, read = in_userns(child)
    assert set(found) == {"", *(f"/{name}" for name in NODES)}
    assert read == b"\0\0"


def test_dev_as_a_link_fails_the_start(box: Box) -> None:
    (box.rootfs / "dev").symlink_to(box.outside)
    message = refused(lambda: device_setup(box, box.conf()))
    assert f'cannot mount a tmpfs on /dev (lxc.autodev = 1): a symbolic link (to "{box.outside}")' in message
    assert box.untouched()


PTY = "lxc.pty.max = 16"


def test_devpts(box: Box) -> None:
    conf = box.conf(PTY, "lxc.tty.max = 2")

    def child() -> tuple[dict[str, tuple[str, str, str]], list[str], tuple[int, int]]:
        root = device_setup(box, conf)
        fd = dev.devpts(root, conf)
        master, slave = tty.openpty(fd)
        names = dev.tty_names([(master, slave)])
        node = os.stat(f"{box.mnt}/dev/ptmx")
        return rows(f"{box.mnt}/dev/"), names, (os.major(node.st_rdev), os.minor(node.st_rdev))

    found, names, ptmx = inside(child)
    assert found["pts"] == ("rw,nosuid,noexec", "devpts", "rw,gid=5,mode=620,ptmxmode=666,max=18")
    assert found["ptmx"][1] == "devpts"
    assert names == ["pts/0"]
    assert ptmx == (5, 2)


def test_no_devpts_without_ptys(box: Box) -> None:
    def child() -> tuple[int, list[str]]:
        root = device_setup(box, box.conf())
        return dev.devpts(root, box.conf()), list(rows(f"{box.mnt}/dev/"))

    assert inside(child) == (-1, [])


@pytest.mark.parametrize(("count", "gid"), [(65536, f"gid={HOST_ID + 5},"), (3, "")])
def test_devpts_of_a_user_namespace(box: Box, count: int, gid: str) -> None:
    """Where group 5 is not mapped the devpts is made without it."""
    os.chown(box.rootfs, HOST_ID, HOST_ID)
    conf = box.conf(PTY)

    def child() -> tuple[str, bool]:
        root = device_setup(box, conf)
        master, slave = tty.openpty(dev.devpts(root, conf))
        return rows(f"{box.mnt}/dev/")["pts"][2], os.isatty(master) and os.isatty(slave)

    options, works = in_userns(child, count)
    assert options.replace("gid=5,", f"gid={HOST_ID + 5},") == f"rw,{gid}mode=620,ptmxmode=666,max=16"
    assert works


def test_devpts_only_for_ttys_goes_again(box: Box) -> None:
    conf = box.conf("lxc.tty.max = 1")

    def child() -> tuple[int, list[str], bytes]:
        root = device_setup(box, conf)
        fd = dev.devpts(root, conf)
        pairs = dev.ttys(root, conf, fd, 1)
        left = dev.release_devpts(root, conf, fd)
        os.write(pairs[0][0], b"x\n")
        side = os.open(f"{box.mnt}/dev/tty1", os.O_RDONLY | os.O_NOCTTY)
        return left, sorted(rows(f"{box.mnt}/dev/")), os.read(side, 10)

    assert inside(child) == (-1, ["tty1"], b"x\n")


def test_ttys(box: Box) -> None:
    conf = box.conf(PTY, "lxc.tty.max = 2")

    def child() -> tuple[list[str], list[bool], bool]:
        root = device_setup(box, conf)
        fd = dev.devpts(root, conf)
        pairs = dev.ttys(root, conf, fd, 2)
        same = [os.stat(f"{box.mnt}/dev/tty{n}").st_rdev == os.fstat(pair[1]).st_rdev for n, pair in enumerate(pairs, 1)]
        return dev.tty_names(pairs), same, any(os.get_inheritable(one) for pair in pairs for one in pair)

    assert inside(child) == (["pts/0", "pts/1"], [True, True], False)


def test_ttys_in_a_folder(box: Box) -> None:
    conf = box.conf(PTY, "lxc.tty.max = 1", "lxc.tty.dir = lxc")

    def child() -> tuple[str, bool, list[str]]:
        root = device_setup(box, conf)
        fd = dev.devpts(root, conf)
        console = dev.console_from_devpts(fd)
        dev.bind_console(root, conf, console[1], fd)
        pairs = dev.ttys(root, conf, fd, 1)
        return (
            os.readlink(f"{box.mnt}/dev/tty1"),
            os.stat(f"{box.mnt}/dev/tty1").st_rdev == os.fstat(pairs[0][1]).st_rdev,
            sorted(rows(f"{box.mnt}/dev/")),
        )

    assert inside(child) == ("lxc/tty1", True, ["console", "lxc/console", "lxc/tty1", "ptmx", "pts"])


def test_ttys_of_execute_are_not_bound(box: Box) -> None:
    conf = box.conf(PTY, "lxc.tty.max = 1")

    def child() -> tuple[int, bool]:
        root = device_setup(box, conf)
        fd = dev.devpts(root, conf)
        return len(dev.ttys(root, conf, fd, 1, bind=False)), os.path.exists(f"{box.mnt}/dev/tty1")

    assert inside(child) == (1, False)


@pytest.mark.parametrize("own", [True, False])
def test_the_console(box: Box, own: bool) -> None:
    """A pty of the container's devpts, or one of the host's."""
    conf = box.conf(PTY)

    def child() -> tuple[bool, int]:
        root = device_setup(box, conf)
        fd = dev.devpts(root, conf) if own else -1
        master, slave = dev.console_from_devpts(fd) if own else tty.openpty()
        dev.bind_console(root, conf, slave, fd)
        status = os.stat(f"{box.mnt}/dev/console")
        there = os.fstat(slave)
        os.close(master)
        return (status.st_rdev, status.st_dev) == (there.st_rdev, there.st_dev), stat.S_IMODE(status.st_mode)

    assert inside(child) == (True, 0o620)


def test_what_was_bound_on_the_console_goes(box: Box) -> None:
    (box.rootfs / "dev").mkdir()
    (box.rootfs / "dev" / "console").touch()
    conf = box.conf("lxc.autodev = 0")

    def child() -> list[str]:
        mount.mount("/dev/null", f"{box.rootfs}/dev/console", None, mount.MS_BIND)
        root = rootfs.mount_rootfs(conf)
        _master, slave = tty.openpty()
        dev.bind_console(root, conf, slave)
        return [row.fstype for row in proc.mountinfo() if row.point == f"{box.mnt}/dev/console"]

    assert inside(child) == ["devpts"]


@pytest.mark.parametrize("name", ["dev", "dev/pts", "dev/console", "dev/lxc", "dev/tty1"])
def test_links_in_a_dev_of_the_roots_own(box: Box, name: str) -> None:
    """lxc.autodev = 0: the folder is the container's."""
    (box.rootfs / name).parent.mkdir(exist_ok=True)
    (box.rootfs / name).symlink_to(box.outside / "file" if name in ("dev/console", "dev/tty1") else box.outside)
    folder = "" if name in ("dev/console", "dev/tty1") else "lxc"
    conf = box.conf("lxc.autodev = 0", PTY, "lxc.tty.max = 1", f"lxc.tty.dir = {folder}")

    def start() -> None:
        root = rootfs.mount_rootfs(conf)
        try:
            fd = dev.devpts(root, conf)
            _master, slave = dev.console_from_devpts(fd)
            dev.bind_console(root, conf, slave, fd)
            dev.ttys(root, conf, fd, 1)
            dev.dev_symlinks(root)
        finally:
            assert not rows(str(box.outside))

    message = refused(start)
    assert "a symbolic link (to " in message
    assert f"/{name}" in message
    assert box.untouched()


def test_a_ptmx_link_is_replaced(box: Box) -> None:
    (box.rootfs / "dev").mkdir()
    (box.rootfs / "dev" / "ptmx").symlink_to(box.outside / "file")
    conf = box.conf("lxc.autodev = 0", PTY)

    def child() -> list[str]:
        root = rootfs.mount_rootfs(conf)
        dev.devpts(root, conf)
        return list(rows(str(box.outside)))

    assert inside(child) == []
    assert box.untouched()
    assert not (box.rootfs / "dev" / "ptmx").is_symlink()


def test_links_to_the_descriptors(box: Box) -> None:
    def child() -> dict[str, str]:
        root = device_setup(box, box.conf())
        os.mkdir(f"{box.mnt}/dev/fd")
        dev.dev_symlinks(root)
        dev.dev_symlinks(root)
        return {name: os.readlink(f"{box.mnt}/dev/{name}") for name in os.listdir(f"{box.mnt}/dev") if name.startswith("std")}

    assert inside(child) == {
        "stdin": "/proc/self/fd/0",
        "stdout": "/proc/self/fd/1",
        "stderr": "/proc/self/fd/2",
    }


def test_a_read_only_root_without_links_starts(box: Box) -> None:
    (box.rootfs / "dev").mkdir()
    conf = box.conf("lxc.autodev = 0", "lxc.rootfs.options = ro")

    def child() -> list[str]:
        dev.dev_symlinks(rootfs.mount_rootfs(conf))
        return os.listdir(f"{box.mnt}/dev")

    assert inside(child) == []


def test_a_boot_id_of_its_own(box: Box) -> None:
    conf = box.conf("lxc.mount.auto = proc:mixed")

    def child() -> tuple[str, str, tuple[str, str, str]]:
        root = device_setup(box, conf)
        auto.mount_auto_proc_sys(root, conf, True)
        rootfs.pivot(root)
        dev.boot_id(root)
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:  # no codec can be loaded in here
            text = str(file.read(), "utf-8")
        return text, oct(stat.S_IMODE(os.stat("/dev/.lxc-boot-id").st_mode)), rows("/proc/sys/kernel/random/boot_id")[""]

    text, mode, row = inside(child)
    assert [len(part) for part in text.strip().split("-")] == [8, 4, 4, 4, 12]
    assert text.endswith("\n")
    assert text[14] == "4"
    assert text != Path("/proc/sys/kernel/random/boot_id").read_text()
    assert mode == "0o444"
    assert row[0] == "ro,nosuid,nodev,noexec"


def test_no_boot_id_without_proc(box: Box) -> None:
    def child() -> bool:
        root = device_setup(box, box.conf())
        dev.boot_id(root)
        return True

    assert inside(child)


def test_no_descriptor_stays_open(box: Box) -> None:
    conf = box.conf(PTY, "lxc.tty.max = 1", "lxc.tty.dir = lxc", "lxc.mount.auto = proc:mixed sys:mixed cgroup:mixed:force")
    conf.load_line(f"lxc.mount.entry = {box.source} mnt none bind,ro,slave,create=dir")
    conf.load_line("lxc.mount.entry = x y nosuchtype optional,create=dir")

    def child() -> set[str]:
        before = set(os.listdir("/proc/self/fd"))
        root = device_setup(box, conf)
        auto.mount_auto_proc_sys(root, conf, True)
        box.entries(root, conf)
        auto.mount_auto_cgroup(root, conf, hierarchies(), cgroup_ns=False, keep_sys_admin=True)
        dev.populate_nodes(root)
        fd = dev.devpts(root, conf)
        pairs = [dev.console_from_devpts(fd)]
        dev.bind_console(root, conf, pairs[0][1], fd)
        pairs += dev.ttys(root, conf, fd, 1)
        dev.dev_symlinks(root)
        rootfs.pivot(root)
        dev.boot_id(root)
        for number in (fd, *(one for pair in pairs for one in pair)):
            os.close(number)
        root.close()
        return set(os.listdir("/proc/self/fd")) - before

    assert inside(child) == set()
