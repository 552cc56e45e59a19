# SPDX-License-Identifier: LGPL-2.1-or-later
"""Logical volumes when things go wrong: a name that is taken, no room, no group, no program, an end in the middle."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import host, volumes
from tests.host import OURS, run

pytestmark = [pytest.mark.needs_dm, pytest.mark.usefixtures("unchanged_host")]
SIZES = {"thick": 0, "thin": 320}  # MiB of the pool
thick_and_thin = pytest.mark.parametrize("group", SIZES, indirect=True)


@pytest.fixture(scope="module")
def group(request: pytest.FixtureRequest) -> Iterator[str]:
    """A volume group of 640 MiB with, unless the test says otherwise, a thin pool."""
    with volumes.volume_group(640, SIZES[getattr(request, "param", "thin")]) as name:
        yield name


@pytest.fixture(autouse=True)
def only_known_volumes(group: str) -> Iterator[None]:
    yield
    left = volumes.logical_volumes(group)
    for name in left:
        run("lvremove", "-q", "-f", f"{group}/{name}")
    assert not left


@pytest.fixture
def place(lxcpath: Path) -> Path:
    """An lxcpath; beside the containers lies what they are made with."""
    (lxcpath / "conf").write_text("lxc.pty.max = 1024\nlxc.net.0.type = empty\nlxc.mount.auto = proc:mixed sys:mixed\n")
    root = host.make_rootfs(lxcpath / "root")
    (root / "etc/hostname").write_text("template\n")
    template = lxcpath / "template"
    template.write_text(
        '#!/bin/sh\nfor word; do case $word in --rootfs=*) root=${word#--rootfs=};; esac; done\n'
        f'cp -a {root}/. "$root"/ && chown -R 0:0 "$root"\n'
    )
    template.chmod(0o755)
    folder = lxcpath / "c"
    folder.mkdir()
    return folder


def ours(command: str, place: Path, name: str, *words: object, env: dict[str, str] | None = None) -> tuple[int, str]:
    done = run(OURS / f"lxc-{command}", "-P", place, "-n", name, *words, env=env)
    text = (done.stdout + done.stderr).decode()
    assert "Traceback" not in text
    return done.returncode, text


def creating(place: Path, group: str, *words: object) -> list[object]:
    return ["-B", "lvm", "--vgname", group, "--fssize", "64M", "-f", place.parent / "conf", "-t", place.parent / "template", *words]


def create(place: Path, name: str, group: str, *words: object) -> None:
    status, said = ours("create", place, name, *creating(place, group, *words))
    assert status == 0, said


def destroy(place: Path, *names: str) -> None:
    for name in names:
        status, said = ours("destroy", place, name)
        assert status == 0, said
    assert os.listdir(place) == []


def on_disk(device: Path, path: str) -> bytes:
    """What a file of a volume has, read through a mount of its own."""
    script = f'mount -o ro "$1" /mnt && cat "/mnt/{path}"'
    done = run("unshare", "-m", "sh", "-c", script, "sh", device)
    assert done.returncode == 0, done.stderr
    return done.stdout


@thick_and_thin
def test_a_name_that_is_taken(place: Path, group: str) -> None:
    """Two lxcpaths share the group: the second container of a name does not get, and does not lose, the first one's volume."""
    other = place.parent / "d"
    other.mkdir()
    create(place, "c1", group)
    status, said = ours("create", other, "c1", *creating(place, group))
    assert status == 1 and f"/dev/{group}/c1" in said and "exists" in said and "--lvname" in said, said
    assert os.listdir(other) == []
    create(other, "c1", group, "--lvname", "c1-other")
    assert volumes.logical_volumes(group) == {"c1", "c1-other"}
    for words in ([], ["-s"]):
        status, said = ours("copy", place, "c1", "-N", "c1-other", *words)
        assert status == 1 and f"/dev/{group}/c1-other" in said and "exists" in said, said
        assert os.listdir(place) == ["c1"]
    destroy(other, "c1")
    assert volumes.logical_volumes(group) == {"c1"}
    destroy(place, "c1")


@thick_and_thin
def test_a_copy_stays_in_its_group(place: Path, group: str) -> None:
    """That lxc.conf names another one, or one that is not there, makes no difference to copies of volumes."""
    create(place, "c1", group)
    status, said = ours("copy", place, "c1", "-N", "c2")
    assert status == 0, said
    assert f"lvm:/dev/{group}/c2" in (place / "c2/config").read_text()
    destroy(place, "c2", "c1")


@pytest.mark.parametrize(("group", "fstype"), [("thick", "xfs"), ("thin", "btrfs"), ("thin", "xfs")], indirect=["group"])
def test_a_snapshot_can_be_mounted_beside_its_source(place: Path, group: str, fstype: str) -> None:
    create(place, "c1", group, "--fstype", fstype, "--fssize", "304M")
    status, said = ours("copy", place, "c1", "-N", "c2", "-s", "-L", "150M")
    assert status == 0, said
    for name in ("c1", "c2"):
        status, said = ours("start", place, name)
        assert status == 0, said
    for name in ("c1", "c2"):
        assert run(OURS / "lxc-attach", "-P", place, "-n", name, "--", "/bin/cat", "/etc/hostname").stdout.decode().strip() in ("c2", "template")
        ours("stop", place, name, "-k")
    destroy(place, "c2", "c1")


@thick_and_thin
def test_a_snapshot_and_its_source(place: Path, group: str) -> None:
    """Whatever is written to one is not in the other; a thick source stays as long as its snapshots, a thin one need not."""
    thin = "t" in run("lvs", "--noheadings", "-o", "lv_attr", f"{group}/{volumes.THIN_POOL}").stdout.decode()[:4]
    create(place, "c1", group)
    status, said = ours("copy", place, "c1", "-N", "c2", "-s")
    assert status == 0, said
    assert on_disk(Path(f"/dev/{group}/c2"), "etc/hostname") == b"c2"
    status, said = ours("destroy", place, "c1")
    if thin:
        assert status == 0, said
        assert ours("start", place, "c2")[0] == 0
        ours("stop", place, "c2", "-k")
        destroy(place, "c2")
    else:
        assert status == 1 and "c2" in said, said
        assert ours("destroy", place, "c1", "-s")[0] == 0
        assert os.listdir(place) == []


def test_renaming_keeps_the_volume(place: Path, group: str) -> None:
    create(place, "c1", group)
    before = run("lvs", "--noheadings", "-o", "lv_uuid", group).stdout
    status, said = ours("copy", place, "c1", "-R", "-N", "c2")
    assert status == 0, said
    assert os.listdir(place) == ["c2"]
    assert run("lvs", "--noheadings", "-o", "lv_uuid", group).stdout == before
    assert ours("start", place, "c2")[0] == 0
    ours("stop", place, "c2", "-k")
    destroy(place, "c2")


def test_lxc_snapshot_is_refused_as_by_c(place: Path, group: str) -> None:
    create(place, "c1", group)
    status, said = ours("snapshot", place, "c1")
    assert status == 1 and "backing store cannot be backed up" in said and "lxc-copy" in said, said
    assert not (place / "c1/snaps").exists()
    destroy(place, "c1")


def test_no_such_group(place: Path, group: str) -> None:
    status, said = ours("create", place, "c1", *creating(place, f"{group}-no"))
    assert status == 1 and f"{group}-no" in said and "vgs show" in said, said
    assert os.listdir(place) == []


def test_no_room_in_the_group(place: Path, group: str) -> None:
    status, said = ours("create", place, "c1", *creating(place, group, "--fssize", "2G", "--thinpool", "no-pool"))
    assert status == 1 and "nsufficient free space" in said, said
    assert os.listdir(place) == []


@pytest.mark.parametrize(("program", "package"), [("lvcreate", "lvm2"), ("mkfs.ext4", "e2fsprogs")])
def test_a_missing_program_is_named_with_its_package(place: Path, group: str, program: str, package: str) -> None:
    hidden = os.path.realpath(shutil.which(program) or "")
    words = [OURS / "lxc-create", "-P", place, "-n", "c1", *creating(place, group)]
    done = run("unshare", "-m", "sh", "-c", f'mount --bind /dev/null {hidden} && exec "$@"', "sh", *words)
    assert done.returncode == 1 and f"install {package}".encode() in done.stderr, done
    assert os.listdir(place) == [] and not volumes.logical_volumes(group)


def test_a_pool_that_fills_up(place: Path, group: str) -> None:
    """The copy fails, and does not pretend that it was written."""
    with volumes.volume_group(160, 48) as small:
        run("lvchange", "-q", "--errorwhenfull", "y", f"{small}/{volumes.THIN_POOL}", check=True)
        create(place, "c1", small)
        full = run("unshare", "-m", "sh", "-c", f"mount /dev/{small}/c1 /mnt && head -c 30M /dev/urandom >/mnt/big && umount /mnt")
        assert full.returncode == 0, full.stderr
        before = on_disk(Path(f"/dev/{small}/c1"), "big")
        status, said = ours("copy", place, "c1", "-N", "c2")
        assert status == 1 and "c2" in said, said
        assert os.listdir(place) == ["c1"]
        assert volumes.logical_volumes(small) == {"c1"}
        assert on_disk(Path(f"/dev/{small}/c1"), "big") == before
        destroy(place, "c1")


@pytest.mark.parametrize(("group", "what"), [("thick", "create"), ("thin", "copy"), ("thin", "snapshot")], indirect=["group"])
def test_killed_in_the_middle(place: Path, group: str, what: str) -> None:
    """By SIGKILL at several moments: the next command on the name removes the volume, also one whose making it did not see."""
    create(place, "c1", group)
    words = {
        "create": ["lxc-create", "-P", place, "-n", "c2", *creating(place, group)],
        "copy": ["lxc-copy", "-P", place, "-n", "c1", "-N", "c2"],
        "snapshot": ["lxc-copy", "-P", place, "-n", "c1", "-N", "c2", "-s"],
    }[what]
    command = [str(OURS / str(words[0])), *map(str, words[1:])]
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    takes = time.monotonic() - began
    assert ours("destroy", place, "c2")[0] == 0
    for moment in range(1, 6):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(takes * moment / 6)
        process.send_signal(signal.SIGKILL)
        process.wait()
        # What it ran goes on to its end, or dies with it; then the next command cleans up.
        host.wait_until(lambda: not run("pgrep", "-x", "mkfs.ext4|mke2fs").stdout, 20, 0.2)
        ours("destroy", place, "c2")
        assert os.listdir(place) == ["c1"], f"moment {moment}"
        assert volumes.logical_volumes(group) == {"c1"}, f"moment {moment}"
    destroy(place, "c1")


def test_a_volume_that_is_gone(place: Path, group: str) -> None:
    create(place, "c1", group)
    run("lvremove", "-q", "-f", f"{group}/c1", check=True)
    status, said = ours("start", place, "c1")
    assert status == 1 and f"/dev/{group}/c1" in said, said
    destroy(place, "c1")


@thick_and_thin
def test_a_volume_that_is_not_active(place: Path, group: str) -> None:
    create(place, "c1", group)
    run("lvchange", "-q", "-an", f"{group}/c1", check=True)
    status, said = ours("start", place, "c1")
    assert status == 1 and "lvchange -ay -K" in said, said
    destroy(place, "c1")


def test_a_volume_in_use_is_not_removed(place: Path, group: str) -> None:
    create(place, "c1", group)
    with (Path(f"/dev/{group}/c1")).open("rb"):
        pass
    holder = subprocess.Popen(["unshare", "-m", "sh", "-c", f"mount /dev/{group}/c1 /mnt && echo && exec sleep 300"], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"\n"
        status, said = ours("destroy", place, "c1")
        assert status == 1 and f"/dev/{group}/c1" in said, said
        assert (place / "c1/config").exists() and ours("info", place, "c1")[0] == 0
        assert volumes.logical_volumes(group) == {"c1"}
    finally:
        holder.kill()
        holder.wait()
    assert ours("start", place, "c1")[0] == 0, "it can be used as before"
    ours("stop", place, "c1", "-k")
    destroy(place, "c1")
