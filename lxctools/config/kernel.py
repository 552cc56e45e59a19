# SPDX-License-Identifier: LGPL-2.1-or-later
"""Value types whose words are the kernel's: signals, capabilities, namespaces. See values.py for what a type is."""

from __future__ import annotations

import _signal

from ..linux.caps import NAMES as CAPABILITIES
from ..linux.caps import last_cap
from ..namespaces import NAMESPACES as _NAMESPACES
from .values import INT_MAX, BadValue, Type, c_number, lines, nearest, split_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# -- signals -----------------------------------------------------------------------------------------------------------

_SIGNALS = (
    "HUP INT QUIT ILL ABRT FPE KILL SEGV PIPE ALRM TERM USR1 USR2 CHLD CONT STOP TSTP TTIN TTOU TRAP IOT BUS STKFLT CLD "
    "URG XCPU XFSZ VTALRM PROF WINCH IO POLL PWR SYS"
).split()


def signal_number(text: str) -> int:
    """A number, SIGNAME, SIGRTMIN+n or SIGRTMAX-n, in any case. Numbers are not checked against the kernel's range.

    The numbers differ between architectures, so they are asked of the interpreter. Raises BadValue.
    """
    if text[0].isdecimal():
        return c_number(text, 0, INT_MAX, "a signal")
    upper = text.upper()
    if upper.startswith(("SIGRTMIN+", "SIGRTMAX-")) and upper[9:10].isdecimal():
        offset = c_number(upper[9:], 0, INT_MAX, "the distance to a real-time signal")
        if offset <= _signal.SIGRTMAX - _signal.SIGRTMIN:
            return int(_signal.SIGRTMIN + offset if upper[8] == "+" else _signal.SIGRTMAX - offset)
        raise BadValue(f'"{text}" is beyond the real-time signals', word=text)
    if upper.startswith("SIG") and upper[3:] in _SIGNALS:
        # CLD and IOT are old names that not every interpreter has.
        name = {"SIGCLD": "SIGCHLD", "SIGIOT": "SIGABRT", "SIGPOLL": "SIGIO"}.get(upper, upper)
        number = getattr(_signal, name, 16 if name == "SIGSTKFLT" else None)
        if number is not None:
            return int(number)
    hint = nearest(upper.removeprefix("SIG"), _SIGNALS)
    raise BadValue(f'"{text}" is not a signal', f"did you mean SIG{hint}?" if hint else "for example SIGPWR or SIGRTMIN+3", text)


# -- capabilities ------------------------------------------------------------------------------------------------------

def _check_capability(word: str) -> None:
    if word in CAPABILITIES:
        return
    try:
        c_number(word, 0, last_cap(), "")
    except BadValue:
        hint = nearest(word.lower().removeprefix("cap_"), CAPABILITIES)
        raise BadValue(f"Invalid capability specified: {word}", f"did you mean {hint}?" if hint else "", word) from None


def _dropped(text: str) -> list[str]:
    words = split_words(text)
    for word in words:
        if word == "none":
            raise BadValue('The "none" keyword is only valid when keeping caps', "write lxc.cap.drop = to drop none", word)
        _check_capability(word)
    return words


def _kept(text: str) -> list[str]:
    words = split_words(text)
    for word in words:
        if word != "none":
            _check_capability(word)
    return words


def _join_dropped(old: list[str], new: list[str]) -> list[str]:
    old.extend(new)
    return old


def _join_kept(old: list[str], new: list[str]) -> list[str]:
    """The word none empties what was collected before it."""
    if "none" in new:
        return new[len(new) - new[::-1].index("none") :]
    return _join_dropped(old, new)


# -- namespaces --------------------------------------------------------------------------------------------------------

# In the order in which liblxc prints them.
NAMESPACES = tuple(row.name for row in _NAMESPACES)


def check_namespace(word: str) -> None:
    """Raise BadValue unless it is the name of a namespace."""
    if word not in NAMESPACES:
        hint = "mnt" if word == "mount" else nearest(word, NAMESPACES)
        raise BadValue(f'Invalid namespace name "{word}"', f"did you mean {hint}?" if hint else " ".join(NAMESPACES), word)


def _namespaces(text: str) -> list[str]:
    words = split_words(text)
    for word in words:
        check_namespace(word.lower())
    return [word.lower() for word in words]


def _join_namespaces(old: Sequence[str], new: list[str]) -> list[str]:
    return [name for name in NAMESPACES if name in old or name in new]


def _reference(text: str) -> str:
    return text


SIGNAL = Type("signal", "a number, SIGNAME, SIGRTMIN+n or SIGRTMAX-n", signal_number, default=0)
DROPPED_CAPABILITIES = Type("list-cap", "capability names in lower case without CAP_, or numbers", _dropped, lines,
                            default=(), join=_join_dropped, words=tuple(CAPABILITIES))  # fmt: skip
KEPT_CAPABILITIES = Type("list-cap", "capability names in lower case without CAP_, numbers, or none", _kept, lines,
                         default=(), join=_join_kept, words=(*CAPABILITIES, "none"))  # fmt: skip
NAMESPACE_LIST = Type("list-ns", "of: " + " ".join(NAMESPACES), _namespaces, lines, default=(), join=_join_namespaces,
                      words=NAMESPACES)  # fmt: skip
NAMESPACE_REFERENCE = Type("ns-ref", "a process id, a container of the same lxcpath, or the path of a namespace file",
                           _reference)  # fmt: skip
