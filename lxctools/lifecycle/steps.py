# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where an operation on a container can be cut off: tests put a function into `hook`, which may raise, or kill the process."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

hook: Callable[[str], None] | None = None


def step(name: str) -> None:
    """The step called name is about to be made."""
    if hook is not None:
        hook(name)
