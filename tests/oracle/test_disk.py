# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers on disk: what one implementation copies, snapshots and renames, the other lists, restores and destroys.

In a throw-away root: C LXC removes more than it is told to, when a configuration is wrong.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lxctools.config.conf import Config
from lxctools.storage import backend as storage
from lxctools.storage import place
from tests import host, throwaway

P = Path("/var/lib/lxct")
PAIRS = {"theirs-on-ours": (host.OURS, host.THEIRS), "ours-on-theirs": (host.THEIRS, host.OURS), "ours": (host.OURS, host.OURS)}
HOOK = """#!/bin/sh
{ for word; do echo "argument $word"; done; env | grep ^LXC_ | sort; cat "$LXC_ROOTFS_MOUNT/etc/hostname" 2>/dev/null || :; } >> /tmp/told
"""


def run(tools: Path, tool: str, *words: object) -> subprocess.CompletedProcess[bytes]:
    return host.run(tools / f"lxc-{tool}", "-P", P, *words)


def done(tools: Path, tool: str, *words: object) -> bytes:
    result = run(tools, tool, *words)
    assert result.returncode == 0, result
    return result.stdout


def prepare(config: str = "") -> None:
    folder = host.make_container(P, "c1", "lxc.net.0.hwaddr = 00:16:3e:11:22:33\n" + config)
    (folder / "rootfs/etc/hostname").write_text("c1\n")


@pytest.mark.parametrize("pair", PAIRS)
def test_snapshots(pair: str) -> None:
    maker, driver = PAIRS[pair]

    def story() -> bool:
        prepare()
        Path("/tmp/remark").write_text("a remark\nof two lines\n")
        done(maker, "snapshot", "-n", "c1", "-c", "/tmp/remark")
        assert re.fullmatch(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d", (P / "c1/snaps/snap0/ts").read_text())
        assert done(maker, "snapshot", "-n", "c1", "-L", "-C") == done(driver, "snapshot", "-n", "c1", "-L", "-C")
        (P / "c1/rootfs/etc/since").write_text("")
        done(driver, "snapshot", "-n", "c1", "-r", "snap0", "-N", "c2")
        done(driver, "snapshot", "-n", "c1", "-r", "snap0")
        for name in ("c1", "c2"):
            assert not (P / name / "rootfs/etc/since").exists()
            assert (P / name / "rootfs/etc/passwd").exists()
            assert (P / name / "rootfs/etc/hostname").read_text() == name
            assert f"lxc.uts.name = {name}" in (P / name / "config").read_text()
        done(driver, "snapshot", "-n", "c1", "-d", "snap0")
        done(maker, "destroy", "-n", "c1")
        done(driver, "destroy", "-n", "c2")
        assert not list(P.iterdir())
        return True

    assert throwaway.inside(story)


TEMPLATE = """#!/bin/sh
for word; do case $word in --rootfs=*) root=${word#--rootfs=};; esac; done
mkdir "$root/etc" && echo c1 >"$root/etc/hostname" && echo saved >"$root/etc/state"
"""


def _create(tools: Path, kind: str) -> None:
    """A container c1 on a file system where every kind can be, made by tools."""
    throwaway.on_btrfs(P)
    Path("/tmp/template").write_text(TEMPLATE)
    Path("/tmp/template").chmod(0o755)
    Path("/tmp/conf").write_text("lxc.uts.name = c1\n")
    size = ["--fssize", "64M"] if kind == "loop" else []
    done(tools, "create", "-n", "c1", "-B", kind, *size, "-f", "/tmp/conf", "-t", "/tmp/template")


def _root(name: str) -> Callable[[str], str | None]:
    """Reads a file of a container's root file system; None where there is none."""

    def read(path: str) -> str | None:
        with _opened(name) as root:
            return (root / path).read_text() if (root / path).exists() else None

    return read


@contextmanager
def _opened(name: str) -> Iterator[Path]:
    conf = Config.read(f"{P}/{name}/config")
    with place.opened(storage.for_config(conf), str.__str__(conf["lxc.rootfs.path"])) as root:
        yield Path(root.path)


@pytest.mark.parametrize("kind", ["dir", "overlay", "btrfs", "loop"])
@pytest.mark.parametrize("pair", PAIRS)
def test_snapshots_of_every_storage(pair: str, kind: str) -> None:
    """One makes the container and its snapshot, the other lists, restores, copies and destroys."""
    maker, driver = PAIRS[pair]

    def story() -> bool:
        _create(maker, kind)
        done(maker, "snapshot", "-n", "c1")
        assert done(maker, "snapshot", "-n", "c1", "-L") == done(driver, "snapshot", "-n", "c1", "-L") != b""
        with _opened("c1") as root:
            (root / "etc/state").write_text("changed")
        done(driver, "snapshot", "-n", "c1", "-r", "snap0", "-N", "c2")
        assert _root("c2")("etc/state") == "saved\n"
        assert run(driver, "destroy", "-n", "c1").returncode == 1, "it has a snapshot"
        done(driver, "destroy", "-n", "c2")
        done(driver, "snapshot", "-n", "c1", "-r", "snap0")
        assert _root("c1")("etc/state") == "saved\n" and _root("c1")("etc/hostname") == "c1"
        assert f"lxc.rootfs.path = {kind}:" in (P / "c1/config").read_text()
        done(maker, "snapshot", "-n", "c1", "-d", "snap0")
        shares = ["-s"] if kind in ("overlay", "btrfs") else []
        done(driver, "copy", "-n", "c1", "-N", "c3", *shares)
        assert _root("c3")("etc/state") == "saved\n"
        done(maker, "destroy", "-n", "c3")
        done(driver, "destroy", "-n", "c1")
        assert not list(P.iterdir())
        listed = host.run("btrfs", "subvolume", "list", P, check=True).stdout
        assert listed == b""
        return True

    assert throwaway.inside(story)


@pytest.mark.parametrize("pair", PAIRS)
def test_copies(pair: str) -> None:
    maker, driver = PAIRS[pair]

    def story() -> bool:
        prepare()
        done(maker, "copy", "-n", "c1", "-N", "c2")
        done(driver, "copy", "-n", "c2", "-N", "c3", "-K", "-M")
        done(driver, "copy", "-n", "c3", "-N", "c4", "-R")
        assert done(maker, "ls", "-1").split() == done(driver, "ls", "-1").split() == [b"c1", b"c2", b"c4"]
        for name in ("c1", "c2", "c4"):
            done(driver, "destroy", "-n", name)
        assert not list(P.iterdir())
        return True

    assert throwaway.inside(story)


def _configuration(tools: Path, *words: object) -> Callable[[], list[str]]:
    def story() -> list[str]:
        prepare(
            f"lxc.hook.pre-start = {P}/c1/hook\nlxc.hook.post-stop = {P}/c10/hook\nlxc.mount.fstab = {P}/c1/fstab\n"
            f"lxc.mount.entry = {P}/c1/x mnt none bind 0 0\n"
            f"lxc.mount.entry = /opt opt overlay lowerdir=/opt,upperdir={P}/c1/up,workdir={P}/c1/work 0 0\n# a comment\n"
        )
        (P / "c1/hook").write_text("#!/bin/sh\n")
        (P / "c1/hook").chmod(0o755)
        (P / "c1/fstab").write_text("")
        done(tools, "copy", "-n", "c1", "-N", "new", *words)
        text = (P / "new/config").read_text()
        address = re.search("hwaddr = (.*)", text)
        assert address is not None
        if "-M" not in words:
            assert address[1] != "00:16:3e:11:22:33" and address[1].startswith("00:16:3e:")
        # C LXC takes c10 for something in c1.
        text = text.replace(address[1], "ADDRESS").replace(f"{P}/new0/", f"{P}/c10/")
        modes = [f"{path.name} {path.stat().st_mode:o}" for path in (P / "new").iterdir()]
        return sorted(line for line in text.splitlines() if line) + sorted(modes)

    return story


@pytest.mark.parametrize("words", [(), ("-K",), ("-M",), ("-K", "-M"), ("-B", "dir"), ("-L", "10M")], ids=" ".join)
def test_configuration(words: tuple[str, ...]) -> None:
    theirs = throwaway.inside(_configuration(host.THEIRS, *words))
    assert throwaway.inside(_configuration(host.OURS, *words)) == theirs


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("task", ["copy", "rename", "snapshot", "restore", "destroy"])
def test_hooks(version: int, task: str) -> None:
    """Arguments, variables, and what the root file system looks like at that moment."""

    def told(tools: Path) -> str:
        def story() -> str:
            prepare(f"lxc.hook.version = {version}\nlxc.hook.clone = /tmp/hook\nlxc.hook.destroy = /tmp/hook own\n")
            Path("/tmp/hook").write_text(HOOK)
            Path("/tmp/hook").chmod(0o755)
            Path("/tmp/told").write_text("")
            if task == "copy":
                done(tools, "copy", "-n", "c1", "-N", "new", "--", "-x", "yy")
            elif task == "rename":
                done(tools, "copy", "-n", "c1", "-N", "new", "-R")
            elif task == "destroy":
                done(tools, "destroy", "-n", "c1")
            else:
                done(tools, "snapshot", "-n", "c1")
                if task == "restore":
                    done(tools, "snapshot", "-n", "c1", "-r", "snap0")
            return Path("/tmp/told").read_text()

        return str(throwaway.inside(story))

    assert told(host.OURS) == told(host.THEIRS)


FAILURES = {
    "copy-no-new-name": ("copy", "-n", "c1"),
    "copy-undefined": ("copy", "-n", "nosuch", "-N", "new"),
    "copy-exists": ("copy", "-n", "c1", "-N", "c1"),
    "copy-no-such-path": ("copy", "-n", "c1", "-N", "new", "-p", "/no/such"),
    "copy-bogus-backend": ("copy", "-n", "c1", "-N", "new", "-B", "bogus"),
    "snapshot-undefined": ("snapshot", "-n", "nosuch"),
    "snapshot-list-undefined": ("snapshot", "-n", "nosuch", "-L"),
    "snapshot-restore-missing": ("snapshot", "-n", "c1", "-r", "snap0"),
    "snapshot-destroy-missing": ("snapshot", "-n", "c1", "-d", "snap0"),
    "snapshot-destroy-all-missing": ("snapshot", "-n", "c1", "-d", "ALL"),
    "snapshot-no-comment": ("snapshot", "-n", "c1", "-c", "/no/such"),
    "destroy-undefined": ("destroy", "-n", "nosuch", "-s"),
}
SUCCESSES = {"snapshot-list-none": ("snapshot", "-n", "c1", "-L"), "snapshot-list-comments": ("snapshot", "-n", "c1", "-L", "-C")}


@pytest.mark.parametrize("name", [*FAILURES, *SUCCESSES])
def test_exit_status_and_output(name: str) -> None:
    words = (FAILURES | SUCCESSES)[name]

    def end(tools: Path) -> tuple[int, bytes]:
        def story() -> tuple[int, bytes]:
            prepare()
            result = run(tools, *words)
            if tools == host.OURS:
                assert (result.stderr != b"") == (name in FAILURES), result
                assert b"Traceback" not in result.stderr and b"a bug" not in result.stderr
            return result.returncode, result.stdout

        found: tuple[int, bytes] = throwaway.inside(story)
        return found

    ours = end(host.OURS)
    assert ours == end(host.THEIRS)
    assert ours[0] == (1 if name in FAILURES else 0)


def test_lxc_clone() -> None:
    """The command line of LXC 1.0, which Debian's LXC has no longer."""

    def clone(*words: object) -> subprocess.CompletedProcess[bytes]:
        return host.run(host.OURS / "lxc-clone", *words)

    def story() -> bool:
        prepare()
        made = clone("-p", P, "c1", "c2")
        assert (made.returncode, made.stdout) == (0, b"Created container c2 as copy of c1\n"), made
        assert b"deprecated" in made.stderr
        (P / "other").mkdir()
        made = clone("-p", P, "-P", P / "other", "-o", "c1", "-n", "c3", "-M", "-H")
        assert made.returncode == 0 and "00:16:3e:11:22:33" in (P / "other/c3/config").read_text(), made
        assert clone("-p", P, "-R", "c2", "c4").returncode == 0 and not (P / "c2").exists()
        for words, text in (
            (("c1",), b"you must provide orig and new names"),
            (("-v", "vg", "c1", "x"), b"vgname not supported"),
            (("-p", P, "c1", "c4"), b"clone failed"),
            (("-p", P, "nosuch", "x"), b"container nosuch is not defined"),
            (("-L", "much", "c1", "x"), b"is not a size"),
            (("--bogus",), b"unrecognized option"),
        ):
            failed = clone(*words)
            assert failed.returncode == 1 and text in failed.stdout + failed.stderr and b"bug" not in failed.stderr, failed
        assert clone("-h").returncode == 0
        return True

    assert throwaway.inside(story)
