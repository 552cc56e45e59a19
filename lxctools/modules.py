# SPDX-License-Identifier: LGPL-2.1-or-later
"""Modules by name: importlib.import_module without importlib, which costs as much as five modules."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def load(name: str) -> ModuleType:
    """The module of this full name. Raises ImportError."""
    __import__(name)
    return sys.modules[name]
