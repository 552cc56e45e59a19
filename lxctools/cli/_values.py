# SPDX-License-Identifier: LGPL-2.1-or-later
"""Numbers in option arguments, read as strtol(3) and strtoul(3) with base 0 read them. All raise BadValue."""

from __future__ import annotations

from ._options import BadValue

_BLANKS = " \t\n\v\f\r"
MOST_UNSIGNED = 4294967295
_LONG = 1 << 63


def _digits(text: str) -> int | None:
    """Decimal, 0x hexadecimal or 0 octal digits with nothing after them; None for anything else."""
    if text[:2] in ("0x", "0X"):
        digits, base = text[2:], 16
    elif len(text) > 1 and text[0] == "0":
        digits, base = text[1:], 8
    else:
        digits, base = text, 10
    if not digits or not digits.isascii() or not digits.isalnum():  # int() also takes "1_0" and other scripts' digits
        return None
    try:
        return int(digits, base)
    except ValueError:
        return None


def unsigned(text: str) -> int:
    """0 to 4294967295; leading blanks are allowed, a sign is not."""
    number = _digits(text.lstrip(_BLANKS).removeprefix("+"))
    if number is None or number > MOST_UNSIGNED:
        raise BadValue(f'"{text}" is not a number from 0 to {MOST_UNSIGNED}')
    return number


def signed(text: str) -> int:
    """A whole number that may be negative."""
    stripped = text.lstrip(_BLANKS)
    negative = stripped.startswith("-")
    number = _digits(stripped[1:] if stripped[:1] in ("-", "+") else stripped)
    if number is None or number >= _LONG:
        raise BadValue(f'"{text}" is not a whole number')
    return -number if negative else number


def lenient(text: str) -> int:
    """As atoi(3): the leading digits; 0 when there are none."""
    stripped = text.lstrip(_BLANKS)
    sign = -1 if stripped.startswith("-") else 1
    digits = ""
    for letter in stripped[1:] if stripped[:1] in ("-", "+") else stripped:
        if letter not in "0123456789":
            break
        digits += letter
    return sign * int(digits or "0")


def size(text: str) -> int:
    """Bytes: a number with an optional unit b, k, m, g or t in either case; mebibytes without one."""
    stripped = text.lstrip(_BLANKS)
    end = len(stripped)
    while end and _digits(stripped[:end]) is None:
        end -= 1
    number = _digits(stripped[:end])
    unit = stripped[end:].lstrip(_BLANKS)[:1].lower()
    if number is None or unit not in ("", "b", "k", "m", "g", "t"):
        raise BadValue(f'"{text}" is not a size such as 512M or 2G')
    return number << {"b": 0, "k": 10, "": 20, "m": 20, "g": 30, "t": 40}[unit]
