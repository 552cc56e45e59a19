# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers on network block devices, by the real qemu-nbd: started, rebooted, killed, copied, and never attached for longer.

Run by `pytest tests/vm`, as all of this folder.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
from pathlib import Path

import pytest

from tests import host
from tests.host import OURS, run

MAPS = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n"


def attached() -> list[str]:
    return [path.parent.name for path in Path("/sys/block").glob("nbd*/pid")]


@pytest.fixture
def place(lxcpath: Path) -> Path:
    """An lxcpath with c1, whose root file system is in a qcow2 image, and images of the same made raw and with a partition."""
    run("modprobe", "nbd", "max_part=8", check=True)
    lxcpath.chmod(0o755)
    root = host.make_rootfs(lxcpath / "root")
    raw = lxcpath / "raw"
    with raw.open("wb") as file:
        file.truncate(64 << 20)
    run("mkfs.ext4", "-q", "-d", root, raw, check=True)
    run("qemu-img", "convert", "-O", "qcow2", raw, lxcpath / "disk.qcow2", check=True)
    whole = lxcpath / "whole"
    with whole.open("wb") as file:
        file.truncate(66 << 20)
    with whole.open("r+b") as file:  # one partition of the type Linux, which begins at 1 MiB
        entry = struct.pack("<8B2I", 0, 0, 0, 0, 0x83, 0, 0, 0, 2048, (64 << 20) // 512)
        file.write(bytes(446) + entry + bytes(48) + b"\x55\xaa")
    run("dd", f"if={raw}", f"of={whole}", "bs=1M", "seek=1", "conv=notrunc", check=True)
    make(lxcpath, "c1", f"{lxcpath}/disk.qcow2")
    return lxcpath


def make(place: Path, name: str, path: str, config: str = "") -> None:
    (place / name).mkdir()
    (place / name / "config").write_text(
        f"lxc.rootfs.path = nbd:{path}\nlxc.uts.name = {name}\nlxc.pty.max = 1024\nlxc.net.0.type = empty\nlxc.mount.auto = proc:mixed\n{config}"
    )


def lxc(command: str, place: Path, name: str, *words: object) -> subprocess.CompletedProcess[bytes]:
    return run(OURS / f"lxc-{command}", "-P", place, "-n", name, *words)


def inside(place: Path, name: str, command: str) -> str:
    done = lxc("attach", place, name, "--", "/bin/sh", "-c", command)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def start(place: Path, name: str) -> None:
    done = lxc("start", place, name)
    assert done.returncode == 0, done.stderr


def stop(place: Path, name: str) -> None:
    assert lxc("stop", place, name, "-k").returncode == 0
    assert host.wait_until(lambda: not attached(), 5), attached()


@pytest.mark.parametrize("image", ["disk.qcow2", "raw", "whole:1"])
def test_a_life(unchanged_host: None, place: Path, image: str) -> None:
    make(place, "c2", f"{place}/{image}")
    start(place, "c2")
    assert attached() == ["nbd0"]
    inside(place, "c2", "echo one >/mark")
    assert "qemu-nbd" not in inside(place, "c2", "ps")
    before = lxc("info", place, "c2", "-pH").stdout
    inside(place, "c2", "reboot -f")
    assert host.wait_until(lambda: lxc("info", place, "c2", "-pH").stdout not in (before, b""), 10)
    assert inside(place, "c2", "cat /mark") == "one\n" and attached() == ["nbd0"]
    assert lxc("stop", place, "c2", "-k").returncode == 0
    start(place, "c2")  # at once
    assert inside(place, "c2", "cat /mark") == "one\n"
    stop(place, "c2")
    done = lxc("destroy", place, "c2")
    assert done.returncode == 0 and b"kept " in done.stderr
    assert not (place / "c2").exists() and (place / image.partition(":")[0]).exists()


def test_id_maps(unchanged_host: None, place: Path) -> None:
    run("debugfs", "-w", "-R", "set_inode_field / uid 100000", place / "raw", check=True)
    make(place, "c2", f"{place}/raw", MAPS)
    start(place, "c2")
    assert inside(place, "c2", "stat -c %u /") == "0\n"
    stop(place, "c2")


def test_a_killed_monitor(unchanged_host: None, place: Path) -> None:
    start(place, "c1")
    os.kill(host.monitor_of(place, "c1"), signal.SIGKILL)
    assert host.wait_until(lambda: not attached(), 10), attached()
    start(place, "c1")
    stop(place, "c1")


def test_copies(unchanged_host: None, place: Path) -> None:
    start(place, "c1")
    inside(place, "c1", "echo one >/mark")
    stop(place, "c1")
    for kind in ("dir", "loop"):
        done = lxc("copy", place, "c1", "-N", "c2", "-B", kind)
        assert done.returncode == 0, done.stderr
        assert host.wait_until(lambda: not attached(), 5), attached()
        start(place, "c2")
        assert inside(place, "c2", "cat /mark") == "one\n"
        assert lxc("stop", place, "c2", "-k").returncode == 0
        assert lxc("destroy", place, "c2").returncode == 0
    for words in ([], ["-s"], ["-e"]):
        done = lxc("copy", place, "c1", "-N", "c2", *words)
        assert done.returncode == 1 and b"nbd" in done.stderr and not (place / "c2").exists()
    assert b"cannot be backed up" in lxc("snapshot", place, "c1").stderr


def test_an_image_in_use(unchanged_host: None, place: Path) -> None:
    start(place, "c1")
    make(place, "c2", f"{place}/disk.qcow2")
    done = lxc("start", place, "c2")
    assert done.returncode == 1 and b"it is attached to /dev/nbd0" in done.stderr, done.stderr
    stop(place, "c1")
