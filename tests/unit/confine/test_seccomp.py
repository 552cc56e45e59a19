# SPDX-License-Identifier: LGPL-2.1-or-later
"""Seccomp policies: what they are read as, and what the compiled program does with a call."""

from __future__ import annotations

import errno as errors
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.confine import seccomp
from lxctools.errors import LxcError
from lxctools.linux import seccomp as kernel
from tests.forked import forked

from . import bpf
from .bpf import ALLOW, I386, KILL, NOTIFY, TRAP, X32_BIT, errno

COMMON = Path(__file__).parents[3] / "config" / "common.seccomp"
MKDIR, RMDIR, UMOUNT2, READ, SOCKET = 83, 84, 166, 0, 41  # x86_64
I386_MKDIR, I386_READ, I386_SOCKETCALL, I386_UMOUNT2 = 39, 3, 102, 52

x86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86_64")


def action(body: str, call: int, *arguments: int, arch: int = bpf.X86_64) -> int:
    """What the policy does with a call."""
    return bpf.run(seccomp.compile_policy(seccomp.parse(body)), call, arguments, arch)


@x86_64
@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("mkdir", KILL),
        ("mkdir kill", KILL),
        ("mkdir errno 5", errno(5)),
        ("mkdir trap", TRAP),
        ("mkdir notify", NOTIFY),
        ("mkdir # why", KILL),
        ("mkdir errno 1 # why", errno(1)),
        ("mkdir allow", ALLOW),
        ("no_such_call errno 1", ALLOW),
    ],
)
def test_actions_of_a_denylist(rule: str, wanted: int) -> None:
    body = f"2\ndenylist\n{rule}\n"
    assert action(body, MKDIR) == wanted
    assert action(body, RMDIR) == ALLOW


@x86_64
@pytest.mark.parametrize(
    ("kind", "listed", "others"),
    [
        ("denylist", KILL, ALLOW),
        ("blacklist", KILL, ALLOW),
        ("allowlist", ALLOW, KILL),
        ("whitelist", ALLOW, KILL),
        ("allowlist errno 7", ALLOW, errno(7)),
        ("allowlist trap", ALLOW, TRAP),
        ("denylist errno 7", KILL, errno(7)),
    ],
)
def test_the_default_action_is_for_unlisted_calls(kind: str, listed: int, others: int) -> None:
    body = f"2\n{kind}\nmkdir\n"
    assert action(body, MKDIR) == listed
    assert action(body, RMDIR) == others


@x86_64
@pytest.mark.parametrize("section", ["", "[all]\n", "[ALL]\n"])
def test_without_a_section_a_rule_is_for_every_architecture(section: str) -> None:
    body = f"2\ndenylist\n{section}mkdir errno 1\n"
    assert action(body, MKDIR) == errno(1)
    assert action(body, I386_MKDIR, arch=I386) == errno(1)
    assert action(body, X32_BIT | MKDIR) == errno(1)
    assert action(body, I386_READ, arch=I386) == ALLOW


@x86_64
@pytest.mark.parametrize(
    ("section", "native", "i386", "x32"),
    [
        ("x86_64", errno(1), ALLOW, ALLOW),
        ("x86", ALLOW, errno(1), ALLOW),
        ("X32", ALLOW, ALLOW, errno(1)),
        ("arm64", ALLOW, ALLOW, ALLOW),
    ],
)
def test_a_section_selects_its_architecture(section: str, native: int, i386: int, x32: int) -> None:
    body = f"2\ndenylist\n[{section}]\nmkdir errno 1\n"
    assert action(body, MKDIR) == native
    assert action(body, I386_MKDIR, arch=I386) == i386
    assert action(body, X32_BIT | MKDIR) == x32


@x86_64
def test_a_section_lasts_until_the_next() -> None:
    body = "2\ndenylist\n[x86]\nmkdir errno 1\n[all]\nrmdir errno 2\n"
    assert action(body, MKDIR) == ALLOW
    assert action(body, RMDIR) == errno(2)


@x86_64
def test_a_call_that_only_a_companion_has() -> None:
    body = "2\ndenylist\nsocketcall errno 3\n"
    assert action(body, I386_SOCKETCALL, arch=I386) == errno(3)
    assert action(body, SOCKET) == ALLOW


@x86_64
@pytest.mark.parametrize(
    ("condition", "hits", "misses"),
    [
        ("[0,5,==]", [5], [4, 6]),
        ("[0,5,SCMP_CMP_EQ]", [5], [4, 6]),
        ("[0,5,!=]", [4, 6], [5]),
        ("[0,5,SCMP_CMP_NE]", [4, 6], [5]),
        ("[0,5,<]", [4], [5, 6]),
        ("[0,5,<=]", [4, 5], [6]),
        ("[0,5,>]", [6], [5, 4]),
        ("[0,5,>=]", [5, 6], [4]),
        ("[0,0x10,==]", [16], [10]),
        ("[0,010,==]", [8], [10]),
        ("[0,4,&=,6]", [4, 12], [6, 2, 0]),
        ("[0,4,SCMP_CMP_MASKED_EQ,6]", [4], [6]),
        ("[0,-1,==]", [-1], [0]),
        ("[0, 5, ==]", [5], [6]),
    ],
)
def test_conditions(condition: str, hits: list[int], misses: list[int]) -> None:
    body = f"2\ndenylist\nread errno 9 {condition}\n"
    for value in hits:
        assert action(body, READ, value) == errno(9), value
    for value in misses:
        assert action(body, READ, value) == ALLOW, value


@x86_64
def test_several_conditions_must_all_hold() -> None:
    body = "2\ndenylist\nread errno 9 [0,1,==][2,3,>]\n"
    assert action(body, READ, 1, 0, 4) == errno(9)
    assert action(body, READ, 1, 0, 3) == ALLOW
    assert action(body, READ, 2, 0, 4) == ALLOW


@x86_64
def test_reject_force_umount() -> None:
    body = "2\ndenylist\nreject_force_umount  # other words do not count\n"
    assert action(body, UMOUNT2, 0, 1) == errno(errors.EACCES)
    assert action(body, UMOUNT2, 0, 3) == errno(errors.EACCES)
    assert action(body, UMOUNT2, 0, 2) == ALLOW
    assert action(body, I386_UMOUNT2, 0, 1, arch=I386) == errno(errors.EACCES)


@x86_64
def test_version_1_is_an_allowlist_of_numbers() -> None:
    body = f"1\nallowlist\n{READ}\n156\n"  # 156, _sysctl, is not there on every architecture
    assert action(body, READ) == ALLOW
    assert action(body, MKDIR) == KILL
    assert action(body, I386_READ, arch=I386) == ALLOW


@x86_64
def test_our_common_policy_protects_the_kernel() -> None:
    program = seccomp.compile_policy(seccomp.parse(COMMON.read_text()))
    # kexec_load, open_by_handle_at, init_module, finit_module, delete_module
    for call in (246, 304, 175, 313, 176):
        assert bpf.run(program, call) == errno(1)
    for call in (283, 342, 128, 350, 129):
        assert bpf.run(program, call, arch=I386) == errno(1)
    assert bpf.run(program, UMOUNT2, (0, 1)) == errno(errors.EACCES)
    assert all(bpf.run(program, call) == ALLOW for call in (READ, MKDIR, UMOUNT2, 165, 321))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1: the first line is the version"),
        ("3\ndenylist\n", "1: the first line is the version"),
        ("2\n", "2: .* is neither allowlist nor denylist"),
        ("2\nsomelist\n", "2: .* is neither allowlist nor denylist"),
        ("2\ndenylist debug\n", '2: "debug"'),
        ("2\nallowlist errno\n", "2: errno needs a number"),
        ("1\nwhitelist\n1\n", "2: a policy of version 1 is an allowlist"),
        ("1\nallowlist\n1\nread\n", '4: "read" is not the number'),
        ("2\ndenylist\n\n# x\n[vax]\n", r"5: \[vax\] is not an architecture"),
        ("2\ndenylist\n[X86_64x]\n", "3: "),
        ("2\ndenylist\nmkdir errnoo 1\n", '3: "errnoo" is not an action'),
        ("2\ndenylist\nmkdir [0,1,==]\n", "3: an action is needed before the arguments"),
        ("2\ndenylist\nmkdir errno 1 [0,1]\n", "3: "),
        ("2\ndenylist\nmkdir errno 1 [0,1,=~]\n", "3: "),
        ("2\ndenylist\nmkdir errno 1 [6,1,==]\n", "3: .*index"),
        ("2\ndenylist\nmkdir errno 1 [0,one,==]\n", "3: .*one"),
        ("2\ndenylist\nmkdir errno 1 [0,1,==\n", "3: "),
        ("2\ndenylist\nmkdir errno 1 rubbish\n", "3: "),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        seccomp.parse(text)


def test_what_libseccomp_refuses_is_named_with_its_line() -> None:
    policy = seccomp.parse("2\ndenylist\n# x\nmkdir errno 1 [0,1,>][0,9,<]\n")
    with pytest.raises(ValueError, match=r"^4: libseccomp refuses mkdir: two conditions on one argument"):
        seccomp.compile_policy(policy)


@given(st.text())
def test_any_text_is_a_policy_or_refused_with_a_line(text: str) -> None:
    try:
        seccomp.parse(text)
    except ValueError as error:
        assert str(error).partition(":")[0].isdecimal()


@given(st.lists(st.text(alphabet="[]0123456789,=!<>&#x-abcdefghijklmnopqrstuvwxyz_ ", max_size=30), max_size=6))
def test_any_body_is_a_policy_or_refused_with_a_line(lines: list[str]) -> None:
    try:
        seccomp.parse("\n".join(["2", "denylist", *lines]))
    except ValueError as error:
        assert 3 <= int(str(error).partition(":")[0]) <= 2 + len(lines)


def test_notify_is_told() -> None:
    assert seccomp.parse("2\ndenylist\nmkdir notify\n").notifies
    assert not seccomp.parse("2\ndenylist\nmkdir errno 1\n").notifies


def test_a_loaded_policy_confines(tmp_path: Path) -> None:
    program = seccomp.compile_policy(seccomp.parse("2\ndenylist\nmkdir errno 95\nmkdirat errno 95\n"))

    def child() -> tuple[int, int, bool]:
        listener = kernel.load_program(program, False, no_new_privs=True)
        try:
            os.mkdir(tmp_path / "x")
        except OSError as error:
            return listener, error.errno or 0, os.path.exists(tmp_path)
        return listener, 0, False

    assert forked(child) == (-1, 95, True)


def test_a_policy_that_notifies_gives_its_listener() -> None:
    program = seccomp.compile_policy(seccomp.parse("2\ndenylist\nmkdir notify\n"))

    def child() -> tuple[bool, bool, str]:
        listener = kernel.load_program(program, True, no_new_privs=True)
        return listener > 2, os.get_inheritable(listener), os.readlink(f"/proc/self/fd/{listener}")

    assert forked(child) == (True, False, "anon_inode:seccomp notify")


class _Conf(dict[str, object]):
    """The keys that compile_for() reads."""


def conf(path: object, **more: object) -> _Conf:
    return _Conf({"lxc.seccomp.profile": str(path), "lxc.seccomp.allow_nesting": 0, "lxc.seccomp.notify.proxy": "", **more})


def test_no_profile_no_policy() -> None:
    assert seccomp.compile_for(conf("")) is None  # type: ignore[arg-type]


def test_errors_name_key_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    with pytest.raises(LxcError, match=rf"lxc\.seccomp\.profile: cannot read the policy {path}"):
        seccomp.compile_for(conf(path))  # type: ignore[arg-type]
    path.write_text("2\ndenylist\nmkdir what\n")
    with pytest.raises(LxcError, match=rf'lxc\.seccomp\.profile: {path}:3: "what" is not an action'):
        seccomp.compile_for(conf(path))  # type: ignore[arg-type]


def test_a_confined_process_loads_none_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    path.write_text("2\ndenylist\nmkdir errno 1\n")
    outer = seccomp.compile_policy(seccomp.parse("2\ndenylist\nrmdir errno 1\n"))

    def child() -> tuple[bool, bool]:
        kernel.load_program(outer, False, no_new_privs=True)
        nested = conf(path, **{"lxc.seccomp.allow_nesting": 1})
        return seccomp.compile_for(conf(path)) is None, seccomp.compile_for(nested) is None  # type: ignore[arg-type]

    assert forked(child) == (True, False)
