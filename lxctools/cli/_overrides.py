# SPDX-License-Identifier: LGPL-2.1-or-later
"""The options by which lxc-start and lxc-execute change the configuration for one run, and the log file it names."""

from __future__ import annotations

from .. import log
from ..config import grammar
from ..errors import ConfigError, LxcError, describe
from ._options import REQUIRED, BadValue, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..container import Container
    from ._options import Values

_SHARED = ("net", "ipc", "uts", "pid")


def _assignment(text: str) -> tuple[str, str]:
    """KEY=VAL as (key, value)."""
    try:
        return grammar.parse_definition(text)
    except ValueError as error:
        raise BadValue(f"-s: {error}") from None


DEFINE = Option("s", "define", REQUIRED, "defines", "set a configuration item for this run", "append",
                metavar="KEY=VAL", convert=_assignment)  # fmt: skip
SHARE = tuple(
    Option("", f"share-{kind}", REQUIRED, f"share_{kind}", f"join the {kind} namespace of a container, process or file",
           metavar="NAME|PID|PATH")
    for kind in _SHARED
)  # fmt: skip


def define(container: Container, values: Values) -> None:
    """Apply -s in order. Raises ConfigError."""
    for key, value in values.defines:
        put(container, key, value)


def share(container: Container, values: Values) -> None:
    """Apply --share-*. Raises ConfigError."""
    for kind in _SHARED:
        value = getattr(values, f"share_{kind}")
        if value is not None:
            put(container, f"lxc.namespace.share.{kind}", value)


def put(container: Container, key: str, value: str) -> None:
    """Set a key; the error names the option's text, as there is no file and line."""
    try:
        container.config.set(key, value)
    except ConfigError as error:
        raise ConfigError(f"{key} = {value}: {error.message}", remedy=error.remedy) from error


def use_log_of(container: Container, values: Values) -> None:
    """Log to the container's lxc.log.file at lxc.log.level, unless -o names another file."""
    config = container.config
    if values.logfile is not None:
        return
    if config.is_set("lxc.log.level"):
        log.set_level(config["lxc.log.level"])
    path = config["lxc.log.file"]
    if path:
        try:
            log.open_file(path)
        except OSError as error:
            raise LxcError(f'cannot write the log file "{path}" of lxc.log.file: {describe(error)}') from error
