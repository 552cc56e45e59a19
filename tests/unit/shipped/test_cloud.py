# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lxctools.errors import LxcError
from lxctools.shipped import cloud

from .hook import HOOKS, Box, one_line

HOOK = "ubuntu-cloud-prep"
SEED = "var/lib/cloud/seed/nocloud-net"


def clone(box: Box, *extra: str, locales: str = "/none", **more: str) -> int:
    return cloud.run(["c2", "lxc", "clone", *extra], box.environment(**more), locales)


@pytest.mark.parametrize("version", [0, 1])
def test_a_copy_gets_its_name_and_a_seed(box: Box, version: int) -> None:
    result = box.run(HOOK, "clone", version=version, extra=("-L",), LANG="C.UTF-8", MIRROR="http://m/")
    assert (result.returncode, result.stderr) == (0, "")
    assert (box.rootfs / "etc/hostname").read_text() == "c1\n"
    seed = box.rootfs / SEED
    meta = (seed / "meta-data").read_text().splitlines()
    assert meta[0].startswith("instance-id: lxc-") and len(meta[0]) == len("instance-id: lxc-") + 8
    assert meta[1:] == ["local-hostname: c1"]
    assert (seed / "user-data").read_text().splitlines() == [
        "#cloud-config",
        "output: {all: '| tee -a /var/log/cloud-init-output.log'}",
        "apt_mirror: http://m/",
        "manage_etc_hosts: localhost",
        "locale: C.UTF-8",
        "password: ubuntu",
        "chpasswd: { expire: false; }",
    ]
    assert not (seed / "vendor-data").exists()


def test_the_files_of_the_caller(box: Box, tmp_path: Path) -> None:
    for name, text in (("keys", "ssh-rsa A a\n\nssh-rsa B b\n"), ("user", "#!/bin/sh\n"), ("vendor", "v: 1\n")):
        (tmp_path / name).write_text(text)
    assert clone(box, "-S", f"{tmp_path}/keys", "-u", f"{tmp_path}/user", "-V", f"{tmp_path}/vendor", "-i", "abc") == 0
    seed = box.rootfs / SEED
    expected = "instance-id: lxc-abc\nlocal-hostname: c2\npublic-keys:\n- ssh-rsa A a\n- ssh-rsa B b\n"
    assert (seed / "meta-data").read_text() == expected
    assert ((seed / "user-data").read_text(), (seed / "vendor-data").read_text()) == ("#!/bin/sh\n", "v: 1\n")


def test_cloud_leaves_the_seed(box: Box) -> None:
    assert clone(box, "--cloud") == 0
    assert (box.rootfs / "etc/hostname").read_text() == "c2\n" and not (box.rootfs / "var").exists()


def test_locales(box: Box, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_text("locales")
    target = box.rootfs / "usr/lib/locale/locale-archive"
    assert clone(box, "--nolocales", "-i", "x", locales=str(archive)) == 0
    assert not target.exists()
    assert clone(box, locales=str(archive)) == 0
    assert target.read_text() == "locales"


def test_arguments_for_another_hook_are_told_and_passed_over(box: Box) -> None:
    result = box.run(HOOK, "clone", extra=("--theirs", "-L"))
    assert result.returncode == 0 and one_line(result.stderr) and "theirs" in result.stderr
    assert (box.rootfs / SEED / "user-data").exists()
    result = box.run(HOOK, "clone", "-L", extra=("other",))
    assert result.returncode == 0 and "ignored: other" in result.stderr


def test_a_missing_file_fails_before_anything_is_written(box: Box) -> None:
    result = box.run(HOOK, "clone", extra=("-S", "/none/key"))
    assert result.returncode == 1 and one_line(result.stderr) and "-S: /none/key is no file" in result.stderr
    assert list(box.rootfs.iterdir()) == []


def test_no_link_leads_out(box: Box, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "hostname").write_text("mine")
    (box.rootfs / "var/lib/cloud").mkdir(parents=True)
    (box.rootfs / "var/lib/cloud/seed").symlink_to("../../../../../outside")
    (box.rootfs / "etc").mkdir()
    (box.rootfs / "etc/hostname").symlink_to(outside / "hostname")
    try:
        clone(box, "-L")
    except LxcError as error:
        assert str(box.rootfs) in str(error)
    assert [path.name for path in outside.iterdir()] == ["hostname"] and (outside / "hostname").read_text() == "mine"
    assert (box.rootfs / "etc/hostname").read_text() == "c2\n"


def test_by_itself(box: Box) -> None:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([HOOKS / HOOK, *words], env={}, capture_output=True, text=True, timeout=60, check=False)

    assert call("-L", "--name", "web", str(box.rootfs)).returncode == 0
    assert (box.rootfs / "etc/hostname").read_text() == "web\n"
    assert call("--help").stdout.startswith("usage: ")
    for words, told in (((), "one folder is needed"), (("--bad", "x"), "--bad"), (("/none/x",), "no such folder"), (("/",), "root of this system")):
        result = call(*words)
        assert result.returncode == 1 and one_line(result.stderr) and told in result.stderr, words
