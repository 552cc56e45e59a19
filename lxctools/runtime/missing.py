# SPDX-License-Identifier: LGPL-2.1-or-later
"""The two things that a start most often lacks, asked in microseconds and with what it loads anyway."""

from __future__ import annotations

import os

from ..errors import LxcError
from ..storage.backend import for_config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config.conf import Config


def something_is(config: Config) -> bool:
    """Whether the root file system or an interface that it names is not there; False where a pre-start hook may make them."""
    if config["lxc.hook.pre-start"]:
        return False
    return _root(config) or any(
        net["link"] and net.uses_link and not os.path.exists(f"/sys/class/net/{net['link']}") for net in config.nets
    )


def _root(config: Config) -> bool:
    path = config["lxc.rootfs.path"]
    if not path.startswith("/"):
        return False
    try:
        return not for_config(config).exists(path)
    except LxcError:
        return True
