# SPDX-License-Identifier: LGPL-2.1-or-later
"""The backend that is a folder: what it makes, and what it does not touch."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lxctools import paths
from lxctools.errors import LxcError
from lxctools.idmap import apply
from lxctools.idmap.ranges import IdMap, parse
from lxctools.linux import mount as kernel
from lxctools.linux import prctl, sched
from lxctools.storage import backend, guard, loop
from lxctools.storage import dir as dir_backend
from tests.forked import forked

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def spec(folder: Path, **options: str) -> backend.Spec:
    return backend.Spec(str(folder), "c1", options)


def test_the_usual_place(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        assert dir_backend.create(spec(tmp_path)) == (f"dir:{tmp_path}/rootfs", True)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "rootfs").stat().st_mode) == 0o755
    assert dir_backend.exists(f"{tmp_path}/rootfs")


def test_a_chosen_place_and_one_that_is_there(tmp_path: Path) -> None:
    wanted = tmp_path / "some" / "where"
    assert dir_backend.create(spec(tmp_path / "c1", dir=str(wanted))) == (f"dir:{wanted}", True)
    (wanted / "file").touch()
    assert dir_backend.create(spec(tmp_path / "c1", dir=str(wanted))) == (f"dir:{wanted}", False)
    assert (wanted / "file").exists()
    assert not (tmp_path / "c1").exists()


@pytest.mark.parametrize("path", ["/", "//", "/usr/..", "/usr", "/var", "/var/lib", "/etc", "/tmp", "/home", paths.GLOBAL_LXCPATH])
def test_folders_of_the_host(path: str, tmp_path: Path) -> None:
    with pytest.raises(LxcError, match="refusing to use .* it is or holds the host's"):
        dir_backend.create(spec(tmp_path, dir=path))
    with pytest.raises(LxcError, match="refusing to remove .* it is or holds the host's"):
        dir_backend.destroy(path)


@pytest.mark.parametrize("path", ["/usr/lib/python3", "/etc/apt", "/boot/grub", "/bin/x"])
def test_folders_in_the_hosts_system(path: str, tmp_path: Path) -> None:
    with pytest.raises(LxcError, match="refusing to use .* it is a part of the host's /"):
        dir_backend.create(spec(tmp_path, dir=path))
    with pytest.raises(LxcError, match="refusing to remove .* it is a part of the host's /"):
        guard.check_removable(path)


def test_an_image_in_the_hosts_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop.os, "unlink", lambda path: pytest.fail(f"it would have removed {path}"))
    with pytest.raises(LxcError, match="refusing to remove /etc/passwd .*: it is a part of the host's /etc"):
        loop.destroy("/etc/passwd")


def test_folders_in_shared_memory_and_of_the_administrators(tmp_path: Path) -> None:
    for path in ("/dev/shm/c1/rootfs", "/usr/local/lxc/c1/rootfs"):
        guard.check_new(path, str(tmp_path))


def test_folders_of_the_host_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/")
    with pytest.raises(LxcError, match="refusing to use"):
        dir_backend.create(spec(tmp_path, dir=f"{tmp_path}/link"))
    with pytest.raises(LxcError, match="refusing to remove .* it is or holds the host's"):
        dir_backend.destroy(f"{tmp_path}/link/usr")


def test_a_place_that_would_hold_the_container_itself(tmp_path: Path) -> None:
    folder = tmp_path / "lxc" / "c1"
    folder.mkdir(parents=True)
    for place in (folder, tmp_path / "lxc", tmp_path):
        with pytest.raises(LxcError, match="it holds the container's own folder"):
            dir_backend.create(spec(folder, dir=str(place)))


def test_a_place_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LxcError, match=f"cannot make the root file system {tmp_path}/file/x: Not a directory"):
        dir_backend.create(spec(tmp_path, dir=f"{tmp_path}/file/x"))


def test_destroy(tmp_path: Path) -> None:
    (tmp_path / "rootfs" / "etc").mkdir(parents=True)
    (tmp_path / "rootfs" / "etc" / "passwd").symlink_to("/etc/passwd")
    (tmp_path / "other").mkdir()
    beats: list[int] = []
    dir_backend.destroy(f"{tmp_path}/rootfs", lambda: beats.append(1))
    assert os.listdir(tmp_path) == ["other"] and beats
    dir_backend.destroy(f"{tmp_path}/rootfs")
    (tmp_path / "link").symlink_to("other")
    with pytest.raises(LxcError, match="it is a symbolic link"):
        dir_backend.destroy(f"{tmp_path}/link")
    assert (tmp_path / "other").is_dir()


@as_root
def test_mount_takes_along_what_is_mounted_below(tmp_path: Path) -> None:
    (tmp_path / "rootfs" / "sub").mkdir(parents=True)
    (tmp_path / "target").mkdir()

    def child() -> list[object]:
        kernel.mount("tmpfs", f"{tmp_path}/rootfs/sub", "tmpfs", 0, None)
        (tmp_path / "rootfs" / "sub" / "file").touch()
        dir_backend.mount(f"{tmp_path}/rootfs", f"{tmp_path}/target")
        found = [os.listdir(tmp_path / "target" / "sub")]
        for missing in (f"{tmp_path}/none", f"{tmp_path}/rootfs/sub/file"):
            try:
                dir_backend.mount(missing, f"{tmp_path}/target")
            except LxcError as error:
                found.append([error.message])
        return found

    assert forked(child, unshare=sched.CLONE_NEWNS) == [
        ["file"],
        [f"the root file system {tmp_path}/none does not exist or is not a folder"],
        [f"the root file system {tmp_path}/rootfs/sub/file does not exist or is not a folder"],
    ]


@as_root
def test_another_user_removes_what_belongs_to_his_containers_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that root inside has closed to him; the maps that only newuidmap may write are written by the test's root."""
    top = tmp_path / "rootfs"
    closed = top / "closed"
    closed.mkdir(parents=True)
    (closed / "file").touch()
    for path in (tmp_path, *list(tmp_path.parents)[:2]):
        path.chmod(0o755)
    tmp_path.chmod(0o770)
    os.chown(tmp_path, 300000, 4711)
    for path in (top, closed, closed / "file"):
        os.chown(path, 300000, 400000)
    closed.chmod(0o700)
    maps = [IdMap("u", 0, 300000, 65536), IdMap("g", 0, 400000, 65536)]
    reader, writer = os.pipe()
    go, said = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(4711, 4711, 4711)
            os.setresuid(4711, 4711, 4711)
            prctl.set_dumpable(True)

            def ask(child: int, rows: list[IdMap]) -> None:
                os.write(writer, "\n".join((str(child), *map(str, rows))).encode())
                os.read(go, 1)

            monkeypatch.setattr("lxctools.idmap.apply.write_maps", ask)
            dir_backend.destroy(str(top), None, maps)
            status = int(top.exists())
        finally:
            os._exit(status)
    os.close(writer)
    os.close(go)
    number, *rows = os.read(reader, 4096).decode().splitlines()
    apply.write_maps(int(number), [parse(row) for row in rows])
    os.write(said, b"+")
    os.close(said)
    os.close(reader)
    assert os.waitpid(pid, 0)[1] == 0
    assert not top.exists()
