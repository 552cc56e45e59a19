# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run a function in a child of fork(2), where it may change what a test must not; its result or exception comes back."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable


def in_child(function: Callable[[], object]) -> object:
    """What function() returned in a child, which must be picklable; an AssertionError with its traceback if it raised."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            answer: tuple[bool, object] = (True, function())
        except BaseException:
            answer = (False, traceback.format_exc())
        try:
            with open(writer, "wb") as file:
                pickle.dump(answer, file)
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        data = file.read()
    status = os.waitpid(pid, 0)[1]
    assert data, f"the child ended with wait status {status} and no answer"
    good, value = pickle.loads(data)
    assert good, value
    return value
