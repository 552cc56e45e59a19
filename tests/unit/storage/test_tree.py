# SPDX-License-Identifier: LGPL-2.1-or-later
"""The copier: everything that an inode carries, on every file system at hand."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lxctools import files
from lxctools.errors import LxcError
from lxctools.idmap.ranges import IdMap
from lxctools.idmap.userns import run_in_userns
from lxctools.linux import mount as kernel
from lxctools.storage import tree, tree_meta, tree_source
from tests import host
from tests.treecmp import describe_tree, differences
from tests.trees import CAP_2, Disk, cap_3, fill, lists, make

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
KINDS = ("ext4", "btrfs", "xfs", "tmpfs", "overlay")

@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("images")
    kernel.mount("tmpfs", str(folder), "tmpfs", 0, "size=3g")
    try:
        yield folder
    finally:
        host.unmount_below(folder)


@pytest.fixture(scope="module")
def disks(images: Path) -> dict[str, Disk]:
    return {}


@pytest.fixture(params=KINDS)
def disk(request: pytest.FixtureRequest, images: Path, disks: dict[str, Disk]) -> Iterator[Disk]:
    if request.param not in disks:
        disks[request.param] = Disk(request.param, images)
    made = disks[request.param]
    yield made
    for entry in made.at.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            if entry.name != "lost+found":
                files.remove_tree(str(entry))
        else:
            entry.unlink()


def look(top: Path, **how: Any) -> dict[str, dict[str, Any]]:
    return describe_tree(top, **how)


@pytest.fixture(params=("alone", "helped"))
def crew(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Once in one process, and once by three from the beginning."""
    helped = request.param == "helped"
    monkeypatch.setattr(tree, "_ALONE", 0.0 if helped else 1e9)
    monkeypatch.setattr(tree.os, "sched_getaffinity", lambda pid: {0, 1, 2})
    return str(request.param)


def test_everything_is_kept(disk: Disk, crew: str) -> None:
    fill(disk.at / "source", disk)
    before = look(disk.at / "source")
    beats: list[int] = []
    report = tree.copy_tree(str(disk.at / "source"), str(disk.at / "target"), beat=beats.append)
    assert look(disk.at / "source") == before, "the source is as it was, access times too"
    assert differences(before, look(disk.at / "target")) == []
    assert report.files == len(before) - 1
    assert report.vanished == [] and beats[-1] == report.bytes > 0
    assert beats == sorted(beats)


def test_without_a_mount_of_its_own(disk: Disk, crew: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a caller who may not mount does it: mounts are recognised one by one, and access times are kept by O_NOATIME."""
    fill(disk.at / "source", disk)
    before = look(disk.at / "source")

    def refused(*arguments: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(tree_source.kernel, "open_tree", refused)
    tree.copy_tree(str(disk.at / "source"), str(disk.at / "target"))
    assert look(disk.at / "source") == before
    assert differences(before, look(disk.at / "target")) == []


@pytest.mark.parametrize("detached", [True, False])
def test_what_is_mounted_in_it_is_not_part_of_it(disk: Disk, crew: str, detached: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    source = disk.at / "source"
    for name in ("other", "same", "below"):
        (source / name).mkdir(parents=True)
    make(source / "covered", b"below")
    make(source / "same" / "file", b"")
    make(disk.at / "outside", b"outside")
    if not detached:
        monkeypatch.setattr(tree, "opened", lambda path: tree_source.Source(os.open(path, os.O_RDONLY), path, detached=False))
    mounts = ((str(disk.at), source / "same"), (str(disk.at / "outside"), source / "covered"))
    kernel.mount("tmpfs", str(source / "other"), "tmpfs", 0)
    try:
        for what, where in mounts:
            kernel.mount(what, str(where), None, kernel.MS_BIND)
        make(source / "other" / "file", b"")
        report = tree.copy_tree(str(source), str(disk.at / "target"))
    finally:
        for where in reversed(files.mounts_in(str(source))):
            kernel.umount2(where, 0)
    target = disk.at / "target"
    if detached:
        assert differences(source, target) == [], "what the mounts hide belongs to the tree"
        assert report.vanished == []
    else:
        assert sorted(os.listdir(target)) == ["below", "other", "same"] and report.vanished == ["covered"]
        assert os.listdir(target / "same") == os.listdir(target / "other") == []


SOURCE = [IdMap("u", 0, 100000, 5000), IdMap("g", 0, 200000, 5000)]
TARGET = [IdMap("u", 0, 300000, 5000), IdMap("g", 0, 400000, 4000)]


def test_an_owner_shift_reaches_every_id(disk: Disk, crew: str) -> None:
    source = disk.at / "source"
    source.mkdir()
    os.chown(source, 100000, 200000)
    make(source / "file", b"x", 0o6755, (100000 + 1000, 200000 + 1001))
    make(source / "host's", b"x", 0o644, (7, 8))
    os.symlink("x", source / "link")
    os.chown(source / "link", 100005, 200006, follow_symlinks=False)
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chown(source / "null", 100000, 200003)
    make(source / "lists", b"", 0o640, (100000, 200000))
    os.setxattr(source / "lists", tree_meta.ACCESS, lists(100100, 200200))
    make(source / "ping", b"", 0o755, (100000, 200000))
    os.setxattr(source / "ping", "security.capability", cap_3(100000))
    make(source / "host's ping", b"", 0o755)
    os.setxattr(source / "host's ping", "security.capability", CAP_2)
    os.setxattr(source, tree_meta.DEFAULT, lists(100300, 200400))

    tree.copy_tree(str(source), str(disk.at / "target"), shift=(SOURCE, TARGET))
    found = look(disk.at / "target")

    def owner(name: str) -> tuple[int, int]:
        status = os.lstat(disk.at / "target" / name)
        return status.st_uid, status.st_gid

    assert owner("") == (300000, 400000)
    assert owner("file") == (301000, 401001) and found["file"]["mode"] == "0o6755"
    assert owner("host's") == (7, 8), "nobody of the container"
    assert owner("link") == (300005, 400006) and owner("null") == (300000, 400003)
    assert found["lists"]["xattrs"] == {tree_meta.ACCESS: lists(300100, 400200)}
    assert found[""]["xattrs"] == {tree_meta.DEFAULT: lists(300300, 400400)}
    assert found["ping"]["xattrs"] == {"security.capability": cap_3(300000)}
    assert found["host's ping"]["xattrs"] == {"security.capability": CAP_2}

    # To a container without maps, and back: nothing but the ids changes.
    tree.copy_tree(str(disk.at / "target"), str(disk.at / "plain"), shift=(TARGET, []))
    plain = look(disk.at / "plain")
    assert plain["ping"]["xattrs"] == {"security.capability": CAP_2}
    assert os.lstat(disk.at / "plain" / "file").st_uid == 1000
    tree.copy_tree(str(disk.at / "plain"), str(disk.at / "again"), shift=([], SOURCE))
    again = look(disk.at / "again")
    for name in ("host's", "host's ping"):  # the host's root cannot be told from the container's in a container without maps
        del again[name], found[name]
    tree.copy_tree(str(disk.at / "again"), str(disk.at / "last"), shift=(SOURCE, TARGET))
    last = look(disk.at / "last")
    del last["host's"], last["host's ping"]
    assert differences(last, found) == []


def test_an_id_that_the_new_map_has_no_place_for(disk: Disk, crew: str) -> None:
    (disk.at / "source" / "etc").mkdir(parents=True)
    make(disk.at / "source" / "etc" / "file", b"", 0o644, (100000, 200000 + 4500))
    with pytest.raises(LxcError, match="lxc.idmap has no group id 4500"):
        tree.copy_tree(str(disk.at / "source"), str(disk.at / "target"), shift=(SOURCE, TARGET))


def many(top: Path, folders: int = 60, each: int = 30) -> None:
    top.mkdir()
    for number in range(folders):
        folder = top / f"{number % 6}" / f"f{number}"
        folder.mkdir(parents=True)
        for index in range(each):
            (folder / f"{index}").write_bytes(b"%d" % index * 100)


def test_by_the_root_of_a_container(disk: Disk, crew: str) -> None:
    """In a user namespace, without the right to mount: what belongs to the container's ids is copied as it is."""
    disk.at.chmod(0o755)
    source = disk.at / "source"
    many(source, 12)
    make(source / "ping", b"", 0o755, (100000, 100000))
    make(source / "su", b"", 0o4755, (100000, 100000))
    make(source / "user's", b"x", 0o600, (101000, 101001))
    os.setxattr(source / "user's", tree_meta.ACCESS, lists(100007, 100008))
    for folder, _folders, names in os.walk(source):
        for path in (folder, *(f"{folder}/{name}" for name in names)):
            status = os.stat(path)
            if not status.st_uid:
                os.chown(path, 100000, 100000)
    (source / "ping").chmod(0o755)
    os.setxattr(source / "ping", "security.capability", cap_3(100000))
    (disk.at / "new").mkdir()
    os.chown(disk.at / "new", 100000, 100000)
    maps = [IdMap("u", 0, 100000, 65536), IdMap("g", 0, 100000, 65536)]
    run_in_userns(maps, tree.copy_tree, str(source), str(disk.at / "new" / "target"))
    assert differences(source, disk.at / "new" / "target") == []


def test_what_vanishes_meanwhile_is_told(disk: Disk, crew: str) -> None:
    source = disk.at / "source"
    many(source, 12)
    first = True

    def beat(copied: int) -> None:
        nonlocal first
        if first and crew == "alone":
            files.remove_tree(str(source / "3"))
        first = False

    if crew == "helped":
        # With several at work nobody can tell when: what is listed, but gone when it is opened, is made by a race.
        pid = os.fork()
        if pid == 0:
            time.sleep(0.002)
            files.remove_tree(str(source / "3"))
            os._exit(0)
    report = tree.copy_tree(str(source), str(disk.at / "target"), beat=beat)
    if crew == "helped":
        os.waitpid(pid, 0)
    else:
        assert "3" in report.vanished and not (disk.at / "target" / "3").exists()
    assert all(path == "3" or path.startswith("3/") for path in report.vanished)
    kept = look(source)
    del kept[""]
    copied = {path: facts for path, facts in look(disk.at / "target").items() if path and not (path + "/").startswith("3/")}
    assert differences(kept, copied) == []


def test_a_full_target_leaves_no_process(disk: Disk, crew: str, images: Path) -> None:
    many(disk.at / "source", 40)
    make(disk.at / "source" / "5" / "large", os.urandom(3 << 20))
    small = images / "small"
    small.mkdir(exist_ok=True)
    kernel.mount("tmpfs", str(small), "tmpfs", 0, "size=2m")
    try:
        with pytest.raises(LxcError, match=f"cannot copy {disk.at}/source/.*: No space left on device") as caught:
            tree.copy_tree(str(disk.at / "source"), f"{small}/target")
    finally:
        kernel.umount2(str(small), 0)
    assert caught.value.remedy
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_an_interruption_ends_the_helpers(disk: Disk, crew: str) -> None:
    many(disk.at / "source")

    def beat(copied: int) -> None:
        raise KeyboardInterrupt

    descriptors = set(os.listdir("/proc/self/fd"))
    mask = os.umask(0o027)
    with pytest.raises(KeyboardInterrupt):
        tree.copy_tree(str(disk.at / "source"), str(disk.at / "target"), beat=beat)
    assert os.umask(mask) == 0o027
    assert set(os.listdir("/proc/self/fd")) == descriptors
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_helper_that_is_killed_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many(tmp_path / "source")
    monkeypatch.setattr(tree, "_ALONE", 0.0)
    monkeypatch.setattr(tree.os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(tree.Copier, "_finish", lambda *arguments: os.kill(os.getpid(), 9) if os.getpid() != me else None)
    me = os.getpid()
    with pytest.raises(LxcError, match="a helper process ended unexpectedly"):
        tree.copy_tree(str(tmp_path / "source"), str(tmp_path / "target"))


def test_the_size_is_measured_meanwhile(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    many(disk.at / "source", 200)
    for name in ("one", "two"):
        make(disk.at / "source" / name, os.urandom(1 << 20))
    os.link(disk.at / "source" / "one", disk.at / "source" / "link")
    monkeypatch.setattr(tree, "_ALONE", 0.0)
    expected: list[int] = []
    report = tree.copy_tree(str(disk.at / "source"), str(disk.at / "target"), expect=expected.append)
    assert not expected or abs(expected[0] - report.bytes) < report.bytes // 20


def test_a_target_that_is_there(disk: Disk, crew: str) -> None:
    source, target = disk.at / "source", disk.at / "target"
    fill(source, disk)
    (target / "etc").mkdir(parents=True)
    for folder in (target, target / "etc"):
        folder.chmod(0o2777)
        os.setxattr(folder, tree_meta.DEFAULT, lists(5, 6))
    tree.copy_tree(str(source), str(target))
    assert differences(source, target) == [], "nothing of what was there is inherited"
    with pytest.raises(LxcError, match=f"cannot copy {source}/.*: (File exists|Operation not permitted)"):
        tree.copy_tree(str(source), str(target))


def test_places_that_cannot_be(disk: Disk) -> None:
    (disk.at / "a").mkdir()
    (disk.at / "link").symlink_to("a")
    for target in ("a", "a/b", "link/b"):
        with pytest.raises(LxcError, match="cannot copy .* into itself"):
            tree.copy_tree(str(disk.at / "a"), str(disk.at / target))
    with pytest.raises(LxcError, match="cannot read .*/none: No such file or directory"):
        tree.copy_tree(str(disk.at / "none"), str(disk.at / "b"))
    with pytest.raises(LxcError, match="cannot copy into .*/none/b: No such file or directory"):
        tree.copy_tree(str(disk.at / "a"), str(disk.at / "none" / "b"))


def test_data_is_shared_where_it_can_be(disk: Disk) -> None:
    if disk.kind not in ("btrfs", "xfs"):
        pytest.skip("no reflinks")
    (disk.at / "source").mkdir()
    make(disk.at / "source" / "large", os.urandom(40 << 20))
    os.sync()
    before = os.statvfs(disk.at)
    tree.copy_tree(str(disk.at / "source"), str(disk.at / "target"))
    os.sync()
    after = os.statvfs(disk.at)
    assert (before.f_bfree - after.f_bfree) * before.f_frsize < 4 << 20


def test_from_one_file_system_to_another(disk: Disk, crew: str, tmp_path: Path) -> None:
    if disk.kind == "overlay":
        pytest.skip("has no trusted attributes of its own")
    fill(disk.at / "source", disk)
    try:
        tree.copy_tree(str(disk.at / "source"), str(tmp_path / "target"))
        assert differences(disk.at / "source", tmp_path / "target", holes=False, flags=False) == []
    finally:
        files.remove_tree(str(tmp_path / "target"))


def test_many_folders_in_one(tmp_path: Path, crew: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than may wait at once: some are copied in between."""
    monkeypatch.setattr("lxctools.storage.tree_copy._MANY", 20)
    monkeypatch.setattr("lxctools.storage.tree_copy._NAMES", 10)
    source = tmp_path / "source"
    for number in range(100):
        (source / f"{number:03}" / "in it").mkdir(parents=True)
        make(source / f"{number:03}" / "file", b"")
        os.link(source / f"{number:03}" / "file", source / f"link{number}")
    os.utime(source, ns=(1, 2))
    tree.copy_tree(str(source), str(tmp_path / "target"))
    assert differences(source, tmp_path / "target") == []


def test_the_comparison_sees_each_difference(disk: Disk) -> None:
    """What the tests above rely on."""
    source, target = disk.at / "source", disk.at / "target"
    fill(source, disk)
    tree.copy_tree(str(source), str(target))
    before = look(source)

    os.utime(target / "etc" / "passwd", ns=(1, 3))
    os.chown(target / "absolute", 3, 3, follow_symlinks=False)
    os.chmod(target / "full", 0o600)
    os.setxattr(target / "etc" / "shadow", "security.capability", CAP_2)
    (target / "links" / "two").unlink()
    shutil.copy2(target / "links" / "one", target / "links" / "two")
    with (target / "hole").open("r+b") as file:
        file.write(b"\0" * 4096)
    with (target / "small").open("r+b") as file:
        file.write(b"x")
    lines = "\n".join(differences(before, look(target)))
    for line in (
        "etc/passwd: mtime", "absolute: owner", "full: mode", "etc/shadow: xattrs", "links/two: links", "links/two: group",
        "hole: data", "small: sha256",
    ):  # fmt: skip
        assert line in lines, line
