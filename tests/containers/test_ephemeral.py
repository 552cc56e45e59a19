# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-copy -e with real containers: their life, what they leave, and what happens when something is wrong."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

from tests import host
from tests.host import OURS, run

MAPS = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n"

pytestmark = pytest.mark.usefixtures("unchanged_host")


@pytest.fixture
def place(lxcpath: Path) -> Path:
    """An lxcpath with c1, and a folder src."""
    folder = host.make_container(lxcpath, "c1")
    (folder / "rootfs/etc/hostname").write_text("c1\n")
    src = lxcpath / "src"
    src.mkdir()
    (src / "file").write_text("of the host\n")
    src.chmod(0o2775)
    os.chown(src, 7, 8)
    return lxcpath


def copy(place: Path, *words: object, name: str = "c1", **more: object) -> subprocess.CompletedProcess[bytes]:
    return run(OURS / "lxc-copy", "-P", place, "-n", name, "-e", *words, **more)  # type: ignore[arg-type]


def inside(place: Path, name: str, command: str) -> str:
    done = run(OURS / "lxc-attach", "-P", place, "-n", name, "--", "/bin/sh", "-c", command)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def end(place: Path, name: str) -> None:
    run(OURS / "lxc-stop", "-P", place, "-n", name, "-k", check=True)


def only_c1(place: Path) -> bool:
    """Nothing is left of a copy, in its lxcpath and in the container's folder."""
    return sorted(os.listdir(place)) == ["c1", "src"] and sorted(os.listdir(place / "c1")) == ["config", "rootfs"]


def test_a_life_with_a_name_of_its_own(place: Path) -> None:
    done = copy(place)
    assert done.returncode == 0, done.stderr
    name = done.stdout.decode().split()[1]
    assert done.stdout.decode() == f"Created {name} as clone of c1\n"
    assert name.startswith("c1_") and len(name) == 9
    assert inside(place, name, "hostname; cat /etc/hostname; echo x >/new") == f"{name}\n{name}"
    assert not (place / "c1/rootfs/new").exists()
    end(place, name)
    assert only_c1(place)


def test_a_reboot_keeps_what_is_on_disk_and_loses_what_is_in_memory(place: Path) -> None:
    for words, kept in ((), "yes\n"), (("-t",), ""):
        assert copy(place, "-N", "e1", *words).returncode == 0
        inside(place, "e1", "echo yes >/new")
        before = run(OURS / "lxc-info", "-P", place, "-n", "e1", "-pH").stdout
        inside(place, "e1", "reboot -f")
        assert host.wait_until(lambda: run(OURS / "lxc-info", "-P", place, "-n", "e1", "-pH").stdout not in (before, b""), 10)
        assert inside(place, "e1", "hostname; cat /new 2>/dev/null; true") == f"e1\n{kept}"
        end(place, "e1")
        assert only_c1(place)


def test_memory_holds_what_the_container_writes(place: Path) -> None:
    done = copy(place, "-N", "e1", "-t")
    assert b"Container is placed on tmpfs.\nRebooting will cause all changes made to it to be lost!\n" in done.stdout
    inside(place, "e1", "echo x >/new")
    assert not os.path.exists(place / "e1/overlay/delta/new")
    end(place, "e1")
    assert only_c1(place)


def test_a_tmpfs_does_not_hide_the_changes_of_an_overlay(place: Path) -> None:
    run(OURS / "lxc-copy", "-P", place, "-n", "c1", "-N", "o1", "-s", check=True)
    run(OURS / "lxc-start", "-P", place, "-n", "o1", check=True)
    inside(place, "o1", "echo changed >/mark; rm /etc/group")
    end(place, "o1")
    assert copy(place, "-N", "e1", "-t", name="o1").returncode == 0
    assert inside(place, "e1", "cat /mark; ls /etc; cat /etc/hostname; echo x >/new") == "changed\nhostname\npasswd\ne1\n"
    end(place, "e1")
    assert not (place / "e1").exists() and (place / "o1/overlay/delta/mark").exists()
    run(OURS / "lxc-destroy", "-P", place, "-n", "o1", check=True)
    assert only_c1(place)


def test_a_tmpfs_does_not_hide_what_a_clone_hook_writes(place: Path) -> None:
    hook = place / "src/hook"
    hook.write_text('#!/bin/sh\necho "$@" >"$LXC_ROOTFS_MOUNT/told"\n')
    hook.chmod(0o755)
    with (place / "c1/config").open("a") as file:
        file.write(f"lxc.hook.clone = {hook}\n")
    assert copy(place, "-N", "e1", "-t").returncode == 0
    assert inside(place, "e1", "cat /told") == "e1 lxc clone\n"
    end(place, "e1")
    assert only_c1(place)


def test_mounts(place: Path) -> None:
    spec = f"bind={place}/src:/mnt/ro:ro,bind={place}/src/file:/etc/one,overlay={place}/src:/mnt/o"
    assert copy(place, "-N", "e1", "-m", spec, "-m", f"bind={place}/src").returncode == 0
    told = inside(
        place, "e1",
        f"cat /mnt/ro/file /etc/one {place}/src/file /mnt/o/file; echo x 2>/dev/null >/mnt/ro/file || echo ro;"
        f"echo mine >/mnt/o/file; echo new >/mnt/o/new; echo seen >{place}/src/seen; stat -c %a:%u:%g /mnt/o",
    )  # fmt: skip
    assert told == "of the host\n" * 4 + "ro\n2775:7:8\n"
    assert (place / "src/file").read_text() == "of the host\n" and (place / "src/seen").exists()
    assert not (place / "src/new").exists()
    end(place, "e1")
    assert only_c1(place)


def test_mounts_with_blanks(place: Path) -> None:
    odd = place / "src/a b"
    odd.mkdir()
    (odd / "in it").write_text("yes\n")
    assert copy(place, "-N", "e1", "-m", f"bind={odd}:/mnt/c d,overlay={odd}:/mnt/e f").returncode == 0
    assert inside(place, "e1", "cat '/mnt/c d/in it' '/mnt/e f/in it'; echo x >'/mnt/e f/new'") == "yes\nyes\n"
    end(place, "e1")


@pytest.mark.parametrize("words", [[], ["-t"]], ids=["disk", "tmpfs"])
def test_id_maps(place: Path, words: list[str]) -> None:
    place.chmod(0o755)
    with (place / "c1/config").open("a") as file:
        file.write(MAPS)
    for folder, folders, names in os.walk(place / "c1/rootfs"):
        for entry in [folder, *(f"{folder}/{name}" for name in [*folders, *names])]:
            os.chown(entry, 100000, 100000, follow_symlinks=False)
    os.chown(place / "c1", 100000, 100000)
    done = copy(place, "-N", "e1", "-m", f"overlay={place}/src:/mnt/o", *words)
    assert done.returncode == 0, done.stderr
    assert inside(place, "e1", "cat /etc/hostname; echo; echo x >/mnt/o/new; echo x >/new; stat -c %u /new /mnt/o/new").split() == ["e1", "0", "0"]
    end(place, "e1")
    assert only_c1(place)


def test_data_is_kept(place: Path) -> None:
    assert copy(place, "-N", "e1", "-D").returncode == 0
    inside(place, "e1", "echo x >/new")
    end(place, "e1")
    assert (place / "e1/overlay/delta/new").exists() and "lxc.ephemeral" not in (place / "e1/config").read_text()
    run(OURS / "lxc-destroy", "-P", place, "-n", "e1", check=True)
    assert only_c1(place)


def test_a_source_that_is_ephemeral_or_not_managed(place: Path) -> None:
    with (place / "c1/config").open("a") as file:
        file.write("lxc.ephemeral = 1\nlxc.rootfs.managed = 0\n")
    assert copy(place, "-N", "e1", "-D").returncode == 0
    end(place, "e1")
    assert (place / "e1/config").exists()
    assert copy(place, "-N", "e2").returncode == 0
    end(place, "e2")
    assert not (place / "e2").exists() and (place / "c1/rootfs/bin/busybox").exists()


def test_a_command(place: Path) -> None:
    done = copy(place, "-N", "e1", "--", "/bin/sh", "-c", "hostname; echo bad >&2; cat; exit 9", input=b"typed\n")
    assert (done.returncode, done.stdout, done.stderr) == (9, b"Created e1 as clone of c1\ne1\ntyped\n", b"bad\n")
    assert only_c1(place)
    done = copy(place, "-q", "--", "/nosuch")
    assert done.returncode == 127 and done.stdout == b""
    assert only_c1(place)


def test_in_the_foreground(place: Path) -> None:
    (place / "c1/rootfs/sbin/init").write_text("#!/bin/sh\necho here >/told\necho here\nsleep 1\n")
    master, slave = os.openpty()
    words = [str(word) for word in (OURS / "lxc-copy", "-P", place, "-n", "c1", "-N", "e1", "-e", "-F")]
    with subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                          preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) as running:
        os.close(slave)
        assert running.wait(20) == 0
    said = b""
    try:
        while part := os.read(master, 4096):
            said += part
    except OSError:
        pass  # EIO: the other end is closed
    os.close(master)
    assert said.replace(b"\r", b"") == b"Created e1 as clone of c1\nhere\n"
    assert only_c1(place)


REFUSED = {
    "taken": (["-N", "c1"], b"error: clone: ", b"/c1/config exists"),
    "a folder that is missing": (["-p", "/nosuch"], b"there is no folder /nosuch"),
    "tmpfs and data": (["-t", "-D"], b"A container can only be placed on a tmpfs when the overlay storage driver is used"),
    "tmpfs of another type": (["-t", "-B", "btrfs"], b"A container can only be placed on a tmpfs"),
    "no snapshot": (["-B", "dir"], b"cannot be snapshotted"),
    "an empty name": (["-N", ""], b"You must provide a NEWNAME for the clone"),
    "a bad name": (["-N", "a/b"], b"invalid container name"),
    "an overlay over nothing": (["-m", "overlay=/nosuch"], b"cannot mount an overlay over /nosuch: there is no such folder"),
    "an overlay over a file": (["-m", "overlay=/etc/passwd"], b"cannot mount an overlay over /etc/passwd"),
    "an unknown type": (["-m", "aufs=/usr"], b'"aufs" is no type of mount'),
    "too many fields": (["-m", "bind=/a:/b:ro:x"], b"Excess elements in mount specification"),
    "no source": (["-m", "bind="], b"the folder to mount is missing"),
    "an unknown option": (["-m", "bind=/usr:/b:foo"], b'"foo" is neither ro nor rw'),
    "a way out": (["-m", "bind=/usr:../../b"], b'write the path without ".."'),
    "the root": (["-m", "bind=/usr:/"], b"the root folder cannot be mounted"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str, place: Path) -> None:
    words, *parts = REFUSED[what]
    done = copy(place, *words)
    assert done.returncode == 1 and done.stdout == b""
    assert all(part in done.stderr for part in parts), done.stderr
    assert only_c1(place)


def test_source_running_or_missing(place: Path) -> None:
    run(OURS / "lxc-start", "-P", place, "-n", "c1", check=True)
    done = copy(place, "-N", "e1")
    assert done.returncode == 1 and b"error: Original container (c1) is running. Use --allowrunning" in done.stderr
    assert sorted(os.listdir(place)) == ["c1", "src"]
    assert copy(place, "-N", "e1", "-a").returncode == 0
    end(place, "e1")
    end(place, "c1")
    assert only_c1(place)
    done = copy(place, name="nosuch")
    assert done.returncode == 1 and b"Container nosuch is not defined" in done.stderr
    assert only_c1(place)


def test_a_start_that_fails_leaves_nothing(place: Path) -> None:
    (place / "c1/rootfs/sbin/init").unlink()
    done = copy(place, "-N", "e1", "-t", "-m", f"overlay={place}/src:/mnt/o")
    assert done.returncode == 1
    assert b"The container 'e1' failed to start: cannot execute init" in done.stderr
    assert only_c1(place)
    with (place / "c1/config").open("a") as file:  # refused before there is a monitor
        file.write("lxc.net.1.type = veth\nlxc.net.1.link = nosuch0\n")
    done = copy(place, "-N", "e1")
    assert done.returncode == 1 and b"nosuch0" in done.stderr
    assert only_c1(place)


def test_a_start_that_fails_with_data_to_keep(place: Path) -> None:
    (place / "c1/rootfs/sbin/init").unlink()
    done = copy(place, "-N", "e1", "-D")
    assert done.returncode == 1 and b"e1 is kept: lxc-destroy -n e1 removes it" in done.stderr
    run(OURS / "lxc-destroy", "-P", place, "-n", "e1", check=True)
    assert only_c1(place)


def test_a_killed_monitor_leaves_what_destroy_removes(place: Path) -> None:
    assert copy(place, "-N", "e1").returncode == 0
    monitor = host.monitor_of(place, "e1")
    init = int(run(OURS / "lxc-info", "-P", place, "-n", "e1", "-pH").stdout)
    os.kill(monitor, signal.SIGKILL)
    assert host.wait_until(lambda: not os.path.exists(f"/proc/{init}"), 5)
    done = copy(place, "-N", "e1")
    assert done.returncode == 1 and b"e1/config exists" in done.stderr
    run(OURS / "lxc-start", "-P", place, "-n", "e1", check=True)  # which clears the cgroups
    end(place, "e1")
    assert only_c1(place)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_command_runs(number: signal.Signals, place: Path) -> None:
    words = [str(word) for word in (OURS / "lxc-copy", "-P", place, "-n", "c1", "-N", "e1", "-e", "--", "/bin/sleep", "100")]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert host.wait_until(lambda: host.running(place, "e1") and b"/bin/sleep 100" in run("ps", "-C", "sleep", "-o", "args=").stdout, 10)
        time.sleep(0.3)
        if number == signal.SIGINT:  # is the program's own, as of lxc-attach
            run(OURS / "lxc-attach", "-P", place, "-n", "e1", "--", "/bin/sh", "-c", "kill -INT $(ps | grep '[s]leep 100' | sed 's/^ *//;s/ .*//')")
        else:
            running.send_signal(number)
        out, err = running.communicate(timeout=30)
    assert b"Traceback" not in err and running.returncode in (130, -number), (running.returncode, err)
    assert only_c1(place), out


def test_interrupted_at_any_moment(place: Path) -> None:
    """By SIGINT there is nothing, or the container runs; by SIGKILL nothing half done stays either, after the next command."""
    words = [str(word) for word in (OURS / "lxc-copy", "-P", place, "-n", "c1", "-N", "e1", "-e", "-m", f"overlay={place}/src:/mnt/o")]
    began = time.monotonic()
    run(*words, check=True)
    takes = time.monotonic() - began
    end(place, "e1")
    seen = set()
    for step in range(12):
        number = (signal.SIGINT, signal.SIGKILL)[step % 2]
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
            time.sleep(takes * step / 9)
            running.send_signal(number)
            _out, err = running.communicate(timeout=30)
        assert b"Traceback" not in err or b"Fatal Python error: init" in err, err
        if number == signal.SIGKILL:
            time.sleep(1)  # a start that goes on without its command
        if host.running(place, "e1"):
            seen.add("runs")
            end(place, "e1")
        elif (place / "e1").exists():
            assert number == signal.SIGKILL, err
            seen.add("left")
            run(OURS / "lxc-destroy", "-P", place, "-n", "e1")
        else:
            seen.add("nothing")
        assert only_c1(place), (number, step, os.listdir(place), err)
    assert "nothing" in seen
