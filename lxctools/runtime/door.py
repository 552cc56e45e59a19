# SPDX-License-Identifier: LGPL-2.1-or-later
"""The door that is shut before a process of ours enters a container's root."""

from __future__ import annotations

import sys


def shut() -> None:
    """From here on no import finds anything: each would read files that the container's owner controls.

    What is loaded stays. sys.excepthook and sys.unraisablehook are silenced because a traceback opens source files.
    """
    sys.path.clear()
    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    sys.excepthook = _nothing
    sys.unraisablehook = _nothing


def _nothing(*_arguments: object) -> None:
    """Say nothing."""
