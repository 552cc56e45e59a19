# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxctools.config.conf import Config
from lxctools.errors import LxcError
from lxctools.hooks.run import HookContext, _quote, run_hooks, run_line, run_script
from lxctools.process import run


@pytest.fixture
def recorder(tmp_path: Path) -> Path:
    """A hook that writes its arguments and its LXC_* variables to NAME.log beside it, NAME being the hook's type."""
    script = tmp_path / "hook"
    script.write_text(
        '#!/bin/sh\nexec >"${0%/*}/log"\nfor word; do echo "[$word]"; done\nenv | grep -a -e ^LXC -e ^FOO -e ^HOST | sort\n'
    )
    script.chmod(0o755)
    return script


def context(text: str, **caller: str) -> HookContext:
    conf = Config()
    conf.load_text(text, "/lxc/c1/config")
    return HookContext("c1", "/lxc", conf, {"PATH": "/usr/bin:/bin", **caller})


def told(recorder: Path) -> tuple[list[str], dict[str, str]]:
    lines = (recorder.parent / "log").read_text().splitlines()
    arguments = [line[1:-1] for line in lines if line.startswith("[")]
    variables = dict(line.split("=", 1) for line in lines if not line.startswith("["))
    return arguments, variables


def test_version_0_passes_name_section_type_and_extra(recorder: Path) -> None:
    hooks = context(f"lxc.rootfs.path = dir:/srv/r\nlxc.hook.stop = {recorder} own 'two words'\n", HOST="h")
    hooks.set_target("stop")
    hooks.export("LXC_MNT_NS", "/proc/7/fd/3")
    run_hooks(hooks, "stop", hooks.namespace_arguments({"mnt": "/proc/7/fd/3"}))
    arguments, variables = told(recorder)
    assert arguments == ["own", "two words", "c1", "lxc", "stop", "mnt:/proc/7/fd/3"]
    mount = variables.pop("LXC_ROOTFS_MOUNT")
    assert mount.endswith("/lxc/rootfs")
    assert variables == {
        "HOST": "h",
        "LXC_NAME": "c1",
        "LXC_CONFIG_FILE": "/lxc/c1/config",
        "LXC_ROOTFS_PATH": "/srv/r",
        "LXC_CGNS_AWARE": "1",
        "LXC_HOOK_VERSION": "0",
        "LXC_TARGET": "stop",
        "LXC_MNT_NS": "/proc/7/fd/3",
    }


def test_version_1_passes_variables(recorder: Path) -> None:
    hooks = context(f"lxc.hook.version = 1\nlxc.hook.stop = {recorder} own\n")
    run_hooks(hooks, "stop", hooks.namespace_arguments({"mnt": "/proc/7/fd/3"}))
    arguments, variables = told(recorder)
    assert arguments == ["own"]
    assert (variables["LXC_HOOK_VERSION"], variables["LXC_HOOK_TYPE"], variables["LXC_HOOK_SECTION"]) == ("1", "stop", "lxc")
    assert "LXC_ROOTFS_PATH" not in variables


def test_console_variables_and_those_of_the_configuration_inside(recorder: Path) -> None:
    text = f"lxc.console.path = none\nlxc.console.logfile = /c.log\nlxc.hook.mount = {recorder}\n"
    hooks = context(text, FOO="host")
    run_hooks(hooks, "mount")
    assert told(recorder)[1]["FOO"] == "host"
    hooks.in_child(["FOO=inside=yes", "LXC_EMPTY="])
    run_hooks(hooks, "mount")
    variables = told(recorder)[1]
    assert variables["FOO"] == "inside=yes"
    assert (variables["LXC_CONSOLE"], variables["LXC_CONSOLE_LOGPATH"], variables["LXC_EMPTY"]) == ("none", "/c.log", "")


def test_what_a_boot_exported_is_forgotten_with_it(recorder: Path) -> None:
    hooks = context(f"lxc.hook.pre-start = {recorder}\n")
    hooks.export("LXC_PID", "77")
    hooks.set_target("reboot")
    hooks.forget_boot()
    run_hooks(hooks, "pre-start")
    assert not {"LXC_PID", "LXC_TARGET"} & told(recorder)[1].keys()


def test_hooks_outside_a_start_get_the_common_variables_only(recorder: Path) -> None:
    hooks = context(f"lxc.hook.destroy = {recorder}\n")
    hooks.export("LXC_PID", "77")
    run_hooks(hooks, "destroy", environment=hooks.outside())
    arguments, variables = told(recorder)
    assert arguments == ["c1", "lxc", "destroy"]
    assert set(variables) == {"LXC_NAME", "LXC_CONFIG_FILE", "LXC_ROOTFS_MOUNT"}


@pytest.mark.parametrize(
    ("kind", "link", "pair", "wanted"),
    [
        ("veth", "br0", "vethX", {"LXC_NET_TYPE": "veth", "LXC_NET_PARENT": "br0", "LXC_NET_PEER": "vethX"}),
        ("veth", "", "vethX", {"LXC_NET_TYPE": "veth", "LXC_NET_PEER": "vethX"}),
        ("phys", "eth9", "", {"LXC_NET_TYPE": "phys", "LXC_NET_PARENT": "eth9"}),
        ("empty", "", "", {"LXC_NET_TYPE": "empty"}),
    ],
)
def test_network_scripts(recorder: Path, kind: str, link: str, pair: str, wanted: dict[str, str]) -> None:
    text = f"lxc.hook.version = 1\nlxc.net.3.type = {kind}\nlxc.net.3.script.up = {recorder}\n"
    hooks = context(text + (f"lxc.net.3.link = {link}\n" if link else ""))
    (net,) = hooks.conf.nets
    if pair:
        net.runtime["pair"] = pair
    run_script(hooks, net, "up", [kind, link, *([pair] if pair else [])])
    arguments, variables = told(recorder)
    # An empty word vanishes: with neither link nor quotes C LXC's shell sees `veth  vethX`.
    assert arguments == [word for word in (kind, link, pair) if word]
    assert {name: value for name, value in variables.items() if name.startswith("LXC_NET")} == wanted
    assert variables["LXC_HOOK_SECTION"] == "net" and variables["LXC_HOOK_TYPE"] == "up"
    run_script(hooks, net, "down", [kind])  # has none: nothing is run
    assert told(recorder)[1]["LXC_HOOK_TYPE"] == "up"


def test_one_network_does_not_see_the_peer_of_another(recorder: Path) -> None:
    text = (
        f"lxc.hook.version = 1\nlxc.net.0.type = veth\nlxc.net.0.script.up = {recorder}\n"
        f"lxc.net.1.type = empty\nlxc.net.1.script.up = {recorder}\n"
    )
    hooks = context(text)
    first, second = hooks.conf.nets
    first.runtime["pair"] = "vethX"
    run_script(hooks, first, "up", ["veth", "", "vethX"])
    run_script(hooks, second, "up", ["empty"])
    assert "LXC_NET_PEER" not in told(recorder)[1]


def test_every_line_runs_in_order_until_one_fails(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lines = "".join(f"lxc.hook.mount = sh -c 'echo {n} >>{log}; exit {n // 2}'\n" for n in range(4))
    with pytest.raises(LxcError) as caught:
        run_hooks(context(lines), "mount")
    assert log.read_text() == "0\n1\n2\n"
    assert "lxc.hook.mount = sh -c 'echo 2" in str(caught.value) and "status 1" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sh -c 'echo first; echo the disk is on fire >&2; exit 7'", ("status 7", "the disk is on fire")),
        ("sh -c 'kill -9 $$'", ("signal 9",)),
        ("/no/such/hook", ("status 127", "/no/such/hook", "not found")),
    ],
)
def test_a_failure_names_the_hook_its_status_and_its_last_words(line: str, words: tuple[str, ...]) -> None:
    with pytest.raises(LxcError) as caught:
        run_line(line, "c1", 0, "lxc", "mount", [], {"PATH": "/usr/bin:/bin"}, "lxc.hook.mount")
    assert "lxc.hook.mount" in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_value_is_one_program_and_no_shell_script(tmp_path: Path) -> None:
    """`exec` stands before it: what follows a ; never runs."""
    run_hooks(context(f"lxc.hook.mount = true; touch {tmp_path}/ran\n"), "mount")
    assert not (tmp_path / "ran").exists()


def test_output_of_any_length_neither_blocks_nor_is_kept() -> None:
    started = time.monotonic()
    line = "sh -c 'head -c 3000000 /dev/zero; echo; exit 1'"
    with pytest.raises(LxcError) as caught:
        run_hooks(context(f"lxc.hook.mount = {line}\n"), "mount")
    assert len(str(caught.value)) < 1000
    assert time.monotonic() - started < 5


def test_a_background_process_that_holds_the_output_does_not_delay_the_hook() -> None:
    started = time.monotonic()
    run_hooks(context("lxc.hook.mount = sh -c 'sleep 3 & exit 0'\n"), "mount")
    assert time.monotonic() - started < 2


def test_hooks_get_default_signals(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run_hooks(context(f"lxc.hook.mount = sh -c 'grep ^Sig /proc/self/status >{log}'\n"), "mount")
    masks = dict(line.split() for line in log.read_text().splitlines() if not line.startswith("SigQ"))
    assert int(masks["SigBlk:"], 16) == 0
    # 32 and 33 are the C library's own and cannot be set.
    assert int(masks["SigIgn:"], 16) & ~(0b11 << 31) == 0


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=20))
def test_a_quoted_word_reaches_the_program_as_it_is(word: str) -> None:
    shown = run(["/bin/sh", "-c", f"exec printf %s {_quote(word)}"]).output
    assert shown == word.encode()
