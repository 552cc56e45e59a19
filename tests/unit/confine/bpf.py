# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine for seccomp programs: classic BPF as the kernel runs it on struct seccomp_data (seccomp(2))."""

from __future__ import annotations

import struct

X86_64, I386 = 0xC000003E, 0x40000003
X32_BIT = 0x40000000

KILL, TRAP, ALLOW, NOTIFY = 0x00000000, 0x00030000, 0x7FFF0000, 0x7FC00000


def errno(number: int) -> int:
    return 0x00050000 | number


def run(program: bytes, call: int, arguments: tuple[int, ...] = (), arch: int = X86_64) -> int:
    """The action for one call."""
    padded = [argument & (1 << 64) - 1 for argument in (*arguments, *(0,) * 6)][:6]
    data = struct.pack("=IIQ6Q", call & 0xFFFFFFFF, arch, 0, *padded)
    code = list(struct.iter_unpack("=HBBI", program))
    a = x = at = 0
    memory = [0] * 16
    while True:
        kind, true, false, k = code[at]
        at += 1
        group = kind & 7
        if group == 0:  # LD
            a = struct.unpack_from("=I", data, k)[0] if kind & 0xE0 == 0x20 else memory[k] if kind & 0xE0 == 0x60 else k
        elif group == 1:  # LDX
            x = memory[k] if kind & 0xE0 == 0x60 else k
        elif group == 2:
            memory[k] = a
        elif group == 4:  # ALU
            operand = x if kind & 8 else k
            a = {0x50: a & operand, 0x40: a | operand, 0x00: a + operand}[kind & 0xF0] & 0xFFFFFFFF
        elif group == 5:  # JMP
            operation = kind & 0xF0
            operand = x if kind & 8 else k
            if operation == 0:
                at += k
            else:
                holds = {0x10: a == operand, 0x20: a > operand, 0x30: a >= operand, 0x40: bool(a & operand)}[operation]
                at += true if holds else false
        elif group == 6:
            return a if kind & 0x18 == 0x10 else k
        else:
            raise AssertionError(f"instruction {kind:#x}")
