# SPDX-License-Identifier: LGPL-2.1-or-later
"""Numbers as C programs read them."""

from __future__ import annotations


def c_number(text: str) -> int:
    """A number as strtol(3) with base 0 reads it: decimal, 0x hexadecimal, 0 octal, with a sign. Raises ValueError."""
    digits = text.strip().lower()
    sign = -1 if digits.startswith("-") else 1
    if digits[:1] in ("+", "-"):
        digits = digits[1:]
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") else 10
    digits = digits.removeprefix("0x")
    # int() alone would take underscores, blanks and another sign.
    if not digits.isascii() or not digits.isalnum() or len(digits) > 64:
        raise ValueError(f'"{text}" is not a number')
    try:
        return sign * int(digits, base)
    except ValueError:
        raise ValueError(f'"{text}" is not a number') from None
