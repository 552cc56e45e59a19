# SPDX-License-Identifier: LGPL-2.1-or-later
"""Device rules: their text, and the program, run by a simulator of the few instructions it has."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxctools.cgroup import devices
from lxctools.cgroup.devices import Rule, RuleList, compile_program, from_config, parse, text_v1
from lxctools.errors import LxcError

TYPES = {"b": 1, "c": 2}
ACCESS = {"m": 1, "r": 2, "w": 4}


def run(program: bytes, kind: str, major: int, minor: int, access: str) -> bool:
    """What the program answers, with the semantics of Documentation/bpf/standardization/instruction-set.rst."""
    wanted = sum(ACCESS[letter] for letter in access)
    context = struct.pack("<III", TYPES[kind] | wanted << 16, major, minor)
    code = [struct.unpack_from("<BBhi", program, at) for at in range(0, len(program), 8)]
    register = dict.fromkeys(range(11), 0)
    register[1] = 0  # the context; the only pointer there is
    at = steps = 0
    while True:
        steps += 1
        assert steps <= len(code), "a loop"
        operation, registers, offset, value = code[at]
        destination, source = registers & 15, registers >> 4
        at += 1
        if operation == 0x61:  # load a word
            assert source == 1, "read from something else than the context"
            register[destination] = struct.unpack_from("<I", context, offset)[0]
        elif operation == 0x54:
            register[destination] = register[destination] & value & 0xFFFFFFFF
        elif operation == 0x74:
            register[destination] = (register[destination] & 0xFFFFFFFF) >> value
        elif operation == 0xBC:
            register[destination] = register[source] & 0xFFFFFFFF
        elif operation == 0xB7:
            register[destination] = value
        elif operation in (0x55, 0x5D):
            other = value & 0xFFFFFFFFFFFFFFFF if operation == 0x55 else register[source]
            if register[destination] != other:
                at += offset
        elif operation == 0x95:
            return bool(register[0])
        else:
            pytest.fail(f"instruction {operation:#x} is not simulated")


def allowed(rules: RuleList, kind: str, major: int, minor: int, access: str) -> bool:
    """The same by the words of the specification: the last matching rule decides."""
    for rule in reversed(rules.rules):
        wanted = sum(ACCESS[letter] for letter in access)
        if rule.kind in ("a", kind) and rule.major in (-1, major) and rule.minor in (-1, minor) and wanted & ~rule.access == 0:
            return rule.allow
    return rules.allow_by_default


def rules(*lines: str) -> RuleList:
    """ "+..." allows, "-..." denies."""
    return from_config([("devices.allow" if line[0] == "+" else "devices.deny", line[1:]) for line in lines])


@pytest.mark.parametrize(
    ("lines", "device", "wanted"),
    [
        (("-a", "+c 1:3 rwm"), ("c", 1, 3, "rw"), True),
        (("-a", "+c 1:3 rwm"), ("c", 1, 5, "r"), False),
        (("-a", "+c 1:3 rwm"), ("b", 1, 3, "r"), False),
        (("-a", "+c *:* m"), ("c", 8, 1, "m"), True),
        (("-a", "+c *:* m"), ("c", 8, 1, "rm"), False),
        (("-a", "+c 1:3 r", "+c 1:3 w"), ("c", 1, 3, "rw"), False),  # no single rule covers it
        (("+a",), ("c", 1, 3, "rwm"), True),
        (("+a", "-b 8:* rwm"), ("b", 8, 16, "r"), False),
        (("+a", "-b 8:* rwm"), ("c", 8, 16, "r"), True),
        (("+a", "-c 1:3 w"), ("c", 1, 3, "r"), True),
        (("-a", "+a *:* rwm"), ("b", 8, 0, "rwm"), True),
        # The last matching line wins, also where an older one of the other kind matches.
        (("-a", "+c *:* rwm", "-c 1:3 rwm"), ("c", 1, 3, "r"), False),
        (("-a", "+c *:* rwm", "-c 1:3 rwm"), ("c", 1, 5, "r"), True),
        (("+a", "-c *:* rwm", "+c 1:3 rwm"), ("c", 1, 3, "r"), True),
        (("+c 1:3 rwm", "-c *:* rwm", "+c 1:3 rwm"), ("c", 1, 3, "r"), True),
        (("+c 1:3 rwm", "-a"), ("c", 1, 3, "r"), False),
    ],
)
def test_verdicts(lines: tuple[str, ...], device: tuple[str, int, int, str], wanted: bool) -> None:
    assert run(compile_program(rules(*lines)), *device) is wanted


_NUMBERS = st.sampled_from((-1, 0, 1, 3, 2**20, 2**31 - 1))
_RULES = st.builds(Rule, st.sampled_from("abc"), _NUMBERS, _NUMBERS, st.integers(1, 7), st.booleans())


@given(
    st.lists(_RULES, max_size=8),
    st.booleans(),
    st.sampled_from("bc"),
    st.sampled_from((0, 1, 3, 2**20, 2**31 - 1)),
    st.sampled_from((0, 1, 3, 2**20)),
    st.sampled_from(("r", "w", "m", "rw", "rwm")),
)
def test_the_program_does_what_the_rules_say(
    listed: list[Rule], default: bool, kind: str, major: int, minor: int, access: str
) -> None:
    made = RuleList()
    made.allow_by_default = default
    for rule in listed:
        made.add(rule)
    assert run(compile_program(made), kind, major, minor, access) == allowed(made, kind, major, minor, access)


def test_a_lone_switch_still_restricts() -> None:
    assert rules("-a").restricts
    assert not rules("+a").restricts
    assert not rules().restricts
    assert rules("+a", "-c 1:3 w").restricts
    assert not rules("-a", "+a").restricts


def test_layout_of_a_rule_that_names_everything() -> None:
    # Six instructions of prologue, then mask access, type, major, minor, verdict, and the default's verdict.
    assert len(compile_program(rules("+c 1:3 r"))) == 8 * (6 + 3 + 1 + 1 + 1 + 2 + 2)
    assert len(compile_program(rules("+a *:* rwm"))) == 8 * (6 + 2 + 2)


@pytest.mark.parametrize(
    "text", ["", "c", "c 1:3", "c 1:3 x", "d 1:3 r", "c 1 r", "c x:3 r", "c 1:3 r w", "c -1:3 r", "c 99999999999:3 r", "c ¹:3 r"]
)
def test_bad_lines_are_named(text: str) -> None:
    with pytest.raises(LxcError) as caught:
        from_config([("lxc.cgroup2.devices.allow", text)])
    assert f"lxc.cgroup2.devices.allow = {text}" in str(caught.value)


def test_a_node_stands_for_its_numbers(tmp_path: object) -> None:
    rule = parse("/dev/null rw", True)
    assert (rule.kind, rule.major, rule.minor, rule.access) == ("c", 1, 3, devices.READ | devices.WRITE)
    assert text_v1("/dev/null rw") == "c 1:3 rw"
    assert text_v1("c 1:3 rw") == "c 1:3 rw"
    assert text_v1("a") == "a"
    with pytest.raises(ValueError, match="is not a device node"):
        parse(f"{tmp_path} r", True)
    with pytest.raises(ValueError, match="No such file"):
        text_v1(f"{tmp_path}/none r")
    assert os.path.exists("/dev/null")


@pytest.mark.parametrize(
    ("kind", "major", "minor", "access", "why"),
    [("x", 1, 3, "r", "type"), ("c", 1, 3, "", "missing"), ("c", 1, 3, "q", "made of"), ("c", 2**31, 3, "r", "no device number")],
)
def test_parts_are_checked(kind: str, major: int, minor: int, access: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        devices.rule(kind, major, minor, access, True)


def test_a_copy_is_independent() -> None:
    one = rules("+a", "-c 1:3 w")
    two = one.copy()
    two.add(parse("a", False))
    assert one.rules and one.allow_by_default and not two.rules and not two.allow_by_default
