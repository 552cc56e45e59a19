# SPDX-License-Identifier: LGPL-2.1-or-later
"""The backends that are a program's: which commands they run, and what they make of its answers.

A stand-in notes its arguments and plays the answers that the real one gave.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lxctools import process
from lxctools.errors import LxcError
from lxctools.lifecycle.reserve import watch
from lxctools.storage import backend, lvm, rbd, zfs
from lxctools.storage.backend import Spec
from lxctools.undo import Undo

PROGRAMS = ("lvs", "lvcreate", "lvremove", "mkfs.ext4", "mkfs.xfs", "zfs", "rbd")


class Tools:
    """The stand-ins. answers: (beginning of the command line, exit status, output); the first that fits counts, else 0 and ""."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.rows: list[tuple[str, int, str]] = []
        folder.mkdir()
        for name in PROGRAMS:
            program = folder / name
            program.write_text(
                f'#!/bin/sh\nline="{name} $*"\necho "$line" >>{folder}/log\n'
                f'while IFS="|" read -r begin status text; do\n'
                f'  case "$line" in "$begin"*) [ -z "$text" ] || echo "$text"; exit "$status";; esac\ndone <{folder}/answers\nexit 0\n'
            )
            program.chmod(0o755)
        (folder / "answers").touch()
        monkeypatch.setattr(process, "find", lambda name: shutil.which(name, path=str(folder)))

    def answer(self, begin: str, status: int = 0, text: str = "") -> None:
        with (self.folder / "answers").open("a") as file:
            file.write(f"{begin}|{status}|{text}\n")

    def said(self) -> list[str]:
        log = self.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    return Tools(tmp_path / "tools", monkeypatch)


def spec(folder: Path, **options: str) -> Spec:
    (folder / "c1").mkdir(exist_ok=True)
    return Spec(str(folder / "c1"), "c1", options)


def test_a_thick_volume(tools: Tools, tmp_path: Path) -> None:
    tools.answer("lvs", 5, "Failed to find logical volume")
    wanted = spec(tmp_path, vgname="nog", fssize="104857600", fstype="xfs")
    assert lvm.create(wanted) == ("lvm:/dev/nog/c1", True)
    assert tools.said() == [
        "lvs --unbuffered --noheadings -o lv_attr /dev/nog/lxc",
        "lvcreate -Wy --yes -L 104857600b nog -n c1",
        "mkfs.xfs /dev/nog/c1",
    ]
    assert (tmp_path / "c1" / "rootfs").is_dir()


def test_a_thin_volume_with_names_of_its_own(tools: Tools, tmp_path: Path) -> None:
    tools.answer("lvs", 0, "  twi-aotz--")
    assert lvm.create(spec(tmp_path, vgname="nog", lvname="other", thinpool="pool")) == ("lvm:/dev/nog/other", True)
    assert tools.said() == [
        "lvs --unbuffered --noheadings -o lv_attr /dev/nog/pool",
        "lvcreate -Wy --yes --thinpool /dev/nog/pool -V 1073741824b nog -n other",
        "mkfs.ext4 /dev/nog/other",
    ]


def test_an_old_lvcreate(tools: Tools, tmp_path: Path) -> None:
    tools.answer("lvs", 5)
    tools.answer("lvcreate -Wy", 3, "lvcreate: unrecognized option")
    lvm.create(spec(tmp_path, vgname="nog"))
    assert tools.said()[2] == "lvcreate -qq -L 1073741824b nog -n c1"


def test_a_volume_whose_file_system_cannot_be_made_is_removed(tools: Tools, tmp_path: Path) -> None:
    tools.answer("lvs", 5)
    tools.answer("mkfs.ext4", 1, "mkfs.ext4: no room")
    with pytest.raises(LxcError, match=r"mkfs\.ext4 /dev/nog/c1 exited with status 1: mkfs\.ext4: no room"):
        lvm.create(spec(tmp_path, vgname="nog"))
    assert tools.said()[-1] == "lvremove -f /dev/nog/c1"


class Interrupted(BaseException):
    pass


@pytest.fixture
def interrupts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """SIGTERM is an exception, as in the commands."""

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGTERM, interrupt)
    yield
    signal.signal(signal.SIGTERM, before)


MADE = {
    "lvm": (lambda wanted: lvm.create(wanted), "lvcreate", "lvm:/dev/lxc/c1", "lvremove -f /dev/lxc/c1"),
    "lvm snapshot": (lambda wanted: lvm.snapshot("lvm:/dev/lxc/c0", wanted), "lvcreate", "lvm:/dev/lxc/c1", "lvremove -f /dev/lxc/c1"),
    "zfs": (lambda wanted: zfs.create(wanted), "zfs create", "zfs:lxc/c1", "zfs destroy -r lxc/c1"),
    "zfs snapshot": (lambda wanted: zfs.snapshot("zfs:lxc/c0", wanted), "zfs clone", "zfs:lxc/c1", "zfs destroy -r lxc/c1"),
    "rbd": (lambda wanted: rbd.create(wanted), "rbd create", "rbd:/dev/rbd/lxc/c1", "rbd rm lxc/c1"),
}


@pytest.mark.parametrize("what", MADE)
def test_a_signal_while_the_program_runs(what: str, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupts: None) -> None:
    """The program comes to its end, what it made is known, and is removed."""
    make, program, value, removal = MADE[what]
    monkeypatch.setattr(lvm, "size_and_type", lambda path: (1 << 20, "ext4"))
    name, _, verb = program.partition(" ")
    script = tools.folder / name
    lines = script.read_text().splitlines()
    there = tools.folder / "there"
    exists = f'case "$line" in "zfs get"*) [ -e {there} ] && {{ case "$line" in *origin*) echo -;; *) echo lxc/c1;; esac; exit 0; }} || exit 1;; esac'
    lines[2:2] = [f'[ "${{1#-}}" = "$1" ] && [ -n "{verb}" ] && [ "$1" != "{verb}" ] || {{ kill -TERM $PPID; sleep 0.2; touch {there}; }}', exists]
    script.write_text("\n".join(lines) + "\n")
    tools.answer("lvs", 0, "-wi-a-----")
    told: list[str] = []
    with pytest.raises(Interrupted), Undo() as undo:
        wanted = spec(tmp_path)
        remember = watch(None, (), undo)
        wanted.begun = lambda made: (told.append(made), remember(made))
        make(wanted)
    assert there.exists(), "the program was killed at its work"
    assert told[0] == value
    assert removal in tools.said()


@pytest.mark.parametrize("what", ["lvm", "lvm snapshot", "zfs", "zfs snapshot"])
def test_what_is_about_to_be_made_is_told_and_marked(what: str, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, program, value, _ = MADE[what]
    monkeypatch.setattr(lvm, "size_and_type", lambda path: (1 << 20, "ext4"))
    tools.answer("lvs", 5)
    tools.answer("zfs get", 1, "dataset does not exist")
    wanted = spec(tmp_path)
    told: list[tuple[str, str, list[str]]] = []
    wanted.intended = lambda intended, mark: told.append((intended, mark, tools.said()))
    make(wanted)
    *others, (intended, mark, before) = told
    assert [other[0] for other in others] == (["zfs:lxc/c0@c1"] if what == "zfs snapshot" else [])
    assert intended == value and mark.startswith("lxctools-") and len(mark) == 25
    assert not any(line.startswith(program) for line in before)
    made = next(line for line in tools.said() if line.startswith(program))
    assert mark in made


def test_the_mark_of_a_volume(tools: Tools) -> None:
    tools.answer("lvs --unbuffered --noheadings -o lv_tags /dev/nog/c1", 0, "  other,lxctools-1  ")
    tools.answer("lvs", 5, "Failed to find logical volume")
    assert lvm.has_mark("/dev/nog/c1", "lxctools-1") and not lvm.has_mark("/dev/nog/c1", "lxctools-10")
    assert not lvm.has_mark("/dev/nog/c2", "lxctools-1")


def test_the_mark_of_a_dataset(tools: Tools) -> None:
    tools.answer("zfs get -H -s local -o value lxctools:made tank/c1", 0, "lxctools-1")
    tools.answer("zfs get", 1, "dataset does not exist")
    assert zfs.has_mark("tank/c1", "lxctools-1") and not zfs.has_mark("tank/c1", "lxctools-10")
    assert not zfs.has_mark("tank/c2", "lxctools-1")


def test_a_full_volume_group(tools: Tools, tmp_path: Path) -> None:
    tools.answer("lvs", 5)
    tools.answer("lvcreate", 5, 'Volume group "nog" has insufficient free space')
    with pytest.raises(LxcError, match="cannot make the logical volume /dev/nog/c1: lvcreate .* insufficient free space"):
        lvm.create(spec(tmp_path, vgname="nog"))
    assert not any(line.startswith(("mkfs", "lvremove")) for line in tools.said())


def test_a_volume_that_is_gone(tools: Tools) -> None:
    tools.answer("lvs", 5)
    lvm.destroy("/dev/nog/c1")
    assert [line.split()[0] for line in tools.said()] == ["lvs"]


@pytest.mark.parametrize("path", ["/dev/nog", "/dev/sda", "/etc/nog/c1", "/dev/mapper/a/b", "nog/c1"])
def test_what_is_no_volume_is_not_removed(tools: Tools, path: str) -> None:
    with pytest.raises(LxcError, match="refusing to remove"):
        lvm.destroy(path)
    assert tools.said() == []


def test_a_dataset(tools: Tools, tmp_path: Path) -> None:
    tools.answer("zfs get", 1, "dataset does not exist")
    assert zfs.create(spec(tmp_path, zfsroot="tank/lxc")) == ("zfs:tank/lxc/c1", True)
    assert tools.said() == [
        "zfs get -H -o name type tank/lxc/c1",
        f"zfs create -o mountpoint={tmp_path}/c1/rootfs -o canmount=noauto -p tank/lxc/c1",
    ]


def test_a_clone_of_a_dataset(tools: Tools, tmp_path: Path) -> None:
    tools.answer("zfs get", 1, "dataset does not exist")
    assert zfs.snapshot("zfs:tank/lxc/c0", spec(tmp_path)) == "zfs:tank/lxc/c1"
    assert tools.said()[2:] == [
        "zfs snapshot -r tank/lxc/c0@c1",
        f"zfs clone -p -o canmount=noauto -o mountpoint={tmp_path}/c1/rootfs tank/lxc/c0@c1 tank/lxc/c1",
    ]


def test_a_clone_that_fails_leaves_no_snapshot(tools: Tools, tmp_path: Path) -> None:
    tools.answer("zfs get", 1, "dataset does not exist")
    tools.answer("zfs clone", 1, "cannot create: out of space")
    with pytest.raises(LxcError, match="out of space"):
        zfs.snapshot("zfs:tank/lxc/c0", spec(tmp_path))
    assert tools.said()[-1] == "zfs destroy -r tank/lxc/c0@c1"


@pytest.mark.parametrize(
    ("origin", "also"),
    [("-", []), ("tank/lxc/c0@c1", ["zfs destroy -r tank/lxc/c0@c1"]), ("tank/lxc/c0@backup", [])],
)
def test_removing_a_dataset(tools: Tools, origin: str, also: list[str]) -> None:
    tools.answer("zfs get -H -o name", 0, "tank/lxc/c1")
    tools.answer("zfs get -H -o value origin", 0, origin)
    zfs.destroy("tank/lxc/c1")
    assert tools.said()[1:] == [
        "zfs list -H -d 1 -t snapshot -o name,clones tank/lxc/c1",
        "zfs get -H -o value origin tank/lxc/c1",
        "zfs destroy -r tank/lxc/c1",
        *also,
    ]


@pytest.mark.parametrize("path", ["tank", "tank/lxc@c1"])
def test_a_whole_pool_is_not_removed(tools: Tools, path: str) -> None:
    with pytest.raises(LxcError, match="refusing to remove"):
        zfs.destroy(path)
    assert not any("destroy" in line for line in tools.said())


def test_an_old_path_names_the_dataset_that_is_mounted_there(tools: Tools) -> None:
    answers = tools.folder / "zfs"
    answers.write_text(
        f"#!/bin/sh\necho zfs $* >>{tools.folder}/log\n[ $1 = list ] && printf 'tank/c10\\t/lxc/c10\\ntank/c1\\t/lxc/c1\\ntank\\t/lxc\\n'\n"
        "[ $1 = get ] && { [ $4 = name ] && echo $6 || echo -; } || :\n"
    )
    zfs.destroy("/lxc/c1")
    assert tools.said()[-1] == "zfs destroy -r tank/c1"
    with pytest.raises(LxcError, match="no zfs dataset is mounted on /lxc/none"):
        zfs.destroy("/lxc/none")


def test_an_image(tools: Tools, tmp_path: Path) -> None:
    wanted = spec(tmp_path, rbdpool="pool", rbdname="image", fssize="2147483648", rbduser="admin")
    assert rbd.create(wanted) == ("rbd:/dev/rbd/pool/image", True)
    assert tools.said() == [
        "rbd create --id admin --pool pool image --size 2048",
        "rbd map --id admin --pool pool image",
        "mkfs.ext4 /dev/rbd/pool/image",
    ]


def test_an_image_that_cannot_be_mapped_is_removed(tools: Tools, tmp_path: Path) -> None:
    tools.answer("rbd map", 2, "rbd: map failed: no kernel module")
    with pytest.raises(LxcError, match="map failed"):
        rbd.create(spec(tmp_path))
    assert tools.said()[-1] == "rbd rm lxc/c1"
    with pytest.raises(LxcError, match="is not mapped"):
        rbd.open_mount("/dev/rbd/lxc/c1")


def test_an_image_that_is_not_mapped_is_there(tools: Tools) -> None:
    """As every one is after a reboot: lxc-destroy must not forget it."""
    tools.answer("rbd info pool/gone", 2, "rbd: error opening image gone: (2) No such file or directory")
    tools.answer("rbd info other/c1", 110, "rbd: couldn't connect to the cluster!")
    assert rbd.exists("/dev/rbd/pool/image")
    assert not rbd.exists("/dev/rbd/pool/gone")
    with pytest.raises(LxcError, match="connect to the cluster"):
        rbd.exists("/dev/rbd/other/c1")
    rbd.destroy("/dev/rbd/pool/image")
    assert tools.said()[-1] == "rbd rm pool/image"


def test_a_volume_that_is_not_active_is_there(tools: Tools) -> None:
    tools.answer("lvs --unbuffered --noheadings -o lv_attr /dev/nog/c1", 0, "Vwi---tz-k")
    tools.answer("lvs", 5, "Failed to find logical volume")
    assert lvm.exists("/dev/nog/c1") and not lvm.exists("/dev/nog/c2") and not lvm.exists("/srv/c1")
    lvm.destroy("/dev/nog/c1")
    assert tools.said()[-1] == "lvremove -f /dev/nog/c1"


def test_an_image_that_is_there_stays(tools: Tools, tmp_path: Path) -> None:
    tools.answer("rbd create", 17, "rbd: image c1 already exists")
    with pytest.raises(LxcError, match="already exists"):
        rbd.create(spec(tmp_path))
    assert not any(line.startswith("rbd rm") for line in tools.said())


@pytest.mark.parametrize(("name", "package"), [("lvm", "lvm2"), ("zfs", "zfsutils-linux"), ("rbd", "ceph-common")])
def test_a_missing_program_is_named_with_its_package(
    name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "find", lambda name: None)
    with pytest.raises(LxcError) as caught:
        backend.load(name).create(spec(tmp_path))
    assert caught.value.remedy == f"install {package}"
