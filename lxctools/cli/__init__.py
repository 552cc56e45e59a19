# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lxc-* commands, one module each: a table of options, a call into the API, printing."""
