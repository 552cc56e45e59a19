# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mount lines: what they are read as, and which are refused or passed over."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools import log
from lxctools.errors import LxcError
from lxctools.linux import mount
from lxctools.linux.mountopts import parse_options
from lxctools.mounts import plan
from lxctools.mounts.plan import MountEntry, Targets, parse_fstab, parse_line

RO, NOSUID, NODEV, NOEXEC = (
    mount.MOUNT_ATTR_RDONLY,
    mount.MOUNT_ATTR_NOSUID,
    mount.MOUNT_ATTR_NODEV,
    mount.MOUNT_ATTR_NOEXEC,
)
INSIDE = Targets("/srv/root", "/var/lib/lxc", "c1")


class _Auto:
    def __init__(self, shmounts: tuple[str, str] | None = None) -> None:
        self.shmounts = shmounts


def conf(*lines: str, fstab: str = "", rootfs: str = "/srv/root", shmounts: tuple[str, str] | None = None) -> dict[str, object]:
    return {
        "lxc.mount.entry": list(lines),
        "lxc.mount.fstab": fstab,
        "lxc.rootfs.path": rootfs,
        "lxc.mount.auto": _Auto(shmounts),
    }


def line(text: str, targets: Targets = INSIDE) -> MountEntry:
    entry = parse_line(text, "here", targets)
    assert entry is not None
    return entry


@pytest.mark.parametrize(
    ("text", "on", "off"),
    [
        ("", 0, 0),
        ("defaults", 0, 0),
        ("ro,nosuid,nodev,noexec", RO | NOSUID | NODEV | NOEXEC, 0),
        ("ro,rw", 0, RO),
        ("rw,ro", RO, 0),
        ("nodev,dev", 0, NODEV),
        ("nosymfollow,nodiratime", mount.MOUNT_ATTR_NOSYMFOLLOW | mount.MOUNT_ATTR_NODIRATIME, 0),
    ],
)
def test_flags_and_the_last_wins(text: str, on: int, off: int) -> None:
    options = parse_options(text)
    assert (options.set, options.clear) == (on, off)
    assert options.data == []


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("noatime", mount.MOUNT_ATTR_NOATIME),
        ("noatime,relatime", mount.MOUNT_ATTR_RELATIME),
        ("strictatime", mount.MOUNT_ATTR_STRICTATIME),
        ("norelatime", mount.MOUNT_ATTR_STRICTATIME),
        ("ro", None),
    ],
)
def test_access_time(text: str, mode: int | None) -> None:
    assert parse_options(text).atime == mode


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("slave", (mount.MS_SLAVE, False)),
        ("rslave", (mount.MS_SLAVE, True)),
        ("rshared", (mount.MS_SHARED, True)),
        ("private", (mount.MS_PRIVATE, False)),
        ("runbindable", (mount.MS_UNBINDABLE, True)),
        ("bind", None),
    ],
)
def test_propagation(text: str, expected: tuple[int, bool] | None) -> None:
    assert parse_options(text).propagation == expected


def test_words_are_whole_words() -> None:
    """What begins like an option of ours belongs to the file system."""
    options = parse_options("rootcontext=x,devices=1,optionally,foo=create=dir,size=10%,mode=755,nfsvers=4")
    assert options.set == options.clear == 0
    assert not options.optional
    assert options.create == ""
    assert options.data == [
        ("rootcontext", "x"),
        ("devices", "1"),
        ("optionally", None),
        ("foo", "create=dir"),
        ("size", "10%"),
        ("mode", "755"),
        ("nfsvers", "4"),
    ]


def test_commas_in_quotes_do_not_separate() -> None:
    assert parse_options('context="a:b:c0,c1",size=1').data == [("context", "a:b:c0,c1"), ("size", "1")]


def test_what_only_mount8_knows_is_not_passed_on() -> None:
    assert parse_options("sync,remount,nofail,noauto,_netdev,x-systemd.automount,user").data == []


def test_lxc_words() -> None:
    options = parse_options("rbind,create=file,optional,relative,idmap=container,dev")
    assert (options.bind, options.recursive, options.create, options.optional, options.relative, options.idmap, options.dev) == (
        True,
        True,
        "file",
        True,
        True,
        "container",
        True,
    )


@pytest.mark.parametrize("word", ["create=", "create=folder", "idmap="])
def test_bad_lxc_words(word: str) -> None:
    with pytest.raises(LxcError, match="mount option"):
        parse_options(word)


def test_the_fields_of_a_line() -> None:
    entry = line("/srv/my\\040data  mnt/x\\011y\tnone   bind,ro 0 0")
    assert (entry.source, entry.target, entry.fstype) == ("/srv/my data", "mnt/x\ty", "none")
    assert entry.options.bind
    assert entry.options.read_only


def test_no_other_blank_separates() -> None:
    assert line("/srv/a\u00a0b mnt none bind").source == "/srv/a\u00a0b"


@pytest.mark.parametrize("text", ["", "   ", "# a b c d", "\t# x"])
def test_lines_without_a_mount(text: str) -> None:
    assert parse_line(text, "here", INSIDE) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("proc proc", "needs source, target, type"),
        ("/a ../x none bind", "leaves the container's root"),
        ("/a a/../../x none bind,optional", "leaves the container's root"),
        ("/a /srv/root/../x none bind", "leaves the container's root"),
        ("/a . none bind", "root itself"),
        ("/a / none bind,create=what", "create="),
        ("/a m tmpfs idmap=container", "idmap= needs bind"),
        ("/a m none bind,relative,idmap=container", "exclude each other"),
    ],
)
def test_refused_lines_are_named(text: str, words: str) -> None:
    with pytest.raises(LxcError, match=words) as caught:
        parse_line(text, "file:3", INSIDE)
    assert caught.value.message.startswith("file:3: ")


@pytest.mark.parametrize(
    ("target", "inside"),
    [
        ("mnt", "mnt"),
        ("./mnt//x/", "mnt/x"),
        ("/srv/root/mnt", "mnt"),
        ("/var/lib/lxc/c1/rootfs/mnt", "mnt"),
    ],
)
def test_targets(target: str, inside: str) -> None:
    assert line(f"/a {target} none bind").target == inside


@pytest.mark.parametrize("target", ["/mnt", "/srv/root2/mnt", "/var/lib/lxc/c2/rootfs/mnt"])
def test_an_absolute_target_elsewhere_is_passed_over(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(log, "warn", said.append)
    assert parse_line(f"/a {target} none bind", "here", INSIDE) is None
    assert f'Ignoring mount point "{target}"' in said[0]


def test_without_a_root_targets_are_the_hosts() -> None:
    targets = Targets("", "/var/lib/lxc", "c1")
    assert line("/a /mnt none bind", targets).target == "/mnt"
    assert line("/a mnt none bind", targets).target == "/mnt"


def test_the_file_is_first_then_the_lines_then_shmounts(tmp_path: Path) -> None:
    fstab = tmp_path / "fstab"
    fstab.write_text("# comment\n\nproc one proc\n")
    found = plan.entries(
        conf("sysfs two sysfs ro", "# no", fstab=str(fstab), shmounts=("/srv/a b", "/dev/.lxc-mounts")),  # type: ignore[arg-type]
        "/var/lib/lxc",
        "c1",
    )
    assert [(entry.source, entry.target, entry.where.partition(" =")[0]) for entry in found] == [
        ("proc", "one", f"{fstab}:3"),
        ("sysfs", "two", "lxc.mount.entry"),
        ("/srv/a b", "dev/.lxc-mounts", "lxc.mount.entry"),
    ]
    assert found[2].options.create == "dir"
    assert found[1].where == 'lxc.mount.entry = "sysfs two sysfs ro"'


def test_nesting_adds_proc_and_sys_out_of_the_way() -> None:
    found = plan.entries(conf(), "/l", "c", nesting=True)  # type: ignore[arg-type]
    assert [(entry.fstype, entry.target, entry.options.optional) for entry in found] == [
        ("proc", "dev/.lxc/proc", True),
        ("sysfs", "dev/.lxc/sys", True),
    ]


def test_a_missing_fstab_is_named(tmp_path: Path) -> None:
    with pytest.raises(LxcError, match=r"lxc\.mount\.fstab: No such file or directory: .*/nothing"):
        plan.entries(conf(fstab=str(tmp_path / "nothing")), "/l", "c")  # type: ignore[arg-type]


def test_bytes_that_are_not_text_survive(tmp_path: Path) -> None:
    fstab = tmp_path / "fstab"
    fstab.write_bytes(b"/a/\xff m\xe4 none bind\n")
    (entry,) = plan.entries(conf(fstab=str(fstab)), "/l", "c")  # type: ignore[arg-type]
    assert entry.source.encode("utf-8", "surrogateescape") == b"/a/\xff"
    assert entry.target.encode("utf-8", "surrogateescape") == b"m\xe4"


_FIELD = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0\n"), min_size=1, max_size=20)


@given(_FIELD, _FIELD)
def test_escaped_fields_come_back(source: str, target: str) -> None:
    def escape(text: str) -> str:
        return "".join(f"\\{byte:03o}" if byte in b" \t\\#" else chr(byte) for byte in text.encode("latin-1", "ignore"))

    source, target = (text.encode("latin-1", "ignore").decode("latin-1") for text in (source, target))
    rootless = Targets("", "/l", "c")
    if not source or not target:
        return
    entry = parse_line(f"{escape(source)} {escape(target)} none bind", "here", rootless)
    assert entry is not None
    assert entry.source == source
    assert entry.target == "/" + target.lstrip("/")


@given(st.text())
def test_any_text_is_mounts_or_refused_with_its_line(text: str) -> None:
    try:
        entries = parse_fstab(text, "fstab", INSIDE)
    except LxcError as error:
        assert error.message.startswith("fstab:")
    else:
        for entry in entries:
            assert not entry.target.startswith("/")
            assert ".." not in entry.target.split("/")
