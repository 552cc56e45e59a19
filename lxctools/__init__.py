# SPDX-License-Identifier: LGPL-2.1-or-later
"""The LXC userspace in Python."""

__version__ = "0.1.0"

# What the commands answer to --version, and programs compare: the LXC whose behaviour this is.
LXC_VERSION = "5.0.2"
