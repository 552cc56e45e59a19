# SPDX-License-Identifier: LGPL-2.1-or-later
"""The one exception family that reaches a user.

A message says what was attempted, on what, and why it failed; ``remedy`` says what to do about it.
``OSError`` is wrapped into an ``LxcError`` once, where the meaning (container, key, path) is known.
"""

from __future__ import annotations


class LxcError(Exception):
    """A failure to be told to the user in one line.

    message: what was attempted, on what, and why it failed.
    remedy: what the user can do, or "".
    exit_code: the exit status of the command that ends with this error.
    """

    def __init__(self, message: str, *, remedy: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = _once(message)
        self.remedy = remedy
        self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})" if self.remedy else self.message


def _once(message: str) -> str:
    """Without the path at its end (describe() of an OSError) when the message has named it before."""
    start, colon, path = message.rpartition(": ")
    return start if colon and path[:1] == "/" and path in start else message


class ConfigError(LxcError):
    """A configuration that cannot be loaded or a value that a key does not accept."""


class NotDefined(LxcError):
    """The container has neither a configuration on disk nor a running monitor."""


class NotRunning(LxcError):
    """No monitor listens on the container's command socket."""


class AlreadyRunning(LxcError):
    """The container's command socket is already bound."""


class Denied(LxcError):
    """The caller may not control this container."""


class TimedOut(LxcError):
    """A monitor, a hook or a program did not answer within its time limit."""


class Unsupported(LxcError):
    """Something that is recognised but cannot be done; never ignored in silence."""


def describe(error: BaseException) -> str:
    """One line for any exception: errno text and path for an OSError, the message for the rest."""
    if isinstance(error, OSError) and error.strerror:
        notes = ", ".join(getattr(error, "__notes__", ()))
        where = f": {os_path(error.filename)}" if error.filename is not None else ""
        return f"{error.strerror}{where}" + (f" [{notes}]" if notes else "")
    return str(error) or type(error).__name__


def os_path(name: object) -> str:
    """A path or descriptor as text that can always be printed."""
    if isinstance(name, bytes):
        return name.decode("utf-8", "backslashreplace")
    try:
        return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a pair, which stands for no byte
        return str(name).encode("utf-8", "backslashreplace").decode("utf-8")
