# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-file with real containers: owners, links that lead out, what is no file, and failures half way."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import host

FILE = host.OURS / "lxc-file"
NAME = "c1"
MAPPED = "lxc.idmap = u 0 200000 65536\nlxc.idmap = g 0 200000 65536\n"
SHIFT = 200000


class Place:
    """A container in one of the four conditions, and how it is told to do something."""

    def __init__(self, lxcpath: Path, *, mapped: bool, running: bool) -> None:
        self.lxcpath = lxcpath
        self.shift = SHIFT if mapped else 0
        folder = host.make_container(lxcpath, NAME, MAPPED if mapped else "")
        self.rootfs = folder / "rootfs"
        if mapped:
            for path in (lxcpath, folder):
                path.chmod(0o755)
            host.run("chown", "-Rh", f"{SHIFT}:{SHIFT}", self.rootfs, check=True)
        if running:
            host.run(host.OURS / "lxc-start", "-P", lxcpath, "-n", NAME, check=True)

    def run(self, *words: object, **more: object) -> subprocess.CompletedProcess[bytes]:
        return host.run(FILE, "-P", self.lxcpath, NAME, *words, **more)  # type: ignore[arg-type]

    def refused(self, *words: object, message: str) -> None:
        done = self.run(*words)
        assert done.returncode == 1 and message in done.stderr.decode(), done
        assert b"Traceback" not in done.stderr and b"bug in lxctools" not in done.stderr


@pytest.fixture(params=["stopped", "running", "stopped-mapped", "running-mapped"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    lxcpath = Path("/var/tmp/lxct-file")
    host.forget(lxcpath)
    lxcpath.mkdir()
    before = host.Host()
    yield Place(lxcpath, mapped="mapped" in request.param, running="running" in request.param)
    host.forget(lxcpath)
    assert not host.leftovers(before)


def test_there_and_back(place: Place, tmp_path: Path) -> None:
    source = tmp_path / "data"
    source.write_bytes(os.urandom(3_000_000))
    source.chmod(0o4755)
    assert place.run("push", source, "/root").returncode == 0
    pushed = (place.rootfs / "root" / "data").stat()
    assert (pushed.st_uid, pushed.st_gid, stat.S_IMODE(pushed.st_mode)) == (place.shift, place.shift, 0o755)
    assert int(pushed.st_mtime) == int(source.stat().st_mtime)
    assert place.run("pull", "/root/data", tmp_path / "back").returncode == 0
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert (tmp_path / "back").stat().st_uid == 0
    assert place.run("pull", "/root/data", "-").stdout == source.read_bytes()
    assert place.run("push", "-", "/etc/motd", "-m", "600", "-u", "1000", "-g", "5", input=b"hello\n").returncode == 0
    motd = place.rootfs / "etc" / "motd"
    assert motd.read_text() == "hello\n"
    status = motd.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (place.shift + 1000, place.shift + 5, 0o600)
    # What is there keeps its owner and mode.
    assert place.run("push", "-", "/etc/motd", input=b"again\n").returncode == 0
    assert (motd.read_text(), motd.stat().st_uid, stat.S_IMODE(motd.stat().st_mode)) == ("again\n", place.shift + 1000, 0o600)
    assert not [name for name in os.listdir(place.rootfs / "etc") if name.startswith(".")]


def test_trees(place: Place, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "file").write_text("x")
    (tree / "a" / "private").write_text("y")
    (tree / "a" / "private").chmod(0o600)
    (tree / "empty").mkdir(mode=0o711)
    (tree / "link").symlink_to("/etc/passwd")
    os.mkfifo(tree / "fifo")
    place.refused("push", tree, "/root", message="-r copies it")
    done = place.run("push", "-r", "-p", tree, "/srv/new/")
    assert done.returncode == 0 and b"fifo is left out" in done.stderr
    inside = place.rootfs / "srv" / "new" / "tree"
    assert (inside / "a" / "b" / "file").read_text() == "x"
    assert os.readlink(inside / "link") == "/etc/passwd"
    assert stat.S_IMODE((inside / "empty").stat().st_mode) == 0o711
    assert {path.lstat().st_uid for path in inside.rglob("*")} == {place.shift}
    back = tmp_path / "back"
    back.mkdir()
    assert place.run("pull", "-r", "/srv/new/tree", back).returncode == 0
    names = sorted(str(path.relative_to(back)) for path in back.rglob("*"))
    assert names == ["tree", "tree/a", "tree/a/b", "tree/a/b/file", "tree/a/private", "tree/empty", "tree/link"]
    assert os.readlink(back / "tree" / "link") == "/etc/passwd"
    place.refused("pull", "-r", "/srv/new", "-", message="not a folder")
    place.refused("push", back / "tree" / "a" / "private", "/srv/no/such", message="-p makes the folders that are missing")


def test_links_lead_inside(place: Place, tmp_path: Path) -> None:
    outside = Path("/var/tmp/lxct-outside")
    outside.mkdir(exist_ok=True)
    try:
        secret = outside / "secret"
        secret.write_text("host")
        for name, target in {
            "out": "/var/tmp/lxct-outside", "up": "../../../../../../../../var/tmp/lxct-outside/secret", "file": str(secret),
            "loop": "loop", "magic": "/proc/self/root/var/tmp/lxct-outside/secret", "motd": "../etc/motd",
        }.items():  # fmt: skip
            link = place.rootfs / "root" / name
            link.symlink_to(target)
        for path in ("/root/out/secret", "/root/up", "/root/file", "/root/magic"):
            place.refused("pull", path, "-", message="cannot read")
        source = tmp_path / "x"
        source.write_text("changed")
        for path in ("/root/out/secret", "/root/out/", "/root/magic", "/root/loop"):
            place.refused("push", source, path, message="cannot write")
        place.run("push", source, "/root/file")  # a link into the container's own, missing folder
        place.run("push", source, "/../../../../../root/up2")
        assert (place.rootfs / "root" / "up2").read_text() == "changed"
        assert place.run("push", source, "/root/motd").returncode == 0
        assert (place.rootfs / "etc" / "motd").read_text() == "changed" and (place.rootfs / "root" / "motd").is_symlink()
        assert sorted(os.listdir(outside)) == ["secret"] and secret.read_text() == "host"
        # Pulled links do not lead what follows anywhere either.
        (place.rootfs / "root" / "file").unlink()
        (place.rootfs / "root" / "d").mkdir()
        (place.rootfs / "root" / "d" / "in").symlink_to(str(outside))
        assert place.run("pull", "-r", "/root/d", tmp_path).returncode == 0
        assert place.run("pull", "-r", "/root/d", tmp_path).returncode == 0
        assert sorted(os.listdir(outside)) == ["secret"]
    finally:
        subprocess.run(["rm", "-rf", outside], check=True)


def test_what_is_no_file(place: Place, tmp_path: Path) -> None:
    os.mkfifo(place.rootfs / "root" / "fifo")
    os.mknod(place.rootfs / "root" / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    source = tmp_path / "x"
    source.write_text("x")
    for name in ("fifo", "null"):
        place.refused("pull", f"/root/{name}", "-", message="neither file, folder nor link")
        place.refused("push", source, f"/root/{name}", message="no regular file")
    place.refused("push", source, "/missing/there", message="No such file")
    place.refused("push", source, "/etc/passwd/x", message="Not a directory")
    place.refused("push", source, source, "/etc/passwd", message="Not a directory")
    place.refused("push", tmp_path / "nope", "/root", message="no such file")
    place.refused("pull", "/nope", "-", message="cannot read /nope in c1: No such file")
    place.refused("pull", "/etc", tmp_path, message="-r copies it")
    place.refused("pull", "/etc/passwd", "/nonexistent/x", message="cannot write /nonexistent/x")
    place.refused("pull", "/etc/passwd", "/etc/group", tmp_path / "nofolder", message="is no folder")
    place.refused("push", source, "/root/x", "-u", "99999999", message="cannot write") if place.shift else None


@pytest.mark.parametrize("place", ["running", "running-mapped"], indirect=True)  # nothing is mounted in a stopped container
def test_the_kernels_files_are_not_written(place: Place, tmp_path: Path) -> None:
    (place.rootfs / "root" / "innocent").symlink_to("/proc/sysrq-trigger")
    source = tmp_path / "x"
    source.write_text("")
    place.refused("push", source, "/root/innocent", message="file system of the kernel's")
    place.refused("push", source, "/proc/self/comm", message="cannot write")
    place.refused("pull", "-r", "/proc", tmp_path, message="file system of the kernel's")


def test_edit(place: Place, tmp_path: Path) -> None:
    motd = place.rootfs / "etc" / "motd"
    motd.write_text("old\n")
    motd.chmod(0o640)
    os.chown(motd, place.shift + 7, place.shift + 8)
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    done = place.run("edit", "/etc/motd", env=environment | {"EDITOR": "sed -i s/old/new/"})
    assert (done.returncode, done.stderr) == (0, b"")
    status = motd.stat()
    assert motd.read_text() == "new\n"
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (place.shift + 7, place.shift + 8, 0o640)
    done = place.run("edit", "/etc/motd", env=environment | {"EDITOR": "true"})
    assert done.returncode == 0 and b"unchanged" in done.stderr
    done = place.run("edit", "/etc/motd", env=environment | {"EDITOR": "false"})
    assert done.returncode == 1 and b"left as it was" in done.stderr and b"kept" not in done.stderr
    assert not os.listdir(tmp_path)  # nothing was typed
    done = place.run("edit", "/etc/motd", env=environment | {"EDITOR": "sh -c 'echo typed >$0; exit 3'"})
    assert done.returncode == 1 and b"status 3 (your text is kept in" in done.stderr and motd.read_text() == "new\n"
    assert len(os.listdir(tmp_path)) == 1
    place.refused("edit", "/etc", message="/etc is a folder, and no file to edit")
    editor = "kill -INT $PPID; kill -QUIT $PPID; sed -i s/new/newer/"  # ^C and ^\\, which are the editor's
    done = place.run("edit", "/etc/motd", env=environment | {"EDITOR": editor})
    assert (done.returncode, done.stderr, motd.read_text()) == (0, b"", "newer\n")
    assert len(os.listdir(tmp_path)) == 1
    done = place.run("edit", "/etc/new", env=environment | {"EDITOR": "echo made >"})
    assert done.returncode == 0 and (place.rootfs / "etc" / "new").read_text() == "made\n"
    assert (place.rootfs / "etc" / "new").stat().st_uid == place.shift


def test_a_full_disk_leaves_what_was_there(place: Place, tmp_path: Path) -> None:
    big = tmp_path / "big"
    with open(big, "wb") as file:
        file.truncate(8_000_000)
    (tmp_path / "full").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", tmp_path / "full"], check=True)
    try:
        (tmp_path / "full" / "big").write_text("before")
        assert place.run("push", big, "/root/big").returncode == 0
        place.refused("pull", "/root/big", tmp_path / "full", message="No space left")
        assert (tmp_path / "full" / "big").read_text() == "before"
        assert os.listdir(tmp_path / "full") == ["big"]
    finally:
        subprocess.run(["umount", tmp_path / "full"], check=True)
