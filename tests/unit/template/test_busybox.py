# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.config.conf import Config
from lxctools.errors import LxcError
from lxctools.template import busybox

HOST = shutil.which("busybox", path="/bin:/usr/bin")
needs_busybox = pytest.mark.skipif(HOST is None, reason="needs busybox on this machine")


def make(folder: Path, *words: str, config: str = "") -> Path:
    (folder / "config").write_text(f"lxc.rootfs.path = dir:{folder}/rootfs\n{config}")
    busybox.run([f"--path={folder}", "--name=c1", f"--rootfs={folder}/rootfs", *words])
    return folder / "rootfs"


@needs_busybox
def test_a_system_of_one_program(tmp_path: Path) -> None:
    root = make(tmp_path, config="lxc.net.0.type = veth\n")
    assert (root / "bin/busybox").stat().st_mode & 0o7777 == 0o755  # and not set-user-id
    assert os.readlink(root / "bin/sh") == "busybox"
    assert os.readlink(root / "sbin/init") == "/bin/busybox"
    assert (root / "usr/bin/env").is_symlink()
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert (root / "etc/shadow").stat().st_mode & 0o777 == 0o600
    assert (root / "etc/hostname").read_text() == "c1\n"
    for script in ("etc/init.d/rcS", "etc/udhcpc/default.script"):
        assert os.access(root / script, os.X_OK)
    conf = Config.read(str(tmp_path / "config"))
    assert conf["lxc.uts.name"] == "c1"
    assert conf["lxc.rootfs.path"] == str(root)
    assert conf["lxc.seccomp.profile"].endswith("/common.seccomp")
    assert conf.text("lxc.signal.halt") == "10" and conf.text("lxc.signal.reboot") == "15"
    assert conf.nets[0]["hwaddr"]


@needs_busybox
def test_its_scripts_are_shell_programs(tmp_path: Path) -> None:
    root = make(tmp_path)
    for script in ("etc/init.d/rcS", "etc/udhcpc/default.script"):
        assert os.spawnv(os.P_WAIT, "/bin/sh", ["sh", "-n", str(root / script)]) == 0


@needs_busybox
def test_what_the_user_set_wins_over_the_template_s_defaults(tmp_path: Path) -> None:
    make(tmp_path, config="lxc.tty.max = 1\nlxc.mount.auto = proc:rw\n")
    conf = Config.read(str(tmp_path / "config"))
    assert conf["lxc.tty.max"] == 1
    assert conf["lxc.mount.auto"].proc == "rw"


@needs_busybox
def test_a_folder_that_is_there_already_is_filled(tmp_path: Path) -> None:
    (tmp_path / "rootfs/bin").mkdir(parents=True)
    (tmp_path / "rootfs/bin/sh").write_text("the user's own")
    root = make(tmp_path)
    assert (root / "bin/sh").read_text() == "the user's own"
    assert (root / "bin/ls").is_symlink()


def test_a_busybox_that_is_none_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    for path, word in ((str(script), "ELF"), (f"{tmp_path}/missing", "no busybox"), (str(tmp_path), "no busybox")):
        with pytest.raises(LxcError, match=word):
            make(tmp_path, f"--busybox-path={path}")


def test_a_dynamic_busybox_brings_its_libraries(tmp_path: Path) -> None:
    """Any dynamic program that lists something when asked to does for one."""
    if not busybox.elf_interpreter("/bin/ls"):
        pytest.skip("needs a dynamic /bin/ls")
    listing = tmp_path / "listing"
    listing.mkdir()
    target = _Target(tmp_path)
    busybox._copy_libraries(target, "/bin/ls", busybox.elf_interpreter("/bin/ls"))  # type: ignore[arg-type]
    copied = {str(path) for path in (tmp_path / "root").rglob("*") if path.is_file()}
    assert any("/libc.so" in path for path in copied)
    assert f"{tmp_path}/root{busybox.elf_interpreter('/bin/ls')}" in copied


class _Target:
    def __init__(self, folder: Path) -> None:
        from lxctools.template.rootfs import Rootfs

        self.rootfs = Rootfs(str(folder / "root"))


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_loader_of_programs_of_any_kind(tmp_path: Path, wide: bool, order: str) -> None:
    program = tmp_path / "program"
    program.write_bytes(elf(b"/lib/ld.so\0", wide, order))
    assert busybox.elf_interpreter(str(program)) == "/lib/ld.so"
    program.write_bytes(elf(None, wide, order))
    assert busybox.elf_interpreter(str(program)) == ""


@given(st.binary(max_size=200))
def test_garbage_behind_the_magic_is_no_crash(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    program = tmp_path_factory.mktemp("elf") / "program"
    program.write_bytes(b"\x7fELF" + data)
    try:
        busybox.elf_interpreter(str(program))
    except LxcError:
        pass


def elf(interpreter: bytes | None, wide: bool, order: str) -> bytes:
    """A program with a header of another type and, unless None, one of type PT_INTERP."""
    head, entry = (64, 56) if wide else (52, 32)
    kinds = [1] + ([3] if interpreter is not None else [])
    at = head + entry * len(kinds)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    word = "Q" if wide else "I"
    data = ident + struct.pack(order + "HHI" + word * 3 + "IHHHHHH", 2, 62, 1, 0, head, 0, 0, head, entry, len(kinds), 0, 0, 0)
    for kind in kinds:
        size = len(interpreter or b"")
        if wide:
            data += struct.pack(order + "IIQQQQQQ", kind, 4, at, 0, 0, size, size, 1)
        else:
            data += struct.pack(order + "IIIIIIII", kind, at, 0, 0, size, size, 4, 1)
    return data + (interpreter or b"")
