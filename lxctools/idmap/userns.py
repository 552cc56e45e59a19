# SPDX-License-Identifier: LGPL-2.1-or-later
"""Doing something as the container's root: a child in a new user namespace with the container's map.

The caller's own ids are mapped too, each at the first id that the container does not use, so that what belongs to the caller
can be reached. Inside the child is id 0 of the container, or the caller where the map has none.
"""

from __future__ import annotations

import os

from ..errors import LxcError, describe
from ..linux import sched
from . import apply
from .ranges import to_host, with_caller

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import ParamSpec

    from .ranges import IdMap

    Arguments = ParamSpec("Arguments")

_READY = b"+"


def run_in_userns(
    maps: Sequence[IdMap], function: Callable[Arguments, object], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> None:
    """Run function in a child that is the container's root in a new user namespace; returns when it has returned.

    The function's value is dropped. What it raises comes back as an LxcError with its text (an OSError as an OSError with
    its number). Raises LxcError when the namespace cannot be made or mapped.
    """
    rows = with_caller(maps, os.geteuid(), os.getegid())
    ours, theirs = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(ours[0])
            os.close(theirs[1])
            status = _child(rows, ours[1], theirs[0], lambda: function(*args, **kwargs))
        finally:
            os._exit(status)
    os.close(ours[1])
    os.close(theirs[0])
    try:
        try:
            if os.read(ours[0], 1) == _READY:
                apply.write_maps(pid, rows)
                os.write(theirs[1], _READY)
        finally:
            os.close(theirs[1])  # without the word the child ends
        message = _read_all(ours[0])
    finally:
        os.close(ours[0])
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0:
        raise _rebuilt(message, status)


def _child(rows: Sequence[IdMap], tell: int, hear: int, call: Callable[[], object]) -> int:
    try:
        sched.unshare(sched.CLONE_NEWUSER)
        os.write(tell, _READY)
        if os.read(hear, 1) != _READY:
            return 1
        become(*(0 if to_host(rows, kind, 0) is not None else None for kind in ("u", "g")))
        call()
    except Exception as error:
        number = error.errno or 0 if isinstance(error, OSError) else 0
        os.write(tell, f"{number}\0{describe(error)}".encode("utf-8", "backslashreplace"))
        return 1
    return 0


def become(uid: int | None, gid: int | None) -> None:
    """Take these ids in a new user namespace, None: not that one; the groups are dropped where that is allowed. Raises LxcError."""
    try:
        if gid is not None:
            try:
                os.setgroups([])
            except PermissionError:
                pass  # denied in this namespace: mapped without newgidmap(1)
            os.setresgid(gid, gid, gid)
        if uid is not None:
            os.setresuid(uid, uid, uid)
    except OSError as error:
        which = " and ".join(f"{kind} {number}" for kind, number in (("uid", uid), ("gid", gid)) if number is not None)
        raise LxcError(f"Failed to become {which} in the new namespace: {describe(error)}", remedy="is it mapped?") from error


def _read_all(fd: int) -> bytes:
    chunks = []
    while chunk := os.read(fd, 65536):
        chunks.append(chunk)
    return b"".join(chunks)


def _rebuilt(message: bytes, status: int) -> Exception:
    number, _, text = message.decode("utf-8", "replace").partition("\0")
    if not text:
        how = f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
        return LxcError(f"the helper in the container's user namespace {how}")
    if number != "0":
        return OSError(int(number), text)
    return LxcError(text)
