# SPDX-License-Identifier: LGPL-2.1-or-later
"""Nothing is imported and no codec is looked up by what runs in the container's mount namespace, failures included."""

from __future__ import annotations

import os
import sys

import pytest

from lxctools.confine import caps, limits, lsm, seccomp
from lxctools.errors import LxcError, describe
from lxctools.linux import sched
from lxctools.linux import seccomp as kernel
from lxctools.mounts import auto, dev, ops, plan, rootfs
from tests.forked import forked

from .box import NS, Box, hierarchies

pytestmark = pytest.mark.root


class Recorder:
    """A finder that finds nothing and remembers what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        self.asked.append(name)


def test_the_whole_way_in_loads_nothing(box: Box) -> None:
    fstab = box.folder / "fstab"
    fstab.write_bytes(b"tmpfs t\\040\xc3\xa4\xff tmpfs size=1m,create=dir\n")
    (box.rootfs / "link").symlink_to(os.fsencode(box.outside) + b"/\xff")
    own = box.folder / "c1"
    conf = box.conf(
        "lxc.pty.max = 16",
        "lxc.tty.max = 2",
        "lxc.tty.dir = lxc",
        "lxc.mount.auto = proc:mixed sys:mixed cgroup:mixed:force",
        f"lxc.mount.fstab = {fstab}",
        f"lxc.mount.entry = {box.source} mnt none bind,ro,slave,create=dir",
        f"lxc.mount.entry = overlay o overlay lowerdir={box.source},upperdir={own}/u,workdir={own}/w,create=dir",
        "lxc.mount.entry = tmpfs x tmpfs size=rubbish,optional,create=dir",
        "lxc.mount.entry = x link/y none bind,optional,create=dir",
        "lxc.mount.entry = /nö x none bind,optional",
        "lxc.sysctl.kernel.shmmni = 70",
        "lxc.cap.drop = sys_module",
    )
    policy = seccomp.compile_policy(seccomp.parse("2\ndenylist\nmkdir errno 1\n"))

    def way() -> None:
        rootfs.slave_all()
        root = rootfs.mount_rootfs(conf)
        dev.setup_autodev(root, conf)
        auto.mount_auto_proc_sys(root, conf, True)
        box.entries(root, conf)
        auto.mount_auto_cgroup(root, conf, hierarchies(), cgroup_ns=False, keep_sys_admin=True)
        for failing in (
            lambda: ops.mount_entries(
                root, plan.parse_fstab("x link none bind", "f", plan.Targets("/r", "/l", "c")), "/r", "/l/c", None
            ),
            lambda: plan.parse_fstab("x ../\udcff none bind", "f", plan.Targets("/r", "/l", "c")),
            lambda: lsm.apply(lsm.Label("x", b"x", "x"), root.fd),
            lambda: caps.drop([63]),
        ):
            try:
                failing()
            except LxcError as error:
                describe(error).encode("utf-8", "backslashreplace")
            else:
                raise AssertionError("it did not fail")
        rootfs.check_not_overmounted(root)
        dev.populate_nodes(root)
        fd = dev.devpts(root, conf)
        dev.bind_console(root, conf, dev.console_from_devpts(fd)[1], fd)
        dev.tty_names(dev.ttys(root, conf, fd, 2))
        dev.dev_symlinks(root)
        rootfs.pivot(root)
        rootfs.slave_shmounts(root, conf)
        dev.boot_id(root)
        limits.apply_sysctls(conf)
        caps.drop(caps.to_drop(conf))
        kernel.load_program(policy, False, no_new_privs=True)

    def child() -> tuple[list[str], list[str], bool]:
        recorder = Recorder()
        before = set(sys.modules)
        sys.path.clear()
        sys.path_hooks.clear()
        sys.path_importer_cache.clear()
        sys.meta_path[:] = [recorder]
        way()
        asked, loaded = list(recorder.asked), sorted(set(sys.modules) - before)
        try:
            "x".encode("cp1257")  # a look-up that must be seen
        except LookupError:
            pass
        return asked, loaded, any("cp1257" in name for name in recorder.asked)

    assert forked(child, unshare=NS | sched.CLONE_NEWIPC) == ([], [], True)
