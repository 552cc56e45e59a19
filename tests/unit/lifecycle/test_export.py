# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers as files: equal after export and import, and nothing at all after a bad archive."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lxctools import files
from lxctools.config.conf import Config
from lxctools.errors import LxcError
from lxctools.idmap.ranges import IdMap
from lxctools.lifecycle import export as exporting
from lxctools.lifecycle import import_ as importing
from lxctools.lifecycle import steps
from lxctools.lifecycle.copy import Source
from lxctools.lifecycle.export import Wishes, export
from lxctools.lifecycle.import_ import import_container
from lxctools.linux import mount as kernel
from lxctools.storage.archive import Damaged, Member, Sink
from tests import host
from tests.treecmp import describe_tree, differences
from tests.trees import CAP_2, Disk, cap_3, fill

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.path.exists("/usr/bin/zstd"), reason="needs zstd"),
]
MAPPED = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A tmpfs: what is exported and made can be anything, and is gone with it."""
    made = Disk("tmpfs", tmp_path)
    yield made
    host.unmount_below(tmp_path)


@pytest.fixture
def lxcpath(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("lxctools.paths.runtime_dir", lambda: str(disk.at / "run"))
    folder = disk.at / "lxc"
    folder.mkdir()
    return folder


def container(lxcpath: Path, name: str = "c1", config: str = "") -> Path:
    folder = lxcpath / name
    folder.mkdir(parents=True)
    (folder / "rootfs").mkdir()
    (folder / "config").write_text(f"# mine\nlxc.rootfs.path = dir:{folder}/rootfs\nlxc.uts.name = {name}\n{config}")
    return folder


def ship(lxcpath: Path, archive: Path, name: str = "c1", **wishes: bool) -> None:
    export(Source(name, str(lxcpath)), str(archive), Wishes(**wishes))


def test_everything_comes_back(disk: Disk, lxcpath: Path) -> None:
    folder = container(lxcpath)
    (folder / "rootfs").rmdir()
    fill(folder / "rootfs", disk)
    before = describe_tree(folder / "rootfs")
    ship(lxcpath, disk.at / "c1.lxc")
    assert describe_tree(folder / "rootfs") == before
    assert stat.S_IMODE((disk.at / "c1.lxc").stat().st_mode) == 0o600, "it holds passwords"
    assert import_container(str(disk.at / "c1.lxc"), "c2", str(lxcpath)) == "c2"
    assert differences(before, lxcpath / "c2" / "rootfs") == []
    assert sorted(os.listdir(lxcpath / "c2")) == ["config", "rootfs"]
    assert (lxcpath / "c2" / "config").read_text() == f"# mine\nlxc.rootfs.path = dir:{lxcpath}/c2/rootfs\nlxc.uts.name = c2\n"


def test_tar_can_look_into_it(disk: Disk, lxcpath: Path) -> None:
    folder = container(lxcpath)
    (folder / "rootfs").rmdir()
    fill(folder / "rootfs", disk)
    files.remove_tree(str(folder / "rootfs" / "deep"))  # too deep for tar
    ship(lxcpath, disk.at / "c1.lxc")
    data = subprocess.run(["zstd", "-dcq", disk.at / "c1.lxc"], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
        assert [member.name for member in members[:3]] == ["lxc-export", "config", "rootfs"]
        last = tar.extractfile(members[-1])
        assert last is not None
        digest, count = last.read().split()
        assert int(count) == len(members) - 1
        assert json.loads(tar.extractfile(members[0]).read())["name"] == "c1"  # type: ignore[union-attr]
    assert hashlib.sha256(data[: members[-1].offset]).hexdigest() == digest.decode()
    unpacked = disk.at / "by-tar"
    unpacked.mkdir()
    argv = ["tar", "-C", unpacked, "-xpf", "-", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--same-owner"]
    done = subprocess.run(argv, input=data, capture_output=True, check=False)
    assert done.returncode in (0, 2), done.stderr  # the tree has times that it does not believe
    lines = differences(folder / "rootfs", unpacked / "rootfs", flags=False)
    # It restores no access times, makes a fifo of a socket, and its holes are whole blocks of its own.
    assert [line for line in lines if ": atime:" not in line and ": mtime:" not in line and not line.startswith("socket: ")] == []


def test_owners_follow_the_map(disk: Disk, lxcpath: Path) -> None:
    folder = container(lxcpath, config=MAPPED)
    for name, owner, capability in (("a", 100000, cap_3(100000)), ("b", 101000, None), ("c", 7, None), ("d", 7, CAP_2)):
        path = folder / "rootfs" / name
        path.touch()
        os.chown(path, owner, owner)
        path.chmod(0o4755 if name != "b" else 0o600)
        if capability:
            os.setxattr(path, "security.capability", capability)
    before = describe_tree(folder / "rootfs")
    ship(lxcpath, disk.at / "c1.lxc")
    import_container(str(disk.at / "c1.lxc"), "c2", str(lxcpath))
    lines = differences(before, lxcpath / "c2" / "rootfs")
    # What belongs to the host's user 7 must not run as user 7 of this host.
    assert lines == [
        "c: mode: '0o4755' and '0o755'",
        "d: mode: '0o4755' and '0o755'",
        f"d: xattrs: {{'security.capability': {CAP_2!r}}} and {{}}",
    ]
    assert os.stat(lxcpath / "c2").st_uid == 100000


def test_by_the_containers_root(disk: Disk, lxcpath: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a caller other than root does it: ids are those inside, on both sides."""
    folder = container(lxcpath, config=MAPPED)
    for path, owner in ((lxcpath, 0), (folder, 100000), (folder / "rootfs", 100000)):
        os.chown(path, owner, owner)
        path.chmod(0o755)
    for name, owner in (("root", 100000), ("user", 101000)):
        path = folder / "rootfs" / name
        path.write_text(name)
        os.chown(path, owner, owner)
        path.chmod(0o640)
    os.setxattr(folder / "rootfs" / "root", "security.capability", cap_3(100000))
    before = describe_tree(folder / "rootfs")
    for module in (exporting, importing):
        monkeypatch.setattr(module, "as_its_root", bool)
    ship(lxcpath, disk.at / "c1.lxc")
    data = subprocess.run(["zstd", "-dcq", disk.at / "c1.lxc"], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        owners = {entry.name: entry.uid for entry in tar}
        assert (owners["rootfs/root"], owners["rootfs/user"]) == (0, 1000)
    import_container(str(disk.at / "c1.lxc"), "c2", str(lxcpath))
    assert differences(before, lxcpath / "c2" / "rootfs") == []
    # And by the host's root: the same files.
    monkeypatch.undo()
    monkeypatch.setattr("lxctools.paths.runtime_dir", lambda: str(disk.at / "run"))
    import_container(str(disk.at / "c1.lxc"), "c3", str(lxcpath))
    assert differences(before, lxcpath / "c3" / "rootfs") == []


def test_hooks_fstab_and_snapshots_come_along(disk: Disk, lxcpath: Path) -> None:
    config = (
        f"lxc.hook.pre-start = {lxcpath}/c1/hooks/pre x y\nlxc.hook.stop = /usr/bin/true\nlxc.mount.fstab = {lxcpath}/c1/fstab\n"
        "lxc.net.0.type = veth\nlxc.net.0.hwaddr = 00:16:3e:aa:bb:cc\n"
    )
    folder = container(lxcpath, config=config)
    (folder / "hooks").mkdir()
    (folder / "hooks" / "pre").write_text("#!/bin/sh\n")
    (folder / "fstab").write_text("none /tmp tmpfs\n")
    (folder / "c1.log").write_text("not this")
    (folder / "rootfs" / "new").touch()
    snap = container(folder / "snaps", "snap0")
    (snap / "rootfs" / "old").touch()
    (snap / "ts").write_text("2026:01:02 03:04:05")
    (snap / "comment").write_text("before\n")
    ship(lxcpath, disk.at / "plain.lxc")
    ship(lxcpath, disk.at / "whole.lxc", snapshots=True)
    import_container(str(disk.at / "plain.lxc"), "c2", str(lxcpath))
    assert sorted(os.listdir(lxcpath / "c2")) == ["config", "fstab", "hooks", "rootfs"]
    import_container(str(disk.at / "whole.lxc"), "c3", str(lxcpath))
    text = (lxcpath / "c3" / "config").read_text()
    assert f"lxc.hook.pre-start = {lxcpath}/c3/hooks/pre x y\n" in text and f"lxc.mount.fstab = {lxcpath}/c3/fstab\n" in text
    assert "lxc.hook.stop = /usr/bin/true\n" in text and "00:16:3e:aa:bb:cc" not in text
    assert os.access(lxcpath / "c3" / "hooks" / "pre", os.X_OK)
    made = lxcpath / "c3" / "snaps" / "snap0"
    assert sorted(os.listdir(made)) == ["comment", "config", "rootfs", "ts"]
    assert os.listdir(made / "rootfs") == ["old"] and (made / "comment").read_text() == "before\n"
    assert Config.read(str(made / "config"))["lxc.rootfs.path"] == f"{made}/rootfs"
    # Under its own name, elsewhere, it stays who it was.
    other = disk.at / "other"
    other.mkdir()
    import_container(str(disk.at / "plain.lxc"), "", str(other))
    text = (other / "c1" / "config").read_text()
    assert "00:16:3e:aa:bb:cc" in text and "lxc.uts.name = c1\n" in text


def test_without_a_root_file_system(disk: Disk, lxcpath: Path) -> None:
    (lxcpath / "c1").mkdir()
    (lxcpath / "c1" / "config").write_text("lxc.uts.name = c1\n")
    ship(lxcpath, disk.at / "c1.lxc")
    import_container(str(disk.at / "c1.lxc"), "c2", str(lxcpath))
    assert os.listdir(lxcpath / "c2") == ["config"]


# -- export that fails


def test_a_file_that_is_there(disk: Disk, lxcpath: Path) -> None:
    container(lxcpath)
    (disk.at / "c1.lxc").write_text("mine")
    with pytest.raises(LxcError, match="it is there already"):
        ship(lxcpath, disk.at / "c1.lxc")
    assert (disk.at / "c1.lxc").read_text() == "mine"
    ship(lxcpath, disk.at / "c1.lxc", force=True)
    import_container(str(disk.at / "c1.lxc"), "c2", str(lxcpath))
    with pytest.raises(LxcError, match="cannot write .*/none/c1.lxc: No such file"):
        ship(lxcpath, disk.at / "none" / "c1.lxc")


def test_into_a_device_that_is_there(disk: Disk, lxcpath: Path) -> None:
    container(lxcpath)
    null = disk.at / "null"
    os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (disk.at / "link").symlink_to("null")
    for target in (null, disk.at / "link"):
        with pytest.raises(LxcError, match="it is there already"):
            ship(lxcpath, target)
        ship(lxcpath, target, force=True)
        assert stat.S_ISCHR(null.lstat().st_mode)
    assert (disk.at / "link").is_symlink()
    assert sorted(os.listdir(disk.at)) == ["link", "lxc", "null", "run"], "no temporary file is left"


def test_into_a_pipe(disk: Disk, lxcpath: Path) -> None:
    container(lxcpath)
    os.mkfifo(disk.at / "pipe")
    with subprocess.Popen(["zstd", "-t", "-q", disk.at / "pipe"]) as reader:
        ship(lxcpath, disk.at / "pipe", force=True)
    assert reader.returncode == 0
    assert stat.S_ISFIFO((disk.at / "pipe").lstat().st_mode)


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed(disk: Disk, lxcpath: Path, *, there: bool) -> None:
    container(lxcpath)
    (disk.at / "link").symlink_to("c1.lxc")
    if there:
        (disk.at / "c1.lxc").write_text("mine")
    ship(lxcpath, disk.at / "link", force=True)
    assert (disk.at / "link").is_symlink()
    assert import_container(str(disk.at / "c1.lxc"), "c2", str(lxcpath)) == "c2"


@pytest.mark.parametrize("force", [True, False])
def test_no_file_is_named(disk: Disk, lxcpath: Path, monkeypatch: pytest.MonkeyPatch, *, force: bool) -> None:
    container(lxcpath)
    (disk.at / "link").symlink_to("lxc")
    monkeypatch.setattr(exporting, "_pack", lambda *_: pytest.fail("it has been packed before"))
    for target, why in (("", "it is no name"), (lxcpath, "it is a folder"), (disk.at / "link", "it is a folder")):
        with pytest.raises(LxcError, match=why):
            export(Source("c1", str(lxcpath)), str(target), Wishes(force=force))


def test_no_room_for_the_archive(disk: Disk, lxcpath: Path) -> None:
    folder = container(lxcpath)
    (folder / "rootfs" / "large").write_bytes(os.urandom(3 << 20))
    small = disk.at / "small"
    small.mkdir()
    kernel.mount("tmpfs", str(small), "tmpfs", 0, "size=1m")
    with pytest.raises(LxcError, match=f"cannot write {small}/c1.lxc: .*No space left on device"):
        ship(lxcpath, small / "c1.lxc")
    assert os.listdir(small) == []


def test_zstd_is_missing(disk: Disk, lxcpath: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    container(lxcpath)
    monkeypatch.setattr("lxctools.process.find", lambda name: None)
    with pytest.raises(LxcError, match="zstd is missing .install the package zstd"):
        ship(lxcpath, disk.at / "c1.lxc")
    assert not (disk.at / "c1.lxc").exists()


# -- archives that are not whole


@pytest.fixture
def archive(disk: Disk, lxcpath: Path) -> Path:
    folder = container(lxcpath)
    (folder / "rootfs" / "etc").mkdir()
    for number in range(40):
        (folder / "rootfs" / "etc" / f"{number}").write_bytes(os.urandom(20000))
    ship(lxcpath, disk.at / "c1.lxc")
    return disk.at / "c1.lxc"


def refused(archive: Path | str, lxcpath: Path, match: str, error: type[LxcError] = LxcError) -> None:
    """The import fails, and nothing has changed in the lxcpath or beside it."""
    before = describe_tree(lxcpath.parent, flags=False)
    with pytest.raises(error, match=match):
        import_container(str(archive), "new", str(lxcpath))
    # Times of folders change, archives are read, locks are files.
    lines = differences(before, describe_tree(lxcpath.parent, flags=False))
    assert [line for line in lines if ": atime: " not in line and not line.startswith(("lxc: mtime", "lxc/new: mtime", "run", ".: mtime"))] == []


@pytest.mark.parametrize("part", [0, 1, 10, 1000, 400_000, -200, -1])
def test_a_truncated_archive(archive: Path, lxcpath: Path, part: int) -> None:
    data = archive.read_bytes()
    archive.write_bytes(data[:part])
    refused(archive, lxcpath, "cannot import .*: the archive is damaged: ")


def test_a_changed_byte(archive: Path, lxcpath: Path) -> None:
    data = archive.read_bytes()
    for place in range(7, len(data), len(data) // 15):
        archive.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        refused(archive, lxcpath, "cannot import .*: the archive is damaged: ")


def test_a_changed_byte_that_zstd_does_not_know_of(archive: Path, lxcpath: Path) -> None:
    data = subprocess.run(["zstd", "-dcq", archive], check=True, capture_output=True).stdout
    for place in range(3000, len(data) - 1024, len(data) // 25):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        archive.write_bytes(subprocess.run(["zstd", "-cq1"], input=changed, check=True, capture_output=True).stdout)
        refused(archive, lxcpath, "cannot import .*: the archive is damaged: ", Damaged)


def test_what_is_no_archive(archive: Path, lxcpath: Path, disk: Disk) -> None:
    for content in (b"", b"hello\n" * 1000, subprocess.run(["tar", "-c", "/etc/hostname"], check=True, capture_output=True).stdout):
        (disk.at / "plain").write_bytes(content)
        refused(disk.at / "plain", lxcpath, "cannot import .*: the archive is damaged: ")
        packed = subprocess.run(["zstd", "-cq"], input=content, check=True, capture_output=True).stdout
        (disk.at / "packed").write_bytes(packed)
        refused(disk.at / "packed", lxcpath, "cannot import .*: the archive is damaged: ")
    refused(disk.at / "none", lxcpath, "cannot read .*/none: No such file or directory")
    refused(disk.at, lxcpath, "cannot import .*: ")


def test_no_room_for_the_container(archive: Path, disk: Disk) -> None:
    small = disk.at / "small"
    small.mkdir()
    kernel.mount("tmpfs", str(small), "tmpfs", 0, "size=300k")
    with pytest.raises(LxcError, match="cannot import .*: cannot unpack .*: No space left on device .make room"):
        import_container(str(archive), "new", str(small))
    assert os.listdir(small) == []


def test_a_name_that_is_taken(archive: Path, lxcpath: Path) -> None:
    before = describe_tree(lxcpath)
    with pytest.raises(LxcError, match="Container already exists"):
        import_container(str(archive), "", str(lxcpath))
    assert differences(before, lxcpath) == []
    (lxcpath / "new" / "rootfs").mkdir(parents=True)
    (lxcpath / "new" / "rootfs" / "mine").touch()
    refused(archive, lxcpath, "cannot unpack into .*: it is there already")
    assert (lxcpath / "new" / "rootfs" / "mine").exists()


def test_each_step_may_be_the_last(archive: Path, lxcpath: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interruption at any step leaves nothing."""
    names: list[str] = []
    monkeypatch.setattr(steps, "hook", names.append)
    import_container(str(archive), "first", str(lxcpath))
    files.remove_tree(str(lxcpath / "first"))
    assert {"make the folder", "make the root file system", "unpack rootfs", "importing", "write the configuration", "release the mark"} <= set(names)
    for place in range(len(names)):
        count = 0

        def cut(name: str, place: int = place) -> None:
            nonlocal count
            count += 1
            if count == place + 1:
                raise KeyboardInterrupt

        monkeypatch.setattr(steps, "hook", cut)
        with pytest.raises(KeyboardInterrupt):
            import_container(str(archive), "new", str(lxcpath))
        assert sorted(os.listdir(lxcpath)) == ["c1"], names[place]
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)


def test_a_killed_import_is_cleared_away(archive: Path, lxcpath: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("make the root file system", "unpack rootfs", "importing", "write the configuration", "release the mark"):
        pid = os.fork()
        if pid == 0:
            steps.hook = lambda step, name=name: os.kill(os.getpid(), 9) if step == name else None  # type: ignore[misc]
            try:
                import_container(str(archive), "new", str(lxcpath))
            finally:
                os._exit(1)
        assert os.waitpid(pid, 0)[1] == 9
        assert (lxcpath / "new" / "partial").exists()
        import_container(str(archive), "new", str(lxcpath))
        assert sorted(os.listdir(lxcpath / "new")) == ["config", "rootfs"]
        files.remove_tree(str(lxcpath / "new"))


# -- hostile archives


def hostile(path: Path, fill: Callable[[Sink], None], *, config: str = "lxc.rootfs.path = dir:/\n", **facts: Any) -> Path:
    """An archive with a right checksum around whatever fill() writes."""
    manifest = {"format": 1, "name": "evil", "folder": "/var/lib/lxc/evil", "idmap": [], "snapshots": []} | facts
    buffer = io.BytesIO()
    sink = Sink(buffer)
    sink.small("lxc-export", json.dumps(manifest).encode())
    sink.small("config", config.encode())
    fill(sink)
    sink.end("lxc-export.sha256")
    path.write_bytes(subprocess.run(["zstd", "-cq1"], input=buffer.getvalue(), check=True, capture_output=True).stdout)
    return path


def member(path: str, mode: int, *, to: str = "", link: str = "", device: int = 0, uid: int = 0) -> Member:
    made = Member(path, mode)
    made.to, made.link, made.device, made.uid = to, link, device, uid
    return made


def tree_of(*members: Member) -> Callable[[Sink], None]:
    def fill(sink: Sink) -> None:
        for one in (member("rootfs", stat.S_IFDIR | 0o755), *members):
            sink.begin(one)

    return fill


FOLDER, FILE, LINK = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777


@pytest.mark.parametrize(
    "members",
    [
        [member("/etc/evil", FILE)],
        [member("../evil", FILE)],
        [member("rootfs/../evil", FILE)],
        [member("rootfs/../../evil", FILE)],
        [member("rootfs/..", FOLDER)],
        [member("rootfs/.", FOLDER)],
        [member("rootfs/", FOLDER)],
        [member("rootfs//etc", FOLDER)],
        [member("rootfs", FOLDER)],
        [member("rootfs/a/b", FILE)],
        [member("rootfs/a", LINK, to="/tmp"), member("rootfs/a/b", FILE)],
        [member("rootfs/a", LINK, to=".."), member("rootfs/a/b", FOLDER)],
        [member("rootfs/a", LINK, to="/etc/passwd"), member("rootfs/a", FILE)],
        [member("rootfs/a", FOLDER), member("rootfs/a", LINK, to="/tmp")],
        [member("rootfs/a", FOLDER), member("rootfs/b", FOLDER), member("rootfs/a/late", FILE)],
        [member("rootfs/a", FILE, link="/etc/passwd")],
        [member("rootfs/a", FILE, link="rootfs/../../../etc/passwd")],
        [member("rootfs/a", FILE, link="rootfs/../config")],
        [member("rootfs/a", LINK, to=".."), member("rootfs/b", FILE, link="rootfs/a/config")],
        [member("rootfs/a", FILE, link="config")],
        [member("rootfs/a", FILE, link="rootfs/none")],
        [member("rootfs/a", FOLDER), member("rootfs/b", FILE, link="rootfs/a")],
        [member("rootfs/a", FILE, link="rootfs")],
        [member("rootfs2/a", FILE)],
        [member("snaps/x/rootfs", FOLDER)],
        [member("config", FILE)],
        [member("partial", FILE)],
    ],
    ids=lambda members: " ".join(f"{one.path}>{one.link or one.to}" for one in members),
)
def test_nothing_leaves_the_folder(disk: Disk, lxcpath: Path, members: list[Member]) -> None:
    (disk.at / "evil").write_text("mine")
    refused(hostile(disk.at / "a", tree_of(*members)), lxcpath, "cannot import .*")


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", "config", "partial", "rootfs/x", "snaps/snap0/config2", "lxc_rdepends", "", "a//b", "."]
)
def test_files_beside_the_root_file_system(disk: Disk, lxcpath: Path, name: str) -> None:
    def fill(sink: Sink) -> None:
        sink.small(f"files/{name}", b"#!/bin/sh\n")
        tree_of()(sink)

    refused(hostile(disk.at / "a", fill), lxcpath, "cannot be in a container's folder")


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\nb", "x" * 300])
def test_names_in_the_manifest(disk: Disk, lxcpath: Path, name: str) -> None:
    refused(hostile(disk.at / "a", tree_of(), name=name), lxcpath, "invalid container name")
    refused(hostile(disk.at / "a", tree_of(), snapshots=[name]), lxcpath, "invalid container name")


@pytest.mark.parametrize(
    "facts", [{"format": 2}, {"name": 7}, {"idmap": ["x"]}, {"idmap": 3}, {"snapshots": {"a": 1}}, {"folder": None}, {"idmap": [["u"]]},
     {"size": -1}, {"size": "7"}, {"size": True}, {"size": 1 << 70}]
)
def test_manifests_that_make_no_sense(disk: Disk, lxcpath: Path, facts: dict[str, Any]) -> None:
    refused(hostile(disk.at / "a", tree_of(), **facts), lxcpath, "format is 2|manifest cannot be understood")


def test_rights_on_the_host(disk: Disk, lxcpath: Path) -> None:
    """Devices of the host and set-id files of its users are nothing for a container with an id map."""
    evil = tree_of(
        member("rootfs/sda", stat.S_IFBLK | 0o666, device=os.makedev(8, 0)),
        member("rootfs/sda2", stat.S_IFBLK | 0o666, link="rootfs/sda"),
        member("rootfs/mem", stat.S_IFCHR | 0o666, device=os.makedev(1, 1)),
        member("rootfs/null", stat.S_IFCHR | 0o666, device=os.makedev(1, 3), uid=100000),
        member("rootfs/root's", stat.S_IFREG | 0o4755, uid=0),
        member("rootfs/folder", stat.S_IFDIR | 0o6755, uid=0),
        member("rootfs/own", stat.S_IFREG | 0o4755, uid=100000),
    )
    maps = [str(IdMap("u", 0, 100000, 65536)), str(IdMap("g", 0, 0, 65536))]
    config = "lxc.rootfs.path = dir:/\nlxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 0 65536\n"
    import_container(str(hostile(disk.at / "a", evil, config=config, idmap=maps)), "new", str(lxcpath))
    found = describe_tree(lxcpath / "new" / "rootfs")
    assert sorted(found) == ["", "folder", "null", "own", "root's"]
    assert {name: facts["mode"] for name, facts in found.items() if name} == {
        "folder": "0o755", "null": "0o666", "own": "0o4755", "root's": "0o755",
    }  # fmt: skip
    # Ids of a privileged container's files are those inside: they move into the map.
    plain = tree_of(member("rootfs/root's", stat.S_IFREG | 0o4755))
    import_container(str(hostile(disk.at / "b", plain, config=config)), "moved", str(lxcpath))
    assert os.stat(lxcpath / "moved" / "rootfs" / "root's").st_uid == 100000


def test_numbers_out_of_all_reason(disk: Disk, lxcpath: Path) -> None:
    def places(*rows: tuple[int, int], size: int) -> Callable[[Sink], None]:
        one = member("rootfs/a", FILE)
        one.places = list(rows)
        one.size = size
        return tree_of(one)

    for bad in (
        places((0, 10), size=5),
        places((10, 5), (5, 5), size=100),
        places((2**62, 0), size=100),
    ):
        refused(hostile(disk.at / "a", bad), lxcpath, "damaged|File too large|Invalid argument")


def test_what_follows_the_end(archive: Path, lxcpath: Path) -> None:
    data = subprocess.run(["zstd", "-dcq", archive], check=True, capture_output=True).stdout
    archive.write_bytes(subprocess.run(["zstd", "-cq1"], input=data + b"more", check=True, capture_output=True).stdout)
    refused(archive, lxcpath, "something follows its end")




@pytest.mark.parametrize("force", [False, True])
def test_a_killed_export_leaves_nothing(disk: Disk, lxcpath: Path, *, force: bool) -> None:
    container(lxcpath)
    out = disk.at / "out"
    out.mkdir()
    if force:
        (out / "c1.lxc").write_text("before")
    before = sorted(os.listdir(out))
    pid = os.fork()
    if pid == 0:
        steps.hook = lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == "put the archive in place" else None
        try:
            ship(lxcpath, out / "c1.lxc", force=force)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert sorted(os.listdir(out)) == before
    ship(lxcpath, out / "c1.lxc", force=force)
    assert sorted(os.listdir(out)) == sorted({*before, "c1.lxc"}) and (out / "c1.lxc").stat().st_size > 100
