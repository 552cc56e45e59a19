# SPDX-License-Identifier: LGPL-2.1-or-later
"""The root, /proc and /sys, the cgroups, and the configured mounts, of hostile roots too."""

from __future__ import annotations

import os
import stat

import pytest

from lxctools.config.conf import Config
from lxctools.linux import mount, proc, sched
from lxctools.mounts import auto, rootfs
from tests.forked import forked

from .box import NS, Box, hierarchies, inside, refused, rows

pytestmark = pytest.mark.root


# -- the root


def test_the_root_is_bound_and_entered(box: Box) -> None:
    (box.rootfs / "mark").touch()

    def child() -> tuple[list[str], list[str], list[str]]:
        root = rootfs.mount_rootfs(box.conf())
        rootfs.check_not_overmounted(root)
        rootfs.pivot(root)
        raw = root.open("mark", os.O_RDONLY)
        os.close(raw)
        return os.listdir("/"), os.listdir("."), []

    assert inside(child)[:2] == (["mark"], ["mark"])


def test_nothing_of_the_host_stays_mounted_and_the_tree_is_shared(box: Box) -> None:
    (box.rootfs / "proc").mkdir()
    conf = box.conf("lxc.mount.auto = proc:rw")

    def child() -> list[tuple[str, bool]]:
        root = rootfs.mount_rootfs(conf)
        auto.mount_auto_proc_sys(root, conf, True)
        rootfs.pivot(root)
        return [(row.point, any(field.startswith("shared:") for field in row.optional)) for row in proc.mountinfo()]

    assert inside(child) == [("/", True), ("/proc", True)]


def test_mounts_below_the_root_come_along(box: Box) -> None:
    (box.rootfs / "data").mkdir()

    def child() -> bool:
        mount.mount(str(box.source), str(box.rootfs / "data"), None, mount.MS_BIND)
        root = rootfs.mount_rootfs(box.conf())
        return root.exists("data/file")

    assert inside(child)


@pytest.mark.parametrize(
    ("options", "shown"),
    [("", "rw"), ("ro", "ro"), ("nosuid,nodev,noexec", "rw,nosuid,nodev,noexec"), ("rootcontext=x", "rw")],
)
def test_options_of_the_root(box: Box, options: str, shown: str) -> None:
    conf = box.conf(*[f"lxc.rootfs.options = {options}"] if options else [])

    def child() -> str:
        rootfs.mount_rootfs(conf)
        return rows(str(box.mnt))[""][0]

    assert inside(child) == shown


def test_a_missing_root_is_named(box: Box) -> None:
    conf = box.conf(f"lxc.rootfs.path = dir:{box.folder}/none")
    assert f"{box.folder}/none" in refused(lambda: rootfs.mount_rootfs(conf))


def test_a_missing_place_for_the_root_is_named(box: Box) -> None:
    conf = box.conf(f"lxc.rootfs.mount = {box.folder}/none")
    assert f"lxc.rootfs.mount {box.folder}/none" in refused(lambda: rootfs.mount_rootfs(conf))


def test_an_overmounted_root_is_refused(box: Box) -> None:
    def start() -> None:
        root = rootfs.mount_rootfs(box.conf())
        mount.mount("none", str(box.mnt), "tmpfs")
        rootfs.check_not_overmounted(root)

    assert "Rootfs overmounted" in refused(start)


def test_shared_mounts_become_slaves(box: Box) -> None:
    """What is shared gets its mounts from the host and gives none back; what is private stays so."""

    def child() -> tuple[list[str], list[str]]:
        for name in ("mnt", "source"):
            mount.mount("none", str(box.folder / name), "tmpfs")
        mount.mount(None, str(box.mnt), None, mount.MS_SHARED)
        os.open("/proc/self/ns/mnt", os.O_RDONLY)  # keeps what the slaves are slaves of
        sched.unshare(NS)
        rootfs.slave_all()
        optional = {row.point: [field.partition(":")[0] for field in row.optional] for row in proc.mountinfo()}
        return optional[str(box.mnt)], optional[str(box.source)]

    assert inside(child) == (["master"], [])


def test_a_host_on_its_initial_ramfs(box: Box) -> None:
    """pivot_root(2) does not work there: the root is laid over it, and the rest is detached."""
    (box.rootfs / "proc").mkdir()
    (box.rootfs / "mark").touch()
    conf = box.conf("lxc.mount.auto = proc:rw")

    def child() -> tuple[list[str], list[str], list[str]]:
        root = rootfs.mount_rootfs(conf)
        auto.mount_auto_proc_sys(root, conf, True)
        rootfs._move_to_top(root.fd)
        with open("/proc/self/mountinfo", "rb") as file:
            points = [line.split()[4].decode() for line in file]
        os.chdir("../../../..")
        return sorted(os.listdir("/")), sorted(os.listdir(".")), points

    listing, current, points = inside(child)
    assert listing == current == ["mark", "proc"]
    assert points == ["/", "/proc"]


def test_the_ramfs_is_told_by_its_type() -> None:
    line = b"1 1 0:2 / / rw - rootfs none rw"
    other = b"2 1 8:1 / / rw - ext4 /dev/sda1 rw"
    assert rootfs.on_initial_ramfs([proc.Mount(line)])
    assert not rootfs.on_initial_ramfs([proc.Mount(line), proc.Mount(other)])


def test_a_pinned_root_cannot_be_remounted_read_only(box: Box) -> None:
    def child() -> tuple[str, list[str]]:
        mount.mount("none", str(box.rootfs), "tmpfs")
        fd = rootfs.pin(box.conf())
        assert fd >= 0
        try:
            mount.mount("none", str(box.rootfs), None, mount.MS_REMOUNT | mount.MS_RDONLY)
        except OSError as error:
            return str(error.strerror), os.listdir(box.rootfs)
        return "", []

    assert inside(child) == ("Device or resource busy", [])


def test_a_planted_pin_is_not_followed(box: Box) -> None:
    (box.rootfs / ".lxc_keep").symlink_to(box.outside / "made")
    fd = rootfs.pin(box.conf())
    assert fd >= 0
    os.close(fd)
    assert box.untouched()
    assert os.listdir(box.rootfs) == []


@pytest.mark.parametrize("line", ["lxc.idmap = u 0 100000 65536", "lxc.rootfs.path = overlay:/a:/b", "lxc.rootfs.path ="])
def test_roots_that_are_not_pinned(box: Box, line: str) -> None:
    assert rootfs.pin(box.conf(line)) == -1


# -- /proc and /sys

MIXED_PROC = {
    "/proc": ("rw,nosuid,nodev,noexec", "proc"),
    "/proc/sys": ("ro,nosuid,nodev,noexec", "proc"),
    "/proc/sysrq-trigger": ("ro,nosuid,nodev,noexec", "proc"),
}
PROC_NET = {"/proc/sys/net": ("rw,nosuid,nodev,noexec", "proc")}
MIXED_SYS = {
    "/sys": ("ro,nosuid,nodev,noexec", "sysfs"),
    "/sys/devices/virtual/net": ("rw,nosuid,nodev,noexec", "sysfs"),
}
if not os.path.exists("/proc/sysrq-trigger"):
    del MIXED_PROC["/proc/sysrq-trigger"]


@pytest.mark.parametrize(
    ("words", "net_admin", "expected"),
    [
        ("proc:rw", True, {"/proc": ("rw,nosuid,nodev,noexec", "proc")}),
        ("proc", True, MIXED_PROC | PROC_NET),
        ("proc:mixed", False, MIXED_PROC),
        ("sys:rw", True, {"/sys": ("rw", "sysfs")}),
        ("sys:ro", True, {"/sys": ("ro", "sysfs")}),
        ("sys", True, MIXED_SYS),
        ("proc:mixed sys:mixed", True, MIXED_PROC | PROC_NET | MIXED_SYS),
    ],
)
def test_proc_and_sys(box: Box, words: str, net_admin: bool, expected: dict[str, tuple[str, str]]) -> None:
    conf = box.conf(f"lxc.mount.auto = {words}")

    def child() -> dict[str, tuple[str, str]]:
        root = rootfs.mount_rootfs(conf)
        auto.mount_auto_proc_sys(root, conf, net_admin)
        return {point: row[:2] for point, row in rows(str(box.mnt)).items() if point}

    assert forked(child, unshare=NS | sched.CLONE_NEWNET) == expected


def test_what_the_root_has_mounted_on_proc_goes(box: Box) -> None:
    (box.rootfs / "proc").mkdir()
    conf = box.conf("lxc.mount.auto = proc:rw")

    def child() -> list[str]:
        mount.mount("none", str(box.rootfs / "proc"), "tmpfs")
        root = rootfs.mount_rootfs(conf)
        auto.mount_auto_proc_sys(root, conf, True)
        return [row.fstype for row in proc.mountinfo() if row.point == f"{box.mnt}/proc"]

    assert inside(child) == ["proc"]


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize("absolute", [True, False])
def test_proc_and_sys_as_links_fail_the_start(box: Box, name: str, absolute: bool) -> None:
    (box.rootfs / name).symlink_to(box.outside if absolute else "../../outside")
    conf = box.conf(f"lxc.mount.auto = {name}:mixed")

    def start() -> None:
        root = rootfs.mount_rootfs(conf)
        try:
            auto.mount_auto_proc_sys(root, conf, True)
        finally:
            assert not rows(str(box.outside))

    message = refused(start)
    assert f"cannot mount /{name}" in message
    assert "a symbolic link (to " in message
    assert box.untouched()


# -- cgroups


def mounted_cgroups(box: Box, words: str, given: list[tuple[str, list[str], int, str]], **facts: bool) -> dict[str, str]:
    """Mount point below /sys/fs/cgroup -> read-only or read-write and type."""
    conf = box.conf(f"lxc.mount.auto = sys:mixed {words}")

    def child() -> dict[str, str]:
        root = rootfs.mount_rootfs(conf)
        auto.mount_auto_proc_sys(root, conf, True)
        auto.mount_auto_cgroup(root, conf, given, **facts)
        found = rows(f"{box.mnt}/sys/fs/cgroup")
        assert all("nosuid,nodev,noexec" in row[0] for row in found.values())
        return {point: f"{row[0][:2]} {row[1]}" for point, row in found.items()}

    result = forked(child, unshare=NS | sched.CLONE_NEWNET | (sched.CLONE_NEWCGROUP if facts["cgroup_ns"] else 0))
    assert isinstance(result, dict)
    return result


V1 = [row for row in hierarchies() if row[2] == 1]
needs_v1 = pytest.mark.skipif(not V1, reason="needs a cgroup hierarchy of version 1")
needs_v2 = pytest.mark.skipif(not [row for row in hierarchies() if row[2] == 2], reason="needs the unified cgroup hierarchy")


@needs_v1
def test_cgroups_are_left_to_init_where_it_can(box: Box) -> None:
    assert mounted_cgroups(box, "cgroup:mixed", V1, cgroup_ns=True, keep_sys_admin=True) == {}


@needs_v1
@pytest.mark.parametrize(("words", "mode"), [("cgroup:ro:force", "ro"), ("cgroup:mixed:force", "rw"), ("cgroup:rw:force", "rw")])
def test_cgroups_of_an_own_namespace(box: Box, words: str, mode: str) -> None:
    found = mounted_cgroups(box, words, V1, cgroup_ns=True, keep_sys_admin=True)
    assert found == {"": "rw tmpfs"} | {f"/{row[0].rpartition('/')[2]}": f"{mode} cgroup" for row in V1}


@needs_v1
@pytest.mark.parametrize(
    ("words", "cover", "own"),
    [("cgroup:mixed", "ro tmpfs", "rw cgroup"), ("cgroup:ro", "ro tmpfs", "ro cgroup"), ("cgroup:rw", None, "rw cgroup")],
)
def test_cgroups_of_the_hosts_namespace(box: Box, words: str, cover: str | None, own: str) -> None:
    """Only the container's own group is there, and the folders that lead to it cannot be written to."""
    point = V1[0][0]
    group = f"{point}/lxcm.test/inner"
    os.makedirs(group)
    try:
        found = mounted_cgroups(box, words, [(point, V1[0][1], 1, "lxcm.test/inner")], cgroup_ns=False, keep_sys_admin=True)
    finally:
        os.rmdir(group)
        os.rmdir(os.path.dirname(group))
    name = point.rpartition("/")[2]
    expected = {"": "rw tmpfs", f"/{name}/lxcm.test/inner": own}
    assert found == expected | ({f"/{name}": cover} if cover else {})


@needs_v1
@pytest.mark.parametrize(("words", "whole", "own"), [("mixed", "ro", "rw"), ("ro", "ro", "ro"), ("rw", "rw", "rw")])
def test_the_whole_hierarchy_of_the_host(box: Box, words: str, whole: str, own: str) -> None:
    """Unlike C LXC's, cgroup-full:mixed does not let the container write to the host's groups."""
    point = V1[0][0]
    os.makedirs(f"{point}/lxcm.test")
    try:
        found = mounted_cgroups(
            box, f"cgroup-full:{words}", [(point, V1[0][1], 1, "lxcm.test")], cgroup_ns=False, keep_sys_admin=True
        )
    finally:
        os.rmdir(f"{point}/lxcm.test")
    name = point.rpartition("/")[2]
    assert found == {"": "rw tmpfs", f"/{name}": f"{whole} cgroup", f"/{name}/lxcm.test": f"{own} cgroup"}


@needs_v2
@pytest.mark.parametrize(("words", "mode"), [("cgroup2", "rw"), ("cgroup2:ro", "ro"), ("cgroup:mixed", "rw"), ("cgroup:ro", "ro")])
def test_the_unified_hierarchy(box: Box, words: str, mode: str) -> None:
    given = [row for row in hierarchies() if row[2] == 2]
    assert mounted_cgroups(box, words, given, cgroup_ns=True, keep_sys_admin=True) == {"": f"{mode} cgroup2"}


def test_the_unified_hierarchy_needs_an_own_namespace(box: Box) -> None:
    conf = box.conf("lxc.mount.auto = sys:mixed cgroup:mixed")

    def start() -> None:
        root = rootfs.mount_rootfs(conf)
        auto.mount_auto_proc_sys(root, conf, True)
        auto.mount_auto_cgroup(root, conf, [("/sys/fs/cgroup", [], 2, "")], cgroup_ns=False, keep_sys_admin=True)

    assert "no cgroup namespace of its own" in refused(start)


def test_cgroups_without_sys_say_what_is_missing(box: Box) -> None:
    conf = box.conf("lxc.mount.auto = cgroup2")

    def start() -> None:
        root = rootfs.mount_rootfs(conf)
        auto.mount_auto_cgroup(root, conf, [("/sys/fs/cgroup", [], 2, "")], cgroup_ns=True, keep_sys_admin=True)

    assert "/sys must be mounted before" in refused(start)


# -- entries


def mounted(box: Box, *lines: str) -> dict[str, tuple[str, str, str]]:
    conf = box.conf(*(f"lxc.mount.entry = {line}" for line in lines))

    def child() -> dict[str, tuple[str, str, str]]:
        root = rootfs.mount_rootfs(conf)
        box.entries(root, conf)
        return {point: row for point, row in rows(str(box.mnt)).items() if point}

    result = inside(child)
    assert isinstance(result, dict)
    return result


def entry_refused(box: Box, line: str) -> str:
    conf = box.conf(f"lxc.mount.entry = {line}")

    def start() -> None:
        root = rootfs.mount_rootfs(conf)
        try:
            box.entries(root, conf)
        finally:
            assert not rows(str(box.outside))

    return refused(start)


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ("bind", "rw"),
        ("bind,ro", "ro"),
        ("rbind,nosuid,nodev,noexec", "rw,nosuid,nodev,noexec"),  # C LXC drops these without ro
        ("bind,ro,rw", "rw"),
        ("bind,noatime", "rw,noatime"),
    ],
)
def test_bind_mounts(box: Box, options: str, shown: str) -> None:
    found = mounted(box, f"{box.source} mnt none {options},create=dir")
    assert found["/mnt"][0] == shown


@pytest.mark.parametrize(
    ("options", "shown"), [("bind", "ro,nosuid,nodev"), ("bind,dev", "ro,nosuid"), ("bind,rw,suid", "ro,nosuid,nodev")]
)
def test_a_bind_mount_keeps_what_its_source_forbids(box: Box, options: str, shown: str) -> None:
    conf = box.conf(f"lxc.mount.entry = {box.source} mnt none {options},create=dir")

    def child() -> str:
        mount.mount("none", str(box.source), "tmpfs", mount.MS_NOSUID | mount.MS_NODEV)
        mount.mount(
            None, str(box.source), None, mount.MS_REMOUNT | mount.MS_BIND | mount.MS_RDONLY | mount.MS_NOSUID | mount.MS_NODEV
        )
        root = rootfs.mount_rootfs(conf)
        box.entries(root, conf)
        return rows(str(box.mnt))["/mnt"][0]

    assert inside(child) == shown


def test_a_file_is_bound_on_a_file(box: Box) -> None:
    assert "/etc/x/file" in mounted(box, f"{box.source}/file etc/x/file none bind,create=file")
    assert stat.S_IMODE((box.rootfs / "etc/x/file").stat().st_mode) == 0
    assert stat.S_IMODE((box.rootfs / "etc/x").stat().st_mode) == 0o755


def test_a_new_file_system_with_its_options(box: Box) -> None:
    found = mounted(box, "tmpfs my\\040tmp tmpfs size=1m,mode=0711,ro,nosuid,create=dir,nofail")
    assert found["/my tmp"][0] == "ro,nosuid"
    assert found["/my tmp"][2].startswith("ro,size=1024k,mode=711")


def test_a_relative_source_is_in_the_root(box: Box) -> None:
    (box.rootfs / "data").mkdir()
    assert "/mnt" in mounted(box, "data mnt none bind,relative,create=dir", "/data other none bind,relative,create=dir")


def test_lines_are_done_in_order(box: Box) -> None:
    found = mounted(box, "tmpfs a tmpfs create=dir", f"{box.source} a/b none bind,create=dir")
    assert list(found) == ["/a", "/a/b"]
    assert os.listdir(box.rootfs / "a") == []


def test_optional_lines_may_fail(box: Box) -> None:
    found = mounted(
        box,
        "/no/such/folder mnt none bind,optional,create=dir",
        f"{box.source} none/such none bind,optional",
        "x y nosuchtype optional,create=dir",
        f"{box.source} mnt none bind,create=dir",
    )
    assert list(found) == ["/mnt"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/no/such/folder mnt none bind,create=dir", "No such file or directory: /no/such/folder"),
        ("{source} none/such none bind", "No such file or directory: /none/such"),
        ("tmpfs mnt tmpfs size=rubbish,create=dir", "Bad value for 'size'"),
        ("tmpfs mnt tmpfs rubbish,create=dir", "Unknown parameter 'rubbish'"),
        ("tmpfs mnt nosuchtype create=dir", "No such device"),
        ("{source} mnt none bind,idmap=container,create=dir", "needs a container with a user namespace"),
    ],
)
def test_a_failing_line_is_named_with_the_reason(box: Box, line: str, words: str) -> None:
    line = line.format(source=box.source)
    message = entry_refused(box, line)
    assert words in message
    assert f'lxc.mount.entry = "{line}"' in message


@pytest.mark.parametrize("kind", ["bind", "bind,create=dir", "bind,create=file", "bind,optional,create=dir"])
@pytest.mark.parametrize("target", ["absolute", "absolute/new", "relative", "relative/new", "dangling", "folder/deep/new"])
def test_targets_through_links_touch_nothing_outside(box: Box, kind: str, target: str) -> None:
    (box.rootfs / "absolute").symlink_to(box.outside)
    (box.rootfs / "relative").symlink_to("../../outside")
    (box.rootfs / "dangling").symlink_to(box.outside / "made")
    (box.rootfs / "folder").mkdir()
    (box.rootfs / "folder" / "deep").symlink_to("../../../outside")
    message = entry_refused(box, f"{box.source} {target} none {kind}")
    if "optional" in kind:
        assert message == ""
    else:
        assert "a symbolic link (to " in message
        assert f"/{target.removesuffix('/new')}" in message
    assert box.untouched()


@pytest.mark.parametrize(
    "line", ["{source} ../outside/new none bind,create=dir", "{source} a/../../../outside/x none bind,create=dir,optional"]
)
def test_targets_cannot_climb_out(box: Box, line: str) -> None:
    assert "leaves the container's root" in entry_refused(box, line.format(source=box.source))
    assert box.untouched()
    assert os.listdir(box.rootfs) == []


def test_a_relative_source_through_a_link_is_refused(box: Box) -> None:
    (box.rootfs / "data").symlink_to(box.outside)
    assert "a symbolic link" in entry_refused(box, "data mnt none bind,relative,create=dir")


@pytest.mark.parametrize("options", ["bind,create=dir", "rbind,create=dir"])
def test_a_source_in_the_root_is_not_reached_through_links(box: Box, options: str) -> None:
    """Its host path leads through what the container's owner controls."""
    (box.rootfs / "data").mkdir()
    (box.rootfs / "link").symlink_to(box.outside)
    assert "a symbolic link" in entry_refused(box, f"{box.rootfs}/link mnt none {options}")
    assert "/mnt" in mounted(box, f"{box.rootfs}/data mnt none {options}")


def test_propagation_of_an_entry_survives_the_move(box: Box) -> None:
    conf = box.conf(
        f"lxc.mount.entry = {box.source} a none bind,private,create=dir",
        f"lxc.mount.entry = {box.source} b none bind,unbindable,create=dir",
        f"lxc.mount.entry = {box.source} c none bind,create=dir",
        "lxc.mount.auto = proc:rw",
    )

    def child() -> dict[str, list[str]]:
        root = rootfs.mount_rootfs(conf)
        auto.mount_auto_proc_sys(root, conf, True)
        box.entries(root, conf)
        rootfs.pivot(root)
        assert root.held == []
        return {row.point: [field.partition(":")[0] for field in row.optional] for row in proc.mountinfo()}

    found = inside(child)
    assert (found["/a"], found["/b"], found["/c"]) == ([], ["unbindable"], ["shared"])


def test_mounts_made_on_the_host_appear_in_shmounts(box: Box) -> None:
    (box.source / "later").mkdir()
    (box.source / "own").mkdir()
    conf = box.conf(f"lxc.mount.auto = shmounts:{box.source}:/tunnel")

    def child() -> tuple[list[str], list[str]]:
        mount.mount(str(box.source), str(box.source), None, mount.MS_BIND)
        mount.mount(None, str(box.source), None, mount.MS_SHARED)
        done, go = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            sched.unshare(NS)
            rootfs.slave_all()
            root = rootfs.mount_rootfs(conf)
            box.entries(root, conf)
            rootfs.pivot(root)
            rootfs.slave_shmounts(root, conf)
            mount.mount("none", "/tunnel/own", "tmpfs")  # must not show up outside
            os.write(done[1], b"x")
            os.read(go[0], 1)
            os._exit(0)
        os.read(done[0], 1)
        mount.mount("none", str(box.source / "later"), "tmpfs")
        there = [row.point for row in proc.mountinfo(f"/proc/{pid}/mountinfo") if row.point.startswith("/tunnel")]
        here = list(rows(str(box.source)))
        os.write(go[1], b"x")
        os.waitpid(pid, 0)
        return there, here

    assert inside(child) == (["/tunnel", "/tunnel/own", "/tunnel/later"], ["", "/later"])


def test_overlay_folders_are_made(box: Box) -> None:
    upper, work = box.folder / "c1" / "upper", box.folder / "c1" / "work"
    found = mounted(box, f"overlay mnt overlay lowerdir={box.source},upperdir={upper},workdir={work},create=dir")
    assert found["/mnt"][1] == "overlay"
    assert upper.is_dir()


def test_overlay_folders_in_the_root_are_not_reached_through_links(box: Box) -> None:
    (box.rootfs / "upper").symlink_to(box.outside)
    (box.rootfs / "work").mkdir()
    message = entry_refused(
        box, f"overlay mnt overlay lowerdir={box.source},upperdir={box.rootfs}/upper,workdir={box.rootfs}/work,create=dir"
    )
    assert "a symbolic link" in message
    assert box.untouched()


def test_without_a_root_of_its_own(box: Box) -> None:
    conf = Config()
    conf.load_line(f"lxc.mount.entry = {box.source} {box.folder}/here none bind,create=dir")

    def child() -> list[str]:
        root = rootfs.mount_rootfs(conf)
        box.entries(root, conf)
        rootfs.check_not_overmounted(root)
        rootfs.pivot(root)
        return os.listdir(box.folder / "here")

    assert inside(child) == ["file"]
