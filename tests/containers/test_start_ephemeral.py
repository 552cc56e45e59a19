# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-start-ephemeral: LXC 1.0's command line, with real containers."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests import host
from tests.host import OURS, run

pytestmark = pytest.mark.usefixtures("unchanged_host")


@pytest.fixture
def place(lxcpath: Path) -> Path:
    """An lxcpath with c1, which has users, and a folder src."""
    folder = host.make_container(lxcpath, "c1")
    (folder / "rootfs/etc/hostname").write_text("c1\n")
    (folder / "rootfs/etc/group").write_text("root:x:0:\nuser:x:1000:\nmore:x:1001:user\n")
    (folder / "rootfs/bin/id").unlink()
    (folder / "rootfs/bin/id").symlink_to("/bin/busybox")
    (lxcpath / "src").mkdir(mode=0o777)
    (lxcpath / "src").chmod(0o777)
    (lxcpath / "src/file").write_text("of the host\n")
    return lxcpath


def ephemeral(place: Path, *words: object, orig: str = "c1", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    return run(OURS / "lxc-start-ephemeral", "-P", place, "-o", orig, *words, env=None if env is None else {**os.environ, **env})


def only_c1(place: Path) -> bool:
    return sorted(os.listdir(place)) == ["c1", "src"] and sorted(os.listdir(place / "c1")) == ["config", "rootfs"]


def test_a_command(place: Path) -> None:
    done = ephemeral(place, "--", "/bin/sh", "-c", "echo $HOME $PWD; id -u; cat /etc/hostname; echo x >/new; echo bad >&2; exit 5")
    assert done.returncode == 5, done
    home, uid, name = done.stdout.decode().splitlines()
    assert (home, uid) == ("/root /root", "0") and name.startswith("c1-") and len(name) == 11
    assert b"deprecated" in done.stderr and done.stderr.endswith(b"bad\n")
    assert only_c1(place)
    assert ephemeral(place, "--", "/bin/sh", "-c", "kill -9 $$").returncode == 137
    assert ephemeral(place, "--", "/nosuch").returncode == 127
    assert only_c1(place)


def test_as_a_user(place: Path) -> None:
    done = ephemeral(place, "-u", "user", "--", "/bin/sh", "-c", "echo $HOME $PWD; id -u; id -g; id -G")
    assert done.stdout == b"/tmp /tmp\n1000\n1000\n1000 1001\n", done
    done = ephemeral(place, "-u", "nobody-here", "--", "/bin/true")
    assert done.returncode == 1 and b'there is no user "nobody-here" in the container' in done.stderr
    assert only_c1(place)


def test_folders_of_the_host(place: Path) -> None:
    script = f"cat /at/file {place}/src/file; echo mine >{place}/src/file; cat {place}/src/file; echo seen >/at/seen"
    done = ephemeral(place, "-b", f"{place}/src:/at", "-c", place / "src", "--", "/bin/sh", "-c", script)
    assert done.stdout == b"of the host\nof the host\nmine\n", done
    assert (place / "src/file").read_text() == "of the host\n" and (place / "src/seen").exists()
    assert only_c1(place)


def test_what_the_fstab_binds_is_not_written_to(place: Path) -> None:
    fstab = place / "c1/fstab"
    fstab.write_text(
        f"# data\n{place}/src mnt none bind,create=dir 0 0\n{place}/src/file one none bind,create=file 0 0\nproc proc2 proc nodev,create=dir 0 0\n"
    )
    with (place / "c1/config").open("a") as file:
        file.write(f"lxc.mount.fstab = {fstab}\n")
    script = "echo mine >/mnt/file && cat /mnt/file; echo mine 2>/dev/null >/one || cat /one; ls /proc2/1/comm"
    done = ephemeral(place, "--", "/bin/sh", "-c", script)
    assert done.stdout == b"mine\nof the host\n/proc2/1/comm\n", done
    assert (place / "src/file").read_text() == "of the host\n" and "bind,create=dir" in fstab.read_text()
    fstab.unlink()
    assert only_c1(place)


def test_in_the_background(place: Path) -> None:
    done = ephemeral(place, "-d", "-n", "e1")
    assert done.returncode == 0, done.stderr
    assert b"e1 is started" in done.stdout and f"lxc-attach -P {place} -n e1".encode() in done.stdout
    assert done.stdout.endswith(b"Its addresses:\n - No address could be found\n")
    assert "pre-start-" in (place / "e1/config").read_text()
    run(OURS / "lxc-stop", "-P", place, "-n", "e1", "-k", check=True)
    assert only_c1(place)


def test_waits_for_an_address(place: Path) -> None:
    (place / "c1/rootfs/sbin/init").write_text(
        "#!/bin/sh\ntrap 'exit 0' TERM PWR\nsleep 1\nifconfig eth0 10.9.8.7 up\nwhile :; do sleep 1000 & wait $!; done\n"
    )
    with (place / "c1/config").open("a") as file:
        file.write("lxc.net.1.type = veth\nlxc.net.1.name = eth0\n")
    done = ephemeral(place, "-d", "-n", "e1")
    assert done.stdout.endswith(b"Its addresses:\n - 10.9.8.7\n"), done
    run(OURS / "lxc-stop", "-P", place, "-n", "e1", "-k", check=True)
    done = ephemeral(place, "--", "/bin/sh", "-c", "ifconfig eth0 | grep -c 10.9.8.7")
    assert done.stdout == b"1\n", done
    begun = time.monotonic()
    assert ephemeral(place, "--", "/bin/true", env={"LXC_GETIP_TIMEOUT": "0"}).returncode == 0
    assert time.monotonic() - begun < 8
    assert only_c1(place)


@pytest.mark.parametrize(("words", "kept"), [(["-k"], True), (["-s", "dir"], False), (["-k", "-U", "overlayfs"], True)])
def test_on_disk(place: Path, words: list[str], kept: bool) -> None:
    done = ephemeral(place, "-n", "e1", *words, "--", "/bin/sh", "-c", "echo x >/new")
    assert done.returncode == 0, done.stderr
    if kept:
        assert (place / "e1/overlay/delta/new").exists() and not host.running(place, "e1")
        run(OURS / "lxc-destroy", "-P", place, "-n", "e1", check=True)
    assert only_c1(place)


def test_a_terminal(place: Path) -> None:
    master, slave = os.openpty()
    words = [str(word) for word in (OURS / "lxc-start-ephemeral", "-P", place, "-o", "c1", "-n", "e1")]
    with subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True) as running:
        os.close(slave)
        seen = b""
        while b"to exit" not in seen:
            seen += os.read(master, 4096)
        assert host.running(place, "e1")
        os.write(master, b"\x01q")
        assert running.wait(20) == 0
    os.close(master)
    assert b"Connected to tty 1" in seen
    assert only_c1(place)


def test_a_running_source_and_a_start_that_fails(place: Path) -> None:
    run(OURS / "lxc-start", "-P", place, "-n", "c1", check=True)
    assert ephemeral(place, "--", "/bin/true").returncode == 0
    run(OURS / "lxc-stop", "-P", place, "-n", "c1", "-k", check=True)
    (place / "c1/rootfs/sbin/init").unlink()
    done = ephemeral(place, "-d", "-n", "e1")
    assert done.returncode == 1 and b"The container 'e1' failed to start" in done.stderr
    assert only_c1(place)
