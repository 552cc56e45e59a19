# SPDX-License-Identifier: LGPL-2.1-or-later
"""The life of a container that a command has made for itself: started, used, ended."""

from __future__ import annotations

import _signal

from .. import log
from ..errors import LxcError, NotRunning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from ..container import Container

PATIENCE = 60  # seconds for an orderly end, as lxc-stop gives


def start(container: Container, *, foreground: bool = False) -> int:
    """Start it; in the foreground: until it has ended. Raises LxcError with the reason."""
    try:
        return container.start(daemonize=not foreground)
    except LxcError as error:
        error.message = f"The container '{container.name}' failed to start: {error.message}"
        raise


class ended:
    """`with ended(container):` it is shut down when the block is left, and killed when it does not end in time."""

    __slots__ = ("_container", "_patience")

    def __init__(self, container: Container, patience: int = PATIENCE) -> None:
        self._container = container
        self._patience = patience

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A program that was left in it is our child, and while nobody reaps that its init cannot end (pid_namespaces(7)).
        before = _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
        try:
            if not self._container.shutdown(self._patience):
                log.tell(f"{self._container.name} has not ended within {self._patience} s: it is killed")
                self._container.stop()
        except NotRunning:
            pass  # it has ended by itself
        finally:
            _signal.signal(_signal.SIGCHLD, before)
