# SPDX-License-Identifier: LGPL-2.1-or-later
"""The hooks that are shipped: the programs behind the launchers in hooks/."""
