# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clone hook: the new name in the place of the old one, as a whole word, in the files that hold the host name."""

from __future__ import annotations

import errno
import os

from ..errors import LxcError, describe
from ..template.rootfs import Rootfs
from . import invocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "clonehostname"
_FILES = ("etc/hosts", "etc/sysconfig/network")
_SCRIPTS = "etc/sysconfig/network-scripts"
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_BEFORE = _LETTERS | {"."}
_LONGEST = 1 << 20  # bytes of such a file


def run(words: list[str], environment: Mapping[str, str]) -> int:
    """Rename it in its files; those that are missing are passed over. Raises LxcError, OSError."""
    call = invocation.Invocation(words, environment)
    call.expect("clone")
    path = call.variable("LXC_ROOTFS_MOUNT")
    if not os.path.isdir(path):
        raise LxcError(f"cannot rename the host in {path}: no such folder")
    old, new = call.variable("LXC_SRC_NAME"), call.variable("LXC_NAME")
    with Rootfs(path) as root:
        scripts = [f"{_SCRIPTS}/{name}" for name in root.names(_SCRIPTS) if name.startswith("ifcfg-")]
        for file in (*_FILES, *scripts):
            try:
                text = root.read(file, _LONGEST)
                renamed = _renamed(text, old, new) if text else text
                if renamed is not None and renamed != text:
                    root.rewrite(file, renamed)
            except OSError as error:
                if error.errno == errno.EFBIG:
                    invocation.say(NAME, f"/{file} of {path} stays as it is: {_LONGEST} bytes and more are no file of host names")
                    continue
                raise LxcError(f"cannot rename the host in /{file} of {path}: {describe(error)}") from error
    return 0


def _renamed(text: str, old: str, new: str) -> str:
    """The text with new in the place of old. A domain may follow the word, but not precede it.

    Without `re`, which would be half of what this program costs.
    """
    kept: list[str] = []
    begin = 0
    at = text.find(old)
    while at >= 0:
        end = at + len(old)
        if text[at - 1 : at] in _BEFORE or text[end : end + 1] in _LETTERS:
            at = text.find(old, at + 1)
            continue
        kept += text[begin:at], new
        begin = end
        at = text.find(old, end)
    return "".join(kept) + text[begin:]


def main() -> None:
    """The hook's program."""
    invocation.main(run, NAME)
