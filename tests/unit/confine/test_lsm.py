# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which security label a container gets, on kernels played by a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lxctools import log
from lxctools.config.conf import Config
from lxctools.confine import apparmor, lsm, selinux
from lxctools.errors import LxcError, Unsupported


def config(*lines: str) -> Config:
    conf = Config()
    for line in lines:
        conf.load_line(line)
    return conf


def kernel(tmp_path: Path, *, label: str = "unconfined", mediates: bool = True, stacks: bool = False, cgns: bool = True) -> str:
    """The parts of /proc and /sys that a kernel with AppArmor shows."""

    def put(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    put("sys/module/apparmor/parameters/enabled", "Y\n")
    put("proc/self/attr/apparmor/current", f"{label}\n")
    put("sys/kernel/security/apparmor/features/domain/stack", "yes\n" if stacks else "no\n")
    if mediates:
        put("sys/kernel/security/apparmor/features/mount/mask", "mount umount\n")
    if cgns:
        put("proc/self/ns/cgroup", "")
    return str(tmp_path)


def test_enabled_is_what_the_module_says(tmp_path: Path) -> None:
    assert not apparmor.enabled(str(tmp_path))
    assert apparmor.enabled(kernel(tmp_path))


@pytest.mark.parametrize(("cgns", "label"), [(True, "lxc-container-default-cgns"), (False, "lxc-container-default")])
def test_the_default_profile_depends_on_cgroup_namespaces(tmp_path: Path, cgns: bool, label: str) -> None:
    assert apparmor.wanted(config(), kernel(tmp_path, cgns=cgns)) == label


@pytest.mark.parametrize(
    ("profile", "current", "label"),
    [
        ("unchanged", "unconfined", None),
        ("unconfined", "unconfined", None),
        ("unconfined", "/usr/bin/lxc-start (enforce)", "unconfined"),
        ("mine", "unconfined", "mine"),
        ("mine", "/usr/bin/lxc-start (enforce)", "mine"),
        ("", "outer (enforce)", None),  # already confined: what confines the starter confines the container
        ("outer", "outer (enforce)", None),
    ],
)
def test_the_label(tmp_path: Path, profile: str, current: str, label: str | None) -> None:
    conf = config(f"lxc.apparmor.profile = {profile}") if profile else config()
    assert apparmor.wanted(conf, kernel(tmp_path, label=current)) == label


def test_a_confined_starter_cannot_ask_for_another_profile(tmp_path: Path) -> None:
    root = kernel(tmp_path, label="outer (enforce)")
    with pytest.raises(LxcError, match=r"Already AppArmor confined \(outer\), but new label requested \(mine\)"):
        apparmor.wanted(config("lxc.apparmor.profile = mine"), root)


def test_a_confined_starter_can_where_labels_stack(tmp_path: Path) -> None:
    root = kernel(tmp_path, label="outer (enforce)", stacks=True)
    assert apparmor.wanted(config("lxc.apparmor.profile = mine"), root) == "mine"


def test_generated_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="not supported yet"):
        apparmor.wanted(config("lxc.apparmor.profile = generated"), kernel(tmp_path))


def test_a_kernel_without_mount_mediation_needs_consent(tmp_path: Path) -> None:
    root = kernel(tmp_path, mediates=False)
    with pytest.raises(LxcError, match="does not mediate mounts"):
        apparmor.wanted(config("lxc.apparmor.profile = mine"), root)
    assert apparmor.wanted(config("lxc.apparmor.profile = mine", "lxc.apparmor.allow_incomplete = 1"), root) == "mine"


@pytest.mark.parametrize(
    ("shown", "label"),
    [
        (b"unconfined\n", "unconfined"),
        (b"lxc-c1_</var/lib/lxc> (enforce)\n", "lxc-c1_</var/lib/lxc>"),
        (b"a//&:b:c (mixed)\n\0", "a//&:b:c"),
    ],
)
def test_the_mode_is_no_part_of_a_label(shown: bytes, label: str) -> None:
    assert apparmor.strip_mode(shown) == label


def test_the_label_of_a_process_is_read_below_its_descriptor(tmp_path: Path) -> None:
    (tmp_path / "attr").mkdir()
    (tmp_path / "attr" / "current").write_bytes(b"mine (enforce)\n")
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        assert apparmor.read_label(fd) == "mine"
        (tmp_path / "attr" / "apparmor").mkdir()
        (tmp_path / "attr" / "apparmor" / "current").write_bytes(b"own (enforce)\n")
        assert apparmor.read_label(fd) == "own"
    finally:
        os.close(fd)


def test_a_label_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError):
            apparmor.read_label(fd)
    finally:
        os.close(fd)


def test_keys_without_their_module_give_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apparmor, "enabled", lambda root="": False)
    monkeypatch.setattr(selinux, "enabled", lambda root="": False)
    said: list[str] = []
    monkeypatch.setattr(log, "warn", said.append)
    assert lsm.prepare(config("lxc.apparmor.profile = generated")) is None
    assert lsm.prepare(config("lxc.selinux.context = system_u:system_r:container_t:s0")) is None
    assert lsm.prepare(config("lxc.apparmor.profile = unconfined")) is None
    assert lsm.prepare(config()) is None
    assert [text.split(" = ")[0] for text in said] == ["lxc.apparmor.profile", "lxc.selinux.context"]


def test_selinux_context_is_for_the_next_exec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apparmor, "enabled", lambda root="": False)
    monkeypatch.setattr(selinux, "enabled", lambda root="": True)
    label = lsm.prepare(config("lxc.selinux.context = a:b:c:s0"))
    assert label is not None
    assert (label.attribute, label.data) == ("exec", b"a:b:c:s0")
    assert lsm.prepare(config("lxc.selinux.context = unconfined_t")) is None


def test_apparmor_label_is_written_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apparmor, "enabled", lambda root="": True)
    monkeypatch.setattr(apparmor, "wanted", lambda conf: "mine")
    label = lsm.prepare(config())
    assert label is not None
    fd = os.open(tmp_path / "attr", os.O_WRONLY | os.O_CREAT)
    try:
        lsm.apply(label, fd)
    finally:
        os.close(fd)
    assert (tmp_path / "attr").read_bytes() == b"changeprofile mine"


def test_a_refused_label_is_named(tmp_path: Path) -> None:
    (tmp_path / "attr").touch()
    fd = os.open(tmp_path / "attr", os.O_RDONLY)
    try:
        with pytest.raises(LxcError, match="security label mine"):
            lsm.apply(lsm.Label("current", b"changeprofile mine", "mine"), fd)
    finally:
        os.close(fd)


def test_attach_with_a_context_needs_a_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apparmor, "enabled", lambda root="": False)
    monkeypatch.setattr(selinux, "enabled", lambda root="": False)
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        assert lsm.label_for_attach(fd, "") is None
        with pytest.raises(LxcError, match="neither AppArmor nor SELinux"):
            lsm.label_for_attach(fd, "x")
    finally:
        os.close(fd)
