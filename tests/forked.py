# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run a function in a forked child, in namespaces of its own if wanted, and get its result or exception back."""

from __future__ import annotations

import marshal
import os
import select
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from lxctools.linux import mount, sched


def forked(function: Callable[[], Any], *, unshare: int = 0, timeout: float = 20.0) -> Any:
    """function()'s plain result; its failure fails the test with the child's traceback."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            if unshare:
                sched.unshare(unshare)
            if unshare & sched.CLONE_NEWNS:
                mount.mount_setattr(mount.AT_FDCWD, "/", mount.AT_RECURSIVE, propagation=mount.MS_PRIVATE)
            answer = (True, function())
        except BaseException:
            answer = (False, traceback.format_exc())
        try:
            data = marshal.dumps(answer)
            while data:
                data = data[os.write(writer, data) :]
        finally:
            os._exit(0)
    os.close(writer)
    data = b""
    try:
        while True:
            if not select.select([reader], [], [], timeout)[0]:
                os.kill(pid, 9)
                pytest.fail(f"no answer within {timeout} s")
            chunk = os.read(reader, 65536)
            if not chunk:
                break
            data += chunk
    finally:
        os.close(reader)
        status = os.waitpid(pid, 0)[1]
    if not data:
        pytest.fail(f"the child ended without an answer (wait status {status:#x})")
    fine, result = marshal.loads(data)
    if not fine:
        pytest.fail(f"in the child:\n{result}")
    return result
