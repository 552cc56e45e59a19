# SPDX-License-Identifier: LGPL-2.1-or-later
"""One container's life on every storage backend, with real file systems: create, run, copy, snapshot, destroy.

What a host need not have (LVM, ZFS, Ceph) is tested in the machines of tests/vm; see tests/volumes.py.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests import host, volumes
from tests.host import OURS, THEIRS, run

HERE = ["dir", "overlay", "btrfs", "loop"]
# Volumes have a place of their own: the fixture that makes it, what lists what is in it, and what empties it.
PLACES: dict[str, tuple[str, Callable[[str], set[str]], str]] = {
    "lvm-thick": ("thick_group", volumes.logical_volumes, "lvremove -f {place}/{name}"),
    "lvm-thin": ("thin_group", volumes.logical_volumes, "lvremove -f {place}/{name}"),
    "zfs": ("zfs_root", volumes.datasets, "zfs destroy -R {name}"),
    "rbd": ("rbd_pool", volumes.images, "rbd unmap {place}/{name}; rbd rm {place}/{name}"),
}
VOLUMES = [
    pytest.param("lvm-thick", marks=pytest.mark.needs_dm),
    pytest.param("lvm-thin", marks=pytest.mark.needs_dm),
    pytest.param("zfs", marks=pytest.mark.needs_zfs),
    pytest.param("rbd", marks=pytest.mark.needs_ceph),
]
ALL = [*HERE, *VOLUMES]
MARKS = {str(row.values[0]): row.marks for row in VOLUMES}
# Every type to every other; what is particular to thick volumes. A copy of a logical volume stays in its group: thick, or thin.
COPIES = [
    *((source, target) for source in HERE for target in HERE),
    *((kind, kind) for kind in PLACES),
    *(pair for kind in ("lvm-thin", "zfs", "rbd") for other in HERE for pair in ((kind, other), (other, kind))),
    ("dir", "lvm-thick"),
    ("lvm-thick", "dir"),
    *(pair for kind in ("zfs", "rbd") for pair in ((kind, "lvm-thin"), ("lvm-thin", kind))),
]
BLOCKS = ("loop", "lvm-thick", "lvm-thin", "rbd")
MAPS = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n"
SNAPSHOTS = [("dir", "overlay"), *((kind, kind) for kind in ("overlay", "btrfs", "lvm-thick", "lvm-thin", "zfs"))]
TYPES = ("dir", "overlay", "btrfs", "loop", "lvm", "zfs", "rbd")
_where: dict[str, str] = {}  # kind -> its place in this test

pytestmark = [pytest.mark.storage, pytest.mark.usefixtures("unchanged_host")]


def marked(pairs: list[tuple[str, str]]) -> list[ParameterSet]:
    """Each with what its kinds need."""
    return [pytest.param(*pair, marks=[mark for kind in sorted({*pair}) for mark in MARKS.get(kind, ())]) for pair in pairs]


@pytest.fixture(scope="module")
def thick_group() -> Iterator[str]:
    with volumes.volume_group(pool=0) as name:
        yield name


@pytest.fixture(scope="module")
def thin_group() -> Iterator[str]:
    with volumes.volume_group() as name:
        yield name


@pytest.fixture(scope="module")
def zfs_root() -> Iterator[str]:
    with volumes.zfs_pool() as name:
        yield name


@pytest.fixture(scope="module")
def rbd_pool() -> Iterator[str]:
    with volumes.ceph() as name:
        yield name


@pytest.fixture(autouse=True)
def nothing_left_in_the_places(request: pytest.FixtureRequest) -> Iterator[None]:
    """Makes the places of the kinds that the test is about; fails it when something stays there, and spares the others that."""
    kinds = getattr(request.node, "callspec", None)
    for kind in {*(kinds.params.values() if kinds else ())} & set(PLACES):
        _where[kind] = request.getfixturevalue(PLACES[kind][0])
    yield
    left = {kind: PLACES[kind][1](place) for kind, place in _where.items()}
    for kind, names in left.items():
        for name in names:
            run("sh", "-c", PLACES[kind][2].format(place=_where[kind], name=name))
    _where.clear()
    assert not any(left.values()), left


def type_of(kind: str) -> str:
    """The type of lxc.rootfs.path."""
    return kind.partition("-")[0]


@pytest.fixture
def place(lxcpath: Path) -> Iterator[Path]:
    """An lxcpath on btrfs, with a template and a configuration."""
    image, folder = lxcpath / "image", lxcpath / "b"
    folder.mkdir()
    lxcpath.chmod(0o755)
    with image.open("wb") as file:
        file.truncate(700 << 20)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", image, folder], check=True)
    root = host.make_rootfs(lxcpath / "root")
    (root / "etc" / "hostname").write_text("template\n")
    template = lxcpath / "template"
    template.write_text(
        '#!/bin/sh\nfor word; do case $word in --rootfs=*) root=${word#--rootfs=};; esac; done\n'
        f'cp -a {root}/. "$root"/ && chown -R 0:0 "$root"\n'
    )
    template.chmod(0o755)
    (lxcpath / "conf").write_text(
        "lxc.pty.max = 1024\nlxc.tty.max = 2\nlxc.net.0.type = empty\nlxc.mount.auto = proc:mixed sys:mixed\n"
    )
    try:
        yield folder
    finally:
        for entry in folder.iterdir():
            if host.running(folder, entry.name):
                run(OURS / "lxc-stop", "-k", "-P", folder, "-n", entry.name)
        subprocess.run(["umount", folder], check=True)


def ours(command: str, place: Path, name: str, *words: object, fails: bool = False) -> str:
    settings = place.parent / "etc"  # over /etc/lxc
    settings.mkdir(exist_ok=True)
    keys = {"lvm": "lxc.bdev.lvm.vg", "zfs": "lxc.bdev.zfs.root", "rbd": "lxc.bdev.rbd.rbdpool"}
    target = str(words[words.index("-B") + 1]) if "-B" in words else ""
    (settings / "lxc.conf").write_text("".join(f"{keys[type_of(kind)]} = {at}\n" for kind, at in _where.items() if kind == target or type_of(kind) != "lvm"))
    argv = [OURS / f"lxc-{command}", "-P", place, "-n", name, *(type_of(word) if word in PLACES else word for word in words)]
    if _where:
        script = f'mount -t overlay -o lowerdir={settings}:/etc/lxc lxct /etc/lxc && exec "$@"'
        argv = ["unshare", "-m", "sh", "-c", script, "sh", *argv]
    result = run(*argv)
    text = (result.stdout + result.stderr).decode()
    assert (result.returncode != 0) == fails, text
    return text


def create(place: Path, name: str, kind: str, *words: object, more: str = "") -> None:
    conf = place.parent / "conf"
    if more:
        (place.parent / "conf.more").write_text(conf.read_text() + more)
        conf = place.parent / "conf.more"
    ours("create", place, name, "-B", kind, *options(kind), *words, "-f", conf, "-t", place.parent / "template")


def options(kind: str) -> list[str]:
    """What lxc-create is to be told of it."""
    size = ["--fssize", "64M"] if kind in BLOCKS else []
    named = {"lvm": "--vgname", "zfs": "--zfsroot", "rbd": "--rbdpool"}
    return [*size, *([named[type_of(kind)], _where[kind]] if kind in PLACES else [])]


def value(place: Path, name: str) -> str:
    lines = (place / name / "config").read_text().splitlines()
    return next(line.split("=", 1)[1].strip() for line in lines if line.startswith("lxc.rootfs.path"))


def runs(place: Path, name: str, command: str, tools: Path = OURS) -> str:
    """What a command prints in the container, which is started by tools and ended."""
    started = run(tools / "lxc-start", "-P", place, "-n", name)
    assert started.returncode == 0, started.stderr
    try:
        result = run(OURS / "lxc-attach", "-P", place, "-n", name, "--", "/bin/sh", "-c", command)
        assert result.returncode == 0, result.stderr
        return result.stdout.decode()
    finally:
        run(tools / "lxc-stop", "-k", "-P", place, "-n", name)
        host.wait_until(lambda: not host.running(place, name))


def expected(kind: str, place: Path, name: str, source: str = "") -> str:
    """lxc.rootfs.path of a container, made anew or as a copy of c1, which has the storage source: overlays share the lower folder."""
    folder = place / name
    lower = place / "c1" if source == "overlay" else folder
    return {
        "dir": f"dir:{folder}/rootfs",
        "overlay": f"overlay:{lower}/rootfs:{folder}/overlay/delta",
        "btrfs": f"btrfs:{folder}/rootfs",
        "loop": f"loop:{folder}/rootdev",
        "lvm": f"lvm:/dev/{_where.get(kind)}/{name}",
        "zfs": f"zfs:{_where.get(kind)}/{name}",
        "rbd": f"rbd:/dev/rbd/{_where.get(kind)}/{name}",
    }[type_of(kind)]


@pytest.mark.parametrize("kind", ALL)
def test_a_life(place: Path, kind: str) -> None:
    create(place, "c1", kind)
    assert value(place, "c1") == expected(kind, place, "c1")
    runs(place, "c1", "echo one >/mark")
    assert runs(place, "c1", "cat /mark", THEIRS) == "one\n"
    ours("copy", place, "c1", "-N", "c2")
    assert value(place, "c2") == expected(kind, place, "c2", kind)
    assert runs(place, "c2", "cat /mark; echo two >/mark") == "one\n"
    assert runs(place, "c1", "cat /mark") == "one\n"
    ours("destroy", place, "c2")
    ours("destroy", place, "c1")
    assert os.listdir(place) == []


@pytest.mark.parametrize("kind", ALL)
def test_id_maps(place: Path, kind: str) -> None:
    place.chmod(0o755)
    create(place, "c1", kind, more=MAPS)
    assert runs(place, "c1", "echo one >/mark; rm -r /tmp; mkdir /tmp; ls -dn / /mark /etc | tr -s ' ' | cut -d' ' -f3,4 | uniq") == "0 0\n"
    ours("copy", place, "c1", "-N", "c2")
    assert runs(place, "c2", "cat /mark") == "one\n"
    ours("destroy", place, "c2")
    ours("destroy", place, "c1")
    assert os.listdir(place) == []


@pytest.mark.parametrize(("source", "target"), marked(COPIES))
def test_copies(place: Path, source: str, target: str) -> None:
    create(place, "c1", source)
    runs(place, "c1", "echo one >/mark; rm /etc/group")
    words = ["-L", "80M"] if target in BLOCKS else []
    ours("copy", place, "c1", "-N", "c2", "-B", target, *words)
    assert value(place, "c2") == expected(target, place, "c2", source)
    assert runs(place, "c2", "cat /mark; ls /etc; cat /etc/hostname") == "one\nhostname\npasswd\nc2"
    ours("destroy", place, "c2")
    ours("destroy", place, "c1")


@pytest.mark.parametrize(("source", "target"), marked(SNAPSHOTS))
def test_snapshots(place: Path, source: str, target: str) -> None:
    create(place, "c1", source)
    ours("copy", place, "c1", "-N", "c2", "-s", "-B", target)
    assert runs(place, "c2", "cat /etc/hostname") == "c2"
    ours("destroy", place, "c2")
    ours("destroy", place, "c1")


@pytest.mark.parametrize("source", ALL)
def test_no_snapshot_as_another_type(place: Path, source: str) -> None:
    """Whether the other type is here or not."""
    create(place, "c1", source)
    possible = {type_of(target) for kind, target in SNAPSHOTS if kind == source}
    for target in {*TYPES} - possible:
        said = ours("copy", place, "c1", "-N", "c2", "-s", "-B", target, fails=True)
        assert "snapshot" in said and "copy it without -s" in said and "Traceback" not in said
        assert sorted(os.listdir(place)) == ["c1"]
    ours("destroy", place, "c1")


@pytest.mark.parametrize("kind", [*HERE, VOLUMES[2]])
def test_lxc_snapshot_and_restore(place: Path, kind: str) -> None:
    """In place, and to a new container, of two containers that each have a snap0; and all of it goes."""
    for name in ("c1", "c2"):
        create(place, name, kind)
    for name in ("c1", "c2"):
        runs(place, name, f"echo {name} one >/mark")
        ours("snapshot", place, name)
    runs(place, "c1", "echo c1 two >/mark; rm /etc/group")
    ours("snapshot", place, "c1", "-r", "snap0")
    assert value(place, "c1").partition(":")[0] == kind
    assert runs(place, "c1", "cat /mark; ls /etc/group; echo c1 three >/mark") == "c1 one\n/etc/group\n"
    ours("snapshot", place, "c1", "-r", "snap0", "-N", "c3")
    assert runs(place, "c3", "cat /mark") == "c1 one\n"
    assert runs(place, "c2", "cat /mark") == "c2 one\n"
    ours("destroy", place, "c3")
    ours("snapshot", place, "c1", "-d", "snap0")
    assert runs(place, "c1", "cat /mark") == "c1 three\n"
    ours("destroy", place, "c1")
    ours("destroy", place, "c2", "-s")
    assert os.listdir(place) == []


def test_subvolumes_in_a_subvolume(place: Path) -> None:
    create(place, "c1", "btrfs")
    inner = place / "c1" / "rootfs" / "tmp" / "inner"
    for folder in (inner, inner / "most"):
        subprocess.run(["btrfs", "subvolume", "create", folder], check=True, capture_output=True)
    (inner / "most" / "file").write_text("kept")
    ours("copy", place, "c1", "-N", "c2", "-s")
    assert (place / "c2/rootfs/tmp/inner/most/file").read_text() == "kept"
    ours("destroy", place, "c1")
    ours("destroy", place, "c2")
    assert not subprocess.run(["btrfs", "subvolume", "list", place], check=True, capture_output=True).stdout


def test_an_overlays_source_stays(place: Path) -> None:
    create(place, "c1", "dir")
    ours("copy", place, "c1", "-N", "c2", "-s")
    assert "c2" in ours("destroy", place, "c1", fails=True)
    assert run(THEIRS / "lxc-destroy", "-P", place, "-n", "c2").returncode == 0
    assert (place / "c1/rootfs/bin/busybox").exists()
    ours("destroy", place, "c1")


@pytest.mark.parametrize("kind", ["overlay", "btrfs", "loop", *VOLUMES])
def test_theirs(place: Path, kind: str) -> None:
    """C LXC makes it, we copy, start and remove it."""
    words = ["-B", type_of(kind), *options(kind)]
    made = run(THEIRS / "lxc-create", "-P", place, "-n", "c1", *words, "-f", place.parent / "conf", "-t", place.parent / "template")
    assert made.returncode == 0, made.stderr
    assert value(place, "c1") == expected(kind, place, "c1")
    assert runs(place, "c1", "cat /etc/hostname") == "template\n"
    ours("copy", place, "c1", "-N", "c2", *(["-s"] if kind not in ("loop", "rbd") else []))
    removed = run(THEIRS / "lxc-destroy", "-P", place, "-n", "c2")
    assert removed.returncode == 0, removed
    ours("destroy", place, "c1")
    assert os.listdir(place) == []


def test_what_cannot_be_made_leaves_nothing(place: Path) -> None:
    for words in (["-B", "loop", "--fstype", "nosuch"], ["-B", "loop", "--fstype", "../ext4"], ["-B", "nbd"]):
        said = ours("create", place, "c1", *words, "-f", place.parent / "conf", "-t", place.parent / "template", fails=True)
        assert "Failed to create container c1" in said and "Traceback" not in said
        assert os.listdir(place) == []


def test_best(place: Path) -> None:
    create(place, "c1", "best")
    assert value(place, "c1").startswith("btrfs:")
    ours("destroy", place, "c1")
