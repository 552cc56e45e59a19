# SPDX-License-Identifier: LGPL-2.1-or-later
"""The LXC userspace in Python."""

__version__ = "5.0.2+lxctools0.1"
