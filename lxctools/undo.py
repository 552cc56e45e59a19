# SPDX-License-Identifier: LGPL-2.1-or-later
"""The undo on the line after the do.

    with Undo() as undo:
        os.mkdir(path)
        undo(os.rmdir, path)
        ...
        undo.commit()

Own code instead of contextlib.ExitStack for two reasons: an undo that fails is logged and the others still
run (an ExitStack would replace the real cause), and contextlib costs 3 ms on every hot command.
"""

from __future__ import annotations

import _signal

from . import log
from .errors import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


_ENDING = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)


class held:
    """`with held():` signals that end the command wait until the block is left.

    For a step and its undo, between which the exception of a signal would leave what nobody removes. Keep it short.
    """

    __slots__ = ("_mask",)

    def __enter__(self) -> held:
        self._mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _ENDING)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Take signals again before the block is left: in a fork."""
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self._mask)


class Undo:
    """Runs the registered undos backwards when the block is left without commit()."""

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: list[tuple[Callable[..., object], tuple[object, ...]]] = []

    def __call__(self, function: Callable[..., object], *args: object) -> None:
        """Register how the step just made is undone."""
        self._steps.append((function, args))

    def __enter__(self) -> Undo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run()

    def run(self) -> None:
        """Undo everything registered so far, last step first."""
        while self._steps:
            function, args = self._steps.pop()
            try:
                function(*args)
            except Exception as error:
                name = getattr(function, "__name__", repr(function))
                log.warn(f"undoing {name}{args!r} failed: {describe(error)}")

    def commit(self) -> None:
        """Keep everything: from here the caller owns it."""
        self._steps.clear()
