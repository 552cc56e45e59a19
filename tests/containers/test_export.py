# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-export and lxc-import as commands: through a pipe, to every storage at hand, and the container that comes out starts."""

from __future__ import annotations

import os
import pty
import subprocess
import time
from pathlib import Path

import pytest

from tests import host
from tests.host import OURS, THEIRS, run
from tests.treecmp import differences


@pytest.fixture
def source(lxcpath: Path) -> Path:
    return host.make_container(lxcpath, "c1")


def through_a_pipe(lxcpath: Path, name: str, *options: str) -> None:
    with subprocess.Popen([OURS / "lxc-export", "-P", lxcpath, "c1", "-"], stdout=subprocess.PIPE) as first:
        done = subprocess.run(
            [OURS / "lxc-import", "-P", lxcpath, "-", name, *options], stdin=first.stdout, capture_output=True, timeout=60, check=False
        )
    assert first.returncode == 0
    assert (done.returncode, done.stdout) == (0, f"{name}\n".encode()), done.stderr


@pytest.mark.parametrize("tools", [OURS, THEIRS], ids=["ours", "C"])
def test_an_imported_container_starts(source: Path, lxcpath: Path, tools: Path) -> None:
    through_a_pipe(lxcpath, "c2")
    assert differences(source / "rootfs", lxcpath / "c2" / "rootfs") == []
    assert run(tools / "lxc-start", "-P", lxcpath, "-n", "c2").returncode == 0
    assert run(tools / "lxc-attach", "-P", lxcpath, "-n", "c2", "--", "/bin/hostname").stdout == b"c2\n"
    assert run(tools / "lxc-stop", "-P", lxcpath, "-n", "c2", "-k").returncode == 0


@pytest.mark.parametrize("backend", ["overlay", "loop"])
def test_to_another_storage_and_back(source: Path, lxcpath: Path, backend: str) -> None:
    through_a_pipe(lxcpath, "c2", "-B", backend)
    assert f"lxc.rootfs.path = {backend}:" in (lxcpath / "c2" / "config").read_text()
    assert run(OURS / "lxc-start", "-P", lxcpath, "-n", "c2").returncode == 0
    assert run(OURS / "lxc-attach", "-P", lxcpath, "-n", "c2", "--", "/bin/hostname").stdout == b"c2\n"
    done = run(OURS / "lxc-export", "-P", lxcpath, "c2", lxcpath / "c2.lxc")
    assert done.returncode == 1 and b"is running" in done.stderr and not (lxcpath / "c2.lxc").exists()
    assert run(OURS / "lxc-export", "-P", lxcpath, "-a", "c2", lxcpath / "running.lxc").returncode == 0
    assert run(OURS / "lxc-stop", "-P", lxcpath, "-n", "c2", "-k").returncode == 0
    assert run(OURS / "lxc-export", "-P", lxcpath, "c2", lxcpath / "c2.lxc").returncode == 0
    assert run(OURS / "lxc-import", "-P", lxcpath, lxcpath / "c2.lxc", "c3").returncode == 0
    lines = differences(source / "rootfs", lxcpath / "c3" / "rootfs", holes=False)
    # What the start has changed, and what a file system of its own brings along.
    assert [line for line in lines if not line.startswith((".: ", "dev: ", "dev/", "lost+found: ")) and ": atime: " not in line] == []
    assert run(OURS / "lxc-destroy", "-P", lxcpath, "-n", "c2").returncode == 0


def writes_in(folder: Path, pid: int) -> bool:
    """Whether a process has a file of this folder open that has no name yet, or a name of its own."""
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            path = os.readlink(fd)
        except FileNotFoundError:
            continue  # closed meanwhile
        if path.startswith(f"{folder}/#") or path == f"{folder}/cut.lxc.{pid}.new":
            return True
    return False


def test_an_interrupted_command_leaves_nothing(source: Path, lxcpath: Path) -> None:
    for number in range(200):
        (source / "rootfs" / f"{number}").write_bytes(os.urandom(200_000))
    assert run(OURS / "lxc-export", "-P", lxcpath, "c1", lxcpath / "whole.lxc").returncode == 0
    for argv in (
        [str(OURS / "lxc-export"), "-P", str(lxcpath), "c1", str(lxcpath / "cut.lxc")],
        [str(OURS / "lxc-import"), "-P", str(lxcpath), str(lxcpath / "whole.lxc"), "cut"],
    ):
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(argv[0], argv)
        begun = (lxcpath / "cut").exists if "import" in argv[0] else lambda pid=pid: writes_in(lxcpath, pid)
        assert host.wait_until(begun)
        time.sleep(0.05)
        os.write(terminal, b"\x03")
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(terminal)
        assert status == -2
        assert sorted(os.listdir(lxcpath)) == ["c1", "whole.lxc"]
