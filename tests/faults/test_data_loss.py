# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ways in which users of containers have lost data: one test each, in a root that can be thrown away."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from tests import host, throwaway

P = Path("/var/lib/lxct")
PRECIOUS = Path("/srv/precious")


def ours(tool: str, *words: object) -> subprocess.CompletedProcess[bytes]:
    return host.run(host.OURS / f"lxc-{tool}", "-P", P, *words)


def precious() -> Path:
    """A folder that is no container's."""
    (PRECIOUS / "deep").mkdir(parents=True)
    (PRECIOUS / "deep/file").write_text("mine")
    return PRECIOUS


def is_whole() -> bool:
    return (PRECIOUS / "deep/file").read_text() == "mine"


def container(name: str, rootfs: object) -> Path:
    """A container with this lxc.rootfs.path."""
    folder = P / name
    folder.mkdir()
    (folder / "config").write_text(f"lxc.rootfs.path = {rootfs}\nlxc.uts.name = {name}\n")
    return folder


def refused(done: subprocess.CompletedProcess[bytes]) -> bool:
    assert b"Traceback" not in done.stderr and b"bug in lxctools" not in done.stderr, done
    return done.returncode == 1 and bool(done.stderr)


def test_symlinked_rootfs(unchanged_host: None) -> None:
    def story() -> bool:
        precious()
        folder = container("c1", f"dir:{P}/c1/rootfs")
        (folder / "rootfs").symlink_to(PRECIOUS)
        assert refused(ours("destroy", "-n", "c1"))
        assert is_whole() and (folder / "config").exists() and not (folder / "partial").exists()
        return True

    assert throwaway.inside(story)


def test_trailing_slash(unchanged_host: None) -> None:
    def story() -> bool:
        precious()
        folder = container("c1", f"dir:{P}/c1/rootfs/")
        (folder / "rootfs").symlink_to(f"{PRECIOUS}/")
        ours("destroy", "-n", "c1")
        assert is_whole()
        return True

    assert throwaway.inside(story)


def test_relative_dir(unchanged_host: None) -> None:
    def story() -> bool:
        precious()
        os.chdir(PRECIOUS)
        assert refused(ours("create", "-n", "c1", "-t", "busybox", "--dir", "deep"))
        assert is_whole() and not (P / "c1").exists()
        return True

    assert throwaway.inside(story)


def test_dir_on_an_existing_folder(unchanged_host: None) -> None:
    def story() -> bool:
        precious()
        Path("/tmp/empty.conf").write_text("")
        Path("/tmp/lxc-nothing").write_text("#!/bin/sh\nexit 0\n")
        os.chmod("/tmp/lxc-nothing", 0o755)
        made = ours("create", "-n", "c1", "-t", "/tmp/lxc-nothing", "-f", "/tmp/empty.conf", "--dir", PRECIOUS)
        assert made.returncode == 0, made
        gone = ours("destroy", "-n", "c1")
        assert gone.returncode == 0 and b"kept" in gone.stderr, gone
        assert is_whole() and not (P / "c1").exists()
        return True

    assert throwaway.inside(story)


def test_config_typo_in_create_over_an_existing_rootfs(unchanged_host: None) -> None:
    def story() -> bool:
        precious()
        Path("/tmp/typo.conf").write_text(f"lxc.rootfs.path = dir:{PRECIOUS}\nlxc.nosuch.key = 1\n")
        assert refused(ours("create", "-n", "c1", "-t", "none", "-f", "/tmp/typo.conf"))
        assert is_whole()
        Path("/tmp/typo.conf").write_text(f"lxc.rootfs.path = dir:{PRECIOUS}\n")
        Path("/tmp/lxc-broken").write_text("#!/bin/sh\nexit 1\n")
        os.chmod("/tmp/lxc-broken", 0o755)
        assert refused(ours("create", "-n", "c1", "-t", "/tmp/lxc-broken", "-f", "/tmp/typo.conf"))
        assert is_whole() and not (P / "c1").exists()
        return True

    assert throwaway.inside(story)


def test_interrupted_copy_then_destroy_of_the_half_copy(unchanged_host: None) -> None:
    def story() -> bool:
        host.make_container(P, "c1")
        big = P / "c1/rootfs/big"
        for number in range(3000):
            (P / f"c1/rootfs/tmp/{number}").write_bytes(b"x" * 2000)
        big.write_bytes(os.urandom(1 << 22))
        for moment, number in ((0.05, signal.SIGINT), (0.08, signal.SIGINT), (0.08, signal.SIGKILL), (0.12, signal.SIGKILL)):
            before = sorted(os.listdir(P / "c1/rootfs/tmp")), big.read_bytes()
            copying = subprocess.Popen(
                [host.OURS / "lxc-copy", "-P", P, "-n", "c1", "-N", "c2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip
            time.sleep(moment)
            copying.send_signal(number)
            copying.communicate(timeout=30)
            ours("destroy", "-n", "c2")
            assert not (P / "c2").exists()
            assert (sorted(os.listdir(P / "c1/rootfs/tmp")), big.read_bytes()) == before
            assert b"c1" in ours("ls").stdout
        return True

    assert throwaway.inside(story)


def test_restore_of_a_missing_snapshot(unchanged_host: None) -> None:
    def story() -> bool:
        host.make_container(P, "c1")
        (P / "c1/rootfs/etc/mine").write_text("mine")
        for name in ("snap0", "", "..", "../..", "ALL"):
            assert refused(ours("snapshot", "-n", "c1", "-r", name)), name
            assert (P / "c1/rootfs/etc/mine").read_text() == "mine"
            assert sorted(os.listdir(P / "c1")) == ["config", "rootfs"]
        return True

    assert throwaway.inside(story)


def test_prefix_of_all(unchanged_host: None) -> None:
    def story() -> bool:
        host.make_container(P, "c1")
        assert ours("snapshot", "-n", "c1").returncode == 0
        for name in ("A", "AL", "", "..", "all"):
            assert refused(ours("snapshot", "-n", "c1", "-d", name)), name
        assert b"snap0" in ours("snapshot", "-n", "c1", "-L").stdout
        return True

    assert throwaway.inside(story)


def test_immutable_file(unchanged_host: None) -> None:
    """Nothing is left half there: the attribute is taken away."""

    def story() -> bool:
        host.make_container(P, "c1")
        marked = P / "c1/rootfs/etc/fixed"
        marked.write_text("")
        host.run("chattr", "+i", marked, check=True)
        assert ours("destroy", "-n", "c1").returncode == 0
        assert not (P / "c1").exists()
        return True

    assert throwaway.inside(story)


def test_rootfs_already_gone(unchanged_host: None) -> None:
    def story() -> bool:
        folder = container("c1", f"dir:{P}/c1/rootfs")
        assert ours("destroy", "-n", "c1").returncode == 0
        assert not folder.exists()
        return True

    assert throwaway.inside(story)


def test_a_full_disk_can_be_cleared(unchanged_host: None) -> None:
    """No block for what the mark says, no inode for the mark, and a root file system elsewhere."""

    def story() -> bool:
        for options, elsewhere in (("size=1m", False), ("size=1m,nr_inodes=64", False), ("size=1m", True)):
            host.run("mount", "-t", "tmpfs", "-o", options, "full", P, check=True)
            rootfs = PRECIOUS / "rootfs" if elsewhere else P / "c1/rootfs"
            folder = container("c1", f"dir:{rootfs}")
            (rootfs / "etc").mkdir(parents=True)
            (rootfs / "etc/file").write_text("mine")
            host.run("sh", "-c", f"cat /dev/zero > {P}/filler", check=False)
            host.run("sh", "-c", f"i=0; while : > {folder}/log$i; do i=$((i+1)); [ $i = 200 ] && exit; done", check=False)
            done = ours("destroy", "-n", "c1")
            assert done.returncode == 0 and not folder.exists() and not rootfs.exists(), (options, done)
            host.run("umount", P, check=True)
        return True

    assert throwaway.inside(story)


def test_the_root_of_the_host(unchanged_host: None) -> None:
    """C LXC erases it."""

    def story() -> bool:
        precious()
        for number, path in enumerate(("/", "//", "/.", "/srv/..", "/proc/1/root", "/etc", "/usr/", "/var/lib")):
            folder = container(f"c{number}", f"dir:{path}")
            for option in ("-f", "--dry-run"):
                assert refused(ours("destroy", "-n", f"c{number}", option)), path
            assert (folder / "config").exists() and not (folder / "partial").exists(), path
            assert refused(ours("destroy", "-n", f"c{number}", "-s")), path
        assert is_whole() and os.path.exists("/usr/bin/env") and os.path.exists("/etc/passwd")
        return True

    assert throwaway.inside(story)


def test_another_container_s_rootfs(unchanged_host: None) -> None:
    def story() -> bool:
        host.make_container(P, "c1")
        container("c2", f"dir:{P}/c1/rootfs")
        assert refused(ours("destroy", "-n", "c2"))
        container("c3", f"dir:{P}/c1/rootfs/etc")
        assert refused(ours("destroy", "-n", "c3"))
        container("c4", f"dir:{P}")
        assert refused(ours("destroy", "-n", "c4"))
        assert (P / "c1/rootfs/etc/passwd").exists()
        return True

    assert throwaway.inside(story)


def test_a_container_of_another_lxcpath(unchanged_host: None) -> None:
    """Its root file system, its folder, all of its lxcpath, and a link to its folder."""

    def story() -> bool:
        other = Path("/srv/other")
        host.make_container(other, "web")
        assert host.run(host.OURS / "lxc-snapshot", "-P", other, "-n", "web", "-L").returncode == 0
        (other / "web/snaps/snap0").mkdir(parents=True)
        (other / "web/snaps/snap0/config").write_text(f"lxc.rootfs.path = dir:{other}/web/snaps/snap0/rootfs\n")
        before = sorted(map(str, other.rglob("*")))
        for number, path in enumerate((f"dir:{other}/web/rootfs", f"dir:{other}/web/rootfs/etc", f"dir:{other}/web", f"dir:{other}")):
            folder = container(f"c{number}", path)
            for option in ("-f", "-s"):
                assert refused(ours("destroy", "-n", f"c{number}", option)), path
            assert (folder / "config").exists() and not (folder / "partial").exists(), path
        (P / "web").symlink_to(other / "web")
        for words in (["-n", "web"], ["-n", "web", "-s"], ["-n", "web", "-f", "--dry-run"]):
            assert refused(ours("destroy", *words)) and (P / "web").is_symlink()
        assert sorted(map(str, other.rglob("*"))) == before
        return True

    assert throwaway.inside(story)


def subvolumes() -> list[str]:
    listed = host.run("btrfs", "subvolume", "list", P, check=True).stdout.decode()
    return sorted(line.split(" path ")[1] for line in listed.splitlines())


def on_btrfs() -> None:
    """A container c1 whose root is a subvolume, with one in it that has one in it, and a subvolume that is nobody's."""
    throwaway.on_btrfs(P)
    container("c1", f"btrfs:{P}/c1/rootfs")
    for path in ("c1/rootfs", "c1/rootfs/inner", "c1/rootfs/inner/most", "precious"):
        host.run("btrfs", "subvolume", "create", P / path, check=True)
        (P / path / "file").write_text("mine")


def test_a_btrfs_clone_that_shares_its_source_s_root(unchanged_host: None) -> None:
    """A half clone whose configuration is still the source's, and one that shares its blocks."""

    def story() -> bool:
        on_btrfs()
        container("c2", f"btrfs:{P}/c1/rootfs")
        for words in ((), ("-f",), ("-s",)):
            assert refused(ours("destroy", "-n", "c2", *words))
        (P / "c2/config").unlink()
        (P / "c2").rmdir()
        for words in ((), ("-s",), ("-B", "btrfs")):
            assert ours("copy", "-n", "c1", "-N", "c2", *words).returncode == 0
            assert f"btrfs:{P}/c2/rootfs" in (P / "c2/config").read_text()
            (P / "c2/rootfs/file").write_text("the clone's")
            (P / "c2/rootfs/inner/most/file").unlink()
            assert ours("destroy", "-n", "c2").returncode == 0
            assert [(P / path / "file").read_text() for path in ("c1/rootfs", "c1/rootfs/inner", "c1/rootfs/inner/most")] == ["mine"] * 3
        assert subvolumes() == ["c1/rootfs", "c1/rootfs/inner", "c1/rootfs/inner/most", "precious"]
        return True

    assert throwaway.inside(story)


def test_nested_subvolumes(unchanged_host: None) -> None:
    """They go with the container, also read-only ones; what is mounted in it, and what lies beside it, stays."""

    def story() -> bool:
        on_btrfs()
        host.run("btrfs", "property", "set", P / "c1/rootfs/inner/most", "ro", "true", check=True)
        (P / "c1/rootfs/mnt").mkdir()
        host.run("mount", "--bind", P / "precious", P / "c1/rootfs/mnt", check=True)
        assert refused(ours("destroy", "-n", "c1"))
        assert (P / "precious/file").read_text() == (P / "c1/rootfs/inner/most/file").read_text() == "mine"
        host.run("umount", P / "c1/rootfs/mnt", check=True)
        assert ours("destroy", "-n", "c1").returncode == 0
        assert subvolumes() == ["precious"] and (P / "precious/file").read_text() == "mine"
        assert os.listdir(P) == ["precious"]
        return True

    assert throwaway.inside(story)


def test_read_only_subvolumes_that_hold_others(unchanged_host: None) -> None:
    """Neither they nor what is in them can be removed as they are, be they of the container's storage or not."""

    def story() -> bool:
        on_btrfs()
        (P / "c1/rootfs/folder").mkdir()
        host.run("btrfs", "subvolume", "create", P / "c1/rootfs/folder/deep", check=True)
        host.run("mv", P / "c1/rootfs/inner/most", P / "c1/rootfs/inner/other", check=True)
        for path in ("c1/rootfs/inner", "c1/rootfs"):
            host.run("btrfs", "property", "set", P / path, "ro", "true", check=True)
        done = ours("destroy", "-n", "c1")
        assert done.returncode == 0 and subvolumes() == ["precious"], done
        host.make_container(P, "c2")
        for path in ("c2/rootfs/inner", "c2/rootfs/inner/most"):
            host.run("btrfs", "subvolume", "create", P / path, check=True)
            (P / path / "file").write_text("mine")
        host.run("btrfs", "property", "set", P / "c2/rootfs/inner", "ro", "true", check=True)
        done = ours("destroy", "-n", "c2")
        assert done.returncode == 0 and subvolumes() == ["precious"] and os.listdir(P) == ["precious"], done
        return True

    assert throwaway.inside(story)


def test_two_copies_into_one_name(unchanged_host: None) -> None:
    def story() -> bool:
        for name in ("c1", "c2"):
            host.make_container(P, name)
            (P / name / "rootfs/etc/who").write_text(name)
        argv = [[str(host.OURS / "lxc-copy"), "-P", str(P), "-n", name, "-N", "new"] for name in ("c1", "c2")]
        both = [subprocess.Popen(words, stderr=subprocess.PIPE) for words in argv]
        ends = [(child.communicate(timeout=30)[1], child.returncode) for child in both]
        assert sorted(code for _errors, code in ends) == [0, 1], ends
        assert (P / "new/rootfs/etc/who").read_text() == ("c1" if ends[0][1] == 0 else "c2")
        assert sorted(os.listdir(P / "new")) == ["config", "rootfs"]
        return True

    assert throwaway.inside(story)


def test_two_snapshots_at_once(unchanged_host: None) -> None:
    def story() -> bool:
        host.make_container(P, "c1")
        both = [subprocess.Popen([host.OURS / "lxc-snapshot", "-P", P, "-n", "c1"]) for _ in range(4)]
        assert [child.wait(30) for child in both] == [0, 0, 0, 0]
        assert ours("snapshot", "-n", "c1", "-L").stdout.count(b"snap") == 8  # the name and the folder
        return True

    assert throwaway.inside(story)
