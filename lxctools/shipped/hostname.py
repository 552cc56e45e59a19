# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clone hook: the new name in the place of the old one, as a whole word, in the files that hold the host name."""

from __future__ import annotations

import os
import re

from ..errors import LxcError, describe
from ..template.rootfs import Rootfs
from . import invocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "clonehostname"
_FILES = ("etc/hosts", "etc/sysconfig/network")
_SCRIPTS = "etc/sysconfig/network-scripts"


def run(words: list[str], environment: Mapping[str, str]) -> int:
    """Rename it in its files; those that are missing are passed over. Raises LxcError, OSError."""
    call = invocation.Invocation(words, environment)
    call.expect("clone")
    path = call.variable("LXC_ROOTFS_MOUNT")
    if not os.path.isdir(path):
        raise LxcError(f"cannot rename the host in {path}: no such folder")
    old, new = call.variable("LXC_SRC_NAME"), call.variable("LXC_NAME")
    word = re.compile(rf"(?<![A-Za-z0-9_.-]){re.escape(old)}(?![A-Za-z0-9_-])")
    with Rootfs(path) as root:
        scripts = [f"{_SCRIPTS}/{name}" for name in root.names(_SCRIPTS) if name.startswith("ifcfg-")]
        for file in (*_FILES, *scripts):
            try:
                text = root.read(file)
                if text is not None and word.search(text):
                    root.rewrite(file, word.sub(lambda _: new, text))
            except OSError as error:
                raise LxcError(f"cannot rename the host in /{file} of {path}: {describe(error)}") from error
    return 0


def main() -> None:
    """The hook's program."""
    invocation.main(run, NAME)
