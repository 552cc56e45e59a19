# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import pytest

from .hook import Box, one_line

SIGNATURE = "d395309aaad4de06"


@pytest.fixture
def sealed(box: Box) -> Box:
    (box.folder / "rootfs.crypt").mkdir()
    (box.folder / "sig").write_text(SIGNATURE + "\n")
    return box


@pytest.mark.parametrize("version", [0, 1])
def test_the_call_of_mount(sealed: Box, version: int) -> None:
    record = sealed.fake("mount")
    result = sealed.run("mountecryptfsroot", "pre-mount", version=version)
    assert (result.returncode, result.stderr) == (0, "")
    options = "ecryptfs_cipher=aes,ecryptfs_key_bytes=16,ecryptfs_passthrough=n,ecryptfs_enable_filename_crypto=n"
    options += f",ecryptfs_sig={SIGNATURE},sig={SIGNATURE},verbosity=0"
    assert record.read_text().split("\n")[:-2] == ["-n", "-t", "ecryptfs", "-o", options, f"{sealed.rootfs}.crypt", str(sealed.rootfs)]


def test_what_mount_says_is_passed_on(sealed: Box) -> None:
    sealed.fake("mount", "echo 'mount: unknown filesystem type' >&2; exit 32")
    result = sealed.run("mountecryptfsroot", "pre-mount")
    assert result.returncode == 1 and one_line(result.stderr)
    assert "status 32: mount: unknown filesystem type" in result.stderr and "ecryptfs-add-passphrase" in result.stderr


@pytest.mark.parametrize("text", ["", "abc,suid", "zz"])
def test_a_signature_that_is_none(sealed: Box, text: str) -> None:
    record = sealed.fake("mount")
    (sealed.folder / "sig").write_text(text)
    result = sealed.run("mountecryptfsroot", "pre-mount")
    assert result.returncode == 1 and one_line(result.stderr) and "no signature" in result.stderr
    assert not record.exists()


def test_what_is_missing_is_named(sealed: Box) -> None:
    record = sealed.fake("mount")
    (sealed.folder / "sig").unlink()
    result = sealed.run("mountecryptfsroot", "pre-mount")
    assert result.returncode == 1 and one_line(result.stderr) and f"{sealed.folder}/sig" in result.stderr
    (sealed.folder / "rootfs.crypt").rmdir()
    (sealed.folder / "rootfs.crypt").symlink_to("/etc")
    result = sealed.run("mountecryptfsroot", "pre-mount")
    assert result.returncode == 1 and "rootfs.crypt is no folder" in result.stderr
    result = sealed.run("mountecryptfsroot", "pre-mount", LXC_ROOTFS_PATH="/dev/vg/c1")
    assert result.returncode == 1 and "must be a folder called rootfs" in result.stderr
    assert not record.exists()
