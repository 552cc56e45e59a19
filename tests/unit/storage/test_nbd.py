# SPDX-License-Identifier: LGPL-2.1-or-later
"""The nbd backend against a qemu-nbd that is a script: which devices are taken, how it is called, and what is said when it cannot be.

Recorded of qemu-nbd 7.2: its arguments, its exit status, and what it says of a device in use. The real one is run in tests/vm/guest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lxctools import log, process
from lxctools.errors import LxcError
from lxctools.storage import nbd
from lxctools.storage.backend import Spec
from tests import host

_FAKE = """#!/bin/sh
echo "$@" >>{folder}/calls
case "$*" in *broken*) echo "qemu-nbd: Failed to blk_new_open '$4': No such file or directory" >&2; exit 1;; esac
while [ $# -gt 0 ]; do
    case $1 in
    -c) name=${{2##*/}}
        test ! -e {folder}/block/$name/taken || {{ echo "qemu-nbd: Failed to set NBD socket: Device or resource busy" >&2; exit 1; }}
        cat {folder}/server >{folder}/block/$name/pid; echo 2048 >{folder}/block/$name/size;;
    -d) rm {folder}/block/${{2##*/}}/pid; echo 0 >{folder}/block/${{2##*/}}/size;;
    esac
    shift
done
"""


class World:
    """Devices, and the calls that were made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.image = folder / "image"
        self.image.write_bytes(b"\0" * 1024)
        for number in range(3):
            (folder / f"block/nbd{number}").mkdir(parents=True)
            (folder / f"block/nbd{number}/size").write_text("0\n")
            (folder / "dev").mkdir(exist_ok=True)
            (folder / f"dev/nbd{number}").touch()
        self.serve(os.getpid())

    def serve(self, pid: int) -> None:
        """The process that the fake says serves a device."""
        (self.folder / "server").write_text(f"{pid}\n")

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().replace(str(self.folder), "T").splitlines() if path.exists() else []


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    tool = tmp_path / "bin/qemu-nbd"
    tool.parent.mkdir()
    tool.write_text(_FAKE.format(folder=tmp_path))
    tool.chmod(0o755)
    monkeypatch.setattr(nbd, "BLOCK", str(tmp_path / "block"))
    monkeypatch.setattr(nbd, "DEV", str(tmp_path / "dev"))
    monkeypatch.setattr(nbd, "_PATIENCE", 0.2)
    monkeypatch.setattr(nbd, "_attached", {})
    monkeypatch.setattr(nbd, "_keep", lambda name: None)
    find: Callable[[str], str | None] = process.find
    monkeypatch.setattr(process, "find", lambda name: str(tool) if name == "qemu-nbd" else find(name))
    return made


@pytest.fixture
def server(world: World) -> Iterator[int]:
    """A process that looks as qemu-nbd with the image does."""
    program = f"from lxctools.linux import prctl; import time; prctl.set_title('qemu-nbd\\0-c\\0x\\0{world.image}'); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as running:
        assert running.stdout is not None
        running.stdout.readline()
        yield running.pid
        running.kill()


@pytest.mark.parametrize(
    ("value", "parts"),
    [("/a", ("/a", 0)), ("/a:1", ("/a", 1)), ("/a:9", ("/a", 9)), ("/a:0", ("/a:0", 0)), ("/a:12", ("/a:12", 0)), ("/a:b:2", ("/a:b", 2)), ("/a:", ("/a:", 0))],
)
def test_the_value(value: str, parts: tuple[str, int]) -> None:
    assert nbd.split(value) == parts


def test_it_is_never_made_or_removed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(log, "tell", said.append)
    with pytest.raises(LxcError, match="cannot be made") as caught:
        nbd.create(Spec("/x", "c1", {}))
    assert "qemu-img" in caught.value.remedy
    nbd.destroy(f"{world.image}:1")
    assert world.image.exists() and nbd.belongings(str(world.image)) == [] and said[0].startswith(f"kept {world.image}")
    nbd.destroy("/nosuch:1")
    assert len(said) == 1 and nbd.exists(f"{world.image}:1") and not nbd.exists("/nosuch")


def test_the_first_free_device_is_taken(world: World) -> None:
    (world.folder / "block/nbd0/pid").write_text("1\n")
    (world.folder / "block/nbd1/taken").touch()  # by somebody who was faster
    assert nbd._device(str(world.image)) == str(world.folder / "dev/nbd2")
    assert world.calls() == ["-f raw -c T/dev/nbd1 T/image", "-f raw -c T/dev/nbd2 T/image"]
    assert nbd._device(str(world.image)) == str(world.folder / "dev/nbd2")  # a reboot
    assert len(world.calls()) == 2


@pytest.mark.parametrize(("head", "words"), [(b"QFI\xfb\0\0\0\3", ""), (b"KDMV", ""), (b"\0" * 64 + b"\x7f\x10\xda\xbe", ""), (b"", "-f raw ")])
def test_the_format(world: World, head: bytes, words: str) -> None:
    world.image.write_bytes(head)
    nbd._device(str(world.image))
    assert world.calls() == [f"{words}-c T/dev/nbd0 T/image"]


def test_a_partition(world: World) -> None:
    (world.folder / "dev/nbd0p2").touch()
    assert nbd._device(f"{world.image}:2").endswith("/nbd0p2")
    with pytest.raises(LxcError, match=r"has no partition 3: there is no .*/nbd0p3"):
        nbd._device(f"{world.image}:3")


def test_a_partition_that_is_gone_for_a_moment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    node = world.folder / "dev/nbd0p1"
    node.touch()
    monkeypatch.setattr(nbd, "_device", lambda path: str(node))
    node.unlink()
    real = nbd.time.sleep
    monkeypatch.setattr(nbd.time, "sleep", lambda seconds: (node.touch(), real(seconds)))
    device, fd = nbd._open(f"{world.image}:1")
    os.close(fd)
    assert device == str(node)
    monkeypatch.setattr(nbd.time, "sleep", real)
    node.unlink()
    with pytest.raises(LxcError, match="cannot open .*/nbd0p1, where nbd:.*:1 is attached: No such file"):
        nbd._open(f"{world.image}:1")


def test_what_goes_wrong(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LxcError, match="cannot read the image /nosuch"):
        nbd._device("/nosuch")
    broken = world.folder / "broken"
    broken.write_bytes(b"x")
    with pytest.raises(LxcError, match=r"qemu-nbd -f raw -c .*/nbd0 .*/broken exited with status 1: qemu-nbd: Failed to blk_new_open"):
        nbd._device(str(broken))
    assert len(world.calls()) == 1
    for number in range(3):
        (world.folder / f"block/nbd{number}/pid").write_text("1\n")
    with pytest.raises(LxcError, match="all network block devices are in use"):
        nbd._device(str(world.image))
    monkeypatch.setattr(nbd, "BLOCK", "/nosuch")
    with pytest.raises(LxcError, match="this kernel has no network block devices") as caught:
        nbd._device(str(world.image))
    assert "modprobe nbd" in caught.value.remedy


def test_without_qemu(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "find", lambda name: None)
    with pytest.raises(LxcError, match="cannot run qemu-nbd") as caught:
        nbd._device(str(world.image))
    assert caught.value.remedy == "install qemu-utils"


def test_what_a_crash_left_is_detached(world: World, server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(log, "tell", said.append)
    (world.folder / "block/nbd1/pid").write_text(f"{server}\n")
    (world.folder / "block/nbd1/size").write_text("2048\n")
    assert nbd._device(str(world.image)).endswith("/nbd0")
    assert world.calls() == ["-d T/dev/nbd1", "-f raw -c T/dev/nbd0 T/image"]
    assert "which a killed command had left attached" in said[0]


def test_an_image_in_use_is_not_attached_twice(world: World, server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nbd, "_in_use", lambda name: True)
    (world.folder / "block/nbd1/pid").write_text(f"{server}\n")
    with pytest.raises(LxcError, match=f"it is attached to .*/nbd1 by process {server}, and in use"):
        nbd._device(str(world.image))
    assert world.calls() == []


def test_the_keeper_detaches_when_its_owner_has_died(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    program = (
        "import os, sys, time\n"
        "from lxctools import process\nfrom lxctools.storage import nbd\n"
        f"nbd.BLOCK, nbd.DEV = '{tmp_path}/block', '{tmp_path}/dev'\n"
        f"process.find = lambda name: '{tmp_path}/bin/qemu-nbd'\n"
        f"nbd._device('{world.image}'); print('attached', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        assert nbd._has_keeper("nbd0") is False  # of another folder
        assert (tmp_path / "block/nbd0/pid").exists()
        owner.kill()  # SIGKILL
        assert owner.stdout.read() == b""  # the keeper does not hold it
    assert host.wait_until(lambda: len(world.calls()) == 2, 5)
    assert world.calls() == ["-f raw -c T/dev/nbd0 T/image", "-d T/dev/nbd0"]
