# SPDX-License-Identifier: LGPL-2.1-or-later
"""Device rules: their text, what a list of them means, and the program that enforces it on the unified hierarchy.

The last rule that matches decides; without one the list's default does. `devices.allow = a` makes everything allowed
and `devices.deny = a` nothing, and both empty the list (cgroup v1 devices controller, kernel documentation).
LXC differs in two ways that let more through than was written: it leaves every deny rule out of a list that denies by
default, even where an older rule allows the device, and a repeated rule changes its verdict but not its place in the order.
Pure: loading and attaching are devices_load's.
"""

from __future__ import annotations

import os
import stat
import struct

from ..errors import LxcError, describe

READ, WRITE, MKNOD = 2, 4, 1
_ACCESS = {"r": READ, "w": WRITE, "m": MKNOD}
_TYPES = {"b": 1, "c": 2}
_EVERYTHING = READ | WRITE | MKNOD
_GREATEST = 0x7FFFFFFF


class Rule:
    """type a, b or c; major and minor, -1 for any; access bits; allow or deny."""

    __slots__ = ("access", "allow", "kind", "major", "minor")

    def __init__(self, kind: str, major: int, minor: int, access: int, allow: bool) -> None:
        self.kind = kind
        self.major = major
        self.minor = minor
        self.access = access
        self.allow = allow

    def same_device(self, other: Rule) -> bool:
        """Whether both speak of the same devices and accesses."""
        return (self.kind, self.major, self.minor, self.access) == (other.kind, other.major, other.minor, other.access)


class RuleList:
    """The rules in force; switched: a global rule was seen, so that an empty list still means something."""

    __slots__ = ("allow_by_default", "rules", "switched")

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.allow_by_default = False
        self.switched = False

    @property
    def restricts(self) -> bool:
        """Whether there is anything to enforce."""
        return bool(self.rules) or (self.switched and not self.allow_by_default)

    def copy(self) -> RuleList:
        """Another list of the same rules."""
        other = RuleList()
        other.rules = list(self.rules)
        other.allow_by_default = self.allow_by_default
        other.switched = self.switched
        return other

    def add(self, rule: Rule) -> None:
        """Apply one more rule."""
        if rule.kind == "a" and rule.major == rule.minor == -1 and rule.access == 0:
            self.rules.clear()
            self.allow_by_default = rule.allow
            self.switched = True
            return
        self.rules = [old for old in self.rules if not old.same_device(rule)]
        self.rules.append(rule)


def parse(text: str, allow: bool) -> Rule:
    """`a`, `TYPE MAJOR:MINOR ACCESS`, or `/dev/NODE ACCESS`. Raises ValueError with the reason."""
    if text.strip() == "a":
        return Rule("a", -1, -1, 0, allow)
    words = text.split()
    if text.startswith("/") and len(words) == 2:
        words = _of_node(words[0]) + words[1:]
    if len(words) != 3 or words[0] not in ("a", "b", "c"):
        raise ValueError(f'"{text}" is not a device rule: `a`, or TYPE MAJOR:MINOR ACCESS as in c 1:3 rwm')
    major, colon, minor = words[1].partition(":")
    if not colon:
        raise ValueError(f'"{text}" is not a device rule: MAJOR:MINOR is missing')
    try:
        return rule(words[0], _number(major), _number(minor), words[2], allow)
    except ValueError as error:
        raise ValueError(f'"{text}" is not a device rule: {error}') from None


def rule(kind: str, major: int, minor: int, access: str, allow: bool) -> Rule:
    """A rule from its parts; access: some of rwm, or "" with type a for everything there is. Raises ValueError."""
    if kind not in ("a", "b", "c"):
        raise ValueError(f'the type is a, b or c, not "{kind}"')
    if not access and (kind, major, minor) != ("a", -1, -1):
        raise ValueError("access is missing")
    bits = 0
    for letter in access:
        if letter not in _ACCESS:
            raise ValueError("access is made of r, w and m")
        bits |= _ACCESS[letter]
    for number in (major, minor):
        if not -1 <= number <= _GREATEST:
            raise ValueError(f"{number} is no device number")
    return Rule(kind, major, minor, bits, allow)


def _of_node(path: str) -> list[str]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise ValueError(f"{path}: {describe(error)}") from None
    if stat.S_ISBLK(status.st_mode):
        kind = "b"
    elif stat.S_ISCHR(status.st_mode):
        kind = "c"
    else:
        raise ValueError(f"{path} is not a device node")
    return [kind, f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"]


def _number(text: str) -> int:
    if text == "*":
        return -1
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f'"{text}" is neither a number nor *')
    return int(text)


def text_v1(text: str) -> str:
    """A rule as the version 1 controller's files take it: a node's path is replaced by its numbers."""
    words = text.split()
    return " ".join(_of_node(words[0]) + words[1:]) if text.startswith("/") and len(words) == 2 else text


def from_config(rules: list[tuple[str, str]]) -> RuleList:
    """The list that (key, value) of devices.allow and devices.deny make, in their order; of either version. Raises LxcError."""
    result = RuleList()
    for key, value in rules:
        try:
            result.add(parse(value, key.endswith(".allow")))
        except ValueError as error:
            raise LxcError(f"{key} = {value}: {error}") from None
    return result


# Instruction encoding of Documentation/bpf/standardization/instruction-set.rst: opcode, registers, offset, immediate.
_LDX_W, _MOV_X, _MOV_K, _AND_K, _RSH_K, _JNE_K, _JNE_X, _EXIT = 0x61, 0xBC, 0xB7, 0x54, 0x74, 0x55, 0x5D, 0x95


def _op(code: int, dst: int = 0, src: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("<BBhi", code, dst | src << 4, offset, value)


def compile_program(rules: RuleList) -> bytes:
    """The program for a rule list: struct bpf_cgroup_dev_ctx in r1 (access and type in one word, major, minor).

    r2 type, r3 access, r4 major, r5 minor; the newest rule is tested first, the first match decides.
    """
    code = [
        _op(_LDX_W, 2, 1, 0),
        _op(_AND_K, 2, value=0xFFFF),
        _op(_LDX_W, 3, 1, 0),
        _op(_RSH_K, 3, value=16),
        _op(_LDX_W, 4, 1, 4),
        _op(_LDX_W, 5, 1, 8),
    ]
    for rule in reversed(rules.rules):
        if rule.allow == rules.allow_by_default and not any(other.allow != rule.allow for other in rules.rules):
            continue  # makes no difference
        tests: list[bytes] = []
        verdict = [_op(_MOV_K, 0, value=int(rule.allow)), _op(_EXIT)]
        # Built from the end, so that every jump knows how far the next rule is.
        distance = len(verdict)
        for register, wanted in ((5, rule.minor), (4, rule.major)):
            if wanted >= 0:
                tests.insert(0, _op(_JNE_K, register, offset=distance, value=wanted))
                distance += 1
        if rule.kind in _TYPES:
            tests.insert(0, _op(_JNE_K, 2, offset=distance, value=_TYPES[rule.kind]))
            distance += 1
        if rule.access != _EVERYTHING:
            tests.insert(0, _op(_JNE_X, 1, 3, offset=distance))
            tests.insert(0, _op(_AND_K, 1, value=rule.access))
            tests.insert(0, _op(_MOV_X, 1, 3))
        code += tests + verdict
    code += [_op(_MOV_K, 0, value=int(rules.allow_by_default)), _op(_EXIT)]
    return b"".join(code)
