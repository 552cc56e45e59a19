# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the debian template decides; that it boots is in tests/containers."""

from __future__ import annotations

import os
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from lxctools.config.conf import Config
from lxctools.errors import LxcError
from lxctools.template import apt, debian
from lxctools.template.cache import Cache

WORDS = ["--path=/nowhere/c1", "--name=c1"]


def options(*words: str):  # type: ignore[no-untyped-def]
    return debian._options([*WORDS, *words])


def test_every_choice_that_makes_a_difference_has_an_archive_of_its_own() -> None:
    keys = [
        debian._key(options(*words.split()))
        for words in ("", "-r bookworm", "-r bookworm -a arm64", "-r bookworm --packages=nano", "-r bookworm --enable-non-free")
    ]
    assert len(set(keys)) == len(keys)
    assert debian._key(options("--packages=b,a,a")) == debian._key(options("--packages=a b"))
    assert debian._key(options("--mirror=http://x/debian")) == debian._key(options())
    for key in keys:
        assert "/" not in key


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("-r ../../etc", "--release"),
        ("-r -x", "expected one argument"),
        ("--release=", "--release"),
        ("-a am;d64", "--arch"),
        ("-S /nowhere/key.pub", "--auth-key"),
        ("-S /etc/passwd", "--auth-key"),
        ("-I /usr/bin/qemu-arm-static", "binfmt|interpreter"),
        ("--frobnicate", "--frobnicate"),
    ],
)
def test_options_that_cannot_be_meant(words: str, says: str) -> None:
    with pytest.raises(LxcError, match=says):
        options(*words.split(" "))


def test_a_key_to_log_in_with_brings_the_server(tmp_path: Path) -> None:
    key = tmp_path / "id.pub"
    key.write_text("ssh-ed25519 AAAA me\n")
    assert options("-S", str(key)).packages == ["openssh-server"]


def test_architectures_by_either_name() -> None:
    for name, wanted in (("x86_64", "amd64"), ("amd64", "amd64"), ("i686", "i386"), ("aarch64", "arm64"), ("ppc64le", "ppc64el")):
        assert options("-a", name).arch == wanted


def test_mirrors_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRROR", "http://m/debian")
    monkeypatch.setenv("SECURITY_MIRROR", "http://s/debian")
    assert [source.uri for source in options("-r", "bookworm").sources] == ["http://m/debian", "http://s/debian"]


def archive(path: Path, version: str, codename: str) -> None:
    """As small as an archive of Debian can be."""
    release = f'NAME="Debian GNU/Linux"\nVERSION_CODENAME={codename}\n' + (f'VERSION_ID="{version}"\n' if version else "")
    members = {
        "etc/os-release": release,
        "etc/machine-id": "of the archive\n",
        "etc/ssh/ssh_host_rsa_key": "of the archive\n",
        "usr/sbin/sshd": "",
        "usr/share/keyrings/debian-archive-keyring.gpg": "",
        "dev/null": "no device, here",
        "etc/systemd/system/getty.target.wants/getty@tty1.service": "",
    }
    with tarfile.open(path, "w") as made:
        for name, text in members.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(text)
            made.addfile(member, BytesIO(text.encode()))


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A function that fills c1 from an archive that is kept already."""
    monkeypatch.setenv("LXC_CACHE_PATH", str(tmp_path / "cache"))
    folder = tmp_path / "c1"
    folder.mkdir()
    (folder / "config").write_text(f"lxc.rootfs.path = dir:{folder}/rootfs\nlxc.net.0.type = veth\n")

    def fill(version: str, codename: str, *words: str) -> Path:
        chosen = debian._options([f"--path={folder}", "--name=c1", *words])
        with Cache(f"{tmp_path}/cache/debian", print) as cache:
            cache.make(debian._key(chosen), lambda _folder, path: archive(Path(path), version, codename))
        debian.run([f"--path={folder}", "--name=c1", *words])
        return folder

    return fill


def test_what_must_not_be_the_same_in_two_containers_is_not(filled, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    key = tmp_path / "id.pub"
    key.write_text("ssh-ed25519 AAAA me\n")
    root = filled("12", "bookworm", "-r", "bookworm", "-S", str(key)) / "rootfs"
    assert (root / "etc/machine-id").read_text() == ""
    assert not (root / "etc/ssh/ssh_host_rsa_key").exists()
    assert (root / "etc/systemd/system/multi-user.target.wants/lxc-ssh-keys.service").is_symlink()
    assert (root / "etc/hostname").read_text() == "c1\n"
    assert "127.0.1.1 c1" in (root / "etc/hosts").read_text()
    assert not (root / "dev/null").exists()
    assert (root / "root/.ssh/authorized_keys").read_text() == key.read_text()
    assert (root / "root/.ssh").stat().st_mode & 0o777 == 0o700
    wants = root / "etc/systemd/system/getty.target.wants"
    assert sorted(os.listdir(wants)) == [f"container-getty@{n}.service" for n in range(1, 5)]


@pytest.mark.parametrize(("version", "codename", "unified"), [("12", "bookworm", False), ("13", "trixie", True), ("", "sid", True)])
def test_cgroups_that_its_systemd_knows(filled, version: str, codename: str, unified: bool) -> None:  # type: ignore[no-untyped-def]
    folder = filled(version, codename, "-r", codename)
    conf = Config.read(str(folder / "config"))
    assert (conf["lxc.mount.auto"].cgroup == "") == unified
    assert (conf["lxc.mount.auto"].proc, conf["lxc.mount.auto"].sys) == ("mixed", "mixed")
    assert any("cgroup2" in entry for entry in conf["lxc.mount.entry"]) == unified
    assert conf["lxc.uts.name"] == "c1" and conf["lxc.tty.max"] == 4
    assert conf.nets[0]["hwaddr"]


def test_a_container_of_stable_stays_with_its_release(filled) -> None:  # type: ignore[no-untyped-def]
    folder = filled("13", "trixie")
    lines = (folder / "rootfs/etc/apt/sources.list").read_text().splitlines()
    suites = [line.split("] ")[-1].split()[1] if "]" in line else line.split()[2] for line in lines]
    assert suites == ["trixie", "trixie-updates", "trixie-security"]
    for line in lines:
        assert f"[signed-by={apt.KEYRING}]" in line or not os.path.exists(apt.KEYRING)


def test_a_keyring_of_the_host_is_not_named_inside(filled, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "k.gpg").touch()
    folder = filled("12", "bookworm", "-r", "bookworm", f"--keyring={tmp_path}/k.gpg")
    assert "signed-by" not in (folder / "rootfs/etc/apt/sources.list").read_text()


def test_clean_removes_the_archives_and_makes_no_container(filled, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(LxcError, match="are removed"):
        filled("12", "bookworm", "-r", "bookworm", "--clean")
    assert os.listdir(tmp_path / "cache/debian") == ["lock"]
