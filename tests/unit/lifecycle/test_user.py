# SPDX-License-Identifier: LGPL-2.1-or-later
"""Containers of a user who is not root, with the id maps that he may have: he can do nothing by chown(2) himself."""

from __future__ import annotations

import os
import shutil
import time

import pytest

from tests import host, throwaway, user

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("newuidmap"), reason="needs root, who becomes a user, and newuidmap")


def test_a_life() -> None:
    def story() -> bool:
        user.prepare()

        def lxc(tool: str, *words: object) -> bytes:
            done = user.run(host.OURS / f"lxc-{tool}", *words)
            assert done.returncode == 0, done
            return done.stdout

        def owners(name: str) -> list[str]:
            return [line for line in user.listing() if line.split(" ", 2)[2].split("/")[0] == name]

        def expected(name: str) -> list[str]:
            return [
                f"drwxrwx--- 300000:2000 {name}",
                f"-rw-r----- 2000:2000 {name}/config",
                f"drwxr-xr-x 300000:2000 {name}/rootfs",
                f"drwxr-xr-x 300000:300000 {name}/rootfs/etc",
                f"-rw-r--r-- 300000:300000 {name}/rootfs/etc/hostname",
                f"-rw------- 300000:300000 {name}/rootfs/etc/secret",
            ]

        lxc("create", "-n", "c1", "-t", user.TEMPLATE)
        assert owners("c1") == expected("c1")
        lxc("copy", "-n", "c1", "-N", "c2")
        assert owners("c2") == expected("c2")
        lxc("copy", "-n", "c2", "-N", "c3", "-R")
        assert owners("c3") == expected("c3") and not owners("c2")
        lxc("snapshot", "-n", "c1")
        (user.LXCPATH / "c1/rootfs/etc/secret").write_text("since the snapshot")
        lxc("snapshot", "-n", "c1", "-r", "snap0")
        assert (user.LXCPATH / "c1/rootfs/etc/secret").read_text() == "x\n"
        assert [line for line in owners("c1") if "snaps" not in line] == expected("c1")
        lxc("snapshot", "-n", "c1", "-d", "ALL")
        lxc("export", "c1", user.HOME / "c1.lxc")
        lxc("import", user.HOME / "c1.lxc", "c5")
        assert owners("c5") == expected("c5")
        for name in ("c1", "c3", "c5"):
            lxc("destroy", "-n", name)
        assert user.listing() == ["drwxr-xr-x 2000:2000 "]
        return True

    assert throwaway.inside(story)


def test_a_creation_that_fails_leaves_a_folder_that_was_there_as_it_was() -> None:
    def story() -> bool:
        user.prepare()
        user.run("mkdir", "-p", "-m", "775", user.LXCPATH / "c1")
        user.run("touch", user.LXCPATH / "c1/notes")
        before = user.listing()
        user.TEMPLATE.write_text("#!/bin/sh\nexit 1\n")
        done = user.run(host.OURS / "lxc-create", "-n", "c1", "-t", user.TEMPLATE)
        assert done.returncode == 1 and b"status 1" in done.stderr, done
        assert user.listing() == before
        return True

    assert throwaway.inside(story)


def test_what_a_kill_leaves_goes_with_the_next_command() -> None:
    def story() -> bool:
        user.prepare()
        assert user.run(host.OURS / "lxc-create", "-n", "c1", "-t", user.TEMPLATE).returncode == 0
        before = user.listing()
        hook = user.HOME / "hook"
        hook.write_text("#!/bin/sh\nexec sleep 4\n")
        hook.chmod(0o755)
        config = user.LXCPATH / "c1/config"
        text = config.read_text()
        config.write_text(f"{text}lxc.hook.clone = {hook}\n")
        assert user.run("timeout", "-s", "KILL", "3", host.OURS / "lxc-copy", "-n", "c1", "-N", "c2").returncode == -9
        assert (user.LXCPATH / "c2/partial").exists()
        config.write_text(text)
        deadline = time.monotonic() + 20
        while (done := user.run(host.OURS / "lxc-destroy", "-n", "c2")).returncode and time.monotonic() < deadline:
            time.sleep(0.2)  # its helper has the lock until the hook has ended
        assert done.returncode == 0 and user.listing() == before, done
        return True

    assert throwaway.inside(story)
