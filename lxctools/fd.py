# SPDX-License-Identifier: LGPL-2.1-or-later
"""One owner a descriptor."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


class Fd:
    """Owns one descriptor: closed on leaving the with block, or by close(); steal() gives it away."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> Fd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """The number, for select and friends; ValueError when closed."""
        if self.number < 0:
            raise ValueError("descriptor is closed")
        return self.number

    def steal(self) -> int:
        """The number; the caller closes it from now on."""
        number, self.number = self.number, -1
        return number

    def close(self) -> None:
        """Close now; closing twice does nothing."""
        number, self.number = self.number, -1
        if number >= 0:
            os.close(number)
