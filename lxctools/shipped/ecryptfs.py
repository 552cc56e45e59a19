# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pre-mount hook: mounts the encrypted folder ROOTFS.crypt on ROOTFS before the container's root file system is made.

The signature of the key, which must be in the kernel's keyring, is read from the file sig beside the configuration.
"""

from __future__ import annotations

import os

from .. import files
from ..errors import LxcError, describe
from ..process import find
from ..process import run as run_program
from . import invocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "mountecryptfsroot"
_SIGNATURE_LETTERS = frozenset("0123456789abcdefABCDEF")


def run(words: list[str], environment: Mapping[str, str]) -> int:
    """Mount it. Raises LxcError, OSError."""
    call = invocation.Invocation(words, environment)
    call.expect("pre-mount")
    rootfs = call.rootfs().rstrip("/")
    crypt = f"{rootfs}.crypt"
    if os.path.basename(rootfs) != "rootfs" or not os.path.isabs(rootfs):
        raise LxcError(f"cannot mount ecryptfs on {rootfs}", remedy="lxc.rootfs.path must be a folder called rootfs")
    for folder in (rootfs, crypt):
        if os.path.islink(folder) or not os.path.isdir(folder):
            raise LxcError(f"cannot mount ecryptfs on {rootfs}: {folder} is no folder", remedy="make it; a link is not followed")
    signature = _signature(os.path.join(call.folder(), "sig"))
    options = (
        "ecryptfs_cipher=aes",
        "ecryptfs_key_bytes=16",
        "ecryptfs_passthrough=n",
        "ecryptfs_enable_filename_crypto=n",
        f"ecryptfs_sig={signature}",
        f"sig={signature}",
        "verbosity=0",
    )
    mount = find("mount", environment.get("PATH") or os.defpath)
    if mount is None:
        raise LxcError("cannot run mount: no such program on this host", remedy="install the package mount")
    done = run_program([mount, "-n", "-t", "ecryptfs", "-o", ",".join(options), crypt, rootfs], env=environment)
    if done.status != 0:
        remedy = "put the passphrase into the keyring with ecryptfs-add-passphrase; the kernel needs the module ecryptfs"
        raise LxcError(f"cannot mount {crypt} on {rootfs}: mount {done.why()}", remedy=remedy)
    return 0


def _signature(path: str) -> str:
    try:
        text = files.read_text(path).strip()
    except OSError as error:
        remedy = "write the signature that ecryptfs-add-passphrase prints into it"
        raise LxcError(f"cannot read the signature of the key, {path}: {describe(error)}", remedy=remedy) from error
    if not text or not _SIGNATURE_LETTERS.issuperset(text):  # a comma would be a mount option of its own
        raise LxcError(f"{path} holds no signature of a key", remedy="it is the hexadecimal number that ecryptfs-add-passphrase prints")
    return text


def main() -> None:
    """The hook's program."""
    invocation.main(run, NAME)
