# SPDX-License-Identifier: LGPL-2.1-or-later
"""lxc-attach: run a program, or a shell, inside a running container."""

from __future__ import annotations

from .. import namespaces
from ..config.conf import Config
from ..container import Container
from ..errors import ConfigError, LxcError
from ._options import NONE, OPTIONAL, REQUIRED, BadValue, Command, Option, Values
from ._values import MOST_UNSIGNED, unsigned

_PRIVILEGES = ("CGROUP", "CAP", "LSM")


def _elevate(values: Values, text: str | None) -> None:
    """-e: replaces what an earlier -e or -s elevated."""
    words = _PRIVILEGES if text is None else [word for word in text.split("|") if word]
    for word in words:
        if word not in _PRIVILEGES:
            raise BadValue(f'-e "{text}": "{word}" is none of {" ".join(_PRIVILEGES)}')
    values.elevated = frozenset(words)


def _choose_namespaces(values: Values, text: str) -> None:
    """-s: only these, and everything elevated."""
    flags = 0
    for word in text.split("|"):
        if word:
            flags |= _namespace_flag(word, text)
    if not flags:
        raise BadValue(f'-s "{text}" names no namespace')
    values.namespaces = flags
    values.elevated = frozenset(_PRIVILEGES)


def _namespace_flag(word: str, text: str) -> int:
    # The manual's spellings in upper case only, the kernel's in any case.
    for row in namespaces.NAMESPACES:
        if word == row.attach or word.lower() in (row.name, row.proc):
            return row.flag
    known = " ".join(row.attach for row in namespaces.NAMESPACES)
    raise BadValue(f'-s "{text}": "{word}" is not a namespace: {known}')


def _architecture(text: str) -> str:
    try:
        Config().set("lxc.arch", text)
    except ConfigError as error:
        raise BadValue(f'-a "{text}": {error.message}') from None
    return text


def _user_id(text: str) -> int | None:
    number = unsigned(text)
    return None if number == MOST_UNSIGNED else number


COMMAND = Command(
    "attach",
    "[-n] NAME [OPTIONS] [-- COMMAND...]",
    "Run COMMAND, or the user's shell, inside the running container; the exit status is the program's.",
    (
        Option("e", "elevated-privileges", OPTIONAL, "elevated", "do not confine COMMAND: in all of these, or", "call",
               metavar="CGROUP|CAP|LSM", default=frozenset(), convert=_elevate),
        Option("a", "arch", REQUIRED, "arch", "personality of COMMAND, a value of lxc.arch", convert=_architecture),
        Option("s", "namespaces", REQUIRED, "namespaces", "join only these namespaces, elevated", "call",
               metavar="NAMESPACE|...", default=0, convert=_choose_namespaces),
        Option("R", "remount-sys-proc", NONE, "remount", "fresh /proc and /sys when the mount namespace is not joined"),
        Option("", "clear-env", NONE, "clear_env", "start from an empty environment", "const", const=True,
               default=False),
        Option("", "keep-env", NONE, "clear_env", "start from the caller's one (default)", "const", const=False),
        Option("", "keep-var", REQUIRED, "keep_vars", "keep this variable with --clear-env", "append", metavar="NAME"),
        Option("v", "set-var", REQUIRED, "set_vars", "set a variable; a bare NAME removes it", "append",
               metavar="NAME=VALUE"),
        Option("L", "pty-log", REQUIRED, "pty_log", "append what the container's terminal shows", metavar="FILE"),
        Option("f", "rcfile", REQUIRED, "rcfile", "read FILE instead of the container's configuration", metavar="FILE"),
        Option("u", "uid", REQUIRED, "uid", "run COMMAND as this user id of the container", convert=_user_id),
        Option("g", "gid", REQUIRED, "gid", "run COMMAND as this group id of the container", convert=_user_id),
        Option("c", "context", REQUIRED, "context", "LSM label of COMMAND"),
    ),
    undo=True,
)  # fmt: skip


def run(values: Values) -> int:
    """COMMAND's exit status, 128 + the signal that ended it, 126/127 when it cannot be executed; 1 otherwise."""
    if "LSM" in values.elevated and values.context is not None:
        raise LxcError("Cannot combine elevated LSM privileges while requesting LSM profile", remedy="-e, or -c")
    return Container(values.name, values.lxcpath).attach(
        values.words,
        namespaces=values.namespaces,
        elevate_cgroup="CGROUP" in values.elevated,
        elevate_cap="CAP" in values.elevated,
        elevate_lsm="LSM" in values.elevated,
        clear_env=values.clear_env,
        keep_vars=values.keep_vars,
        set_vars=values.set_vars,
        uid=values.uid,
        gid=values.gid,
        arch=values.arch or "",
        remount=values.remount,
        context=values.context or "",
        rcfile=values.rcfile or "",
        pty_log=values.pty_log or "",
    )
