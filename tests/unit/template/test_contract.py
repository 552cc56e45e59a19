# SPDX-License-Identifier: LGPL-2.1-or-later
"""The container's configuration as a template leaves it, and the template's arguments."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.config.conf import Config
from lxctools.errors import LxcError
from lxctools.template import contract


def target(folder: Path, config: str, *words: str) -> contract.Target:
    (folder / "config").write_text(f"lxc.rootfs.path = dir:{folder}/rootfs\n{config}")
    options = contract.parser("test", "A test.").parse_args([f"--path={folder}", "--name=c1", *words])
    return contract.Target(options)


def test_the_user_s_settings_stand_after_the_included_ones_and_the_network_last(tmp_path: Path) -> None:
    made = target(
        tmp_path,
        "# about this machine\n\n"
        "# the bridge\nlxc.net.0.type = veth\nlxc.net.0.link = br0\n"
        "# few ttys\nlxc.tty.max = 1\n"
        "lxc.net.0.hwaddr = 00:16:3e:00:00:01\n",
    )
    made.configure(["lxc.tty.max = 4", "lxc.pty.max = 9"], ["lxc.uts.name = c1"])
    assert (tmp_path / "config").read_text() == (
        "# Distribution configuration\nlxc.tty.max = 4\nlxc.pty.max = 9\n\n"
        "# Container specific configuration\n"
        f"lxc.rootfs.path = dir:{tmp_path}/rootfs\n# few ttys\nlxc.tty.max = 1\nlxc.uts.name = c1\n\n"
        "# Network configuration\n"
        "# about this machine\n# the bridge\nlxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.hwaddr = 00:16:3e:00:00:01\n"
    )
    conf = Config.read(str(tmp_path / "config"))
    assert (conf["lxc.tty.max"], conf["lxc.pty.max"]) == (1, 9)


def test_comments_at_the_top_stay_there(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("# of the admin\n# two lines\n\nlxc.tty.max = 1\n")
    options = contract.parser("test", "A test.").parse_args([f"--path={tmp_path}", "--name=c1"])
    contract.Target(options).configure(["lxc.pty.max = 9"], [])
    assert (tmp_path / "config").read_text() == (
        "# of the admin\n# two lines\n\n# Distribution configuration\nlxc.pty.max = 9\n\n"
        "# Container specific configuration\nlxc.tty.max = 1\n"
    )


def test_interfaces_with_an_address_of_ours_keep_it_over_restarts(tmp_path: Path) -> None:
    made = target(
        tmp_path,
        "lxc.net.0.type = veth\nlxc.net.1.type = empty\nlxc.net.2.type = macvlan\nlxc.net.2.link = x\n"
        "lxc.net.3.type = veth\nlxc.net.3.hwaddr = 00:16:3e:00:00:01\nlxc.net.4.type = phys\nlxc.net.4.link = y\n",
    )
    made.configure([], [])
    addresses = {net.index: net["hwaddr"] for net in Config.read(str(tmp_path / "config")).nets}
    assert addresses[3] == "00:16:3e:00:00:01"
    assert addresses[1] == addresses[4] == ""
    for index in (0, 2):
        assert addresses[index].startswith("00:16:3e:") and len(addresses[index]) == 17


def test_what_the_user_includes_already_is_not_included_again(tmp_path: Path) -> None:
    common = tmp_path / "common.conf"
    common.write_text("lxc.cap.drop = sys_module\n")
    made = target(tmp_path, f"lxc.include = {common}\n")
    made.configure([f"lxc.include = {common}"], [])
    assert (tmp_path / "config").read_text().count("lxc.include") == 1


SETTINGS = st.sampled_from(
    ["lxc.tty.max = 1", "lxc.net.0.type = veth", "lxc.net.0.link = b", "  lxc.uts.name=x", "# words", "", "foreign", "lxc.net ="]
)


@given(st.lists(SETTINGS))
def test_no_setting_is_lost_and_each_part_keeps_its_order(lines: list[str]) -> None:
    head, own, network = contract._sections("".join(f"{line}\n" for line in lines))
    settings = [line for line in [*own, *network] if "lxc." in line or line.startswith("lxc")]
    expected = [line for line in lines if line.strip().startswith("lxc.")]
    assert sorted(settings) == sorted(expected)
    assert [line for line in network if line.startswith("lxc.net")] == [line for line in lines if line.startswith("lxc.net")]
    assert [line for line in own if "lxc." in line] == [line for line in expected if not line.startswith("lxc.net")]
    kept = [*head, *own, *network]
    assert sorted(line for line in lines if line in ("# words", "foreign")) == sorted(
        line for line in kept if line in ("# words", "foreign")
    )


def test_the_rootfs_is_the_one_named_else_the_configured_one_else_in_the_folder(tmp_path: Path) -> None:
    assert target(tmp_path, "").rootfs.path == f"{tmp_path}/rootfs"
    assert target(tmp_path, "", f"--rootfs={tmp_path}/other").rootfs.path == f"{tmp_path}/other"
    (tmp_path / "config").unlink()
    options = contract.parser("test", "A test.").parse_args([f"--path={tmp_path}", "--name=c1"])
    assert contract.Target(options).rootfs.path == f"{tmp_path}/rootfs"


def test_id_maps_are_told_by_arguments_that_stand_last(tmp_path: Path) -> None:
    made = target(tmp_path, "", "--mapped-uid", "65536", "--mapped-gid", "7")
    assert (made.mapped, made.mapped_uid, made.mapped_gid) == (True, 65536, 7)
    assert not target(tmp_path, "").mapped


@pytest.mark.parametrize("words", [["--nonsense"], ["--name"], [], ["--name=c1"], ["-p", "x", "-n", "y", "word"]])
def test_a_wrong_option_is_an_error_of_one_line(words: list[str]) -> None:
    with pytest.raises(LxcError) as caught:
        contract.parser("test", "A test.").parse_args(words)
    assert "\n" not in str(caught.value) and "lxc-test -h" in str(caught.value)


def test_fragments_name_files_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    line = contract.fragment("debian.common.conf")
    assert line.startswith("lxc.include = /")
    conf = Config()
    conf.load_text(line + "\n", "config")
    profile = conf["lxc.seccomp.profile"]
    assert os.path.isfile(profile) and os.path.dirname(profile) == contract.fragments_folder()
    for hook in conf["lxc.hook.clone"]:
        assert os.access(hook.split()[0], os.X_OK)


@pytest.mark.parametrize("names", [("common.conf",), ("common.conf", "userns.conf"), ("debian.common.conf", "debian.userns.conf")])
def test_fragments_load_and_those_for_id_maps_take_back_what_they_must(names: tuple[str, ...]) -> None:
    conf = Config()
    conf.load_text("".join(contract.fragment(name) + "\n" for name in names), "config")
    mapped = len(names) > 1
    assert ("sys_module" in conf["lxc.cap.drop"]) != mapped
    assert bool(conf["lxc.cgroup2"]) != mapped and bool(conf["lxc.cgroup"]) != mapped
    assert conf["lxc.mount.auto"].sys == ("rw" if mapped else "mixed")
    assert conf["lxc.tty.dir"] == ("lxc" if names == ("common.conf",) else "")


def test_a_program_that_fails_is_named_with_how_it_ended() -> None:
    contract.run("true")
    with pytest.raises(LxcError, match="sh -c exit 3 exited with status 3"):
        contract.run("sh", "-c", "exit 3")
    with pytest.raises(LxcError, match="signal 9"):
        contract.run("sh", "-c", "kill -9 $$")
    with pytest.raises(LxcError, match="no such program"):
        contract.run("lxctools-no-such-program")
