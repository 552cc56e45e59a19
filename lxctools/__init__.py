# SPDX-License-Identifier: LGPL-2.1-or-later
"""The LXC userspace in Python."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

__version__ = "0.1.0"

# What the commands answer to --version, and programs compare: the LXC whose behaviour this is.
LXC_VERSION = "5.0.2"


def load_module(name: str) -> ModuleType:
    """importlib.import_module for a full name, without importlib, which costs as much as five modules. Raises ImportError."""
    __import__(name)
    return sys.modules[name]
