# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lxctools.linux import sched
from tests.forked import forked

from .hook import HOOKS, Box, one_line


def test_the_statuses_of_wrong_calls(box: Box) -> None:
    hook = "unmount-namespace"
    assert subprocess.run([HOOKS / hook], capture_output=True, timeout=60, check=False).returncode == 2
    assert box.run(hook, "start").returncode == 0
    for version in (0, 1):
        nothing = box.run(hook, "stop", version=version)
        assert nothing.returncode == 3 and one_line(nothing.stderr)
    missing = box.run(hook, "stop", extra=("mnt:/none/fd/3",))
    assert missing.returncode == 5 and one_line(missing.stderr) and "/none/fd/3" in missing.stderr
    wrong = box.run(hook, "stop", extra=("mnt:/proc/self/ns/uts",))
    assert wrong.returncode == 6 and one_line(wrong.stderr)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("version", [0, 1])
def test_everything_is_unmounted_there_and_nothing_here(box: Box, version: int) -> None:
    def work() -> tuple[int, str, str, str]:
        # A stand-in for the host, itself a namespace of its own; and the container's.
        script = f"mount -t tmpfs lxct {box.rootfs} && mkdir '{box.rootfs}/a b' && mount -t tmpfs lxct '{box.rootfs}/a b' && "
        subprocess.run(["sh", "-c", script + ":"], check=True)
        command = "umount -R '" + str(box.rootfs) + "'; " + script + "echo ready; exec sleep 60"
        container = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c", command], stdout=subprocess.PIPE, cwd="/")
        try:
            assert container.stdout is not None
            assert container.stdout.readline() == b"ready\n"
            place = f"/proc/{container.pid}/ns/mnt"
            given = {"extra": (f"mnt:{place}",)} if version == 0 else {"LXC_MNT_NS": place}
            result = box.run("unmount-namespace", "stop", version=version, **given)  # type: ignore[arg-type]
            there = Path(f"/proc/{container.pid}/mountinfo").read_text()
        finally:
            container.kill()
            container.wait()
        return result.returncode, result.stderr, there, Path("/proc/self/mountinfo").read_text()

    status, told, there, here = forked(work, unshare=sched.CLONE_NEWNS, timeout=60)
    assert status == 0, told
    assert str(box.rootfs) not in there
    assert here.count(str(box.rootfs)) == 2
